"""The faults of request, order and webhook come at once, and a wrong type is told in a sentence."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from producer import Order, Producer, TextToImage
from shared.errors import InvalidRequest
from tests.acceptance.test_http_jobs import order
from tests.support.deployment import Deployment

PRIVATE = "http://10.0.0.1/hook"
REQUEST = TextToImage(prompt="a lighthouse", aspect_ratio="3:2")
ORDER = Order(request=REQUEST, account_id="acme")


def fields(problem: dict[str, Any]) -> list[str]:
    return [one["field"] for one in problem["errors"]]


async def test_a_webhook_is_refused_beside_the_other_faults_of_its_order(
    deployment: Deployment,
) -> None:
    bad = order(prompt="", webhook_url=PRIVATE, priority="urgent")
    batch = {"jobs": [order(prompt=""), order(webhook_url=PRIVATE), order(quantity=3), order()]}
    async with deployment.api() as api:
        problem = (await api.post("/v1/jobs", bad)).expect(422)
        assert fields(problem) == ["priority", "webhook_url", "prompt"]
        alone = (await api.post("/v1/jobs", order(webhook_url=PRIVATE))).expect(422)
        assert fields(alone) == ["webhook_url"]
        problem = (await api.post("/v1/jobs/batch", batch)).expect(422)
        assert fields(problem) == ["jobs.0.prompt", "jobs.1.webhook_url", "jobs.2.quantity"]
    # A URL that is none is named once.
    for url in (PRIVATE, "nonsense"):
        with pytest.raises(InvalidRequest) as refusal:
            await deployment.producer.enqueue(REQUEST, account_id="a b", webhook_url=url)
        assert [one.field for one in refusal.value.faults] == ["account_id", "webhook_url"]
    assert await deployment.producer.list() == []


class _Thing:
    pass


def any_value(value: object) -> Any:
    """Return a value that no type checker refuses."""
    return value


_Call = Callable[[Producer, Any], Any]
_WRONG: dict[str, tuple[_Call, str]] = {
    "a dict instead of a request": (
        lambda p, _: p.enqueue(any_value({"prompt": "x"}), account_id="acme"),
        r"request: is a dict; give a request, such as `TextToImage",
    ),
    "a class instead of a request": (
        lambda p, _: p.enqueue(any_value(TextToImage), account_id="acme"),
        "request: is the class TextToImage",
    ),
    "nothing at all": (
        lambda p, _: p.enqueue(any_value(None), account_id=any_value(None)),
        "account_id: null must be 1 to 200",
    ),
    "a dict among orders": (
        lambda p, _: p.enqueue_many([ORDER, any_value({})]),
        "jobs.1: is a dict; give an `Order`",
    ),
    "an order instead of a list": (
        lambda p, _: p.enqueue_many(any_value(ORDER)),
        "orders: is an Order; give a list of `Order`",
    ),
    "dicts whose images are checked": (
        lambda p, _: p.enqueue_many(any_value([{}]), check_images=True),
        "jobs.0: is a dict",
    ),
    "a list as metadata": (
        lambda p, _: p.enqueue(REQUEST, account_id="acme", metadata=any_value([])),
        "metadata: must be a JSON object, not a list",
    ),
    "an object in metadata": (
        lambda p, _: p.enqueue(REQUEST, account_id="acme", metadata={"a": _Thing()}),
        "metadata: must be a JSON object",
    ),
    "a time without its timezone": (
        lambda p, _: p.enqueue(REQUEST, account_id="acme", run_at=datetime(2027, 1, 1)),  # noqa: DTZ001
        "run_at: '2027-01-01T00:00:00' must be a time with its timezone",
    ),
    "a number as priority": (
        lambda p, _: p.enqueue(REQUEST, account_id="acme", priority=any_value(1)),
        "priority: 1 must be one of high, normal, low",
    ),
    "text as a connection": (
        lambda p, _: p.enqueue(REQUEST, account_id="acme", connection=any_value("x")),
        "connection: is a str; give a connection of asyncpg",
    ),
    "a job instead of its id": (lambda p, job: p.wait(job), "job_id: is a Job; give its id"),
    "none instead of an id": (lambda p, _: p.cancel(any_value(None)), "job_id: is None; give"),
    "text as a timeout": (
        lambda p, job: p.wait(job.id, timeout_seconds=any_value("5")),
        "timeout_seconds: '5' must be a number of seconds",
    ),
    "a dict as a filter": (
        lambda p, _: p.list(any_value({"state": "queued"})),
        "where: is a dict; give a `JobFilter`",
    ),
    "a number as a state": (lambda p, _: p.list(state=any_value(5)), "state: is an int"),
    "text as a limit": (lambda p, _: p.list(limit=any_value("5")), "limit: '5' must be 1 to"),
    "text as hours": (lambda p, _: p.history(any_value("5")), "hours: '5' must be 1 to 168"),
    "a quote of a dict": (lambda p, _: p.quote(any_value({})), "request: is a dict"),
    "a check of a dict": (
        lambda p, _: p.check_images(any_value({}), account_id="acme"),
        "request: is a dict",
    ),
    "an upload of a number": (
        lambda p, _: p.upload(any_value(5), account_id="acme"),
        "file: is an int; give bytes, the path of a file",
    ),
    "ids instead of a selection": (
        lambda p, job: p.cancel_many(any_value([job.id])),
        "selection: is a list; give a `JobSelection`",
    ),
}


async def test_a_wrong_type_is_refused_in_a_sentence_and_nothing_is_stored(
    deployment: Deployment,
) -> None:
    job = await deployment.enqueue()
    for call, sentence in _WRONG.values():
        with pytest.raises(InvalidRequest, match=sentence):
            await call(deployment.producer, job)
    assert [one.state for one in await deployment.producer.list()] == ["queued"]
