"""The id of a webhook message, as receivers see it: `msg_` and 32 digits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from producer.job_ids import read_uuid
from shared.errors import NotFound

ID_PREFIX = "msg_"


def show_message_id(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the row of a message with its id as receivers see it."""
    return {**row, "id": f"{ID_PREFIX}{row['id'].hex}"}


def parse_message_id(text: UUID | str) -> UUID | None:
    """Return the id of a message, or None if the text is not one."""
    if isinstance(text, UUID):
        return text
    return read_uuid(text.removeprefix(ID_PREFIX))


def no_such_message(text: UUID | str) -> NotFound:
    """Return the error for an id that names no message."""
    return NotFound(
        f"no webhook message has the id {str(text)[:80]!r}; see `darkroom webhooks list`"
    )
