"""What one key may have under way in this process: requests, those that wait, and bytes.

Without these, one key could hold all the memory and every connection to Postgres, by asking for
much and reading nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from producer.api.responses.http_errors import TooManyRequests

MAX_REQUESTS_PER_KEY = 500
"""As many requests of one key are worked on, or have answers that are not read yet."""
MAX_WAITS_PER_KEY = 2_000
"""As many requests of one key wait for the end of a job, or follow events."""
MAX_BYTES_PER_KEY = 32 * 1024 * 1024
"""As much of the bodies of one key's requests and answers lies here at once."""


@dataclass(slots=True)
class _KeyUse:
    """What a key has under way."""

    requests: int = 0
    waits: int = 0
    bytes: int = 0

    @property
    def is_none(self) -> bool:
        return not self.requests and not self.waits


class BudgetReservation:
    """One request's part of its key's budget, from its start until its answer has been read."""

    __slots__ = ("_budgets", "_bytes", "_is_open", "_is_wait", "_key")

    def __init__(self, budgets: KeyBudgets, key: str | None, count: int, *, is_wait: bool) -> None:
        self._budgets, self._key, self._bytes = budgets, key, count
        self._is_wait, self._is_open = is_wait, True

    def set_response_bytes(self, count: int, *, may_refuse: bool) -> None:
        """Count the bytes of the answer in place of what was reserved.

        Raises `TooManyRequests` where `may_refuse`: the answer to a request that has changed
        something is always sent.
        """
        use = self._budgets.key_use(self._key)
        others = use.bytes - self._bytes
        if may_refuse and others and others + count > self._budgets.max_bytes:
            raise _too_many_bytes(self._budgets.max_bytes)
        use.bytes, self._bytes = others + count, count

    def close(self) -> None:
        """Give the part back; again, it does nothing."""
        if not self._is_open:
            return
        self._is_open = False
        self._budgets.remove_request(self._key, self._bytes, is_wait=self._is_wait)


class KeyBudgets:
    """The budgets of all keys; None is the key of whoever needs none."""

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
        """Count a request and the bytes that it will need, or raise `TooManyRequests`.

        A key that has nothing under way is never refused for its bytes.
        """
        use = self.key_use(key)
        if is_wait and use.waits >= self._max_waits:
            raise TooManyRequests(
                f"this key has {use.waits:,} requests that wait or follow events; that is the most"
            )
        if not is_wait and use.requests >= self._max_requests:
            raise TooManyRequests(
                f"this key has {use.requests:,} requests under way, the most of one"
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
        """Per key with something under way: its requests, those that wait, and its bytes."""
        return {key: (use.requests, use.waits, use.bytes) for key, use in self._key_uses.items()}

    def key_use(self, key: str | None) -> _KeyUse:
        """Return what the key has under way."""
        return self._key_uses.get(key) or _KeyUse()

    def remove_request(self, key: str | None, count: int, *, is_wait: bool) -> None:
        """Forget a request; only its ticket calls this."""
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
