"""The actor of an audited act. The statement of the act stores it in `audit_entries`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import orjson

MAX_REASON_LENGTH = 500
"""The longest reason or name of an actor that is stored, in characters."""


@dataclass(frozen=True, slots=True)
class Actor:
    """A person or program, as a Darkroom program names it.

    Postgres trusts this name in sessions of `darkroom_service`, `darkroom_api` and the owner of the
    tables. In other sessions the login is the actor, and the other fields are stored unverified.
    """

    name: str
    via: Literal["api", "cli", "console", "python"] = "python"
    is_operator: bool = False
    """Whether it acts for the operators of Darkroom, and not for the account."""
    key_prefix: str | None = None
    """The prefix of the API key of the request."""
    key_role: str | None = None
    os_user: str | None = None
    """The user of the operating system."""
    origin: str | None = None
    """The address of the HTTP peer, or the host of the command line."""


def actor_name(actor: Actor | str | None) -> str | None:
    """Return the actor's name."""
    return actor.name if isinstance(actor, Actor) else actor


def actor_to_json(actor: Actor | str | None) -> str | None:
    """Return the actor as JSON text for the SQL functions, or None without an actor.

    A text is the name of the person or program that the caller acts for.
    """
    if actor is None:
        return None
    one = Actor(actor) if isinstance(actor, str) else actor
    fields = {
        "actor": one.name,
        "via": one.via,
        "is_operator": one.is_operator,
        "key_prefix": one.key_prefix,
        "key_role": one.key_role,
        "os_user": one.os_user,
        "origin": one.origin,
    }
    # Postgres stores no NUL.
    return orjson.dumps(fields).decode().replace("\\u0000", "?")
