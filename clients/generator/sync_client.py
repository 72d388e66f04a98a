"""Writes the client without asyncio from the one with it: the same code without `await`."""

from __future__ import annotations

import re

_REPLACED = (
    (r"\basync (def|with|for) ", r"\1 "),
    (r"\bawait ", ""),
    (r"\bAsync(Darkroom|Job|Connection|Iterator|ProxyTransport)\b", r"\1"),
    (r"\bAsync(BaseTransport|HTTPTransport)\b", r"\1"),
    (r"\bhandle_async_request\b", "handle_request"),
    (r"\bAsyncGenerator\[(\w+), None\]", r"Generator[\1, None, None]"),
    (r"\bAsyncGenerator\b", "Generator"),
    (r"\bAwaitable\[(\w+)\]", r"\1"),
    (r"\bAwaitable, ", ""),
    (r"\b__a(enter|exit)__\b", r"__\1__"),
    (r"\b(aclose|aread|aiter_bytes)\b", lambda found: found[1].removeprefix("a")),
    (r"\baclosing\b", "closing"),
    (
        # A client that is dropped closes its connections. One of asyncio cannot.
        r"^( +)self\._http = httpx2\.AsyncClient\((.*)\)$",
        r"\1self._http = httpx2.Client(\2)\n\1weakref.finalize(self, self._http.close)",
    ),
    (r"\bAsyncClient\b", "Client"),
    (r"\basync_(client|job|connection|transport|wait)\b", r"\1"),
    (r"\bwithin_async\b", "within"),
    (r"\basyncio\.sleep\b", "sleep"),
    (r"^    Awaitable,\n", ""),
    (r"^import asyncio$", "import weakref\nfrom time import sleep"),
)


def sync_text(text: str, source: str) -> str:
    """Return the source of a module of the asynchronous client without asyncio."""
    for pattern, replacement in _REPLACED:
        text = re.sub(pattern, replacement, text, flags=re.MULTILINE)
    title, _, rest = text.partition('"""\n')
    note = f"Written by `make types` from {source}."
    return f'{title}\n\n{note}\n"""\n{rest}'
