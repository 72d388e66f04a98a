"""Record-info in every form that Kie has been seen to use, switch by switch."""

from __future__ import annotations

import orjson
import pytest

from tests.unit.simulator.fake_kie import FakeKie, read


def finished(fake: FakeKie, **fields: object) -> dict[str, object]:
    task = fake.created(**fields)
    fake.time.advance(10)
    return fake.shown(task)


@pytest.mark.parametrize(
    ("outcome", "status", "error_code"),
    [
        ("generate_failed", "GENERATE_FAILED", 500),
        ("create_task_failed", "CREATE_TASK_FAILED", 500),
        ("content_policy", "GENERATE_FAILED", 400),
        ("image_fetch_failed", "GENERATE_FAILED", 451),
    ],
)
def test_each_failure_is_reported_in_its_own_words(
    outcome: str, status: str, error_code: int
) -> None:
    shown = finished(FakeKie(outcome=outcome))
    assert (shown["successFlag"], shown["status"]) == (2, status)
    assert (shown["errorCode"], shown["progress"]) == (error_code, "0.00")
    assert shown["errorMessage"]
    assert shown["response"] is None


def test_a_content_policy_refusal_names_openai() -> None:
    assert "flagged by OpenAI" in str(finished(FakeKie(outcome="content_policy"))["errorMessage"])


def test_an_unknown_status_word_comes_with_an_unknown_flag() -> None:
    shown = finished(FakeKie(outcome="unknown_status"))
    assert (shown["successFlag"], shown["status"]) == (4, "ARCHIVED")


@pytest.mark.parametrize(
    ("rate", "outcome"),
    [
        ({"generate_failed_rate": 1}, "generate_failed"),
        ({"create_task_failed_rate": 1}, "create_task_failed"),
        ({"content_policy_rate": 1}, "content_policy"),
        ({"image_fetch_failed_rate": 1}, "image_fetch_failed"),
        ({"unknown_status_rate": 1}, "unknown_status"),
        ({}, "success"),
    ],
)
def test_outcomes_can_be_mixed_by_rates(rate: dict[str, object], outcome: str) -> None:
    assert FakeKie(**rate).created().planned.outcome.name == outcome


def test_a_rate_of_a_half_fails_about_half() -> None:
    fake = FakeKie(generate_failed_rate=0.5)
    fake.kie.create_limit.limit = 0
    failed = sum(not fake.created().planned.outcome.success for _ in range(400))
    assert 150 < failed < 250


def test_failed_tasks_can_carry_flag_3() -> None:
    assert finished(FakeKie(outcome="generate_failed", failure_flag="3"))["successFlag"] == 3


def test_failure_flags_can_be_mixed() -> None:
    fake = FakeKie(outcome="generate_failed", failure_flag="mixed")
    assert {fake.created().planned.failure_flag for _ in range(20)} == {2, 3}


def test_a_running_task_has_no_message_and_no_code() -> None:
    fake = FakeKie()
    shown = fake.shown(fake.created())
    assert (shown["errorMessage"], shown["errorCode"]) == (None, None)


@pytest.mark.parametrize("prompt", ["a lighthouse", "a [[sim: one_image=yes]] lighthouse"])
def test_a_number_of_images_that_kie_ignores_costs_and_brings_one(prompt: str) -> None:
    fake = FakeKie() if "sim" in prompt else FakeKie(one_image=True)
    task = fake.created(prompt, nVariants=4)
    fake.time.advance(10)
    assert len(fake.shown(task)["response"]["resultUrls"]) == 1
    assert fake.kie.account.describe()["net"] == 6.0


def test_the_status_field_can_be_missing() -> None:
    assert "status" not in finished(FakeKie(omit_status=True))


def test_a_running_task_can_show_another_status_word() -> None:
    fake = FakeKie(generating_status="QUEUED")
    assert fake.shown(fake.created())["status"] == "QUEUED"


@pytest.mark.parametrize(
    ("form", "created", "completed"),
    [
        ("ms", 1_800_000_000_000, 1_800_000_010_000),
        ("text", "2027-01-15 08:00:00", "2027-01-15 08:00:10"),
        ("iso", "2027-01-15T08:00:00Z", "2027-01-15T08:00:10Z"),
    ],
)
def test_times_come_in_three_forms(form: str, created: object, completed: object) -> None:
    shown = finished(FakeKie(time_form=form))
    assert (shown["createTime"], shown["completeTime"]) == (created, completed)


def test_the_response_can_be_json_text() -> None:
    response = finished(FakeKie(response_form="string"))["response"]
    assert isinstance(response, str)
    assert len(orjson.loads(response)["resultUrls"]) == 1


def test_the_response_of_a_success_can_be_null() -> None:
    assert finished(FakeKie(response_form="null"))["response"] is None


