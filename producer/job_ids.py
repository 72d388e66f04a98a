"""Reads job ids in the one spelling that Darkroom writes.

`uuid.UUID` accepts more: digits of other scripts, underscores, braces, a sign and 0x. One id would
have many spellings, and comparisons of ids as text would fail.
"""

from __future__ import annotations

import re
from uuid import UUID

_UUID = re.compile(
    r"[0-9a-fA-F]{8}(-?)[0-9a-fA-F]{4}\1[0-9a-fA-F]{4}\1[0-9a-fA-F]{4}\1[0-9a-fA-F]{12}"
)


def read_uuid(text: str) -> UUID | None:
    """Return the id, or None if the text is not 32 hexadecimal digits with four dashes or none."""
    return UUID(text) if _UUID.fullmatch(text) else None
