"""What a request expects of the server before it sends its body: `100-continue`, or what we refuse.

aiohttp repeats any other expectation in its answer, which fails where the words are no text.
"""

from __future__ import annotations

from aiohttp import web


def unmet_expectation(request: web.BaseRequest) -> str | None:
    """Return why the request is refused for its header `Expect`, or None where it is not."""
    given = request.headers.getall("Expect", [])
    if [one.strip().lower() for one in given] in ([], ["100-continue"]):
        return None
    return "the only expectation that is met is `Expect: 100-continue`, given once"
