"""The registry of processes: each worker and API process writes a heartbeat every 6 s.

A heartbeat is a row in Postgres and a presence in Redis. The row shows which processes are alive,
by Postgres's clock. The presence shows whether the processes of one database share one Redis. Both
writes also test whether the servers accept writes.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import structlog
from redis.asyncio import Redis

from shared.adapters.async_tasks import stop_if_cancelled, stop_tasks
from shared.adapters.postgres.database import Queries
from shared.adapters.postgres.server_clock import ServerClock, report_skew
from shared.adapters.processes.process_records import (
    ClockSkew,
    HeartbeatRequests,
    HeartbeatResult,
    LiveWorker,
    Process,
)
from shared.adapters.processes.redis_presence import ALIVE_SECONDS, Presence, RedisPresence
from shared.adapters.processes.shared_redis_check import RedisSharing, SharedRedisCheck
from shared.errors import ConfigurationError, DarkroomError, PostgresDown, RedisDown
from shared.kie_accounts import key_fingerprints

log = structlog.get_logger(__name__)

HEARTBEAT_SECONDS = 6.0
KEEP_SECONDS = 24 * 3600.0
_POSTGRES_TIMEOUT_SECONDS = 5.0
_REDIS_TIMEOUT_SECONDS = 2.0
_STOP_TIMEOUT_SECONDS = 2.0
_FIRST_INTERVAL_SECONDS = 0.5
"""The interval while a worker waits for the result of the shared Redis check."""


class ProcessRegistry:
    """The entry of this process in the registry."""

    def __init__(
        self,
        queries: Queries,
        redis: Redis,
        process: Process,
        *,
        detail: Callable[[], Mapping[str, Any]] = dict,
        clock: ServerClock | None = None,
        interval_seconds: float = HEARTBEAT_SECONDS,
        requests: HeartbeatRequests | None = None,
    ) -> None:
        self.process = process
        self.last_error: DarkroomError | None = None
        """The error of the last write to Postgres. None if it succeeded."""
        self.last_redis_error: DarkroomError | None = None
        """The error of the last write to Redis. None if it succeeded."""
        self.failing_since: float | None = None
        """Since when writes to Postgres fail, by the loop's clock. None if they succeed."""
        self.redis_failing_since: float | None = None
        self.clock_skew: ClockSkew | None = None
        """The skew at the last heartbeat that reached Postgres."""
        self.last_heartbeat: HeartbeatResult | None = None
        """The result of the last heartbeat that reached Postgres."""
        self.shared_redis = SharedRedisCheck(process)
        """Checks whether this process uses the same Redis as the others of its database."""
        self._queries = queries
        self._presence = RedisPresence(
            redis,
            process_id=process.id,
            kind=process.kind,
            name=process.name,
            database=process.database,
        )
        self._detail = detail
        self._clock = clock or ServerClock()
        self._interval_seconds = interval_seconds
        self._requests = requests
        self._has_sent = asyncio.Event()
        self._key_fingerprints: dict[str, str] = {}

    async def send_heartbeat(self) -> HeartbeatResult | None:
        """Write presence and row. Returns the result, or None if Postgres did not reply.

        Uses one Redis command and one statement. Errors of servers are stored in `last_error`.
        """
        # Write the row first: a presence without a row belongs to another database.
        if self.last_heartbeat is None and await self._record(None) is None:
            return None
        heartbeat = await self._record(await self._write_presence())
        if heartbeat is not None:
            self.shared_redis.update(heartbeat)
        return heartbeat

    async def stop(self) -> None:
        """Record that this process has stopped, if the servers reply within 2 s."""
        for step in (self._presence.remove, self._write_stopped):
            try:
                async with asyncio.timeout(_STOP_TIMEOUT_SECONDS):
                    await step()
            except (DarkroomError, TimeoutError) as error:
                log.info("process_end_not_recorded", error=str(error) or type(error).__name__)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Send heartbeats during the block, then record that the process has stopped."""
        sending = asyncio.create_task(self._send_at_intervals())
        try:
            yield
        finally:
            await stop_tasks([sending])
            await self.stop()

    async def wait_for_shared_redis(self) -> None:
        """Wait until this process is known to use the same Redis as the others of its database.

        Also returns if a server is unavailable, because then nothing can be known. Raises
        `ConfigurationError` if this process uses another Redis. Call it inside `running`.
        """
        has_logged = False
        while True:
            await self._has_sent.wait()
            self._has_sent.clear()
            check = self.shared_redis
            if self._a_server_is_away or check.state is RedisSharing.SHARED:
                return
            if check.state is RedisSharing.NOT_SHARED:
                raise ConfigurationError(check.reason)
            if not has_logged:
                log.warning("waiting_for_other_processes", reason=check.reason)
                has_logged = True

    @property
    def _a_server_is_away(self) -> bool:
        return self.last_error is not None or self.last_redis_error is not None

    async def _send_at_intervals(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            try:
                await self.send_heartbeat()
            except Exception:
                log.exception("process_not_recorded")
            self._has_sent.set()
            stop_if_cancelled()
            await asyncio.sleep(max(began + self._seconds_to_next() - loop.time(), 0))

    def _seconds_to_next(self) -> float:
        """Return the interval, which is shorter while the shared Redis check is undecided."""
        is_open = self.shared_redis.state is RedisSharing.UNKNOWN and not self._a_server_is_away
        return (
            min(_FIRST_INTERVAL_SECONDS, self._interval_seconds)
            if is_open
            else (self._interval_seconds)
        )

    async def _record(self, presences: tuple[Presence, ...] | None) -> HeartbeatResult | None:
        try:
            async with asyncio.timeout(_POSTGRES_TIMEOUT_SECONDS):
                self.last_heartbeat = await self._write_row(presences)
        except (DarkroomError, TimeoutError) as error:
            self._record_postgres(_as_down(error, PostgresDown, _POSTGRES_TIMEOUT_SECONDS))
            if self._requests is not None:
                self._requests.record(None)
            return None
        self._record_postgres(None)
        return self.last_heartbeat

    async def _write_presence(self) -> tuple[Presence, ...] | None:
        try:
            async with asyncio.timeout(_REDIS_TIMEOUT_SECONDS):
                presences = tuple(await self._presence.write())
        except (DarkroomError, TimeoutError) as error:
            self._record_redis(_as_down(error, RedisDown, _REDIS_TIMEOUT_SECONDS))
            return None
        self._record_redis(None)
        return presences

    async def _write_row(self, presences: tuple[Presence, ...] | None) -> HeartbeatResult:
        process, error = self.process, self.last_redis_error
        has_requests = self._requests is not None
        echo, kie_accounts = self._requests.take_requests() if self._requests else (None, None)
        sent_at = self._clock.monotonic()
        (row,) = await self._queries.fetch(
            "record_process",
            process.id,
            process.kind,
            process.name,
            process.version,
            process.redis,
            dict(process.limits),
            {**self._detail(), **({"redis_error": str(error)} if error else {})},
            self.clock_skew.seconds if self.clock_skew else None,
            presences is not None,
            [presence.process_id for presence in presences or ()],
            ALIVE_SECONDS,
            KEEP_SECONDS,
            self._key_fingerprints,
            has_requests,
            echo,
            kie_accounts,
        )
        if self._requests is not None:
            self._requests.record(row["pending_work"])
        # The first write reads the salt. The second one follows immediately with the fingerprints.
        salt: str | None = row["key_salt"]
        self._key_fingerprints = key_fingerprints(process.keys, salt) if salt else {}
        self._clock.observe(row["at"], sent_at)
        skew_seconds = self._clock.skew_seconds
        # Read last, so that a pause between two readings of clocks counts as error.
        error_seconds = self._clock.monotonic() - sent_at
        self.clock_skew = ClockSkew(skew_seconds, error_seconds)
        report_skew(self.clock_skew.seconds)
        return HeartbeatResult(
            presences=presences,
            workers=tuple(
                LiveWorker(**{**worker, "id": UUID(worker["id"])}) for worker in row["workers"]
            ),
            unknown_ids=frozenset(row["unknown_ids"]),
            at=row["at"].timestamp(),
            started=row["started_at"].timestamp(),
            key_fingerprints=self._key_fingerprints,
        )

    async def _write_stopped(self) -> None:
        await self._queries.fetch("record_process_stopped", self.process.id)

    def _record_postgres(self, error: DarkroomError | None) -> None:
        self.failing_since = _since(self.failing_since, error)
        self.last_error = error

    def _record_redis(self, error: DarkroomError | None) -> None:
        self.redis_failing_since = _since(self.redis_failing_since, error)
        self.last_redis_error = error


def _since(since: float | None, error: DarkroomError | None) -> float | None:
    if error is None:
        return None
    return since if since is not None else asyncio.get_running_loop().time()


def _as_down(
    error: Exception, kind: type[PostgresDown | RedisDown], timeout_seconds: float
) -> DarkroomError:
    if isinstance(error, DarkroomError):
        return error
    return kind(f"no answer within {timeout_seconds:g} s")
