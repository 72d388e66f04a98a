"""The /simulator routes: the record over HTTP, faults at run time, and starting over."""

from __future__ import annotations

from dataclasses import replace

import orjson
import pytest

from shared.catalog import list_families
from tests.integration.simulator.simulator_client import FAST, calling_simulator
from worker.simulator.fault_switch_parser import describe_switches


async def test_the_help_names_the_routes() -> None:
    async with calling_simulator() as kie:
        answer = await kie.call("GET", "/simulator")
        page = answer.body.decode()
        assert "/simulator/record/tasks" in page
        for path in ("/api/v1/gpt4o-image/generate", "/api/v1/jobs/createTask", "/api/v1/models"):
            assert path in page
        for family in list_families():
            assert f"\n{family} " in page


async def test_the_models_are_listed_as_they_are_now() -> None:
    async with calling_simulator() as kie:
        models = orjson.loads((await kie.call("GET", "/simulator/models")).body)
        prices = {one["model"]: (one["endpoint"], one["credits"]) for one in models}
        assert prices["gpt-4o-image"] == ("dedicated", {"1": 6.0, "2": 7.0, "4": 8.0})
        assert prices["4o-image-api"] == ("market", {"": 6.0})
        assert {one["family"] for one in models} == set(list_families())
        kie.simulator.set_faults(gone_model="4o-image-api", price_factor=2)
        models = orjson.loads((await kie.call("GET", "/simulator/models")).body)
        assert "4o-image-api" not in {one["model"] for one in models}
        assert models[0]["credits"]["4"] == 16.0


async def test_no_key_is_needed_for_the_record() -> None:
    async with calling_simulator() as kie:
        assert (await kie.call("GET", "/simulator/record", key="wrong")).status == 200


async def test_the_summary_counts_everything_that_was_asked() -> None:
    async with calling_simulator(outcome="generate_failed") as kie:
        task_id = await kie.created_id("a", nVariants=4)
        await kie.create("b", size="wide")
        await kie.finished(task_id)
        await kie.poll("nobody")
        await kie.call("GET", "/nowhere")
        summary = (await kie.call("GET", "/simulator/record")).json()
    assert summary["requests"] == {
        "total": 5,
        "by_route": {
            "create": {"200": 1, "422": 1},
            "poll": {"200": 1, "422": 1},
            "unknown": {"404": 1},
        },
    }
    assert summary["creates"]["created"] == 1
    assert summary["creates"]["refused"] == {"validation": 1}
    assert summary["polls"]["arrived"] == 2
    assert summary["polls"]["worst_window_per_task"] == 1
    assert summary["tasks"] == {
        "generating": 0,
        "by_outcome": {"generate_failed": 1},
        "by_endpoint": {"dedicated": {"gpt-4o-image": 1}},
    }
    assert summary["credits"] == {
        "starting": 1_000_000.0,
        "balance": 1_000_000.0,
        "spent": 8.0,
        "refunded": 8.0,
        "net": 0.0,
    }


async def test_the_tasks_are_one_json_object_per_line() -> None:
    config = replace(FAST, creates_per_10_seconds=0)
    async with calling_simulator(config) as kie:
        ids = [await kie.created_id(f"picture {number}") for number in range(600)]
        answer = await kie.call("GET", "/simulator/record/tasks")
    rows = [orjson.loads(line) for line in answer.body.splitlines()]
    assert [row["task_id"] for row in rows] == ids
    assert rows[7]["prompt"] == "picture 7"


async def test_the_request_log_is_bounded_and_the_latest_come_first() -> None:
    async with calling_simulator(replace(FAST, request_log_size=3)) as kie:
        task_id = await kie.created_id()
        for name in ("one", "two", "three"):
            await kie.poll(name)
        rows = orjson.loads((await kie.call("GET", "/simulator/record/requests")).body)
        assert [row["task_id"] for row in rows] == ["three", "two", "one"]
        assert rows[0].keys() == {"at", "method", "path", "task_id", "answer"}
        few = orjson.loads((await kie.call("GET", "/simulator/record/requests?limit=1")).body)
        assert len(few) == 1
        assert kie.simulator.record.answers.total() == 4
        assert task_id in kie.simulator.record.tasks


