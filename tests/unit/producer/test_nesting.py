"""Metadata may be nested up to 100 levels deep, in every kind of value.

What is stored is read again inside of other objects: a list, a webhook, an event. JSON of 255
levels cannot be written here, and what is one level below cannot be wrapped.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson
import pytest

from producer.api.requests.order_body import parse_batch, parse_order
from producer.cli.options import parse_json_object
from producer.orders.order import Order
from shared.errors import InvalidRequest
from shared.stored_json import MAX_JSON_DEPTH, exceeds_depth, read_stored_json
from tests.support.deployment import text_to_image


@dataclass
class Holder:
    """Written as an object, though it is none."""

    inner: Any


def objects(depth: int) -> Any:
    return {"a": objects(depth - 1)} if depth else 1


def lists(depth: int) -> Any:
    """A list in an object, as metadata itself is one."""
    value: Any = 1
    for _ in range(depth - 1):
        value = [value]
    return {"a": value}


def tuples(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth - 1):
        value = (value,)
    return {"a": value}


def mixed(depth: int) -> Any:
    value: Any = 1
    for level in range(depth - 1):
        value = [0, value] if level % 2 else {"b": 0, "a": value}
    return {"a": value}


def holders(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth - 1):
        value = Holder(value)
    return {"a": value}


JSON_KINDS = [objects, lists, mixed]


@pytest.mark.parametrize("kind", [*JSON_KINDS, tuples, holders], ids=lambda kind: kind.__name__)
def test_an_order_takes_what_is_nested_as_deep_as_may_be_and_no_deeper(kind: Any) -> None:
    for depth in (MAX_JSON_DEPTH - 1, MAX_JSON_DEPTH):
        made = Order(request=text_to_image(), account_id="acme", metadata=kind(depth))
        stored = orjson.dumps(dict(made.metadata)).decode()
        assert read_stored_json(stored) == orjson.loads(stored)
    for depth in (MAX_JSON_DEPTH + 1, 252, 253, 254, 255, 300):
        with pytest.raises(InvalidRequest) as refused:
            Order(request=text_to_image(), account_id="acme", metadata=kind(depth))
        assert [fault.field for fault in refused.value.faults] == ["metadata"]


@pytest.mark.promise("metadata")
@pytest.mark.parametrize("kind", JSON_KINDS, ids=lambda kind: kind.__name__)
def test_http_and_a_batch_take_the_same(kind: Any) -> None:
    body = {"task": "text-to-image", "prompt": "a", "aspect_ratio": "1:1"}
    for depth in (MAX_JSON_DEPTH - 1, MAX_JSON_DEPTH):
        parse_order({**body, "metadata": kind(depth)}, "acme", None)
        parse_batch({"jobs": [body, {**body, "metadata": kind(depth)}]}, "acme", None)
    for depth in (MAX_JSON_DEPTH + 1, 252, 253):
        with pytest.raises(InvalidRequest):
            parse_order({**body, "metadata": kind(depth)}, "acme", None)
        with pytest.raises(InvalidRequest) as refused:
            parse_batch({"jobs": [body, {**body, "metadata": kind(depth)}]}, "acme", None)
        assert [fault.field for fault in refused.value.faults] == ["jobs.1.metadata"]


@pytest.mark.parametrize("kind", JSON_KINDS, ids=lambda kind: kind.__name__)
def test_what_may_be_stored_may_be_wrapped(kind: Any) -> None:
    """By the widest that there is: a page of a list in a message, and then some."""
    assert not exceeds_depth(kind(MAX_JSON_DEPTH), MAX_JSON_DEPTH)
    assert exceeds_depth(kind(MAX_JSON_DEPTH + 1), MAX_JSON_DEPTH)
    page = {"jobs": [{"metadata": kind(MAX_JSON_DEPTH)}]}
    assert orjson.loads(orjson.dumps({"data": {"data": [page]}}))


@pytest.mark.parametrize("kind", JSON_KINDS, ids=lambda kind: kind.__name__)
def test_the_command_line_takes_the_same(kind: Any) -> None:
    for depth in (MAX_JSON_DEPTH - 1, MAX_JSON_DEPTH, MAX_JSON_DEPTH + 1):
        given = parse_json_object(orjson.dumps(kind(depth)).decode())
        if depth <= MAX_JSON_DEPTH:
            Order(request=text_to_image(), account_id="acme", metadata=given)
            continue
        with pytest.raises(InvalidRequest):
            Order(request=text_to_image(), account_id="acme", metadata=given)
