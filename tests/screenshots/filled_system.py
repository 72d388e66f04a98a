"""Fills a running system with what the screenshots show: accounts, prices and jobs."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal

import asyncpg
from pydantic import SecretStr

from producer.actor import Actor
from producer.keys.key_store import KeyStore
from producer.keys.roles import Role
from producer.orders.order import Order
from shared.adapters.redis.deliveries import connect_redis
from shared.catalog.families.gpt4o_image import TextToImage
from shared.domain.job import Job
from tests.screenshots.past_jobs import move_into_the_past
from tests.screenshots.past_samples import write_past_samples
from tests.screenshots.planned_orders import ACCOUNTS, End, PlannedOrder, plan_orders
from tests.screenshots.waiting_orders import set_limits
from tests.support.deployment import Deployment
from tests.support.told_by_kie import tell_of_surprise

_SHOWN_SECONDS = 6.0
"""How long Kie takes for the order whose page is shown."""
_SURPRISE = (
    "gpt-image-2",
    "queuePosition",
    '{"code": 200, "msg": "success", "data": {"state": "generating", "queuePosition": 14}}',
)
KIE_CREDITS = Decimal(31_000)
"""What each Kie account has at first."""
_ADMIN = Actor("maria", via="cli", is_operator=True, os_user="maria", origin="ops-2")
OPERATOR = Actor("deniz", via="cli", is_operator=True, os_user="deniz", origin="ops-1")
_KEYS = (
    (Role.SERVICE, "halcyon-prints", "print shop"),
    (Role.SERVICE, "paperboat-games", "asset pipeline"),
    (Role.OPERATOR, None, "night shift"),
    (Role.VIEWER, None, "finance"),
)
_MODEL = "gpt-4o-image"
_PRICES = (
    # Days ago, task, quantity, credits, reason.
    (62, "text-to-image", 1, "8", "launch price"),
    (62, "text-to-image", 2, "10", "launch price"),
    (62, "text-to-image", 4, "12", "launch price"),
    (62, "image-to-image", 1, "8", "launch price"),
    (62, "image-to-image", 2, "10", "launch price"),
    (62, "image-to-image", 4, "12", "launch price"),
    (45, "image-to-image", 4, "14", "edits need more support"),
    (30, "text-to-image", 1, "9", "summer list"),
    (30, "image-to-image", 1, "9.5", "summer list"),
    (21, "text-to-image", 4, "11", "volume offer for prints"),
)
_VERSIONS = """
SELECT pricing_history.id, coalesce(at, lower(valid) - interval '1 year') AS starts_at,
       lead(at) OVER (PARTITION BY model, task, quantity ORDER BY pricing_history.id) AS ends_at
FROM pricing_history LEFT JOIN unnest($1::bigint[], $2::timestamptz[]) AS moved (id, at) USING (id)
ORDER BY pricing_history.id
"""
_REFUNDED_JOB = """
SELECT id FROM jobs WHERE state = 'succeeded' AND account_id = 'halcyon-prints'
ORDER BY id DESC OFFSET 40 LIMIT 1
"""
_RETRIED_JOBS = """
SELECT id FROM jobs WHERE reason = 'provider_failed' ORDER BY id DESC LIMIT 2
"""
_MOVE_VERSION = "UPDATE pricing_history SET valid = tstzrange($2, $3) WHERE id = $1"
_MOVE_PRICES = """
UPDATE pricing SET updated_at = lower(valid) FROM pricing_history WHERE id = price_id
"""
_MOVE_PRICE_ENTRIES = """
UPDATE audit_entries SET at = lower(valid)
FROM (SELECT id, row_number() OVER (ORDER BY id) AS number
      FROM audit_entries WHERE act = 'price_changed') AS entry
JOIN (SELECT valid, row_number() OVER (ORDER BY id) AS number
      FROM pricing_history WHERE id = ANY ($1)) AS version USING (number)
