"""The response to a body with many faults is bounded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from producer.api.requests.admin_bodies import Grant, PriceChange, parse_admin_body
from producer.api.requests.order_body import FIELDS_MAX, parse_batch, parse_order
from producer.api.responses.problems import problem_from_error
from shared.errors import FAULTS_MAX, Fault, InvalidRequest

ORDER = {"task": "text-to-image", "prompt": "p", "aspect_ratio": "1:1", "account_id": "acme"}
ANSWER_BYTES_MAX = 512 * 1024


def names(count: int) -> dict[str, int]:
    return {f"name{number}": number for number in range(count)}


def as_order(body: Mapping[str, Any]) -> object:
    return parse_order(body, None, None)


def as_batch(body: Mapping[str, Any]) -> object:
    return parse_batch(body, "acme", None)


def as_grant(body: Mapping[str, Any]) -> object:
    return parse_admin_body(Grant, body)


def as_price(body: Mapping[str, Any]) -> object:
    return parse_admin_body(PriceChange, body)


WIDE: list[tuple[Callable[[Mapping[str, Any]], object], dict[str, Any]]] = [
    (as_order, {**ORDER, **names(30_000)}),
    (as_order, {**ORDER, **names(FIELDS_MAX - len(ORDER))}),
    (as_batch, {"jobs": [ORDER], **names(100_000)}),
    (as_batch, {"jobs": [{**ORDER, **names(90)}] * 1_000}),
    (as_batch, {"jobs": [{**ORDER, **names(1_000)}] * 1_000}),
    (as_batch, {"jobs": [{"x" * 10_000: 1}] * 1_000}),
    (as_grant, names(30_000)),
    (as_price, {"credits": 1, "reason": "x", **names(30_000)}),
]


@pytest.mark.promise("An object with more than 100 fields is refused as such")
@pytest.mark.parametrize(("read", "body"), WIDE, ids=lambda value: getattr(value, "__name__", ""))
def test_the_refusal_is_bounded(
    read: Callable[[Mapping[str, Any]], object], body: dict[str, Any]
) -> None:
    with pytest.raises(InvalidRequest) as refused:
        read(body)
    assert 1 <= len(refused.value.faults) <= FAULTS_MAX + 1
    answer = problem_from_error(refused.value).body
    assert isinstance(answer, bytes)
    assert len(answer) < ANSWER_BYTES_MAX


def test_every_job_of_a_batch_may_have_a_fault_of_its_own() -> None:
    with pytest.raises(InvalidRequest) as refused:
        as_batch({"jobs": [{**ORDER, "quantity": 3}] * 1_000})
    assert [fault.field for fault in refused.value.faults] == [
        f"jobs.{number}.quantity" for number in range(1_000)
    ]


@pytest.mark.promise("A refusal lists up to 1,000 faults, one for each job of a batch")
def test_what_is_left_out_is_counted() -> None:
    faults = InvalidRequest([Fault(str(number), "is wrong") for number in range(2_500)]).faults
    assert (len(faults), faults[-1]) == (FAULTS_MAX + 1, Fault("", "and 1,500 more"))
