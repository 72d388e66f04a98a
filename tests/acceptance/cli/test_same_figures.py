"""The page, the HTTP API, `darkroom queue --json` and `/metrics` say the same of one queue."""

from __future__ import annotations

import re
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from producer.console.text_filters import format_duration, format_number
from tests.acceptance.cli.cli_program import Darkroom
from tests.support.console_client import browsing
from tests.support.deployment import Deployment

_TILE = re.compile(r'tile-label">([^<]+)</span>\s*<span class="tile-value">([^<]+)<')
_MOVING = {"at", "oldest_waiting_seconds", "kie_accounts", "alerts"}
"""What changes with each second."""
_EARLIER_SAMPLES = """
INSERT INTO history_samples
SELECT (jsonb_populate_record(one, jsonb_build_object(
           'starts_at', one.starts_at - number * interval '15 s', 'submitted', number))).*
  FROM history_samples AS one, generate_series(1, 40) AS number WHERE interval_seconds = 15
"""
_EVENTS = ("accepted", "submitted", "succeeded", "failed", "cancelled")


async def test_every_interface_has_the_same_figures(
    darkroom: Darkroom, deployment: Deployment
) -> None:
    async with deployment.worker():
        deployment.simulator.set_faults(outcome="content_policy")
        await deployment.ended(await deployment.enqueue())
        deployment.simulator.set_faults(outcome=None)
        for _ in range(2):
            await deployment.ended(await deployment.enqueue())
    for _ in range(3):
        await deployment.enqueue()
    await deployment.producer.cancel((await deployment.enqueue()).id)
    async with deployment.api() as api, browsing(api) as browser:
        page = (await browser.get("/console")).expect(200)
        over_http = (await api.get("/v1/overview")).expect(200)
        metrics = await (await api.session.get("/metrics")).text()
        (said,) = await darkroom.run_all(("queue", "--json"))

    assert said.object["queued"] == 3
    assert said.object["today"]["credits_charged"] == 12
    assert said.object["lag_p95_seconds"] > 0
    printed = dict(said.object)
    assert f"database: {printed.pop('database')}" in (await darkroom.run("queue")).out
    assert _still(printed) == _still(over_http)
    _check_metrics(metrics, over_http)
    _check_page(dict(_TILE.findall(page)), over_http)


async def test_the_history_has_few_rows_for_people_and_every_sample_for_programs(
    darkroom: Darkroom, deployment: Deployment
) -> None:
    page, said, refused = await darkroom.run_all(
        ("queue", "history"),
        ("queue", "history", "--json"),
        ("queue", "history", "--hours", "169"),
    )
    assert (page.code, page.out) == (0, "")
    assert "it is recorded while a worker runs" in page.err
    assert (said.code, said.out) == (0, "")
    assert refused.code == 2
    assert "--hours" in refused.err

    await deployment.enqueue()
    await deployment.database.fetch("sample_history", {"default": {"budget": 20}})
    await deployment.run_sql(_EARLIER_SAMPLES)
    page, said, day = await darkroom.run_all(
        ("queue", "history"),
        ("queue", "history", "--json"),
        ("queue", "history", "--hours", "24"),
    )
    samples = said.objects
    assert len(samples) == 41
    assert [one["starts_at"] for one in samples] == sorted(one["starts_at"] for one in samples)
    assert samples[-1]["queued"] == 1
    assert samples[-1]["kie_accounts"] == {"default": {"budget": 20, "balance": None}}
    rows = [line.split() for line in page.lines if line.startswith("20")]
    assert 2 <= len(rows) <= 4, page.out
    submitted = sum(int(row[-6]) for row in rows)
    assert submitted == sum(one["submitted"] for one in samples) == sum(range(1, 41))
    assert sum(line.startswith("20") for line in day.lines) == 1


def _still(overview: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in overview.items() if name not in _MOVING}


def _check_metrics(text: str, told: dict[str, Any]) -> None:
    gauges = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    wanted: dict[tuple[str, ...], float] = {
        ("darkroom_queue_depth",): told["waiting"],
        ("darkroom_scheduled_jobs",): told["scheduled"],
        ("darkroom_in_flight",): told["in_flight"],
        ("darkroom_credits_held",): told["credits_held"],
        ("darkroom_credits_charged_today",): told["today"]["credits_charged"],
        ("darkroom_recent_credits_charged",): told["credits_charged"],
        ("darkroom_workers", "alive"): told["workers"]["alive"],
        **{
            ("darkroom_open_jobs", state): told[state]
            for state in ("queued", "submitting", "unknown", "generating")
        },
        **{("darkroom_recent_jobs", event): told[event] for event in _EVENTS},
        **{
            ("darkroom_recent_seconds", name, quantile): told[f"{name}_{part}_seconds"]
            for name in ("wait", "run", "lag")
            for quantile, part in (("0.5", "p50"), ("0.95", "p95"))
        },
    }
    assert {name: gauges[name] for name in wanted} == pytest.approx(wanted)
    oldest = gauges["darkroom_queue_oldest_seconds",]
    assert oldest == pytest.approx(told["oldest_waiting_seconds"], abs=5)


def _check_page(tiles: dict[str, str], told: dict[str, Any]) -> None:
    assert tiles == {
        "Waiting": format_number(told["waiting"]),
        "At Kie": format_number(told["in_flight"]),
        "In doubt": format_number(told["unknown"] + told["held_for_review"]),
        "Succeeded": format_number(told["succeeded"]),
        "Failed": format_number(told["failed"]),
        "Wait": format_duration(told["wait_p50_seconds"]),
        "Run": format_duration(told["run_p50_seconds"]),
        "Lag": format_duration(told["lag_p50_seconds"]),
        "Credits held": str(told["credits_held"]),
        "Credits charged": str(told["today"]["credits_charged"]),
    }