WHERE audit_entries.id = entry.id
"""


async def fill(deployment: Deployment, now: datetime) -> dict[str, dict[str, str]]:
    """Let two weeks of orders run within seconds, and move them to where they belong in time.

    Returns the ids that stand in the paths of pages.
    """
    orders = plan_orders()
    connection = await asyncpg.connect(_url(deployment.settings.database_url))
    try:
        await _set_prices(deployment, connection, now)
        await _open_accounts(deployment, connection, now)
        await _run_orders(deployment, orders)
        await move_into_the_past(connection, orders, now)
        await write_past_samples(
            connection, now, list(deployment.settings.kie_account_names), KIE_CREDITS
        )
    finally:
        await connection.close()
    await deployment.check_invariants_hold()
    shown = await _run_shown_job(deployment)
    # Workers remember in Redis what they have written and what they have asked, and would miss it.
    async with connect_redis(_url(deployment.settings.redis_url)) as redis:
        await redis.flushall()
    await _act_today(deployment, now)
    job, account = {"id": str(shown.id)}, {"id": "halcyon-prints"}
    price = {"model": _MODEL, "task": "text-to-image", "quantity": "1"}
    return {"jobs": job, "accounts": account, "prices": price}


async def _run_shown_job(deployment: Deployment) -> Job:
    """Run the order whose page is shown. Its images are copied."""
    request = TextToImage(
        prompt="a ceramic teapot in the shape of a heron, studio photograph, white background",
        aspect_ratio="3:2",
        quantity=4,
    )
    order = Order(
        request=request,
        account_id="halcyon-prints",
        metadata={"order": "print-5001"},
        idempotency_key="print-5001",
    )
    deployment.simulator.set_faults(duration=_SHOWN_SECONDS)
    async with deployment.worker():
        [job] = await deployment.producer.enqueue_many([order])
        return await deployment.ended(job, 60)


async def _act_today(deployment: Deployment, now: datetime) -> None:
    """Do what people at the console would have done by now."""
    producer = deployment.producer
    await producer.billing.price_changes.schedule(
        (_MODEL, "image-to-image", 2),
        Decimal(12),
        at=now + timedelta(days=4, hours=3),
        reason="autumn list, announced to customers",
        actor=_ADMIN,
    )
    for row in await deployment.run_sql(_REFUNDED_JOB):
        await producer.billing.refund(row["id"], reason="wrong crop, ticket 4182", actor=_ADMIN)
    for row in await deployment.run_sql(_RETRIED_JOBS):
        await producer.retry(row["id"], actor=OPERATOR)
    await producer.billing.grant(
        "riverside-museum", Decimal(300), "spring exhibition, invoice 2087", actor=_ADMIN
    )
    await tell_of_surprise(deployment, *_SURPRISE)
    store = KeyStore(deployment.database)
    for role, account, name in _KEYS:
        await store.create(role, account, name, actor=_ADMIN)
    await set_limits(deployment, _ADMIN)
    pause = await producer.pauses.pause(
        "account", "northlight-studio", reason="asked us to wait for a new prompt", actor=OPERATOR
    )
    await producer.pauses.resume(pause.id, actor=OPERATOR)


def _url(secret: SecretStr | None) -> str:
    assert secret is not None
    return secret.get_secret_value()


async def _set_prices(
    deployment: Deployment, connection: asyncpg.Connection, now: datetime
) -> None:
    times = {}
    for days, task, quantity, credits, reason in _PRICES:
        row = await deployment.producer.billing.set_price(
            (_MODEL, task, quantity), Decimal(credits), reason=reason, actor=_ADMIN
        )
        times[row["price_id"]] = now - timedelta(days=days, hours=quantity)
    async with connection.transaction():
        await connection.execute("SET LOCAL session_replication_role = replica")
        # Oldest first: versions of one price never overlap, not even in between.
        for price_id, starts_at, ends_at in await connection.fetch(
            _VERSIONS, list(times), list(times.values())
        ):
            await connection.execute(_MOVE_VERSION, price_id, starts_at, ends_at)
        await connection.execute(_MOVE_PRICES)
        await connection.execute(_MOVE_PRICE_ENTRIES, list(times))


async def _open_accounts(
    deployment: Deployment, connection: asyncpg.Connection, now: datetime
) -> None:
    billing = deployment.producer.billing
    for name, credits in ACCOUNTS.items():
        await billing.create_account(name, actor=_ADMIN)
        await billing.grant(name, Decimal(credits), "prepaid by invoice", actor=_ADMIN)
    async with connection.transaction():
        await connection.execute("SET LOCAL session_replication_role = replica")
        at = now - timedelta(days=20)
        await connection.execute("UPDATE accounts SET created_at = $1", at)
        await connection.execute("UPDATE ledger_entries SET created_at = $1", at)
        await connection.execute("UPDATE audit_entries SET at = $1 WHERE account_id <> ''", at)


async def _run_orders(deployment: Deployment, orders: Sequence[PlannedOrder]) -> None:
    """Run the orders to their ends, one kind of end after another."""
    cancelled = await enqueue_orders(deployment, orders, "cancelled")
    for job in cancelled:
        await deployment.producer.cancel(job.id)
    # Without a store: the ids of jobs change when they are moved into the past.
    async with deployment.worker(kie_submits_per_10_seconds=0, results_url=None):
        for end in ("success", "content_policy", "image_fetch_failed"):
            deployment.simulator.set_faults(outcome=end)
            jobs = await enqueue_orders(deployment, orders, end)
            await asyncio.gather(*(deployment.ended(job, 120) for job in jobs))
    deployment.simulator.set_faults(outcome=None)


async def enqueue_orders(
    deployment: Deployment,
    orders: Sequence[PlannedOrder],
    end: End,
    *,
    key_suffix: str = "",
    run_at: datetime | None = None,
) -> Sequence[Job]:
    """Enqueue those of the orders that end so."""
    return await deployment.producer.enqueue_many(
        [
            Order(
                request=one.request,
                account_id=one.account_id,
                idempotency_key=one.idempotency_key + key_suffix,
                metadata=one.metadata,
                run_at=run_at,
            )
            for one in orders
            if one.end == end
        ]
    )
