"""Fault switches are read from text, JSON and prompts, and refuse what they do not know."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from worker.simulator.catalogue_routes import MODELS
from worker.simulator.endpoints import DEDICATED_ENDPOINT, MARKET_ENDPOINT
from worker.simulator.fault_switch_parser import (
    as_values,
    describe_switches,
    read_assignments,
    read_switches,
    with_switches,
)
from worker.simulator.fault_switches import FaultSwitches
from worker.simulator.fault_values import FaultError
from worker.simulator.prompt_directives import read_directives
from worker.simulator.upload_routes import BASE64_UPLOAD, STREAM_UPLOAD, URL_UPLOAD

TESTS = Path(__file__).parents[2]


def test_every_switch_says_what_it_does_and_accepts_its_own_default() -> None:
    for switch in describe_switches().values():
        assert len(switch.description.meaning) > 10
        assert switch.read(switch.default) == switch.default


def test_every_switch_is_changed_in_some_test() -> None:
    sources = [*TESTS.glob("unit/simulator/test_*.py"), *TESTS.glob("integration/simulator/*.py")]
    text = "\n".join(source.read_text() for source in sources)
    untouched = [name for name in describe_switches() if not re.search(rf"\b{name}(=|\":)", text)]
    assert untouched == []


def test_assignments_become_values_of_the_right_type() -> None:
    values = read_assignments(
        ["lost_reply=0.25", "submit_code=429", "omit_status=yes", "time_form=iso", "duration=1.5"]
    )
    assert values == {
        "lost_reply": 0.25,
        "submit_code": 429,
        "omit_status": True,
        "time_form": "iso",
        "duration": 1.5,
    }


def test_json_values_are_read_and_null_means_the_default() -> None:
    changed = with_switches(FaultSwitches(), read_switches({"failure_flag": 3, "poll_code": 500}))
    assert (changed.failure_flag, changed.poll_code) == ("3", 500)
    restored = with_switches(changed, read_switches({"failure_flag": None, "poll_code": None}))
    assert restored == FaultSwitches()


def test_the_values_of_a_table_are_plain() -> None:
    assert as_values(FaultSwitches(duration=2.0))["duration"] == 2.0


@pytest.mark.parametrize(
    ("assignment", "told"),
    [
        ("lost_reply=2", "lost_reply: '2' is not a probability from 0 to 1"),
        ("lost_reply=nan", "probability"),
        ("lost_reply=often", "probability"),
        ("submit_code=4.5", "response code"),
        ("submit_code=1000", "response code"),
        ("missing_urls=-1", "whole number"),
        ("missing_urls=inf", "whole number"),
        ("duration=-1", "number of seconds"),
        ("omit_status=perhaps", "true or false"),
        ("time_form=roman", "one of ms, text, iso"),
        ("outcome=lost", "one of success, generate_failed"),
        ("lost_replies=1", "did you mean lost_reply"),
        ("xyzzy=1", "GET /simulator/faults lists them"),
        ("lost_reply", "not of the form NAME=VALUE"),
    ],
)
def test_a_wrong_assignment_is_refused_with_what_is_allowed(assignment: str, told: str) -> None:
    with pytest.raises(FaultError, match=told):
        read_assignments([assignment])


@pytest.mark.parametrize("given", [True, [], {}, None])
def test_json_of_the_wrong_type_is_no_number(given: object) -> None:
    with pytest.raises(FaultError):
        describe_switches()["poll_hang_seconds"].read(given)


def test_a_prompt_may_hold_several_directives_among_its_words() -> None:
    prompt = "a cat [[sim: outcome=generate_failed, duration=1.5]] at sea [[sim:submit_code=422]]"
    assert read_directives(prompt) == {
        "outcome": "generate_failed",
        "duration": 1.5,
        "submit_code": 422,
    }


def test_a_prompt_without_directives_sets_nothing() -> None:
    assert read_directives("a [[very]] plain cat") == {}


@pytest.mark.parametrize(
    ("prompt", "told"),
    [
        ("[[sim: duration=1", "not closed"),
        ("[[sim: duration]]", "name=value"),
        ("[[sim: ]]", "name=value"),
        ("[[sim: speed=1]]", "no fault switch 'speed'"),
        ("[[sim: duration=soon]]", "duration"),
        ("[[sim: account_code=401]]", "whole account"),
    ],
)
def test_a_wrong_directive_is_refused(prompt: str, told: str) -> None:
    with pytest.raises(FaultError, match=told):
        read_directives(prompt)


def test_the_page_of_the_simulator_names_switches_and_routes_that_exist() -> None:
    page = (TESTS.parent / "docs" / "simulator.md").read_text()
    rows = [line.split("|")[1:3] for line in page.splitlines() if line.startswith("| `")]
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row[0])}
    assert len(named) > 8
    assert named <= describe_switches().keys()
    routes = set(re.findall(r"`(/api/[^`]+)`", page))
    for endpoint in (DEDICATED_ENDPOINT, MARKET_ENDPOINT):
        assert {endpoint.create_path, endpoint.poll_path} <= routes
    assert {MODELS, BASE64_UPLOAD, STREAM_UPLOAD, URL_UPLOAD} <= routes
