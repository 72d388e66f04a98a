"""The base class of all errors."""

from __future__ import annotations

from typing import ClassVar


class DarkroomError(Exception):
    """The base class of all errors that Darkroom raises deliberately."""

    code: ClassVar[str] = "error"
    """A stable code for programs. It is the last part of the problem `type` over HTTP."""
