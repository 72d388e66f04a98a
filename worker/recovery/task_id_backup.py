"""Saves the ids of paid tasks to Redis and to a file while Postgres cannot store them.

Until Postgres stores a task id, only the worker that received it knows it. The copy in Redis is
read by the reconciler of any worker. The file in `DARKROOM_HOME` is read by the next worker with
that home, so that kill -9 loses nothing while both servers are down. A copy is removed once
Postgres has the task id. To store it twice does no harm, because the statement is guarded.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import cast
from uuid import UUID

import orjson
import structlog
from redis.asyncio import Redis

from shared.adapters.redis.redis_errors import translated_redis_errors
from shared.errors import RedisDown

log = structlog.get_logger(__name__)

BACKUP_KEY = "darkroom:evidence"
"""A hash: by job and attempt, the task."""
BACK_UP_AFTER_SECONDS = 1.0
"""A task id that Postgres has neither stored nor refused after this time is backed up."""
BACKUP_PLACES = ("file", "redis")
BACKUP_FOLDER = "evidence"
"""In `DARKROOM_HOME`: one file for each attempt."""


@dataclass(frozen=True, slots=True)
class PaidTask:
    """Kie accepted this attempt and returned the id of its task."""

    job_id: UUID
    attempt: int
    task_id: str
    account: str
    """The Kie account that the task belongs to."""
    accepted_at: str
    """By the worker's clock, for people."""

    @property
    def name(self) -> str:
        """The name of its field and of its file."""
        return f"{self.job_id}.{self.attempt}"

    @property
    def log_fields(self) -> dict[str, object]:
        """The log fields by which a person finds the task."""
        return {
            "job_id": str(self.job_id),
            "attempt": self.attempt,
            "account": self.account,
            "provider_task_id": self.task_id,
        }


class TaskIdBackup:
    """The backups of all workers in one Redis, and those of one home in its files."""

    def __init__(
        self, redis: Redis, home: Path, *, back_up_after_seconds: float = BACK_UP_AFTER_SECONDS
    ) -> None:
        self.back_up_after_seconds = back_up_after_seconds
        self._redis = redis
        self._folder = home / BACKUP_FOLDER
        self._unreadable: set[str] = set()

    async def save(self, paid_task: PaidTask) -> frozenset[str]:
        """Save it in both places. Returns those that succeeded: `redis`, `file`. Never raises."""
        outcomes = await asyncio.gather(
            _succeeds(partial(asyncio.to_thread, self._write_file, paid_task)),
            _succeeds(partial(self._write_redis, paid_task)),
        )
        return frozenset(
            name for name, is_safe in zip(BACKUP_PLACES, outcomes, strict=True) if is_safe
        )

    async def remove(self, paid_task: PaidTask) -> None:
        """Remove it, once Postgres has it. A copy that is left is read again, without harm."""
        await asyncio.gather(
            _succeeds(partial(asyncio.to_thread, self._remove_file, paid_task)),
            _succeeds(partial(self._remove_from_redis, paid_task)),
        )

    async def read_all(self) -> list[PaidTask]:
        """Return all backups of this Redis and this home. Raises `RedisDown`."""
        with translated_redis_errors():
            found = await cast("Awaitable[dict[bytes, bytes]]", self._redis.hgetall(BACKUP_KEY))
        texts = {name.decode(errors="replace"): text for name, text in found.items()}
        texts |= await asyncio.to_thread(self._read_files)
        return [one for name, text in texts.items() if (one := self._parse(name, text))]

    async def _write_redis(self, paid_task: PaidTask) -> None:
        with translated_redis_errors():
            await cast(
                "Awaitable[int]",
                self._redis.hset(BACKUP_KEY, paid_task.name, _text_of(paid_task)),
            )

    async def _remove_from_redis(self, paid_task: PaidTask) -> None:
        with translated_redis_errors():
            await cast("Awaitable[int]", self._redis.hdel(BACKUP_KEY, paid_task.name))

    def _write_file(self, paid_task: PaidTask) -> None:
        """Write the file atomically and sync it to the disk."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._folder / f"{paid_task.name}.json"
        new = path.with_suffix(f".{os.getpid()}.new")
        with new.open("wb") as file:
            file.write(_text_of(paid_task).encode())
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
        folder = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _remove_file(self, paid_task: PaidTask) -> None:
        (self._folder / f"{paid_task.name}.json").unlink(missing_ok=True)

    def _read_files(self) -> dict[str, bytes]:
        if not self._folder.is_dir():
            return {}
        texts: dict[str, bytes] = {}
        for path in self._folder.glob("*.json"):
            try:
                texts[path.stem] = path.read_bytes()
            except OSError as error:
                self._log_unreadable(path.stem, str(error))
        return texts

    def _parse(self, name: str, text: bytes) -> PaidTask | None:
        try:
            value = orjson.loads(text)
            return PaidTask(
                UUID(value["job_id"]),
                int(value["attempt"]),
                str(value["task_id"]),
                str(value["account"]),
                str(value["accepted_at"]),
            )
        except (ValueError, KeyError, TypeError):
            self._log_unreadable(name, text.decode(errors="replace")[:200])
            return None

    def _log_unreadable(self, name: str, what: str) -> None:
        if name not in self._unreadable:
            self._unreadable.add(name)
            log.error("evidence_not_readable", name=name, content=what)


def _text_of(paid_task: PaidTask) -> str:
    return orjson.dumps(asdict(paid_task)).decode()


async def _succeeds(step: Callable[[], Awaitable[object]]) -> bool:
    try:
        await step()
    except (RedisDown, OSError):
        return False
    return True