def test_the_response_of_a_failure_can_be_an_empty_list() -> None:
    shown = finished(FakeKie(outcome="generate_failed", failed_response="empty"))
    assert shown["response"] == {"resultUrls": []}


@pytest.mark.parametrize(
    ("spelling", "names"),
    [
        ("camel", {"resultUrls"}),
        ("snake", {"result_urls"}),
        ("both", {"resultUrls", "result_urls"}),
    ],
)
def test_urls_are_spelled_as_asked(spelling: str, names: set[str]) -> None:
    response = finished(FakeKie(url_spelling=spelling))["response"]
    assert isinstance(response, dict)
    assert response.keys() == names


def test_a_success_can_carry_an_error_code() -> None:
    assert finished(FakeKie(success_error_code=400))["errorCode"] == 400


def test_a_success_can_come_without_urls() -> None:
    shown = finished(FakeKie(success_without_urls=1), nVariants=4)
    assert (shown["successFlag"], shown["response"]) == (1, {"resultUrls": []})


def test_a_success_can_come_with_fewer_urls_than_asked() -> None:
    response = finished(FakeKie(missing_urls=1), nVariants=4)["response"]
    assert isinstance(response, dict)
    assert len(response["resultUrls"]) == 3


@pytest.mark.parametrize(
    ("form", "progress"), [("by_clock", "0.39"), ("by_duration", "0.50"), ("stuck", "0.00")]
)
def test_progress_has_three_forms(form: str, progress: str) -> None:
    fake = FakeKie(progress_form=form)
    task = fake.created()
    fake.time.advance(5)
    assert fake.shown(task)["progress"] == progress


def test_a_task_can_stay_generating_for_ever() -> None:
    fake = FakeKie(never_ends=1)
    task = fake.created()
    fake.time.advance(10_000_000)
    shown = fake.shown(task)
    assert (shown["status"], shown["progress"]) == ("GENERATING", "0.99")


def test_a_duration_can_be_set_exactly() -> None:
    fake = FakeKie(duration=1234.5)
    task = fake.created()
    fake.time.advance(1234.4)
    assert fake.shown(task)["successFlag"] == 0
    fake.time.advance(0.1)
    assert fake.shown(task)["successFlag"] == 1


def test_a_prompt_sets_the_switches_of_its_own_task_only() -> None:
    fake = FakeKie()
    marked = fake.created("x [[sim: outcome=generate_failed, duration=1, failure_flag=3]]")
    plain = fake.created()
    fake.time.advance(10)
    assert fake.shown(marked)["successFlag"] == 3
    assert fake.shown(plain)["successFlag"] == 1


def test_a_misspelled_directive_creates_nothing_and_says_so() -> None:
    fake = FakeKie()
    creation = fake.create("[[sim: outcom=success]]")
    assert creation.task is None
    assert "did you mean outcome" in read(creation.reply)["msg"]
    assert fake.kie.record.creates_refused == {"directive": 1}


def test_a_new_task_can_be_unknown_for_a_while() -> None:
    fake = FakeKie(visible_after_seconds=2)
    task = fake.created()
    fake.time.advance(1.9)
    assert read(fake.poll(task.id)) == {
        "code": 422,
        "msg": "The record does not exist",
        "data": None,
    }
    fake.time.advance(0.1)
    assert read(fake.poll(task.id))["code"] == 200


@pytest.mark.parametrize(("form", "code"), [("422", 422), ("404", 404), ("null", 200)])
def test_a_missing_task_is_reported_in_three_forms(form: str, code: int) -> None:
    answer = read(FakeKie(missing_form=form).poll("nobody"))
    assert (answer["code"], answer["data"]) == (code, None)


@pytest.mark.parametrize(
    ("form", "fields"),
    [
        ("comma", {"response"}),
        ("top", {"resultUrls"}),
        ("result_json", {"resultJson"}),
        ("objects", {"response"}),
        ("broken", {"response"}),
    ],
)
def test_a_success_can_have_its_urls_in_other_places(form: str, fields: set[str]) -> None:
    shown = finished(FakeKie(response_form=form), nVariants=2)
    filled = {name for name in ("response", "resultUrls", "resultJson") if shown.get(name)}
    assert filled == fields


def test_the_markets_state_can_stand_in_place_of_flag_and_status() -> None:
    fake = FakeKie(market_state=True)
    task = fake.created()
    assert fake.shown(task)["state"] == "generating"
    fake.time.advance(10)
    shown = fake.shown(task)
    assert shown["state"] == "success"
    assert not {"successFlag", "status"} & set(shown)
    assert finished(FakeKie(market_state=True, outcome="generate_failed"))["state"] == "fail"
