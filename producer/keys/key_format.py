"""The text form of an API key, and its hash.

A key has the form `dk_<12 letters or digits>_<43 letters or digits>`. The part before the second
`_` is its prefix, by which people name the key. The rest are 256 random bits.
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
"""The hash to compare with if no key is stored. No key has it."""

_ALPHABET = string.digits + string.ascii_letters
# Only letters and digits, so that a double click selects the whole secret.
_PREFIX = re.compile(r"dk_[0-9A-Za-z]{12}")
_KEY = re.compile(rf"({_PREFIX.pattern})_[0-9A-Za-z]{{43}}")


def make_key(choose: Callable[[str], str] = secrets.choice) -> tuple[str, str]:
    """Return the prefix of a new key, and the key. `choose` returns one of the given characters."""
    prefix = "dk_" + "".join(choose(_ALPHABET) for _ in range(12))
    return prefix, f"{prefix}_" + "".join(choose(_ALPHABET) for _ in range(43))


def prefix_of(text: str) -> str | None:
    """Return the prefix of a whole key, or None if the text does not have the form of a key."""
    match = _KEY.fullmatch(text)
    return match[1] if match else None


def hash_key(text: str) -> bytes:
    """Return the SHA-256 of a key, which is stored instead of the key.

    256 random bits cannot be guessed, so the slow, salted hash that passwords need would only slow
    down every request.
    """
    return hashlib.sha256(text.encode()).digest()


def parse_key_name(text: str) -> tuple[str | None, UUID | None]:
    """Return the prefix or the id that the text names. A whole key names its prefix."""
    prefix = text if _PREFIX.fullmatch(text) else prefix_of(text)
    return (None, read_uuid(text)) if prefix is None else (prefix, None)


def redact_key(text: str) -> str:
    """Return the part of a text that may be printed, where the text should name a key."""
    prefix, key_id = parse_key_name(text)
    if prefix is not None or key_id is not None:
        return prefix or str(key_id)
    # The text may be a key with a typing error, so return no more than the length of a prefix.
    return text if len(text) <= PREFIX_LENGTH else f"{text[:PREFIX_LENGTH]}..."
