"""An arq worker that claims deliveries in batches under a lease. One of two files that use arq.

Stock arq reads every running id again with four round trips each, and returns the jobs of a dead
worker only after the longest timeout. Here one script claims many ids and moves their scores a
lease ahead, and a heartbeat renews the leases of the runs. Running ids leave the window, and a dead
worker's deliveries are due again when the lease lapses. The keys are arq's own, so that a stock
`arq.Worker` runs the same jobs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import partial
from secrets import token_hex
from typing import Any
from uuid import UUID

import structlog
from arq.connections import ArqRedis
from arq.constants import in_progress_key_prefix, job_key_prefix, retry_key_prefix
from arq.worker import Function, Retry, Worker, func
from redis.exceptions import RedisError

from shared.adapters.async_tasks import stop_if_cancelled
from shared.adapters.monitoring.incident_log import REDIS, incidents
from shared.adapters.monitoring.push_channels import PushChannel
from shared.adapters.redis.deliveries import (
    RERUN_TTL_MS,
    Lane,
    deserialize,
    lease_and_rerun_keys,
    local_now_ms,
    serialize,
)
from shared.errors import RedisDown
from shared.redis_keys import WAKE_UP_CHANNEL
from worker.batching.micro_batch import BATCHES_PER_SECOND, MicroBatch
from worker.batching.redis_scripts import RedisScripts
from worker.limits.submit_gates import SubmitGates
from worker.queue.claim_timing import FALLBACK_CLAIM_SECONDS, ClaimTiming
from worker.queue.delivery_run import DeliveryRun, LaneSlots
from worker.queue.expected_deliveries import ExpectedDeliveries

log = structlog.get_logger(__name__)

LEASE_MS = 10_000
"""How long a claim outlives its worker: after this a killed worker's jobs run again."""
_MAX_WAKE_UPS_PER_SECOND = {Lane.POLL: BATCHES_PER_SECOND * 2}
"""A poll that a callback makes due waits up to 20 ms. Other deliveries, such as new jobs, up to 40
ms."""
# Above every deadline of the steps: arq fails a job for good on a timeout.
_RUN_TIMEOUT_SECONDS = 24 * 3600
# From the claim to the POST a run needs one read and one commit.
_RESERVATION_MS = 5_000
_UNLIMITED_TRIES = 1_000_000_000
_HAND_BACK_SECONDS = 5.0
_MOST_TRIES_OF_A_CLAIM = 3

ArqFunction = Callable[..., Coroutine[Any, Any, None]]


async def withdraw_deliveries(scripts: RedisScripts, lane: Lane, job_ids: Sequence[UUID]) -> int:
    """Remove the deliveries of these jobs that are not running. Returns how many.

    Raises `RedisDown`.
    """
    keys = [lane.value]
    arq_ids = [lane.arq_id(job_id) for job_id in job_ids]
    for arq_id in arq_ids:
        keys += [in_progress_key_prefix + arq_id, job_key_prefix + arq_id]
        keys.append(retry_key_prefix + arq_id)
    removed: int = await scripts.run("withdraw", keys, (), arq_ids)
    return removed


async def make_deliveries_due(
    scripts: RedisScripts, lane: Lane, due_seconds: Mapping[UUID, float]
) -> int:
    """Make deliveries due that wait for longer, in the order of how long each has been due.

    A running delivery runs once more. Returns how many are due sooner. Raises `RedisDown`.
    """
    keys = [lane.value, WAKE_UP_CHANNEL]
    items: list[str | int] = []
    for job_id, seconds in due_seconds.items():
        arq_id = lane.arq_id(job_id)
        keys += lease_and_rerun_keys(arq_id)
        items += [arq_id, int(seconds * 1000)]
    hastened: int = await scripts.run("make_due", keys, (RERUN_TTL_MS, lane.value), items)
    return hastened


