"""A Kie that refuses, fails or never ends: what every output says about it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from shared.redis_keys import brake_key, family_brake_key
from tests.acceptance.faults.fault_setup import Cause, Fault, FaultSetup, play
from tests.support.deployment import eventually

_FORGET_ENDS = (
    "UPDATE jobs SET finished_at = finished_at - interval '10 min' WHERE state = 'failed'"
)


def kie(jobs: int = 6, **switches: Any) -> Cause:
    """Return a cause: Kie behaves so, while that many jobs are enqueued."""

    @asynccontextmanager
    async def cause(setup: FaultSetup) -> AsyncIterator[None]:
        setup.deployment.simulator.set_faults(**switches)
        await setup.enqueue(jobs)
        yield
        setup.deployment.simulator.set_faults(**dict.fromkeys(switches))
        await _take_back(setup)

    return cause


async def _take_back(setup: FaultSetup) -> None:
    """Do what an operator does once Kie is well: no pause, no open question, no old failure."""
    await setup.redis.delete("darkroom:brake", family_brake_key("default", "gpt-4o-image"))
    for row in await setup.sql("SELECT id FROM jobs WHERE state = 'unknown'"):
        await setup.deployment.producer.resolve_lost(row["id"], "none at Kie", actor="a test")
    await setup.sql("ALTER TABLE jobs DISABLE TRIGGER jobs_end_once")
    await setup.sql(_FORGET_ENDS)


@asynccontextmanager
async def _kie_refuses_a_part(setup: FaultSetup) -> AsyncIterator[None]:
    key = brake_key("default")
    async with kie(0, submit_code=429, submit_code_times=1)(setup):
        for rate in (14, 9.8):
            await setup.enqueue()

            async def is_accepted(rate: float = rate) -> bool:
                stored = await setup.redis.hgetall(key)  # type: ignore[misc]
                now = round(float(stored.get(b"rate", 0)), 3)
                return now == rate and b"unproven" not in stored

            await eventually(is_accepted, f"refused at first, then accepted at {rate} per 10 s")
        # It has been so for six minutes, and Kie goes on like this.
        seconds, _ = await setup.redis.time()
        lasting = {"rate_since": (seconds - 360) * 1000, "rate_grows_at": (seconds + 360) * 1000}
        await setup.redis.hset(key, mapping=lasting)  # type: ignore[misc]
        yield


@asynccontextmanager
async def _tasks_do_not_end(setup: FaultSetup) -> AsyncIterator[None]:
    # What the kind has taken lately, as workers learn it.
    await setup.sql(
        "INSERT INTO completion_times (model, task, quantity, seconds)"
        " SELECT 'gpt-4o-image', 'text-to-image', 1, 0.5 FROM generate_series(1, 20)"
    )
    # Long enough to be reported, and short enough that its end is reported as well.
    async with kie(5, duration=20.0)(setup):
        yield


@asynccontextmanager
async def _model_is_withdrawn(setup: FaultSetup) -> AsyncIterator[None]:
    """The model by which the jobs of another one are sent is gone."""
    models = setup.deployment.producer.models
    await models.route("gpt-4o-image", "4o-image-api", reason="a test")
    async with kie(gone_model="4o-image-api")(setup):
        yield
        await models.route("gpt-4o-image", "gpt-4o-image", reason="a test")
        await setup.deployment.producer.brakes.end("default", "4o-image-api", reason="a test")


@asynccontextmanager
async def _balance_drifts(setup: FaultSetup) -> AsyncIterator[None]:
    # As a worker stores it, which takes two checks, a minute apart.
    await setup.sql(
        "WITH first AS (INSERT INTO provider_balance_checks (asked_at, at, balance, drift,"
        "   unexplained, settled, verdict) SELECT now(), now(), 100, 0, 0, true, 'first'"
        "   WHERE NOT EXISTS (SELECT FROM provider_balance_checks) RETURNING id)"
        " INSERT INTO provider_balance_checks (follows, asked_at, at, balance, measured_from,"
        "   previous_balance, expected_spend_low, expected_spend_high, drift, unexplained, settled,"
        "   verdict)"
        " SELECT id, now(), now(), 25, id, 100, 0, 0, 75, 75, true, 'drift' FROM"
        " (SELECT max(id) AS id FROM (SELECT id FROM first"
        "   UNION ALL SELECT id FROM provider_balance_checks) AS known) AS newest"
    )
    yield
    await setup.sql(
        "UPDATE provider_balance_checks SET asked_at = asked_at - interval '2 days',"
        " at = at - interval '2 days' WHERE verdict = 'drift'"
    )


def _kie_says(**columns: str) -> Cause:
    """Return a cause: a check of Kie's catalogue has stored this."""

    @asynccontextmanager
    async def cause(setup: FaultSetup) -> AsyncIterator[None]:
        said = _AS_KNOWN | columns
        await setup.sql("DELETE FROM kie_models")
        await setup.sql(
            f"INSERT INTO kie_models ({', '.join(said)}) VALUES ({', '.join(said.values())})"
        )
        yield
        await setup.sql("DELETE FROM kie_models")

    return cause


