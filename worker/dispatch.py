"""Delivers at once what was enqueued inside a caller's own transaction.

Only Postgres knows when that transaction commits, so it says so by NOTIFY. A lost message costs
seconds, not the job: the reconciler finds the row.
"""

from __future__ import annotations

import asyncio

import asyncpg
import structlog

from shared.adapters.delivery import stop_if_cancelled
from shared.adapters.postgres import CONNECT_TIMEOUT_SECONDS, translated_errors
from shared.errors import DarkroomError, DependencyDown
from worker.reconciler import Reconciler

log = structlog.get_logger(__name__)

CHANNEL = "darkroom_dispatch"
_RECONNECT_SECONDS = 2.0


async def dispatch_on_notify(database_url: str, reconciler: Reconciler) -> None:
    """Listen until cancelled; reconnect after every outage."""
    while True:
        try:
            await _listen(database_url, reconciler)
        except DarkroomError as error:
            log.warning("dispatch_interrupted", error=str(error))
        await asyncio.sleep(_RECONNECT_SECONDS)


async def _listen(database_url: str, reconciler: Reconciler) -> None:
    news = asyncio.Event()
    with translated_errors():
        connection = await asyncpg.connect(database_url, timeout=CONNECT_TIMEOUT_SECONDS)
        try:
            connection.add_termination_listener(lambda _: news.set())
            await connection.add_listener(CHANNEL, lambda *_: news.set())
            while not connection.is_closed():
                await news.wait()
                news.clear()
                try:
                    await reconciler.deliver_fresh(settling_seconds=0)
                except DependencyDown as error:
                    log.warning("dispatch_put_off", error=str(error))
                stop_if_cancelled()
        finally:
            connection.terminate()
