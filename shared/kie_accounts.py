"""The Kie accounts of this deployment: their names and keys, as KIE_API_KEYS lists them.

Names are printed and logged, keys never are. A pair is therefore refused if its key could be a
name or its name could be a key, so that a swapped pair never shows a key. Faults identify a pair
by its position only.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import SecretStr

DEFAULT_ACCOUNT = "default"
"""The account of KIE_API_KEY and of the simulator. Attempts without an account belong to it."""
ACCOUNT_NAME_RULE = (
    "a name is a lower-case letter, then up to 19 lower-case letters, digits or hyphens"
)
_FINGERPRINT_LENGTH = 16
_NAME = re.compile(r"[a-z][a-z0-9-]{0,19}")


@dataclass(frozen=True, slots=True)
class KieKey:
    """The key of one account at Kie."""

    name: str
    key: SecretStr


def key_fingerprints(keys: Iterable[KieKey], salt: str) -> dict[str, str]:
    """Return a keyed hash of each account's key. Equal keys have equal hashes."""
    return {
        one.name: hmac.digest(salt.encode(), one.key.get_secret_value().encode(), "sha256").hex()[
            :_FINGERPRINT_LENGTH
        ]
        for one in keys
    }


def parse_account_keys(text: str) -> tuple[KieKey, ...]:
    """Parse `name=key` pairs without faults. The order is kept."""
    # Imported here, because names of accounts are read without pydantic.
    from pydantic import SecretStr  # noqa: PLC0415

    pairs = (part.partition("=") for part in text.split(","))
    return tuple(KieKey(name.strip(), SecretStr(key.strip())) for name, _, key in pairs)


def parse_account_names(text: str) -> tuple[str, ...]:
    """Parse a list of names without faults. The order is kept."""
    return tuple(part.strip() for part in text.split(","))


def find_account_name_faults(text: str) -> list[str]:
    """Return all faults of a comma-separated list of names. No fault contains a name."""
    names = [part.strip() for part in text.split(",")]
    faults = [
        f"name {position} is none: {ACCOUNT_NAME_RULE}"
        for position, name in enumerate(names, start=1)
        if not _NAME.fullmatch(name)
    ]
    return faults or (["a name is given twice"] if len(set(names)) < len(names) else [])


def find_account_key_faults(text: str) -> list[str]:
    """Return all faults of comma-separated `name=key` pairs. No fault contains a name or key."""
    parts = [part.strip() for part in text.split(",")]
    faults = [
        f"pair {position} {fault}"
        for position, part in enumerate(parts, start=1)
        if (fault := _fault(part)) is not None
    ]
    pairs = [(number, part.split("=")) for number, part in enumerate(parts, start=1)]
    halves = [(number, pair) for number, pair in pairs if len(pair) == 2]
    faults += _repeated(((number, pair[0].strip()) for number, pair in halves), "name")
    faults += _repeated(((number, pair[1].strip()) for number, pair in halves), "key")
    return faults


def _fault(part: str) -> str | None:
    if not part:
        return "is empty"
    if part.count("=") != 1:
        return "must be name=key, with one = in it"
    name, key = (half.strip() for half in part.split("="))
    if not key or not name:
        return f"has no {'name' if key else 'key'}"
    if _NAME.fullmatch(key):
        # It cannot be decided which of the two is the secret.
        return "has a key that could be a name: if it is key=name, write name=key"
    if not _NAME.fullmatch(name):
        return f"has a name that is none: {ACCOUNT_NAME_RULE}"
    if not key.isascii() or not key.isprintable() or " " in key:
        return "has a key that is not one word of printable ASCII"
    return None


def _repeated(given: Iterable[tuple[int, str]], what: str) -> list[str]:
    positions: dict[str, list[str]] = {}
    for number, text in given:
        if text:
            positions.setdefault(text, []).append(str(number))
    return [
        f"pairs {' and '.join(found)} have the same {what}: each account has one of its own"
        for found in positions.values()
        if len(found) > 1
    ]