_AS_KNOWN = {
    "kie_model": "'4o-image-api'",
    "family": "'4o-image-api'",
    "sold_as": "'{gpt-4o-image}'",
    "tasks": "'{text-to-image}'",
    "checked_at": "now()",
    "is_listed": "true",
    "missing_parts": "'{}'",
    "price_text": "'6 credits'",
    "price_credits": "'{6}'",
    "rated_at": "now()",
    "success_percent": "99",
    "usual_success_percent": "99",
    "catalog_fingerprint": "'another'",
}

FAULTS = [
    Fault(
        "Kie's catalogue has a model no more",
        "kie_model_changed",
        _kie_says(is_listed="false"),
        "Kie's catalogue no longer lists 4o-image-api",
        "Kie's documentation",
    ),
    Fault(
        "Kie's price text names other credits",
        "kie_price_moved",
        _kie_says(price_credits="'{8}'"),
        "names 8 credits, but pricing has 6 for gpt-4o-image text-to-image",
        "darkroom prices compare",
    ),
    Fault(
        "tasks of a model fail at Kie",
        "kie_model_unreliable",
        _kie_says(success_percent="41.5"),
        "41.5 % of its tasks of 4o-image-api succeeded in the last hour",
        "darkroom queue pause --model",
    ),
    Fault(
        "credits vanish from the balance",
        "kie_balance_drifts",
        _balance_drifts,
        "Kie took 75 credits more from its account default than our tasks explain",
        "provider_balance_checks",
    ),
    Fault(
        "402, no credits",
        "submits_paused",
        kie(submit_code=402),
        "(account_refused: ",
        "fix the Kie account",
    ),
    Fault("401, key refused", "submits_paused", kie(account_code=401), "(account_refused: ", "key"),
    Fault(
        "429, too fast",
        "submits_paused",
        kie(submit_code=429),
        "(rate_limited: ",
        "KIE_SUBMITS_PER_10_SECONDS",
    ),
    Fault(
        "455, maintenance",
        "submits_paused",
        kie(submit_code=455),
        "(maintenance: ",
        "recovers by itself",
    ),
    Fault(
        "429 to a part of the creates",
        "submits_slowed",
        _kie_refuses_a_part,
        "default are slowed down to 9 of 20 per 10 s",
        "KIE_SUBMITS_PER_10_SECONDS",
    ),
    Fault(
        "500 to every create slows the family",
        "submits_paused",
        kie(submit_code=500),
        "submits of gpt-4o-image by the Kie account default are",
        "each of these may have been paid for",
    ),
    Fault(
        "the route is gone",
        "submits_paused",
        kie(create_junk="no_route"),
        "(wrong_endpoint: ",
        "darkroom models route gpt-4o-image --via 4o-image-api",
    ),
    Fault(
        "the model is withdrawn",
        "submits_paused",
        _model_is_withdrawn,
        "submits of 4o-image-api by the Kie account default are",
        "darkroom models route gpt-4o-image --direct",
    ),
    Fault(
        "a web page answers",
        "submits_paused",
        kie(create_junk="html_200"),
        "(wrong_endpoint: ",
        "compare KIE_BASE_URL",
    ),
    Fault(
        "500 to every create",
        "unknown_submissions",
        kie(submit_code=500),
        "an unknown outcome",
        "darkroom jobs list --state unknown",
    ),
    Fault(
        "every task fails",
        "jobs_fail",
        kie(8, outcome="generate_failed"),
        "jobs failed (provider_failed",
        "Kie's log page",
    ),
    Fault(
        "tasks do not end",
        "tasks_run_long",
        _tasks_do_not_end,
        "of 5 tasks run longer",
        "Kie's log page",
    ),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
async def test_every_output_reports_the_fault_and_clears_afterwards(
    setup: FaultSetup, fault: Fault
) -> None:
    await play(setup, fault)
