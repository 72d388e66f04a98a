"""The Kie accounts that jobs are spread over, as the settings name them: never a key in an error.

`KIE_API_KEYS` is a list with commas; each entry is `name=key`, or a key alone, whose name is then
made from the key itself. The name is what tables, metrics and logs show, and what a job
remembers: a key that is renewed under its name goes on with the tasks of the old one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import sha256

from pydantic import SecretStr

from shared.domain.events import DEFAULT_PROVIDER_ACCOUNT

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
_NAME_RULE = "1 to 32 of a-z, 0-9, - and _, beginning with a letter or digit"
MOST_ACCOUNTS = 64


@dataclass(frozen=True, slots=True)
class KieAccount:
    """One Kie account: its name, and the Bearer token that it is asked with."""

    name: str
    api_key: SecretStr


def read_kie_accounts(text: str) -> tuple[KieAccount, ...]:
    """Return the accounts of `KIE_API_KEYS`, in their order. Raises `ValueError`."""
    entries = [entry.strip() for entry in text.split(",") if entry.strip()]
    if not entries:
        raise ValueError("must name at least one key: name=key,name=key")
    if len(entries) > MOST_ACCOUNTS:
        raise ValueError(f"has {len(entries)} keys; at most {MOST_ACCOUNTS} are allowed")
    accounts = tuple(_read(entry, number) for number, entry in enumerate(entries, 1))
    for what, values in (
        ("name", [account.name for account in accounts]),
        ("key", [account.api_key.get_secret_value() for account in accounts]),
    ):
        twice = [number for number, value in enumerate(values, 1) if value in values[: number - 1]]
        if twice:
            raise ValueError(f"entry {twice[0]} has the {what} of an earlier entry")
    return accounts


def _read(entry: str, number: int) -> KieAccount:
    name, separator, key = entry.partition("=")
    if not separator:
        name, key = "", entry
    name, key = name.strip(), key.strip()
    if not key:
        raise ValueError(f"entry {number} has no key: write name=key")
    if any(not character.isprintable() or character.isspace() for character in key):
        raise ValueError(f"entry {number}: a key has no blanks and no control characters")
    if separator and not _NAME.fullmatch(name):
        raise ValueError(f"entry {number}: a name is {_NAME_RULE}")
    if name == DEFAULT_PROVIDER_ACCOUNT:
        raise ValueError(f"entry {number}: the name {name} is that of KIE_API_KEY")
    return KieAccount(name or f"key-{sha256(key.encode()).hexdigest()[:8]}", SecretStr(key))
