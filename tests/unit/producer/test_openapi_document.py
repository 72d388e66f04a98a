"""The OpenAPI document is complete, and its page loads nothing from other servers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from importlib.resources import files
from typing import Any

import orjson
import pytest
from aiohttp import ClientSession, web

from producer.api.endpoint import Endpoint
from producer.api.openapi.docs_routes import document_routes
from producer.api.openapi.document import build_document, render_document
from producer.api.requests.admin_bodies import Grant, PriceChange, parse_admin_body
from producer.api.requests.order_body import parse_batch, parse_order
from producer.api.responses.http_errors import HttpRefusal
from producer.api.routes import ENDPOINTS
from producer.keys.roles import Role
from shared.catalog import list_families
from tests.support.ports import free_port

DOCUMENT: dict[str, Any] = orjson.loads(render_document(ENDPOINTS))
SCHEMAS: dict[str, Any] = DOCUMENT["components"]["schemas"]
EVERY = pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda one: one.name)
STATIC = files("producer.api").joinpath("static")


def walk(node: Any) -> Iterator[Any]:
    yield node
    children = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    for child in children:
        yield from walk(child)


def operation_of(endpoint: Endpoint) -> dict[str, Any]:
    found: dict[str, Any] = DOCUMENT["paths"][endpoint.path][endpoint.method.lower()]
    return found


def order_schemas() -> list[dict[str, Any]]:
    names = [one["$ref"].rpartition("/")[2] for one in SCHEMAS["JobOrder"]["oneOf"]]
    return [SCHEMAS[name] for name in names]


# --- whole --------------------------------------------------------------------------------------


def test_every_reference_leads_somewhere() -> None:
    references = [
        node["$ref"] for node in walk(DOCUMENT) if isinstance(node, dict) and "$ref" in node
    ]
    assert len(references) > 50
    for reference in references:
        place = DOCUMENT
        for part in reference.removeprefix("#/").split("/"):
            place = place[part]


@EVERY
def test_an_endpoint_is_described_as_its_row_says(endpoint: Endpoint) -> None:
    operation = operation_of(endpoint)
    assert operation["operationId"] == endpoint.name
    assert operation["summary"] == endpoint.summary
    given = {(one["name"], one["in"]) for one in operation.get("parameters", [])}
    in_path = {(name, "path") for name in re.findall(r"{(\w+)}", endpoint.path)}
    assert given == in_path | {(one.name, one.location) for one in endpoint.parameters}
    takes_body = endpoint.body is not None or endpoint.uploads is not None
    assert ("requestBody" in operation) == takes_body
    for role in Role:
        assert (role.value in operation["description"]) == (role in endpoint.roles)


@EVERY
def test_every_answer_and_refusal_is_described(endpoint: Endpoint) -> None:
    described = set(operation_of(endpoint)["responses"])
    wanted = {*endpoint.responses, *endpoint.problems, 400, 401, 403, 429, 500, 503}
    if endpoint.body is not None or endpoint.uploads is not None:
        wanted |= {408, 413, 415}
    assert described == {str(status) for status in wanted}


def test_every_status_that_refuses_a_request_as_such_is_described() -> None:
    kinds = HttpRefusal.__subclasses__()
    assert len(kinds) > 5
    assert {str(int(kind.status)) for kind in kinds} <= set(DOCUMENT["components"]["responses"])


def test_names_of_operations_are_unique_and_tags_are_explained() -> None:
    operations = [one for path in DOCUMENT["paths"].values() for one in path.values()]
    names = [one["operationId"] for one in operations]
    assert len(set(names)) == len(names)
    assert {tag for one in operations for tag in one["tags"]} == {
        tag["name"] for tag in DOCUMENT["tags"]
    }


def test_no_schema_shows_a_keyword_that_json_schema_does_not_have() -> None:
    """Pydantic writes some constraints under its own names, which no client understands."""
    foreign = {"ge", "gt", "le", "lt", "max_length", "min_length", "title"}
    for name, schema in SCHEMAS.items():
        for node in walk(schema):
            if isinstance(node, dict) and "type" in node and isinstance(node["type"], str):
                assert not foreign & set(node), (name, node)


# --- as exact as the checks ---------------------------------------------------------------------


@pytest.mark.promise("`GET /openapi.json` has the fields of each")
def test_each_task_of_each_family_has_its_order() -> None:
    found = [
        (one["properties"]["model"]["const"], one["properties"]["task"]["const"])
        for one in order_schemas()
    ]
    assert found == [(one.name, task) for one in list_families().values() for task in one.tasks]


def test_every_example_of_a_body_is_accepted() -> None:
    examples = [example for one in order_schemas() for example in one["examples"]]
    assert len(examples) >= 3
    for example in examples:
        assert parse_order(example, None, None).account_id == example["account_id"]
    for example in SCHEMAS["JobBatch"]["examples"]:
        assert len(parse_batch(example, None, None)) == len(example["jobs"])
    assert [parse_admin_body(Grant, one).credits for one in SCHEMAS["Grant"]["examples"]] == [100]
    assert [parse_admin_body(PriceChange, one) for one in SCHEMAS["PriceChange"]["examples"]]


def test_an_order_says_what_the_checks_say() -> None:
    of_the_default = [
        one for one in order_schemas() if one["properties"]["model"].get("default") is not None
    ]
    text, image = (one["properties"] for one in of_the_default)
    assert re.search(text["prompt"]["pattern"], " a ")
    for bad in ("", " \n", "a\0"):
        assert not re.search(text["prompt"]["pattern"], bad)
    assert text["prompt"]["maxLength"] == 20_000
    assert image["prompt"]["type"] == ["string", "null"]
    assert (image["image_urls"]["minItems"], image["image_urls"]["maxItems"]) == (1, 5)
    assert image["image_urls"]["items"]["format"] == "public-url"
    assert text["run_at"]["format"] == "date-time"
    assert text["webhook_url"]["format"] == "public-url"
    assert text["fallback_model"]["enum"] == ["GPT_IMAGE_1", "FLUX_MAX", None]
    for schema in order_schemas():
        assert schema["additionalProperties"] is False
        assert "idempotency_key" not in schema["properties"]
        assert "account_id" not in schema["required"]
    assert of_the_default[1]["then"] == {"properties": {"image_urls": {"maxItems": 1}}}


def test_a_field_named_like_a_keyword_of_schemas_is_kept() -> None:
    assert "title" in SCHEMAS["Problem"]["properties"]


def test_a_new_row_is_in_the_document() -> None:
    row = Endpoint(
        method="DELETE",
        path="/v1/things/{thing}",
        handler=ENDPOINTS[0].handler,
        name="dropThing",
        summary="Drop it",
        tag="jobs",
        responses={204: None},
    )
    operation = build_document([row])["paths"]["/v1/things/{thing}"]["delete"]
    assert operation["parameters"][0]["schema"] == {"type": "string"}
    assert "content" not in operation["responses"]["204"]


# --- served, with a page that needs no network ----------------------------------------------------


async def get(path: str, **headers: str) -> tuple[int, Mapping[str, str], bytes]:
    """Ask a server that has nothing but the documents."""
    app = web.Application()
    app.add_routes(document_routes(ENDPOINTS))
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    port = free_port()
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
        async with ClientSession(f"http://127.0.0.1:{port}") as session:
            given = {name.replace("_", "-"): value for name, value in headers.items()}
            async with session.get(path, headers=given) as response:
                return response.status, response.headers, await response.read()
    finally:
        await runner.cleanup()


async def test_the_document_is_served_and_not_sent_twice() -> None:
    status, headers, body = await get("/openapi.json")
    assert (status, headers["Content-Type"]) == (200, "application/json")
    assert orjson.loads(body) == DOCUMENT
    for known in (headers["ETag"], f'"other", {headers["ETag"]}', f"W/{headers['ETag']}", "*"):
        status, _, body = await get("/openapi.json", If_None_Match=known)
        assert (status, body) == (304, b"")
    assert (await get("/openapi.json", If_None_Match='"other"'))[0] == 200


async def test_the_page_loads_everything_from_its_own_server() -> None:
    status, headers, body = await get("/docs")
    assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    page = body.decode()
    links = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert len(links) == 4
    assert not re.search(r"<script(?![^>]*\ssrc=)|<style|\son\w+=|https?://", page)
    for link in links:
        assert link.startswith("docs/")
        status, headers, body = await get(f"/{link}")
        assert status == 200
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert len(body) > 100


async def test_the_page_may_run_and_ask_nothing_but_its_own_server() -> None:
    policy = (await get("/docs"))[1]["Content-Security-Policy"]
    rules = {words[0]: words[1:] for rule in policy.split(";") if (words := rule.split())}
    assert rules["default-src"] == ["'none'"]
    assert rules["script-src"] == rules["connect-src"] == rules["style-src"] == ["'self'"]
    assert "unsafe" not in policy
    assert not re.search(r"https?:", policy)


def test_what_is_not_ours_says_whose_it_is_and_which_version() -> None:
    vendored = STATIC.joinpath("swagger-ui")
    names = {file.name for file in vendored.iterdir()}
    assert {"LICENSE", "NOTICE", "VERSION", "swagger-ui-bundle.js.LICENSE.txt"} <= names
    assert re.match(r"swagger-ui-dist 5\.\d+\.\d+,", vendored.joinpath("VERSION").read_text())
    assert "Apache License" in vendored.joinpath("LICENSE").read_text()
