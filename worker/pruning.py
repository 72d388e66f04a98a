"""Prunes data of ended jobs by age, a small batch at a time."""

from __future__ import annotations

import orjson
import structlog

from worker.dependencies import Dependencies

log = structlog.get_logger(__name__)

PRUNING_SECONDS = 300.0
"""How often workers look for what is old enough. Where nothing is, that is one statement."""
BATCH_JOBS = 200
"""A statement prunes data of at most so many jobs, and locks these rows."""
PAUSE_PER_STATEMENT = 4.0
"""The pause after a batch, as a multiple of its time, so that pruning uses a fifth of a
connection."""
_PAUSE_SECONDS_MIN = 0.05
_RUN_SECONDS = 240.0


class Pruning:
    """Prunes until nothing is left, or the run has taken long enough. The next run continues."""

    def __init__(self, deps: Dependencies) -> None:
        self._deps = deps
        self._days = orjson.dumps({str(k): n for k, n in deps.settings.retention.items()}).decode()

    async def run(self) -> None:
        """Prune in batches. Another process that prunes at the same time ends the run.

        Raises `PostgresDown`.
        """
        started = self._deps.clock.monotonic()
        pruned: dict[str, int] = {}
        while self._deps.clock.monotonic() - started < _RUN_SECONDS:
            sent_at = self._deps.clock.monotonic()
            rows = await self._deps.queries.fetch("prune_at_interval", self._days, BATCH_JOBS)
            if not rows:
                break
            for row in rows:
                pruned[row["kind"]] = pruned.get(row["kind"], 0) + row["pruned"]
            took = self._deps.clock.monotonic() - sent_at
            await self._deps.sleep(max(_PAUSE_SECONDS_MIN, PAUSE_PER_STATEMENT * took))
        if pruned:
            log.info("data_pruned", **pruned)
