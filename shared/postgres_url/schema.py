"""The schema of Darkroom's tables, as a name and as a part of a Postgres URL."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, quote, urlencode

_FORBIDDEN_IN_SCHEMAS = re.compile(r"['\"\\$%\x00-\x1f\x7f]")
_NAME_BYTES_MAX = 63


def with_search_path(url: str, path: str) -> str:
    """Return the Postgres URL with that search_path among its `options`, and no other one."""
    before, _, given_query = url.partition("?")
    # In libpq's URLs a + is no space.
    query = parse_qsl(given_query.replace("+", "%2B"), keep_blank_values=True)
    given = [value for name, value in query if name == "options"]
    escaped = path.replace("\\", "\\\\").replace(" ", "\\ ")
    options = " ".join([*given, f"-csearch_path={escaped}"])
    # The server would apply a parameter of the name search_path after the options.
    kept = [(name, value) for name, value in query if name not in {"options", "search_path"}]
    return f"{before}?{urlencode([*kept, ('options', options)], quote_via=quote)}"


def find_schema_fault(schema: str) -> str | None:
    """Return why Darkroom's tables cannot be in a schema of that name, or None."""
    if not schema or len(schema.encode()) > _NAME_BYTES_MAX:
        return f"a schema has a name of 1 to {_NAME_BYTES_MAX} bytes"
    if _FORBIDDEN_IN_SCHEMAS.search(schema):
        return (
            "Darkroom's schema has no quotes, backslashes, $, % or control characters in its name"
        )
    if schema.startswith("pg_") or schema == "information_schema":
        return f"{schema} is a schema of Postgres itself"
    return None
