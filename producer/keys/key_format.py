"""What an API key looks like, and what is stored of it.

A key reads `dk_<12 letters or digits>_<43 letters or digits>`. People recognise it by what stands
before the second `_`, its prefix; the rest are 256 random bits.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import string
from collections.abc import Callable
from uuid import UUID

from producer.job_ids import read_uuid

PREFIX_LENGTH = len("dk_") + 12
EMPTY_HASH = bytes(hashlib.sha256().digest_size)
"""The digest of no key, to compare with where none is stored."""

_ALPHABET = string.digits + string.ascii_letters
# Letters and digits alone: a double click takes the whole secret, and `_` always parts.
_PREFIX = re.compile(r"dk_[0-9A-Za-z]{12}")
_KEY = re.compile(rf"({_PREFIX.pattern})_[0-9A-Za-z]{{43}}")


def make_key(choose: Callable[[str], str] = secrets.choice) -> tuple[str, str]:
    """Return a new key's prefix and the key itself; `choose` takes one of the characters given."""
    prefix = "dk_" + "".join(choose(_ALPHABET) for _ in range(12))
    return prefix, f"{prefix}_" + "".join(choose(_ALPHABET) for _ in range(43))


def prefix_of(text: str) -> str | None:
    """Return the prefix of a whole key, or None where the text has not the shape of one."""
    match = _KEY.fullmatch(text)
    return match[1] if match else None


def hash_key(text: str) -> bytes:
    """Return what is stored of a key: its SHA-256.

    256 random bits cannot be guessed however fast the hash is; a slow one with salt, as passwords
    need it, would only cost time on every request.
    """
    return hashlib.sha256(text.encode()).digest()


def parse_key_name(text: str) -> tuple[str | None, UUID | None]:
    """Return which key people mean: by its prefix (given alone or with all the key) or its id."""
    prefix = text if _PREFIX.fullmatch(text) else prefix_of(text)
    return (None, read_uuid(text)) if prefix is None else (prefix, None)


def redact_key(text: str) -> str:
    """Return what may be repeated of a text that names a key, or should have."""
    prefix, key_id = parse_key_name(text)
    if prefix is not None or key_id is not None:
        return prefix or str(key_id)
    # It may be a key with a slip in it: no more is told than a prefix has.
    return text if len(text) <= PREFIX_LENGTH else f"{text[:PREFIX_LENGTH]}..."
