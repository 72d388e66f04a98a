"""The rules of the Redis user in docs/deployment.md."""

from __future__ import annotations

import re
from pathlib import Path

_DOCUMENT = Path(__file__).parents[2] / "docs" / "deployment.md"
_RULES = re.compile(r"^ACL SETUSER darkroom-app (on >PASSWORD .*?)\n```", re.MULTILINE | re.DOTALL)


def documented_rules(prefix: str = "") -> list[str]:
    """Return the rules, one word each. A prefix changes the patterns as the page says."""
    match = _RULES.search(_DOCUMENT.read_text(encoding="utf-8"))
    assert match
    return [
        f"{rule[0]}{prefix}*" if prefix and rule[0] in "~&" else rule for rule in match[1].split()
    ]
