"""Erases the prompts and images of an account, as a person may demand."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from producer.actor import Actor, actor_to_json
from producer.jobs.locked_rows import describe_accounts, name_locked_row
from producer.list_pages import DEFAULT_LIST_LIMIT
from shared.adapters.postgres.database import Database
from shared.errors import AccountNotFound
from shared.job_json import timestamp_to_json

BATCH_JOBS = 500
"""A statement erases the prompts of at most so many jobs."""
DELETE_COPIES = "darkroom results prune --older-than 36500d"
"""Deletes what erasures left in the store. No copy that is sent to anybody is that old."""


@dataclass(frozen=True, slots=True)
class PromptErasure:
    """A request to erase the prompts and images of an account, and how far it has come."""

    id: UUID
    """The audit entry cites it."""
    account_id: str
    requested_at: datetime
    """Jobs that are enqueued later are kept."""
    jobs: int
    """Of how many jobs the prompts are erased."""
    waiting: int
    """Jobs whose prompts are erased later: they are open, or something is still sent of them."""
    swept_at: datetime | None
    """When all jobs that had ended were examined. None: that is not finished."""
    ended_at: datetime | None
    """When nothing was left to erase. None: darkroom prune and the workers continue."""
    copies_to_delete: int
    """Copies of the account's images that are sent to nobody any more, and that the next darkroom
    results prune deletes from the store."""

    @property
    def copies_advice(self) -> str | None:
        """What is still in the store, and the command that deletes it. None: nothing is known."""
        return advise_on_copies(self.copies_to_delete)


@dataclass(frozen=True, slots=True)
class StoredPrompts:
    """The jobs of an account whose prompts or links of images are stored."""

    account_id: str
    ended: int
    open: int
    copies: int
    """Copies of the account's images in the store. An erasure does not delete them."""

    @property
    def copies_advice(self) -> str | None:
        """What stays in the store, and the command that deletes it. None: there are no copies."""
        return advise_on_copies(self.copies)


def advise_on_copies(copies: int) -> str | None:
    """Return the sentence about so many copies that an erasure leaves in the store."""
    if not copies:
        return None
    what, them = ("1 copy of an image stays", "it")
    if copies > 1:
        what, them = (f"{copies:,} copies of images stay", "them")
    return f"{what} in the store, sent to nobody, until `{DELETE_COPIES}` deletes {them}"


class PromptErasures:
    """Erases the prompts of accounts. Every method may raise `PostgresDown`.

    Erased are the request, the metadata, all messages and all links of images of each job, and the
    rows of uploaded images. Copies of images are sent to nobody any more. State, times and money
    stay.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def preview(self, account_id: str) -> StoredPrompts:
        """Return how many jobs have prompts that would be erased. Changes nothing.

        Raises `AccountNotFound`.
        """
        row = await self._database.fetch_row("count_unerased_jobs", account_id)
        if row is None:
            raise AccountNotFound(account_id)
        return StoredPrompts(account_id, row["ended"], row["open"], row["copies"])

    async def erase(
        self,
        account_id: str,
        *,
        reason: str | None = None,
        actor: Actor | str | None = None,
        within_seconds: float | None = None,
        on_batch: Callable[[int], None] | None = None,
    ) -> PromptErasure:
        """Erase the prompts of all jobs that the account has now, and return how far that is.

        Those of ended jobs are erased in batches, of open jobs when they end. After
        `within_seconds`, or if the call is interrupted, workers and `darkroom prune` continue. A
        repeated request includes the jobs since the first. `on_batch` is called after each batch
        with its jobs. Raises `AccountNotFound`.
        """
        with name_locked_row(describe_accounts([account_id])):
            asked = await self._database.fetch_row(
                "erase_prompts", account_id, reason, actor_to_json(actor)
            )
        if asked is None:
            raise AccountNotFound(account_id)
        loop = asyncio.get_running_loop()
        started = loop.time()
        while rows := await self._database.fetch("continue_erasures", BATCH_JOBS, account_id):
            if on_batch is not None:
                on_batch(rows[0]["erased"])
            if within_seconds is not None and loop.time() - started >= within_seconds:
                break
        (erasure,) = await self.of_account(account_id, limit=1)
        return erasure

    async def of_account(
        self, account_id: str, *, limit: int = DEFAULT_LIST_LIMIT
    ) -> Sequence[PromptErasure]:
        """Return the requests of an account and how far each has come, newest first.

        Raises `AccountNotFound`.
        """
        rows = await self._database.fetch("erasures_of_account", account_id, limit)
        if not rows:
            raise AccountNotFound(account_id)
        return [PromptErasure(**dict(row)) for row in rows if row["id"] is not None]


def erasure_to_json(erasure: PromptErasure) -> dict[str, Any]:
    """Return the request as a JSON object."""
    return {
        "id": str(erasure.id),
        "account_id": erasure.account_id,
        "requested_at": timestamp_to_json(erasure.requested_at),
        "jobs": erasure.jobs,
        "waiting": erasure.waiting,
        "swept_at": timestamp_to_json(erasure.swept_at),
        "ended_at": timestamp_to_json(erasure.ended_at),
        "copies_to_delete": erasure.copies_to_delete,
        "copies_advice": erasure.copies_advice,
    }
