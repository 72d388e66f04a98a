"""The roles of API keys."""

from __future__ import annotations

from enum import StrEnum


class Role(StrEnum):
    """The role of a key. Each endpoint lists the roles that may use it."""

    SERVICE = "service"
    """Enqueues, reads and cancels jobs of one account. Other accounts are not visible."""
    VIEWER = "viewer"
    """Reads every account and changes nothing. Prompts and images are masked by default."""
    OPERATOR = "operator"
    """Reads every account and cancels jobs. Enqueues nothing."""
    ADMIN = "admin"
    """Does all of that for every account, sets prices and grants credits."""
