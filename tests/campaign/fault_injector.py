"""Carries out the plan: kills, drills, freezes and outages, each at its time."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from random import Random

import asyncpg
from redis.exceptions import RedisError

from producer.orders.field_limits import DEFAULT_MODEL
from shared.kie_accounts import DEFAULT_ACCOUNT
from tests.campaign.campaign_deployment import CampaignDeployment
from tests.campaign.campaign_orders import ACCOUNTS, PRICES
from tests.campaign.campaign_processes import CampaignProcesses
from tests.campaign.fault_plan import FaultKind, PlannedFault
from tests.campaign.lease_watch import LeaseWatch
from tests.campaign.outage_watch import OutageWatch
from tests.support.restarted_process import RestartedProcess
from tests.support.tcp_relay import LinkFault

_VICTIM_SECONDS = 10.0
_INSIST_SECONDS = 40.0
_READ_ONLY = "ALTER SYSTEM SET default_transaction_read_only = on"
_WRITABLE = "ALTER SYSTEM RESET default_transaction_read_only"
_SCOPES = (
    *(("everything", None), ("model", DEFAULT_MODEL), ("kie_account", DEFAULT_ACCOUNT)),
    *(("account", name) for name in ACCOUNTS),
)
_AWAY = (
    RedisError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    # The driver's error for a connection whose server has just died.
    asyncpg.InternalClientError,
    OSError,
)

_OF_KIND = "WHERE (model, quantity, variant) = ($2, $3, $4)"
_CHANGE_PRICE = f"UPDATE pricing SET credits = $1 {_OF_KIND}"
_SCHEDULE_PRICE = (
    "INSERT INTO scheduled_prices"
    " (model, task, quantity, variant, credits, takes_effect_at, reason)"
    " SELECT model, task, quantity, variant, $1, now() + interval '1 second', 'a campaign'"
    f"   FROM pricing {_OF_KIND}"
)


class FaultInjector:
    """Causes the faults, and counts them."""

    def __init__(
        self,
        deployment: CampaignDeployment,
        processes: CampaignProcesses,
        watch: LeaseWatch,
        outages: OutageWatch,
        random: Random,
    ) -> None:
        self._house = deployment
        self._processes = processes
        self._watch = watch
        self._outages = outages
        self._random = random
        self._cutting = asyncio.Lock()
        self._choosing = asyncio.Lock()
        self._skewing = asyncio.Lock()
        self.done: Counter[FaultKind] = Counter()
        self.not_done: Counter[FaultKind] = Counter()
        """Planned faults that could not be caused, by kind."""

    async def carry_out(self, plan: Sequence[PlannedFault]) -> None:
        """Cause each fault at its time. Returns when the last fault is over."""
        started = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for fault in plan:
                await asyncio.sleep(max(0.0, started + fault.at_seconds - time.monotonic()))
                # No fault waits for another: a kill may happen in an outage.
                group.create_task(self._befall(fault))

    async def _befall(self, fault: PlannedFault) -> None:
        acts: dict[FaultKind, Callable[[PlannedFault], Awaitable[bool]]] = {
            FaultKind.KILL_WORKER: self._kill_worker,
            FaultKind.DRILL: self._kill_worker,
            FaultKind.KILL_PRODUCER: partial(self._kill, self._processes.producer),
            FaultKind.KILL_API: partial(self._kill, self._processes.api),
            FaultKind.KILL_VALKEY: partial(self._kill_server, "valkey"),
            FaultKind.KILL_POSTGRES: partial(self._kill_server, "postgres"),
            FaultKind.FLUSH: self._flush,
            FaultKind.FREEZE_WORKER: self._freeze_worker,
            FaultKind.CUT_OFF_WORKER: self._cut_off_worker,
            FaultKind.SLOW_LINKS: partial(self._trouble_links, LinkFault.SLOW),
            FaultKind.LOSE_REQUESTS: partial(self._trouble_links, LinkFault.REQUESTS_LOST),
            FaultKind.LOSE_REPLIES: partial(self._trouble_links, LinkFault.REPLIES_LOST),
            FaultKind.HANG_VALKEY: self._hang_valkey,
            FaultKind.CHANGE_PRICE: self._change_price,
            FaultKind.PAUSE_SUBMITS: self._pause_submits,
            FaultKind.REFUSE_WRITES: self._refuse_writes,
            FaultKind.LOCK_ACCOUNT: self._lock_account,
            FaultKind.SKEW_CLOCK: self._skew_clock,
            FaultKind.FREEZE_LINKS: self._freeze_links,
        }
        was_done = await acts[fault.kind](fault)
        (self.done if was_done else self.not_done)[fault.kind] += 1

    async def _victim(self) -> RestartedProcess | None:
        """Choose a running worker, and wait a while until a second one is running.

        So the pace fits the machine: a slow one would otherwise have all workers killed as they
        start. Those that will kill themselves are left to it.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(_VICTIM_SECONDS):
                while len(self._up()) < min(2, len(self._processes.workers)):
                    await asyncio.sleep(0.05)
        up = self._up()
        victims = [process for process in up if not process.is_in_a_drill] or up
        return self._random.choice(victims) if victims else None

    def _up(self) -> list[RestartedProcess]:
        return [process for process in self._processes.workers if process.is_up]

    async def _kill_worker(self, fault: PlannedFault) -> bool:
        async with self._choosing:
            victim = await self._victim()
            before = await self._watch.read_leases()
            if victim is None or not victim.is_up:
                return False
            if fault.point is not None:
                victim.next_environ = {"DARKROOM_CRASH_AT": fault.point}
            victim.kill()
            killed_epoch = time.time()
        await self._watch.note_orphans(before, killed_epoch)
        return True

    async def _kill(self, process: RestartedProcess, _: PlannedFault) -> bool:
        with suppress(TimeoutError):
            async with asyncio.timeout(_VICTIM_SECONDS):
                while not process.is_up and not process.has_finished:
                    await asyncio.sleep(0.05)
        if not process.is_up:
            return False
        process.kill()
        return True

    async def _kill_server(self, name: str, _: PlannedFault) -> bool:
        killed_epoch = await self._house.kill_server(name)
        if killed_epoch is None:
            return False
        await self._outages.until_it_answers(name, killed_epoch)
        return True

    async def _flush(self, _: PlannedFault) -> bool:
        return await _act_when_up(self._house.redis.flushall)

    async def _change_price(self, _: PlannedFault) -> bool:
        """Change a price as an admin does: at once, or by a row that takes hold a second later."""
        statement = self._random.choice((_CHANGE_PRICE, _SCHEDULE_PRICE))
        kind = self._random.choice(list(PRICES))
        # Never by more than 5 times, which would have to be confirmed.
        credits = PRICES[kind] + self._random.randrange(-2, 6)

        async def change() -> None:
            async with self._session() as connection:
                await connection.execute(statement, credits, *kind)

        return await _act_when_up(change)

    async def _pause_submits(self, fault: PlannedFault) -> bool:
        """Pause submits as an operator does in psql, and resume them after a while."""
        scope, value = self._random.choice(_SCOPES)
        ids: list[int] = []

        async def pause() -> None:
            # The same reason: a call whose reply was lost finds the pause that it started.
            async with self._session() as connection:
                reason = f"campaign, second {fault.at_seconds:f}"
                ids.append(
                    await connection.fetchval(
                        "SELECT id FROM darkroom_pause($1, $2, $3)", scope, value, reason
                    )
                )

        async def resume() -> None:
            async with self._session() as connection:
                await connection.fetch("SELECT darkroom_resume($1)", ids[0])

        if not await _act_when_up(pause):
            return False
        await asyncio.sleep(fault.length_seconds)
        assert await _act_when_up(resume), "submits stayed paused"
        return True

    async def _freeze_worker(self, fault: PlannedFault) -> bool:
        """Stop a worker for longer than its leases, which it assumes to have when it continues."""
        victim = await self._victim()
        pid = victim.send(signal.SIGSTOP) if victim is not None else None
        if victim is None or pid is None:
            return False
        victim.leave()
        try:
            await asyncio.sleep(fault.length_seconds)
        finally:
            victim.thaw(pid)
            victim.come_back()
        return True

    async def _cut_off_worker(self, fault: PlannedFault) -> bool:
        """Disconnect one worker from the servers. It keeps running and reaches Kie."""
        async with self._cutting:
            for relay in self._house.relays:
                await relay.cut()
            self._processes.cut_off.leave()
            await asyncio.sleep(fault.length_seconds)
            for relay in self._house.relays:
                await relay.restore()
            self._processes.cut_off.come_back()
        return True

    async def _trouble_links(self, trouble: LinkFault, fault: PlannedFault) -> bool:
        """Slow or lose the data of one worker's connections, without closing them."""
        async with self._cutting:
            for relay in self._house.relays:
                relay.trouble = trouble
            self._processes.cut_off.leave()
            await asyncio.sleep(fault.length_seconds)
            for relay in self._house.relays:
                relay.trouble = None
            self._processes.cut_off.come_back()
        return True

    async def _skew_clock(self, fault: PlannedFault) -> bool:
        """Set the clock of one worker and its successors minutes ahead or behind."""
        async with self._skewing:
            minutes = self._random.choice((-60, -10, -1, 1, 10, 40))
            self._house.clock.set(minutes * 60)
            await asyncio.sleep(fault.length_seconds)
            self._house.clock.set(0)
        return True

    async def _freeze_links(self, _: PlannedFault) -> bool:
        """Forward nothing more on one worker's open connections, as a NAT that lost its entries."""
        async with self._cutting:
            for relay in self._house.relays:
                relay.freeze()
        return True

    async def _refuse_writes(self, fault: PlannedFault) -> bool:
        """Make Postgres read-only for a while. It answers, and refuses every write."""
        refused_epoch = time.time()
        if not await _act_when_up(partial(self._make_writable, False)):
            return False
        try:
            await asyncio.sleep(fault.length_seconds)
        finally:
            was_undone = await _act_when_up(partial(self._make_writable, True))
        assert was_undone, "Postgres stayed read-only"
        await self._outages.until_it_answers("postgres", refused_epoch)
        return True

    async def _lock_account(self, fault: PlannedFault) -> bool:
        """Hold the row lock of one account in a session of its own."""
        account = self._random.choice(ACCOUNTS)
        # A kill of Postgres ends the session, and the lock with it.
        with suppress(*_AWAY):
            async with self._session() as connection, connection.transaction():
                await connection.execute("SELECT FROM accounts WHERE id = $1 FOR UPDATE", account)
                await asyncio.sleep(fault.length_seconds)
                return True
        return False

    async def _make_writable(self, is_writable: bool) -> None:
        async with self._session() as connection:
            await connection.execute(_WRITABLE if is_writable else _READ_ONLY)
            await connection.execute("SELECT pg_reload_conf()")

    @asynccontextmanager
    async def _session(self) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
        connection = await asyncpg.connect(self._house.servers.database_url, timeout=5)
        try:
            yield connection
        finally:
            connection.terminate()

    async def _hang_valkey(self, fault: PlannedFault) -> bool:
        """Stop Valkey so that it accepts and does not answer."""
        pid = await self._house.wait_for_server("valkey")
        if pid is None:
            return False
        os.kill(pid, signal.SIGSTOP)
        hung_epoch = time.time()
        try:
            await asyncio.sleep(fault.length_seconds)
        finally:
            if self._house.server_pid("valkey") == pid:
                os.kill(pid, signal.SIGCONT)
        await self._outages.until_it_answers("valkey", hung_epoch)
        return True


async def _act_when_up(do: Callable[[], Awaitable[object]]) -> bool:
    """Act as soon as the server answers. Return whether it answered in time."""
    with suppress(TimeoutError):
        async with asyncio.timeout(_INSIST_SECONDS):
            while True:
                try:
                    await do()
                except _AWAY:
                    await asyncio.sleep(0.2)
                else:
                    return True
    return False
