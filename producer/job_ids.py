"""Reads ids as we write them.

`uuid.UUID` takes more: digits of other scripts, underscores, braces, a sign or 0x in between. One
id would then have many spellings, and what is compared as text would not be the same.
"""

from __future__ import annotations

import re
from uuid import UUID

_UUID = re.compile(
    r"[0-9a-fA-F]{8}(-?)[0-9a-fA-F]{4}\1[0-9a-fA-F]{4}\1[0-9a-fA-F]{4}\1[0-9a-fA-F]{12}"
)


def read_uuid(text: str) -> UUID | None:
    """Return the id, 32 hexadecimal digits with all four dashes or none, or None for any other."""
    return UUID(text) if _UUID.fullmatch(text) else None