class Snoozed(Retry):
    """Raised by a step: run this delivery again after the delay. It is not a failure."""

    def __init__(self, delay_seconds: float) -> None:
        super().__init__(defer=max(delay_seconds, 0.001))


class LeasedWorker(Worker):
    """One lane of this process. Runs until cancelled, and outlives any outage of Redis."""

    def __init__(
        self,
        lane: Lane,
        function: ArqFunction,
        *,
        redis: ArqRedis,
        scripts: RedisScripts | None = None,
        max_jobs: int,
        gates: SubmitGates | None = None,
        lease_ms: int = LEASE_MS,
        wake_pushes: PushChannel | None = None,
    ) -> None:
        super().__init__(
            functions=[_as_arq_function(function, lane.function)],
            queue_name=lane.value,
            redis_pool=redis,
            handle_signals=False,
            max_jobs=max_jobs,
            job_timeout=_RUN_TIMEOUT_SECONDS,
            keep_result=0,
            max_tries=_UNLIMITED_TRIES,
            job_serializer=serialize,
            job_deserializer=deserialize,
            log_results=False,
        )
        self.lane = lane
        self.lease_ms = lease_ms
        self.owner = token_hex(8)
        self._gates = gates or SubmitGates()
        self._wake_pushes = wake_pushes
        self._scripts = scripts or RedisScripts(redis)
        self._function = function
        self._arq_id_prefix = f"{lane.name.lower()}:"
        self._run_ends = MicroBatch[tuple[str, str | int], int](self._send_run_ends)
        self._scores: dict[str, int] = {}
        self._timing = ClaimTiming(_MAX_WAKE_UPS_PER_SECOND.get(lane, BATCHES_PER_SECOND))
        self._claiming = asyncio.Lock()
        self._has_claimed = False
        self._expected = ExpectedDeliveries(self._arq_id_prefix)
        self.is_idle = False
        """Whether the lane waits for a wake-up alone: its queue was empty at the last claim."""
        self._slots = LaneSlots(max_jobs, self._note_slot)

    # --- the loop ---------------------------------------------------------------------------

    async def run_until_cancelled(self) -> None:
        """Claim and run deliveries. During an outage of Redis it waits and goes on."""
        self.ctx["redis"] = self.pool
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._renew_leases())
            while True:
                await self._timing.wait_until_allowed()
                delay_seconds: float | None
                try:
                    delay_seconds = await self._claim_due()
                except (RedisDown, RedisError, OSError) as error:
                    down = error if isinstance(error, RedisDown) else RedisDown(str(error))
                    incidents.record_outage(down, doing=f"claim_{self.lane.function}s")
                    delay_seconds = 1.0
                else:
                    incidents.record_recovery(REDIS)
                stop_if_cancelled()
                self.is_idle = delay_seconds is None
                await self._timing.sleep(delay_seconds)
                self.is_idle = False

    def wake(self, words: Sequence[str] = ()) -> None:
        """Claim at once: a delivery may be due, or a slot is free.

        `words` is the message of the wake-up, which may contain arq ids of this lane.
        """
        self._expected.add_told(words)
        self._timing.wake()

    async def _claim_due(self) -> float | None:
        """Claim and start what is due. Returns the seconds until the next claim is worthwhile, or
        None where only a wake-up makes it so.
        """
        reply: Sequence[Any] = ()
        taken = 0
        for _ in range(_MOST_TRIES_OF_A_CLAIM):
            free_slots = self.max_jobs - self.job_counter
            claim_limits = self._gates.claim_limits(free_slots)
            if not self.allow_pick_jobs or free_slots <= 0 or not any(claim_limits):
                break
            reply, newly_taken = await self._claim_expected(free_slots, claim_limits)
            taken += newly_taken
            if int(reply[3]) <= 0:
                break
            # Others are due, and are expected from now on.
        if not reply:
            return FALLBACK_CLAIM_SECONDS
        self._has_claimed = taken > 0
        self._gates.on_claim(taken, int(reply[1]), int(reply[2]))
        if int(reply[0]) >= 0:
            return int(reply[0]) / 1000
        # The first delivery of an empty queue is published. A brake is read until it is off.
        is_told = self._wake_pushes is not None and self._wake_pushes.is_open
        is_slowed = any(int(level) > 0 for level in reply[5 : 5 + self._gates.level_count])
        return None if is_told and not is_slowed else FALLBACK_CLAIM_SECONDS

    async def _claim_expected(
        self, free_slots: int, claim_limits: Sequence[int]
    ) -> tuple[Sequence[Any], int]:
        """Claim and start those that are due of the expected deliveries. Returns the reply of the
        script, and how many it claimed.
        """
        gates = self._gates
        async with self._claiming:
            expected = self._expected.take()
            keys = [self.queue_name, *gates.keys]
            for arq_id in expected:
                keys += lease_and_rerun_keys(arq_id)
            arguments: list[str | int] = [
                *(free_slots, self.lease_ms, self.owner, gates.limit, _RESERVATION_MS),
                *gates.claim_arguments(claim_limits),
            ]
            reply = await self._scripts.run("claim", keys, arguments, expected)
            first = 5 + gates.level_count
            claimed = (reply[start::4] for start in range(first, first + 4))
            now = self.loop.time()
            for arq_id, score, gate, late_ms in zip(*claimed, strict=True):
                due_at = now - int(late_ms) / 1000
                self._start(arq_id.decode(), int(score), int(gate), due_at)
        if int(reply[3]) >= 0:
            self._expected.set_next(reply[4])
        gates.set_levels(reply[5:first])
        taken = (len(reply) - first) // 4
        if self._wake_pushes is not None:
            self._wake_pushes.record_claimed(taken)
        return reply, taken

    def _start(self, arq_id: str, score: int, gate: int, due_at: float) -> None:
        running = self.tasks.get(arq_id)
        if running is not None and not running.done():
            # Our own lease has lapsed without Redis, and no other worker has claimed it: the run
            # goes on.
            return
        self.job_counter += 1
        self._scores[arq_id] = score
        self._gates.record_claim(arq_id, gate)
        reserved = gate if self._gates.has_gates else None
        run = DeliveryRun(due_at, reserved, partial(self._slots.without_slot, arq_id))
        task = self.loop.create_task(self._run(run, arq_id, score))
        self.tasks[arq_id] = task
        task.add_done_callback(partial(self._note_end, arq_id))

    def _note_end(self, arq_id: str, task: asyncio.Task[None]) -> None:
        self._change_running(-1)
        # Unless the next run of the same delivery has started.
        if self.tasks.get(arq_id) is task:
            del self.tasks[arq_id]
            self._scores.pop(arq_id, None)
            self._gates.record_run_end(arq_id)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            # Its lease lapses and the delivery is run again, so nothing is lost.
            log.warning("run_ended_badly", arq_id=arq_id, error=repr(error))

    def _note_slot(self, arq_id: str, change: int) -> None:
        self._change_running(change)
        self._gates.record_slot_use(arq_id, is_used=change > 0)

    def _change_running(self, change: int) -> None:
        self.job_counter += change
        # A slot is free: claim at once instead of at the fallback.
        is_first_free = change < 0 and self.job_counter == self.max_jobs - 1
        if is_first_free or self._gates.limits_claims:
            self.wake()

    # --- leases -----------------------------------------------------------------------------

    async def _renew_leases(self) -> None:
        while True:
            stop_if_cancelled()
            await asyncio.sleep(self.lease_ms / 4000)
            running = [arq_id for arq_id, task in self.tasks.items() if not task.done()]
            if not running:
                continue
            try:
                keys = [self.queue_name, *(in_progress_key_prefix + one for one in running)]
                await self._scripts.run("renew", keys, (self.owner, self.lease_ms), running)
            except RedisDown as error:
                incidents.record_outage(error, doing="renew_leases")

    async def _run(self, run: DeliveryRun, arq_id: str, score: int) -> None:
        if not arq_id.startswith(self._arq_id_prefix):
            # Another program has enqueued it: arq reads its payload and runs it.
            await self.run_job(arq_id, score)
            return
        outcome: str | int = "finish"
        try:
            # The id holds all that a delivery of ours consists of, so no payload is read.
            await self._function({**self.ctx, "run": run}, arq_id.removeprefix(self._arq_id_prefix))
        except Snoozed as snoozed:
            outcome = snoozed.defer_score or 0
        except asyncio.CancelledError:
            outcome = 0  # returned, so that any worker may run it at once
        # No caller waits. If the end is lost, the lease lapses and the delivery is run again.
        self._run_ends.send_later((arq_id, outcome))

    async def finish_job(
        self,
        job_id: str,
        finish: bool,
        result_data: bytes | None,
        result_timeout_s: float | None,
        keep_result_forever: bool,
        incr_score: int | None,
        keep_in_progress: float | None,
    ) -> None:
        """End a run with one fenced script. Overrides arq's own four commands."""
        if job_id not in self._scores or keep_in_progress is not None:
            await super().finish_job(
                job_id,
                finish,
                result_data,
                result_timeout_s,
                keep_result_forever,
                incr_score,
                keep_in_progress,
            )
            return
        outcome: str | int = "finish"
        if not finish:
            # arq counts from the score it was started with; the script counts from now. A cancelled
            # run has no delay: any worker may run it at once.
            due_ms = self._scores[job_id] + incr_score if incr_score else local_now_ms()
            outcome = max(due_ms - local_now_ms(), 0)
        await self._run_ends.send_and_wait((job_id, outcome))

    async def finish_failed_job(self, job_id: str, result_data: bytes | None) -> None:
        """End a run that arq could not start, with one fenced script. Overrides arq's own."""
        await self._run_ends.send_and_wait((job_id, "finish"))

    async def _send_run_ends(self, ends: Sequence[tuple[str, str | int]]) -> Sequence[int]:
        logs = self._gates.throttle_keys
        keys = [self.queue_name, *logs]
        for arq_id, _ in ends:
            lease, rerun = lease_and_rerun_keys(arq_id)
            keys += [lease, job_key_prefix + arq_id, retry_key_prefix + arq_id, rerun]
        items = [value for end in ends for value in end]
        arguments = (self.owner, len(logs))
        replies: list[int] = await self._scripts.run(
            "finish", keys, arguments, items, may_wait=True
        )
        # What is due later is named by a claim before it is.
        soon_ms = 1000 * FALLBACK_CLAIM_SECONDS
        self._expected.add_told(
            [arq_id for arq_id, outcome in ends if outcome != "finish" and float(outcome) < soon_ms]
        )
        if logs and not self._has_claimed:
            # Runs that sent nothing, such as those of paused jobs, have released their permits.
            self.wake()
        return replies

    async def drain(self, timeout_seconds: float) -> None:
        """Stop claiming, let runs end for that long, then return the other deliveries to
        the queue.
        """
        self.allow_pick_jobs = False
        async with self._claiming:  # a claim in flight may still start runs
            running = [task for task in self.tasks.values() if not task.done()]
        if running:
            _, late = await asyncio.wait(running, timeout=timeout_seconds)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late, timeout=_HAND_BACK_SECONDS)
        try:
            async with asyncio.timeout(_HAND_BACK_SECONDS):
                await self._run_ends.flush()
        except TimeoutError:
            log.warning("not_handed_back", lane=self.lane.name, meaning="their leases lapse")


def _as_arq_function(function: ArqFunction, name: str) -> Function:
    return func(function, name=name, max_tries=_UNLIMITED_TRIES, keep_result=0)
