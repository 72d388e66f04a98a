"""Wrong, huge, incomplete and malicious input is refused with a clear 4xx, and not stored.

Redirects to private addresses are met where requests are sent (`test_webhook_sending`): Darkroom
fetches no image. Forged and replayed callbacks are in `test_callbacks`.
"""

from __future__ import annotations

import asyncio
import gzip
import io
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import orjson
import pytest

from producer.api.endpoint import BATCH_BODY_BYTES, JOB_BODY_BYTES
from tests.acceptance.test_http_jobs import order
from tests.support.api_client import ApiClient, ApiResponse
from tests.support.deployment import Deployment

JSON = {"Content-Type": "application/json"}
IMAGE_ORDER = {
    "account_id": "acme",
    "task": "image-to-image",
    "image_urls": ["https://example.com/a.png"],
    "aspect_ratio": "1:1",
}
VALUES: dict[str, Any] = {
    "null": None,
    "boolean": True,
    "integer": 7,
    "number": 1.5,
    "string": "\u0000",
    "array": [[]],
    "object": {"a": 1},
}
"""One value of each type of JSON."""

PRIVATE = (
    *("127.0.0.1", "127.1", "2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1", "127.0.0.1."),
    *("0.0.0.0", "0", "10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1", "100.100.100.200"),
    *("169.254.169.254", "169.254.169.254:80", "168.63.129.16", "224.0.0.1", "255.255.255.255"),
    *("[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:a9fe:a9fe]", "[fe80::1]", "[fe80::1%25eth0]"),
    *("[fd00:ec2::254]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "[ff02::1]", "[::127.0.0.1]"),
    *("localhost", "LOCALHOST.", "api.localhost", "db.internal", "metadata.google.internal"),
    *("printer.local", "intranet", "router.lan", "user@127.0.0.1", "example.com@127.0.0.1"),
    *("example.com:80@127.0.0.1", "user:pass@example.com", "example.com:0", "example.com:99999"),
    *(
        "127。0。0。1",
        "①②⑦.⓪.⓪.①",
        "\uff11\uff12\uff17.0.0.1",
        "loc\u00adalhost",
        "a..b",
        "a b",
        "",
    ),
)
"""Hosts that are not public, or would be read in two ways, in every notation."""
ODD_URLS = (
    *("file:///etc/passwd", "gopher://example.com/", "javascript:alert(1)", "//example.com/a"),
    *("http:example.com", "http:///a", "http://example.com\\@127.0.0.1/", "http://exa mple.com/"),
    *(" http://example.com/", "http://example.com/\r\nX-Evil: 1", "http://example.com/\u0000"),
    *("http://[::1", "http://example.com/" + "a" * 8192, "ftp://example.com/a.png", ""),
)


def check_refused(answer: ApiResponse, *statuses: int) -> dict[str, Any]:
    """Fail unless the answer is one of these refusals, in full; return the problem."""
    assert answer.status in statuses, f"{answer.status}: {answer.body}"
    assert answer.headers["Content-Type"].startswith("application/problem+json")
    problem: dict[str, Any] = answer.body
    assert problem["status"] == answer.status
    assert problem["type"].startswith("urn:darkroom:problem:")
    assert problem["title"]
    assert problem["detail"]
    assert "Traceback" not in problem["detail"]
    return problem


_WRITTEN_BY_THE_CLOCK = {"processes", "history_samples"}


async def rows(deployment: Deployment) -> dict[str, int]:
    """Return the number of rows of every table that only a request changes."""
    names = await deployment.run_sql(
        "SELECT format('%I', table_name) AS name FROM information_schema.tables"
        " WHERE table_schema = 'public' AND table_type = 'BASE TABLE'"
    )
    found = {}
    for name in (row["name"] for row in names):
        if name in _WRITTEN_BY_THE_CLOCK:
            continue
        found[name] = (await deployment.run_sql(f"SELECT count(*) AS n FROM {name}"))[0]["n"]
    assert {"jobs", "ledger_entries", "job_events", "accounts"} <= set(found)
    return found


@asynccontextmanager
async def unmoved(deployment: Deployment) -> AsyncIterator[ApiClient]:
    """Run the API, and fail unless every table has as many rows afterwards as before.

    Except that of the processes: this one writes down that it is alive.
    """
    async with deployment.api() as api:
        before = await rows(deployment)
        yield api
        (await api.get("/v1/jobs")).expect(200)
        assert await rows(deployment) == before
    await deployment.check_account(balance=10_000)


# --- values -----------------------------------------------------------------------------------


def types_of(schema: dict[str, Any]) -> set[str]:
    """Return the types of JSON that a schema of the document takes."""
    if "$ref" in schema:
        return {"object"}
    given = schema["type"]
    types = set(given if isinstance(given, list) else [given])
    # No whole number stands for 1.5, but 7 is a number.
    return types | {"integer"} if "number" in types else types


async def test_a_wrong_type_in_any_field_is_refused_by_the_name_of_the_field(
    deployment: Deployment,
) -> None:
    async with unmoved(deployment) as api:
        schemas = (await api.get("/openapi.json")).expect(200)["components"]["schemas"]
        tried = 0
        for path, name, body in (
            ("/v1/jobs", "Gpt4oImageTextToImage", order()),
            ("/v1/jobs", "Gpt4oImageImageToImage", IMAGE_ORDER),
            ("/v1/accounts/acme/grants", "Grant", {"credits": 1, "reason": "x"}),
        ):
            for field, schema in schemas[name]["properties"].items():
                for kind in VALUES.keys() - types_of(schema) - {"string"}:
                    faults = (await api.post(path, {**body, field: VALUES[kind]})).faults()
                    assert {one.partition(".")[0] for one in faults} == {field}, (field, kind)
                    tried += 1
        assert tried > 100


@pytest.mark.parametrize("field", ["prompt", "account_id", "task", "model", "aspect_ratio"])
async def test_nul_is_refused_in_every_text(deployment: Deployment, field: str) -> None:
    async with unmoved(deployment) as api:
        answer = await api.post("/v1/jobs", order(**{field: "a\u0000b"}))
        assert set(answer.faults()) == {field}
        check_refused(answer, 422)


async def test_nul_is_refused_in_notes_paths_and_parameters(deployment: Deployment) -> None:
    async with unmoved(deployment) as api:
        for notes in ({"a": "\0"}, {"\0": 1}, {"a": [{"b": ["\0"]}]}):
            assert set((await api.post("/v1/jobs", order(metadata=notes))).faults()) == {"metadata"}
        for path in ("/v1/jobs/%00", "/v1/accounts/%00", "/v1/accounts/a%00/ledger"):
            check_refused(await api.send("GET", path), 404)
        check_refused(await api.send("GET", "/v1/jobs?account_id=%00"), 422)
        body = {"credits": 1, "reason": "\0"}
        assert set((await api.post("/v1/accounts/acme/grants", body)).faults()) == {"reason"}
        change = {"credits": 1, "reason": "x"}
        check_refused(await api.put("/v1/prices/%00/text-to-image/1", change), 404)


async def test_times_that_no_database_can_store_are_refused(deployment: Deployment) -> None:
    async with unmoved(deployment) as api:
        for moment in (
            *("9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+23:59", "0000-01-01T00:00:00Z"),
            *("2026-02-30T00:00:00Z", "2026-01-01T25:00:00Z", "2026-01-01", "1767225600"),
        ):
            assert set((await api.post("/v1/jobs", order(run_at=moment))).faults()) == {"run_at"}


# --- bodies -----------------------------------------------------------------------------------


async def send_raw(
    api: ApiClient, body: Any, path: str = "/v1/jobs", **headers: str
) -> ApiResponse:
    given = {**JSON, **{name.replace("_", "-"): value for name, value in headers.items()}}
    return await api.send("POST", path, data=body, headers=given)


NO_OBJECTS = (
    *(
        b"",
        b"{",
        b"[]",
        b"7",
        b"null",
        b'"text"',
        b"{}{}",
        b'{"prompt": NaN}',
        b"\x00",
        b"{'a': 1}",
    ),
    b'{"prompt": "\\ud800"}',
    b'{"prompt": "\\udc00\\ud800"}',
    b'{"\\ud800": 1}',
    b'{"prompt": "\xff\xfe"}',
    b'{"prompt": "\xed\xa0\x80"}',
    b'{"prompt": "\xc0\x80"}',
    b'{"prompt": "\x01"}',
    '{"prompt": "a"}'.encode("utf-16"),
    b'{"metadata": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    b'{"metadata": ' + b'{"a":' * 40_000 + b"1" + b"}" * 40_000 + b"}",
)


async def test_a_body_that_is_no_json_object_is_refused(
    deployment: Deployment, subtests: pytest.Subtests
) -> None:
    async with unmoved(deployment) as api:
        for body in NO_OBJECTS:
            with subtests.test(repr(body[:24])):
                problem = check_refused(await send_raw(api, body), 400)
                check_refused(await send_raw(api, body, "/v1/jobs/batch"), 400)
                check_refused(await send_raw(api, body, "/v1/accounts/acme/grants"), 400)
                assert problem["type"] == "urn:darkroom:problem:malformed_request"


@pytest.mark.parametrize("depth", [300, 900])
async def test_notes_nested_deeper_than_can_be_stored_are_refused(
    deployment: Deployment, depth: int
) -> None:
    notes = b'{"a":' * depth + b"1" + b"}" * depth
    body = orjson.dumps(order())[:-1] + b', "metadata": ' + notes + b"}"
    async with unmoved(deployment) as api:
        assert set((await send_raw(api, body)).faults()) == {"metadata"}


async def chunks(length: int, size: int = 65_536) -> AsyncIterator[bytes]:
    for _ in range(-(-length // size)):
        yield b" " * size


@pytest.mark.promise("body of a request")
@pytest.mark.parametrize(
    ("path", "limit"),
    [
        ("/v1/jobs", JOB_BODY_BYTES),
        ("/v1/jobs/batch", BATCH_BODY_BYTES),
        ("/v1/accounts/acme/grants", JOB_BODY_BYTES),
    ],
)
async def test_a_body_above_the_limit_is_refused_whether_its_length_is_said_or_not(
    deployment: Deployment, path: str, limit: int
) -> None:
    async with unmoved(deployment) as api:
        said = check_refused(await send_raw(api, io.BytesIO(b" " * (limit + 1)), path), 413)
        check_refused(await send_raw(api, chunks(limit + 1), path), 413)
        assert f"{limit:,} bytes" in said["detail"]
        # Up to the limit it is read, and then has no object in it.
        check_refused(await send_raw(api, io.BytesIO(b" " * limit), path), 400)


async def test_a_body_that_is_not_said_to_be_json_is_refused(
    deployment: Deployment, subtests: pytest.Subtests
) -> None:
    body = orjson.dumps(order())
    async with unmoved(deployment) as api:
        for kind in (
            *("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"),
            *("text/json", "application/octet-stream", "application/xml", "", "*/*"),
        ):
            with subtests.test(kind):
                check_refused(await send_raw(api, body, Content_Type=kind), 415)


async def test_a_compressed_body_is_refused_unread(
    deployment: Deployment, subtests: pytest.Subtests
) -> None:
    body = orjson.dumps(order())
    packed = {"gzip": gzip.compress(body), "deflate": zlib.compress(body)}
    async with unmoved(deployment) as api:
        for coding in ("gzip", "deflate", "br", "zstd", "identity, gzip", "nonsense"):
            with subtests.test(coding):
                sent = packed.get(coding, body)
                check_refused(await send_raw(api, sent, Content_Encoding=coding), 400, 415)


# --- addresses --------------------------------------------------------------------------------


async def test_no_image_webhook_or_mask_leads_to_what_is_not_public(deployment: Deployment) -> None:
    urls = [f"{scheme}://{host}/a.png" for scheme in ("http", "https") for host in PRIVATE]
    async with unmoved(deployment) as api:
        for url in (*urls, *ODD_URLS):
            for field, changes in (
                ("image_urls.0", {"image_urls": [url]}),
                ("mask_url", {"mask_url": url}),
                ("webhook_url", {"webhook_url": url}),
            ):
                answer = await api.post("/v1/jobs", {**IMAGE_ORDER, **changes})
                assert set(answer.faults()) == {field}, url
        some = ("127.0.0.1", "10.0.0.1", "169.254.169.254", "[::1]", "localhost", "db.internal")
        batch = [{**IMAGE_ORDER, "webhook_url": f"http://{host}/"} for host in some]
        faults = (await api.post("/v1/jobs/batch", {"jobs": batch})).faults()
        assert set(faults) == {f"jobs.{n}.webhook_url" for n in range(len(some))}


async def test_a_refusal_repeats_no_secret_of_a_url(deployment: Deployment) -> None:
    url = "http://user:hunter2@127.0.0.1/a.png?signature=hunter2"
    async with unmoved(deployment) as api:
        for changes in ({"image_urls": [url], "mask_url": url}, {"webhook_url": url}):
            answer = await api.post("/v1/jobs", {**IMAGE_ORDER, **changes})
            assert len(answer.faults()) == len(changes)
            assert "hunter2" not in str(answer.body)


# --- headers ----------------------------------------------------------------------------------


async def exchange(api: ApiClient, text: bytes) -> tuple[int, bytes]:
    """Send these bytes on a new connection. Return the status and the whole answer."""
    url = api.session._base_url
    assert url is not None
    reader, writer = await asyncio.open_connection(url.host, url.port)
    try:
        writer.write(text)
        async with asyncio.timeout(20):
            answer = await reader.read()
    finally:
        writer.close()
        await writer.wait_closed()
    return int(answer.split(b" ", 2)[1]), answer


def raw_order(*headers: bytes) -> bytes:
    body = orjson.dumps(order())
    lines = [
        *(b"POST /v1/jobs HTTP/1.1", b"Host: localhost", b"Connection: close"),
        *(b"Content-Type: application/json", b"Content-Length: %d" % len(body), *headers),
    ]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


NO_HEADERS = (
    *(b"Idempotency-Key: a\rX-Evil: 1", b"Idempotency-Key: a\nb", b"Idempotency-Key: a\0b"),
    *(b"X-Request-Id: a\rX-Evil: 1", b"X Evil: 1", b"X-Evil : 1", b": 1", b"X-Evil"),
    *(b"Content-Length: 5", b"Content-Length: -1", b"Transfer-Encoding: chunked"),
    b"X-Long: " + b"a" * 20_000,
)


async def test_what_is_no_http_is_refused_with_a_problem(
    deployment: Deployment, subtests: pytest.Subtests
) -> None:
    async with unmoved(deployment) as api:
        for header in NO_HEADERS:
            with subtests.test(repr(header[:26])):
                status, answer = await exchange(api, raw_order(header))
                head, _, body = answer.partition(b"\r\n\r\n")
                assert status == 400
                assert b"application/problem+json" in head
                assert b"X-Evil" not in answer
                assert orjson.loads(body)["type"] == "urn:darkroom:problem:malformed_request"


NO_KEYS = (
    (b"Idempotency-Key: a", b"Idempotency-Key: a"),
    (b"Idempotency-Key: " + "ä".encode(),),
    (b"Idempotency-Key: \xff",),
    (b"Idempotency-Key: a\tb",),
    (b"Idempotency-Key:",),
    (b"Idempotency-Key: " + b"k" * 256,),
)


@pytest.mark.promise("1 to 255 printable ASCII characters", "Idempotency-Key")
async def test_an_idempotency_key_is_one_short_line_of_ascii(
    deployment: Deployment, subtests: pytest.Subtests
) -> None:
    async with unmoved(deployment) as api:
        for headers in NO_KEYS:
            with subtests.test(repr(headers)[:40]):
                status, answer = await exchange(api, raw_order(*headers))
                assert status == 422
                problem = orjson.loads(answer.partition(b"\r\n\r\n")[2])
                assert [fault["field"] for fault in problem["errors"]] == ["Idempotency-Key"]


@pytest.mark.promise("so a batch's own has at most 251")
async def test_the_key_of_a_batch_leaves_room_for_the_places_of_its_jobs(
    deployment: Deployment,
) -> None:
    async with unmoved(deployment) as api:
        for key in ("k" * 252, "", "a\u00e9"):
            answer = await api.post("/v1/jobs/batch", {"jobs": [order()]}, Idempotency_Key=key)
            assert set(answer.faults()) == {"Idempotency-Key"}


async def test_nothing_of_a_request_becomes_a_header_of_the_answer(deployment: Deployment) -> None:
    async with unmoved(deployment) as api:
        for path in (
            "/v1/jobs/%0d%0aX-Evil:%201",
            "/%0d%0aX-Evil:%201",
            "/v1/prices?%0d%0aX-Evil=1",
        ):
            answer = await api.send("GET", path, headers={"X-Request-Id": "%0d%0aX-Evil: 1"})
            check_refused(answer, 404, 422)
            assert "X-Evil" not in answer.headers


async def test_two_keys_are_refused_as_nobody_knows_which_counts(deployment: Deployment) -> None:
    headers = (b"Authorization: Bearer dk_a", b"Authorization: Bearer dk_b")
    async with unmoved(deployment) as api:
        status, _ = await exchange(api, raw_order(*headers))
    assert status == 401


async def test_credits_beyond_reason_are_refused(deployment: Deployment) -> None:
    async with unmoved(deployment) as api:
        for credits in (1e300, -1e300, 10**30, 1_000_001, 0, -0.0, float(Decimal("1e-400"))):
            body = {"credits": credits, "reason": "x"}
            raw = (
                orjson.dumps(body) if abs(credits) < 2**63 else str(body).replace("'", '"').encode()
            )
            answer = await send_raw(api, raw, "/v1/accounts/acme/grants")
            assert set(answer.faults()) == {"credits"}, credits