async def test_a_limit_that_is_no_number_is_refused() -> None:
    async with calling_simulator() as kie:
        answer = await kie.call("GET", "/simulator/record/requests?limit=all")
        assert answer.status == 400


async def test_callbacks_can_be_read() -> None:
    async with calling_simulator() as kie:
        assert (await kie.call("GET", "/simulator/record/callbacks")).body == b"[]\n"


async def test_faults_are_shown_set_and_cleared_at_run_time() -> None:
    async with calling_simulator() as kie:
        table = (await kie.call("GET", "/simulator/faults")).json()
        assert table.keys() == describe_switches().keys()
        assert table["lost_reply"]["default"] == 0.0
        await kie.call("PUT", "/simulator/faults", b'{"submit_code": 455, "lost_reply": 0.5}')
        await kie.call("PUT", "/simulator/faults", b'{"lost_reply": null}')
        assert kie.simulator.faults.submit_code == 455
        assert kie.simulator.faults.lost_reply == 0.0
        assert (await kie.create()).json()["code"] == 455
        await kie.call("DELETE", "/simulator/faults")
        assert (await kie.create()).json()["code"] == 200


async def test_faults_changed_at_run_time_hold_for_tasks_that_exist() -> None:
    async with calling_simulator() as kie:
        task_id = await kie.created_id()
        kie.simulator.set_faults(poll_code=500)
        assert (await kie.poll(task_id)).json()["code"] == 500
        kie.simulator.faults = replace(kie.simulator.faults, poll_code=0)
        assert (await kie.poll(task_id)).json()["code"] == 200


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"nonsense": 1}', b'{"lost_reply": 2}'])
async def test_wrong_faults_are_refused_and_change_nothing(body: bytes) -> None:
    async with calling_simulator() as kie:
        before = kie.simulator.faults
        answer = await kie.call("PUT", "/simulator/faults", body)
        assert answer.status == 400
        assert answer.json()["error"]
        assert kie.simulator.faults == before


async def test_credits_can_be_added_after_they_ran_out() -> None:
    async with calling_simulator(replace(FAST, starting_credits=FAST.starting_credits * 0)) as kie:
        assert (await kie.create()).json()["code"] == 402
        await kie.call("POST", "/simulator/credits", b'{"credits": 6.5}')
        assert (await kie.create()).json()["code"] == 200
        assert (await kie.call("GET", "/api/v1/chat/credit")).json()["data"] == 0.5


@pytest.mark.parametrize("body", [b"{}", b'{"credits": 0}', b'{"credits": "x"}'])
async def test_a_wrong_top_up_is_refused(body: bytes) -> None:
    async with calling_simulator() as kie:
        assert (await kie.call("POST", "/simulator/credits", body)).status == 400


async def test_a_reset_starts_over() -> None:
    async with calling_simulator() as kie:
        task_id = await kie.created_id()
        await kie.call("POST", "/simulator/reset")
        summary = (await kie.call("GET", "/simulator/record")).json()
        assert summary["creates"]["created"] == 0
        assert summary["credits"]["balance"] == 1_000_000.0
        assert (await kie.poll(task_id)).json()["code"] == 422


async def test_an_unknown_control_route_is_404() -> None:
    async with calling_simulator() as kie:
        assert (await kie.call("GET", "/simulator/nothing")).status == 404


async def test_faults_and_credits_of_one_account_are_set_by_its_number() -> None:
    config = replace(FAST, further_api_keys=("two",))
    async with calling_simulator(config) as kie:
        faults = "/simulator/faults?account=2"
        set_to = await kie.call("PUT", faults, orjson.dumps({"account_code": 401}))
        assert set_to.json()["account_code"] == 401
        assert (await kie.call("GET", faults)).json()["account_code"]["value"] == 401
        assert (await kie.create()).json()["code"] == 200
        credit = "/api/v1/chat/credit"
        assert (await kie.call("GET", credit, key="two")).json()["code"] == 401
        await kie.call("DELETE", faults)
        await kie.call("POST", "/simulator/credits?account=2", b'{"credits": 5}')
        assert (await kie.call("GET", credit, key="two")).json()["data"] == 1_000_005
        for wrong in ("0", "3", "two", "-1"):
            answer = await kie.call("GET", f"/simulator/faults?account={wrong}")
            assert answer.status == 400
            assert "from 1 to 2" in answer.json()["error"]
