"""Deletes data of ended jobs by age, for operators. Workers do the same by themselves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

from producer.actor import Actor, actor_to_json
from shared.adapters.postgres.database import Database
from shared.job_json import timestamp_to_json
from shared.retention import RetentionDays, RetentionKind

BATCH_JOBS = 500
"""A statement prunes data of at most so many jobs."""
PRUNE_SECONDS = 10.0
"""How long a request over HTTP or of the console prunes. Workers do the rest."""


@dataclass(frozen=True, slots=True)
class Prunable:
    """Data of one kind that is older than its days."""

    kind: RetentionKind
    ended_before: datetime
    """Of jobs that ended before."""
    jobs: int
    rows: int
    """Rows that are deleted: events, callbacks, messages. For prompts and jobs: rows emptied."""
    held_back: int
    """Jobs of that age that are still needed, such as for a webhook that is not delivered."""
    oldest_at: datetime | None
    """When the first of these jobs ended."""


class Pruning:
    """Deletes data of ended jobs by age. Every method may raise `PostgresDown`.

    The row of a job stays, with its state, times and money, and so do attempts and the ledger.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def preview(self, days: RetentionDays) -> Sequence[Prunable]:
        """Return what `prune` would delete, by kind. Changes nothing.

        A kind that is missing in `days` is kept for ever. `Settings.retention` has the days of the
        RETENTION settings.
        """
        rows = await self._database.fetch("count_prunable", _days_to_json(days))
        return [Prunable(**{**row, "kind": RetentionKind(row["kind"])}) for row in map(dict, rows)]

    async def prune(
        self,
        days: RetentionDays,
        *,
        actor: Actor | str | None = None,
        on_batch: Callable[[str, int], None] | None = None,
        within_seconds: float | None = None,
        batch_jobs: int = BATCH_JOBS,
    ) -> dict[str, int]:
        """Delete what is older than these days, and return how many rows of each kind.

        Continues erasures of prompts that were requested, as the kind `erasures`. Each batch is a
        transaction of its own with an audit entry, so an interrupted call leaves nothing half done,
        and a repeated one continues, as after `within_seconds`. `on_batch` is called after each
        with its kind and rows. Raises `DatabaseRefused` for less than 1 day.
        """
        pruned: dict[str, int] = {}
        by = actor_to_json(actor)
        loop = asyncio.get_running_loop()
        started = loop.time()
        while rows := await self._database.fetch("prune", _days_to_json(days), batch_jobs, by):
            kind, count = rows[0]["kind"], rows[0]["pruned"]
            pruned[kind] = pruned.get(kind, 0) + count
            if on_batch is not None:
                on_batch(kind, count)
            if within_seconds is not None and loop.time() - started >= within_seconds:
                break
        return pruned


def prunable_to_json(one: Prunable) -> dict[str, Any]:
    """Return what is prunable of one kind as a JSON object."""
    return {
        "kind": one.kind.value,
        "ended_before": timestamp_to_json(one.ended_before),
        "jobs": one.jobs,
        "rows": one.rows,
        "held_back": one.held_back,
        "oldest_at": timestamp_to_json(one.oldest_at),
    }


def _days_to_json(days: RetentionDays) -> str:
    return orjson.dumps({kind.value: count for kind, count in days.items()}).decode()
