"""What no reader knows is found, and nothing that Kie has documented or sent before is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from shared.catalog import KieResponse
from tests.support.error_queries import FailingQueries, RecordedQueries
from worker.kie.surprise_log import PENDING_MAX, SurpriseLog
from worker.kie.surprises import KINDS, Surprise, find_surprises

FIXTURES = Path(__file__).parent.parent.parent / "fixtures" / "kie"
RECORD = {"taskId": "t", "state": "generating", "successFlag": 0, "resultJson": ""}
each_known_answer = pytest.mark.parametrize(
    "path", sorted(FIXTURES.rglob("*.json")), ids=lambda path: f"{path.parent.name}/{path.stem}"
)


def poll(**fields: Any) -> KieResponse:
    return KieResponse(200, {"code": 200, "msg": "success", "data": RECORD | fields}, "")


@each_known_answer
def test_no_documented_or_recorded_answer_surprises(path: Path) -> None:
    given = json.loads(path.read_text())
    response = KieResponse(given["http"], given.get("body"), "")
    assert find_surprises(given["call"], response) == ()


@pytest.mark.parametrize(
    ("fields", "surprise"),
    [
        ({"etaSeconds": 30}, Surprise("field", "etaSeconds")),
        ({"state": "throttled"}, Surprise("state", "throttled")),
        ({"state": 7}, Surprise("state", "7")),
        ({"status": "PAUSED"}, Surprise("status", "PAUSED")),
        ({"successFlag": 4}, Surprise("success_flag", "4")),
        ({"successFlag": "yes"}, Surprise("success_flag", "yes")),
        ({"failCode": "777"}, Surprise("failure_code", "777")),
        ({"errorCode": 431}, Surprise("failure_code", "431")),
        ({"resultJson": '{"videoUrls": []}'}, Surprise("field", "videoUrls")),
        ({"response": {"urls": []}}, Surprise("field", "urls")),
    ],
)
def test_what_no_reader_knows_is_found(fields: dict[str, Any], surprise: Surprise) -> None:
    assert find_surprises("poll", poll(**fields)) == (surprise,)
    assert surprise.kind in KINDS


@pytest.mark.parametrize(
    ("body", "surprise"),
    [
        ({"code": 200, "msg": "", "data": {"taskId": "t", "queue": 3}}, Surprise("field", "queue")),
        ({"code": 431, "msg": "banned words", "data": None}, Surprise("code", "431")),
        ({"code": "odd", "msg": "", "data": None}, Surprise("code", "odd")),
        ({"code": 200, "data": None, "traceId": "x"}, Surprise("field", "traceId")),
    ],
)
def test_an_unknown_envelope_is_found(body: dict[str, Any], surprise: Surprise) -> None:
    assert find_surprises("submit", KieResponse(200, body, "")) == (surprise,)


@pytest.mark.parametrize("body", [None, [], "text", {"status": 404, "error": "Not Found"}])
def test_a_body_without_kies_envelope_is_left_to_the_readers(body: object) -> None:
    assert find_surprises("poll", KieResponse(404, body, "")) == ()


def test_a_hostile_name_is_shortened_and_printable() -> None:
    (found,) = find_surprises("poll", poll(**{"\x1b[31m" + "x" * 500: 1}))
    assert found.value.isprintable()
    assert len(found.value) == 80


async def test_repeated_surprises_are_stored_once_with_their_number() -> None:
    counted: list[str] = []
    queries = RecordedQueries()
    log = SurpriseLog(queries, counted.append)
    for _ in range(3):
        log.check("gpt-4o-image", "poll", poll(etaSeconds=30, prompt="a secret lighthouse"))
    assert await log.store() == 2
    (call,) = queries.calls
    assert call[:1] == ("record_kie_surprises",)
    _, families, kinds, values, counts, examples = call
    assert families == ["gpt-4o-image"] * 2
    assert (kinds, counts) == (["field"] * 2, [3, 3])
    assert sorted(values) == ["etaSeconds", "prompt"]
    assert "secret lighthouse" not in "".join(examples)
    assert counted == ["field"] * 6
    assert await log.store() == 0


async def test_surprises_stay_pending_while_postgres_is_away() -> None:
    queries = FailingQueries()
    log = SurpriseLog(queries, lambda _kind: None)
    log.check("gpt-4o-image", "poll", poll(etaSeconds=30))
    with pytest.raises(queries.error_type):
        await log.store()
    log.check("gpt-4o-image", "poll", poll(etaSeconds=31))
    queries.is_down = False
    assert await log.store() == 1
    assert queries.calls[-1][4] == [2]


async def test_the_number_of_pending_surprises_is_bounded() -> None:
    counted: list[str] = []
    log = SurpriseLog(RecordedQueries(), counted.append)
    for number in range(PENDING_MAX + 50):
        log.check("gpt-4o-image", "poll", poll(**{f"field{number}": 1}))
    assert await log.store() == PENDING_MAX
    assert len(counted) == PENDING_MAX + 50
