"""Limits per API key of concurrent requests, waits and bytes in this process.

Without these limits, a client that sends many requests and does not read the responses could use
all memory and all Postgres connections.
"""

from __future__ import annotations

from dataclasses import dataclass

from producer.api.responses.http_errors import TooManyRequests

MAX_REQUESTS_PER_KEY = 500
"""The most requests of one key that are in progress or whose responses are not read yet."""
MAX_WAITS_PER_KEY = 2_000
"""The most requests of one key that wait for the end of a job or stream events."""
MAX_BYTES_PER_KEY = 32 * 1024 * 1024
"""The most bytes of request and response bodies that one key may hold in memory."""


@dataclass(slots=True)
class _KeyUse:
    """What a key uses now."""

    requests: int = 0
    waits: int = 0
    bytes: int = 0

    @property
    def is_none(self) -> bool:
        return not self.requests and not self.waits


class BudgetReservation:
    """The part of a key's budget that one request uses.

    It lasts from the start of the request until its response has been read. At the start it counts
    `Endpoint.max_response_bytes`, or for a request with a body the length of the body (at most
    `Endpoint.body_limit`). `set_response_bytes` replaces that by the length of the response.
    """

    __slots__ = ("_budgets", "_bytes", "_is_open", "_is_wait", "_key")

    def __init__(self, budgets: KeyBudgets, key: str | None, count: int, *, is_wait: bool) -> None:
        self._budgets, self._key, self._bytes = budgets, key, count
        self._is_wait, self._is_open = is_wait, True

    def set_response_bytes(self, count: int, *, may_refuse: bool) -> None:
        """Count the bytes of the response instead of the reserved bytes.

        Raises `TooManyRequests` if `may_refuse` is set and the key has no room for them. The
        response to a request that has changed something is always sent.
        """
        use = self._budgets.key_use(self._key)
        others = use.bytes - self._bytes
        if may_refuse and others and others + count > self._budgets.max_bytes:
            raise _too_many_bytes(self._budgets.max_bytes)
        use.bytes, self._bytes = others + count, count

    def close(self) -> None:
        """Release the reservation. Further calls do nothing."""
        if not self._is_open:
            return
        self._is_open = False
        self._budgets.remove_request(self._key, self._bytes, is_wait=self._is_wait)


class KeyBudgets:
    """The budgets of all keys. The key None stands for requests without a key."""

    def __init__(
        self,
        *,
        max_requests: int = MAX_REQUESTS_PER_KEY,
        max_waits: int = MAX_WAITS_PER_KEY,
        max_bytes: int = MAX_BYTES_PER_KEY,
    ) -> None:
        self._max_requests, self._max_waits = max_requests, max_waits
        self.max_bytes = max_bytes
        self._key_uses: dict[str | None, _KeyUse] = {}

    def reserve(self, key: str | None, reserved_bytes: int, *, is_wait: bool) -> BudgetReservation:
        """Count a request and its `reserved_bytes`, or raise `TooManyRequests`.

        The bytes of a key without any request in progress are not limited.
        """
        use = self.key_use(key)
        if is_wait and use.waits >= self._max_waits:
            raise TooManyRequests(
                f"this key has {use.waits:,} requests that wait or follow events; that is the most"
            )
        if not is_wait and use.requests >= self._max_requests:
            raise TooManyRequests(
                f"this key has {use.requests:,} requests in progress, the limit of one"
            )
        if use.bytes and use.bytes + reserved_bytes > self.max_bytes:
            raise _too_many_bytes(self.max_bytes)
        if is_wait:
            use.waits += 1
        else:
            use.requests += 1
        use.bytes += reserved_bytes
        self._key_uses[key] = use
        return BudgetReservation(self, key, reserved_bytes, is_wait=is_wait)

    @property
    def in_use(self) -> dict[str | None, tuple[int, int, int]]:
        """The requests, waits and bytes of each key with a request in progress."""
        return {key: (use.requests, use.waits, use.bytes) for key, use in self._key_uses.items()}

    def key_use(self, key: str | None) -> _KeyUse:
        """Return what the key uses now."""
        return self._key_uses.get(key) or _KeyUse()

    def remove_request(self, key: str | None, count: int, *, is_wait: bool) -> None:
        """Remove a request from the counts. Only `BudgetReservation.close` calls this."""
        use = self._key_uses[key]
        use.bytes -= count
        if is_wait:
            use.waits -= 1
        else:
            use.requests -= 1
        if use.is_none:
            del self._key_uses[key]


def _too_many_bytes(max_bytes: int) -> TooManyRequests:
    return TooManyRequests(
        f"this key's requests and unread answers have {max_bytes // 2**20} MiB, and that is the"
        " most: read the answers first"
    )
