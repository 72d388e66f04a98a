"""Who does what operators do: stated with the act, and kept in `audit_entries` by its statement."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import orjson

MAX_REASON_LENGTH = 500
"""The longest reason or name of an actor that is stored, in characters."""


@dataclass(frozen=True, slots=True)
class Actor:
    """A person or program, as one of our programs names it.

    Postgres believes it of sessions of `darkroom_service`, `darkroom_api` and the owner of the
    tables. In any other session the login counts, and the rest is kept as stated.
    """

    name: str
    via: Literal["api", "cli", "python"] = "python"
    is_operator: bool = False
    """Whether it acts for whoever runs Darkroom, and not for the account."""
    key_prefix: str | None = None
    """The API key that was presented."""
    key_role: str | None = None
    os_user: str | None = None
    """The user of the operating system."""
    origin: str | None = None
    """From where: the address of the HTTP peer, or the host of the command line."""


def actor_name(actor: Actor | str | None) -> str | None:
    """Return the actor's name."""
    return actor.name if isinstance(actor, Actor) else actor


def actor_to_json(actor: Actor | str | None) -> str | None:
    """Return the actor as the guarded functions take it: JSON text, or None for nobody.

    A text is the name of whoever a program of yours acts for.
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
