"""Where each page and form of the console is."""

from __future__ import annotations

import re
from collections.abc import Mapping

from producer.console.page import CONSOLE, Action, Page

_QUERIES = {
    "many_jobs": "account_id=acme",
    "retry_jobs": "state=failed",
    "cancel_jobs": "state=queued",
}
"""The query of pages that need one, by their names."""
_PART = re.compile(r"\{(\w+)\}")


def address_of(target: Page | Action, ids: Mapping[str, Mapping[str, str]]) -> str:
    """Return the path of a page or form.

    `ids` has the parts of paths in braces, by the name of the page or else by the first word of its
    path. Fails without them, so that no new page is left out.
    """
    given = ids.get(target.name) or ids.get(target.path.split("/")[1] if target.path else "") or {}
    missing = set(_PART.findall(target.path)) - set(given)
    assert not missing, f"say what {sorted(missing)} of {target.name} ({target.path}) are in tests"
    query = _QUERIES.get(target.name)
    path = CONSOLE + _PART.sub(lambda part: given[part[1]], target.path)
    return f"{path}?{query}" if query else path
