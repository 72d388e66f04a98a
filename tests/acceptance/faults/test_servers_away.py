"""A server that is down is reported at once, unknown gauges are NaN, and the log has few lines."""

from __future__ import annotations

from time import monotonic

import pytest

from tests.acceptance.faults.fault_setup import REPORTED_WITHIN_SECONDS, FaultSetup, is_unknown
from tests.support.deployment import eventually
from tests.support.tcp_relay import TcpRelay

Samples = tuple[tuple[str, dict[str, str]], ...]
_OF_POSTGRES: Samples = (
    ("darkroom_queue_depth", {}),
    ("darkroom_queue_oldest_seconds", {}),
    ("darkroom_in_flight", {}),
    ("darkroom_credits_held", {}),
    ("darkroom_webhooks_pending", {}),
    ("darkroom_open_jobs", {"state": "queued"}),
    ("darkroom_workers", {"state": "alive"}),
    ("darkroom_alert", {"alert": "jobs_fail"}),
    ("darkroom_clock_skew_seconds", {}),
)
_OF_REDIS: Samples = (
    ("darkroom_alert", {"alert": "submits_paused"}),
    ("darkroom_alert", {"alert": "redis_is_full"}),
    ("darkroom_submit_brake_level", {"account": "default"}),
)
_SETTINGS = {"postgres": "DATABASE_URL", "redis": "REDIS_URL"}
_LINES_OF_AN_OUTAGE = 16
"""Worker and API share this process and its log: a begin, at most four other errors, and an end for
each server that is away, twice, and what else is said of the same."""


def relay_of(setup: FaultSetup, server: str) -> TcpRelay:
    return setup.postgres_relay if server == "postgres" else setup.redis_relay


@pytest.mark.parametrize("server", ["postgres", "redis"])
async def test_an_outage_is_reported_by_every_output_and_is_over_when_it_is_over(
    setup: FaultSetup, server: str
) -> None:
    setup.deployment.simulator.set_faults(duration=1.0)
    await setup.enqueue(20)
    setup.lines.clear()
    await relay_of(setup, server).cut()
    await _is_reported(setup, server)
    doctor, queue = await setup.darkroom.run_all(("doctor",), ("queue",))
    assert (doctor.code, queue.code) == (6, 6)
    assert f"✗ {server}: " in doctor.out
    assert _SETTINGS[server] in doctor.out.partition("fix: ")[2]
    assert "does not answer" in queue.err
    await relay_of(setup, server).restore()
    await _is_over(setup, server)
    await relay_of(setup, server).cut()
    await _is_reported(setup, server)
    await relay_of(setup, server).restore()
    await _is_over(setup, server)
    assert (await setup.darkroom.run("doctor")).code == 0
    lines = [line for line in setup.lines if line["event"] == "dependency_down"]
    assert {line["subject"] for line in lines} == {server}
    changes = [line["change"] for line in lines if line["change"] != "changed"]
    assert changes == ["began", "over"] * 2
    assert len(lines) <= _LINES_OF_AN_OUTAGE
    first, last = lines[0], lines[-1]
    assert first["since"]
    assert "does not answer" in first["error"]
    assert _SETTINGS[server] in first["fix"]
    assert last["seconds"] > 0
    assert last["times"] >= 1


async def _is_reported(setup: FaultSetup, server: str) -> None:
    began = monotonic()
    for process in ("worker", "api"):

        async def is_told(process: str = process) -> bool:
            status, body = await setup.readyz(process)
            down = [one for one in body["alerts"] if one["name"] == f"{server}_down"]
            # Without Redis the API still takes orders.
            is_degraded = (process, server) == ("api", "redis")
            is_right = (status, body["status"]) == (
                (200, "degraded") if is_degraded else (503, "not ready")
            )
            return is_right and len(down) == 1 and bool(down[0]["since"] and down[0]["fix"])

        left_seconds = REPORTED_WITHIN_SECONDS - (monotonic() - began)
        await eventually(is_told, f"{process} tells that {server} is down", left_seconds)
        assert await setup.metric(process, "darkroom_dependency_up", dependency=server) == 0
        for name, labels in _OF_POSTGRES if server == "postgres" else _OF_REDIS:
            if process == "api" and name == "darkroom_submit_brake_level":
                continue

            async def is_nan(
                process: str = process, name: str = name, labels: dict[str, str] = labels
            ) -> bool:
                return is_unknown(await setup.metric(process, name, **labels))

            await eventually(is_nan, f"{process} does not know {name}", left_seconds)


async def _is_over(setup: FaultSetup, server: str) -> None:
    for process in ("worker", "api"):

        async def is_content(process: str = process) -> bool:
            status, body = await setup.readyz(process)
            return status == 200 and body["alerts"] == []

        await eventually(is_content, f"{process} is content")
        assert await setup.metric(process, "darkroom_dependency_up", dependency=server) == 1
        assert await setup.metric(process, "darkroom_workers", state="alive") == 1

    async def is_said() -> bool:
        lines = [line for line in setup.lines if line["event"] == "dependency_down"]
        return bool(lines) and lines[-1]["change"] == "over"

    await eventually(is_said, "the log says that it is over", REPORTED_WITHIN_SECONDS)
