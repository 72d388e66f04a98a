"""The deliveries whose keys the next claim of a lane declares.

A script declares its keys before it runs, and only the queue knows what is due. So wake-ups and
replies of claims tell arq ids in advance, and most claims need one round trip. A delivery that was
not told is left by the claim, told in its reply, and claimed by a second one.
"""

from __future__ import annotations

from collections.abc import Sequence

_MOST_TOLD = 100
"""Each id costs a claim two keys. Without a limit the wake-ups of a paused lane would add up."""


class ExpectedDeliveries:
    """The arq ids that one lane expects to claim next."""

    def __init__(self, arq_id_prefix: str) -> None:
        self._arq_id_prefix = arq_id_prefix
        self._told: dict[str, None] = {}
        self._next: list[str] = []

    def add_told(self, words: Sequence[str]) -> None:
        """Expect the arq ids of this lane among these words of a wake-up or of runs that ended."""
        for word in words:
            if word.startswith(self._arq_id_prefix) and len(self._told) < _MOST_TOLD:
                self._told[word] = None

    def set_next(self, arq_ids: Sequence[bytes]) -> None:
        """Expect these ids, which a claim has returned, instead of those before."""
        self._next = [arq_id.decode() for arq_id in arq_ids]

    def take(self) -> list[str]:
        """Return what the next claim declares. What a wake-up has told is returned once."""
        expected = list(self._told | dict.fromkeys(self._next))
        self._told.clear()
        return expected
