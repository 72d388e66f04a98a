"""What schemathesis cannot know from the document alone: which accounts, jobs and prices there are.

A document says which requests are well formed, not what a database holds, and a well-formed order
of nobody's account is rightly refused. So the document under test names what the test has made.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from typing import Any, cast

import orjson
import schemathesis
from hypothesis import strategies as st

HOSTS = ("example.com", "images.example.org", "1.1.1.1", "[2606:4700::1111]")

schemathesis.openapi.format(
    "public-url",
    st.builds(
        "{}://{}{}/{}".format,
        st.sampled_from(["http", "https"]),
        st.sampled_from(HOSTS),
        st.sampled_from(["", ":8443"]),
        st.from_regex(r"[a-z0-9/_.%?=&-]{0,40}", fullmatch=True),
    ),
)


# What Kie takes is decided by the bytes. The document can only say that they are an image.
_PNG = (
    b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\0\0\0\0\x3a\x7e\x9b\x55"
    b"\0\0\0\0IDAT\x35\xaf\x06\x1e\0\0\0\0IEND\xae\x42\x60\x82"
)
for _type in ("image/png", "image/jpeg", "image/webp"):
    schemathesis.openapi.media_type(_type, st.just(_PNG))


_ORDERS_STEP = 8
_FIRST_CASES = 30
_LATER_CASES_STEP = 8
"""The coverage phase has hundreds of cases of one operation. Short versions send the first ones,
and one of so many others."""
_cases_of: Counter[str] = Counter()


@schemathesis.hook
def filter_case(context: schemathesis.HookContext, case: schemathesis.Case[Any]) -> bool:
    """Leave out most cases of the coverage phase, unless all are asked for."""
    del context
    if _known()["sends_every_case"] or not case.meta or case.meta.phase.name.value != "coverage":
        return True
    label = case.operation.label
    _cases_of[label] += 1
    return _cases_of[label] <= _FIRST_CASES or _cases_of[label] % _LATER_CASES_STEP == 0


def _known() -> dict[str, Any]:
    return cast("dict[str, Any]", orjson.loads(os.environ["DARKROOM_TEST_KNOWN"]))


@schemathesis.hook
def before_load_schema(context: schemathesis.HookContext, raw_schema: dict[str, Any]) -> None:
    """Put what there is in the place of every string that would do."""
    del context
    known = _known()
    for operation in _operations(raw_schema):
        names = known["paths"].get(operation["operationId"], {})
        for parameter in operation.get("parameters", []):
            if parameter["name"] in names:
                parameter["schema"] = {"type": "string", "enum": names[parameter["name"]]}
    _name_upload(raw_schema["paths"]["/v1/files"]["post"], known)
    _name_quote(raw_schema["paths"]["/v1/quote"]["get"], known)
    schemas = raw_schema["components"]["schemas"]
    # The document cannot say which times are to come, and which prices there are.
    schemas["ScheduledPriceOrder"]["properties"] |= known["scheduled_price"]
    # Nor what there is to pause, and that only one of two ends is given.
    schemas["PauseStart"]["properties"] |= {
        "scope": {"enum": ["account"]},
        "value": {"enum": known["accounts"]},
        "until": {"type": "null"},
    }
    schemas["PauseStart"]["required"] += ["value"]
    # Nor which family can send another's jobs. A route that is changed would refuse other orders.
    schemas["RouteChoice"]["properties"]["via"] = {"enum": known["paths"]["routeModel"]["model"]}
    schemas["RouteChoice"].pop("examples", None)
    for one in schemas["JobOrder"]["oneOf"]:
        order = schemas[one["$ref"].rpartition("/")[2]]
        order["properties"]["account_id"] = {"type": "string", "enum": known["accounts"]}
        # Nor how late a job may run.
        order["properties"]["run_at"] = {"enum": [None, *known["run_at"]]}
        # Webhooks are really sent: to a receiver of the test, and nowhere else.
        order["properties"]["webhook_url"] = {"enum": [known["webhook_url"], None]}
        order["required"] += ["account_id"] if known.get("must_name_account") else []
    orders = schemas["JobOrder"]["oneOf"]
    if not known["sends_every_case"]:
        # One of so many families stands for all: each has its own tests of its fields.
        orders[:] = orders[::_ORDERS_STEP]
    # Every order is tried by itself. A batch of some is tried, for the sake of time.
    schemas["JobBatch"]["properties"]["jobs"]["items"] = {"oneOf": orders[:3]}
    schemas["JobBatch"].pop("examples", None)


def _name_upload(upload: dict[str, Any], known: dict[str, Any]) -> None:
    """Let an image be sent as it is, and to an account that there is."""
    # A part of a form has no strategy of its own, and random bytes are rightly refused.
    del upload["requestBody"]["content"]["multipart/form-data"]
    [account] = upload["parameters"]
    account["schema"] = {"type": "string", "enum": known["accounts"]}
    account["required"] = known.get("must_name_account", False)


def _name_quote(quote: dict[str, Any], known: dict[str, Any]) -> None:
    """Let quotes be of orders that one model takes, which the query cannot say."""
    values = {
        "account_id": known["accounts"],
        "model": ["gpt-4o-image"],
        "task": ["text-to-image"],
        "prompt": ["a lighthouse"],
        "aspect_ratio": ["1:1", "3:2"],
        "quantity": ["1", "2", "4"],
        "priority": ["high", "normal", "low"],
    }
    quote["parameters"] = [one for one in quote["parameters"] if one["name"] in values]
    for one in quote["parameters"]:
        one["schema"] = {"type": "string", "enum": values[one["name"]]}
        one["required"] = one["name"] != "account_id" or known.get("must_name_account", False)


@schemathesis.deserializer("text/csv")
def read_csv(context: schemathesis.DeserializationContext, response: schemathesis.Response) -> Any:
    """Return a statement as its text."""
    del context
    return response.text


def _operations(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for path in document["paths"].values():
        yield from path.values()


@schemathesis.hook
def before_call(
    context: schemathesis.HookContext, case: schemathesis.Case[Any], kwargs: dict[str, Any]
) -> None:
    """Make what the document cannot say: where streams resume, how periods end, and routes."""
    del context, kwargs
    meta = case.meta
    query = case.query or {}
    if {"from", "to"} <= set(query) and str(query["from"]) >= str(query["to"]):
        # The document cannot say that one must be before the other.
        del query["to"]
    if query.get("check_images") == "true":
        # The images of the examples are nowhere.
        query["check_images"] = "false"
    is_positive = meta is not None and meta.generation.mode.is_positive
    if is_positive and case.operation.definition.raw["operationId"] == "routeModel":
        # A link names any model, and not each family can send the jobs of each model.
        case.path_parameters = {"model": cast("dict[str, str]", case.body)["via"]}
    if is_positive and "Last-Event-ID" in case.headers:
        case.headers["Last-Event-ID"] = "0"
