"""Every route of every listener meets every bad text: none answers 5xx, none stores anything.

The routes are those of the product's own tables, so that a new one is met as well.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from datetime import datetime

import aiohttp
import orjson
from aiohttp import web

from producer.api.endpoint import Endpoint
from producer.api.routes import ENDPOINTS
from tests.acceptance.test_hostile_callers import path_of
from tests.acceptance.test_hostile_input import (
    IMAGE_ORDER,
    check_refused,
    exchange,
    rows,
    send_raw,
    unmoved,
)
from tests.acceptance.test_http_jobs import order
from tests.support.api_client import ApiClient
from tests.support.deployment import Deployment
from worker.callbacks.receiver import CallbackReceiver

IN_A_PATH = (
    # NUL, halves of characters, UTF-8 that is none, as bytes and percent-encoded.
    *(b"%00", b"a%00b", b"\xff", b"a\xffb", b"\xed\xa0\x80", b"%ff", b"%ed%a0%80", b"%c0%80"),
    *(b"%f8%88%80%80%80", b"%", b"%2", b"%zz", b"%u0041"),
    # Numbers that are none, or that no column holds; digits of other scripts.
    *(b"-1", b"NaN", b"Infinity", b"1e308", b"0x10", b"1_0", b"+1", b"9" * 20, b"9" * 4_000),
    *("\u0663".encode(), "\U0001fbf1".encode(), "\uff11".encode(), "\u00b2".encode(), b"%D9%A3"),
    # Marks that turn or hide text.
    *(b"%E2%80%AE", b"%E2%80%8F", b"%EF%BB%BF", b"%E2%80%8B", b"a%CC%80", b"%F3%A0%84%80"),
    # Times out of range, and existing names in another case.
    *(b"0000-01-01T00:00:00Z", b"10000-01-01T00:00:00Z", b"ACME", b"GPT-4O-IMAGE"),
    # Paths outside of the route.
    *(b"%2e%2e%2f", b"..%2f..%2f", b"%0d%0aX-Evil:%201", b"\x27;DROP%20TABLE%20jobs--", b"{}"),
    b"a" * 7_000,
)
IN_JSON = (
    *(b'"\\u0000"', b'"\\ud800"', b'"\\udc00\\ud800"', b'"\xff"', b'"\xed\xa0\x80"'),
    *(b'"\xc0\x80"', b"NaN", b"Infinity", b"-Infinity", b"1e400", b"-1e400", b"-1e300"),
    *(b"9" * 400, b"1" + b"0" * 30, b"[" * 200 + b"]" * 200, b'{"\\u0000": 1}'),
    *(b"1e", b"01", b"+1", b"'a'"),
)
IN_A_HEADER = (b"\xff\xfe", b"\xed\xa0\x80", b"9" * 400, b"%00", b'W/"\xff', b",,;=\t")
DATES = (
    *("0000-01-01T00:00:00Z", "0001-01-01T00:00:00+00:01", "9999-12-31T23:59:59-00:01"),
    *("10000-01-01T00:00:00Z", "2026-01-01T00:00:00+24:00", "2026-01-01T00:00:00+99:99"),
    *("2026-01-01T24:00:01Z", "2026-01-01T00:00:60Z", "\u0662026-01-01T00:00:00Z"),
    *("2026-13-01T00:00:00Z", "\uff12026-01-01T00:00:00Z", "2026-01-01T00:00:00\u202e"),
)


def parts_of(endpoint: Endpoint) -> Iterator[tuple[bytes, bytes]]:
    """Yield what stands before and after each part of the path in braces, the others made good."""
    for found in re.finditer(r"{(\w+)}", endpoint.path):
        before, after = endpoint.path[: found.start()], endpoint.path[found.end() :]
        for name, good in (("model", "gpt-4o-image"), ("task", "text-to-image"), ("quantity", "1")):
            before, after = before.replace(f"{{{name}}}", good), after.replace(f"{{{name}}}", good)
        yield before.encode(), after.encode()


async def status_of(api: ApiClient, method: str, target: bytes, *headers: bytes) -> int:
    """Send this request, with a body that changes nothing; fail unless a refusal is a problem."""
    body = b"" if method == "GET" else b'{"credits": 0, "reason": "x"}'
    lines = (b"%b %b HTTP/1.1" % (method.encode(), target), b"Host: localhost", *headers)
    head = (*lines, b"Connection: close", b"Content-Length: %d" % len(body))
    kind = () if method == "GET" else (b"Content-Type: application/json",)
    status, answer = await exchange(api, b"\r\n".join((*head, *kind)) + b"\r\n\r\n" + body)
    assert b"X-Evil" not in answer.partition(b"\r\n\r\n")[0]
    if status >= 400:
        assert b"application/problem+json" in answer, (target[:80], answer[:300])
    return status


def path_without_change(endpoint: Endpoint) -> bytes:
    """Return an address at which a request without a body changes nothing."""
    # A secret needs no body.
    account_id = "nobody" if endpoint.name.endswith("WebhookSecret") else "acme"
    return path_of(endpoint, account_id).encode()


async def test_no_part_of_a_path_breaks_a_route(deployment: Deployment) -> None:
    async with unmoved(deployment) as api:
        tried = 0
        for endpoint in ENDPOINTS:
            for before, after in parts_of(endpoint):
                for text in IN_A_PATH:
                    status = await status_of(api, endpoint.method, before + text + after)
                    assert 400 <= status < 500, (endpoint.name, text[:40], status)
                    tried += 1
        assert tried > 400


async def test_no_parameter_breaks_a_route(deployment: Deployment) -> None:
    await deployment.enqueue()
    async with deployment.api() as api:
        before = await rows(deployment)
        for endpoint in ENDPOINTS:
            path = path_without_change(endpoint)
            for parameter in endpoint.parameters:
                name = parameter.name.encode()
                for text in IN_A_PATH:
                    if parameter.location == "header":
                        status = await status_of(
                            api, endpoint.method, path, b"%b: %b" % (name, text)
                        )
                    else:
                        target = b"%b?%b=%b" % (path, name, text)
                        status = await status_of(api, endpoint.method, target)
                    assert status < 500, (endpoint.name, parameter.name, text[:40])
                other = name.swapcase()
                target = b"%b?%b=1&%b=2" % (path, name, other)
                assert await status_of(api, endpoint.method, target) < 500
        assert await rows(deployment) == before


async def test_ids_and_numbers_have_one_spelling(deployment: Deployment) -> None:
    job_id = str((await deployment.enqueue()).id)
    arabic = "".join(chr(0x660 + int(c)) if c.isdigit() else c for c in job_id)
    async with deployment.api() as api:
        for text in (
            f"{{{job_id}}}",
            f"urn:uuid:{job_id}",
            arabic,
            f"{job_id[:-1]}_",
            f" {job_id}",
        ):
            assert set((await api.get("/v1/jobs", cursor=text)).faults()) == {"cursor"}, text
            assert (await api.get(f"/v1/jobs/{text}")).status == 404
        for text in ("\u0665", "1_0", " 5", "+5", "5.0", "\U0001fbf5", "0x5"):
            assert set((await api.get("/v1/jobs", limit=text)).faults()) == {"limit"}, text
            cursor = await api.get("/v1/accounts/acme/ledger", cursor=text)
            assert set(cursor.faults()) == {"cursor"}, text
        (await api.get(f"/v1/jobs/{job_id.upper()}")).expect(200)
        (await api.get(f"/v1/jobs/{job_id.replace('-', '')}")).expect(200)


async def first_status(api: ApiClient, sent: bytes) -> int:
    """Send this and return the status of the first answer, whether the connection ends or not."""
    url = api.session._base_url
    assert url is not None
    reader, writer = await asyncio.open_connection(url.host, url.port)
    writer.write(sent)
    async with asyncio.timeout(20):
        line = await reader.readline()
    writer.transport.abort()
    return int(line.split(b" ")[1])


async def test_no_header_breaks_a_route(deployment: Deployment) -> None:
    """Those that every route reads, twice as well, and in bytes that are no text."""
    names = (
        *(b"Authorization", b"X-Request-Id", b"Content-Type", b"Content-Encoding", b"Accept"),
        *(b"If-None-Match", b"Last-Event-ID", b"Idempotency-Key", b"Cookie", b"Range", b"Expect"),
        *(b"If-Modified-Since", b"Accept-Encoding", b"Connection", b"Upgrade", b"Referer"),
    )
    paths = (
        *(path_without_change(one) for one in ENDPOINTS),
        b"/openapi.json",
        b"/docs",
        b"/nowhere",
    )
    methods = (*(one.method for one in ENDPOINTS), "GET", "GET", "GET")
    async with unmoved(deployment) as api:
        for method, path in zip(methods, paths, strict=True):
            for name in names:
                for text in (
                    b"\xff\xfe",
                    b"\xed\xa0\x80",
                    b"9" * 400,
                    b"%00",
                    b'W/"\xff',
                    b",,;=\t",
                ):
                    head = [b"%b %b HTTP/1.1" % (method.encode(), path), b"Host: localhost"]
                    head += [b"%b: %b" % (name, text)] * 2
                    sent = b"\r\n".join([*head, b"Connection: close", b"", b""])
                    status = await first_status(api, sent)
                    assert status < 500, (method, path, name, text)


async def test_no_value_of_a_body_breaks_a_route(deployment: Deployment) -> None:
    """Each field of each body, by the document; then each date."""
    async with unmoved(deployment) as api:
        schemas = (await api.get("/openapi.json")).expect(200)["components"]["schemas"]
        for path, name, good in (
            ("/v1/jobs", "Gpt4oImageTextToImage", order()),
            ("/v1/jobs", "Gpt4oImageImageToImage", IMAGE_ORDER),
            ("/v1/accounts/acme/grants", "Grant", {"credits": 1, "reason": "x"}),
        ):
            for field in schemas[name]["properties"]:
                for text in IN_JSON:
                    # Of two fields of one name the last counts.
                    sent = b'%b, "%b": %b}' % (orjson.dumps(good)[:-1], field.encode(), text)
                    check_refused(await send_raw(api, sent, path), 400, 422)
        for date in DATES:
            assert set((await api.post("/v1/jobs", order(run_at=date))).faults()) == {"run_at"}, (
                date
            )
        for twice in (b'{"Prompt": "a", "prompt": "b"}', b'{"ACCOUNT_ID": "acme"}'):
            check_refused(await send_raw(api, twice), 422)


async def test_the_ends_of_the_calendar_are_stored_and_read_again(deployment: Deployment) -> None:
    moments = ("9999-12-29T23:59:59.999999Z", "0001-01-03T00:00:00Z")
    async with deployment.api() as api:
        for moment in moments:
            job = (await api.post("/v1/jobs", order())).expect(202)
            # The API takes no time so far ahead. A statement may store one.
            await deployment.run_sql(
                "UPDATE jobs SET run_at = $2 WHERE id = $1::text::uuid",
                job["id"],
                datetime.fromisoformat(moment),
            )
            assert (await api.get(f"/v1/jobs/{job['id']}")).expect(200)["run_at"] == moment
        page = (await api.get("/v1/jobs")).expect(200)
        assert {job["run_at"] for job in page["jobs"]} == set(moments)
        for job in page["jobs"]:
            (await api.send("POST", f"/v1/jobs/{job['id']}/cancel")).expect(200)


async def test_no_text_breaks_a_route_of_the_worker(deployment: Deployment) -> None:
    """`/callbacks/kie/%00` once answered 503 and asked to be repeated."""
    async with deployment.worker_with_callbacks() as resources:
        routes: list[web.RouteDef] = [
            *resources.health.routes(),
            *CallbackReceiver(resources.database, resources.deps.clock, None, print).routes(),
        ]
        url = str(resources.deps.settings.kie_callback_url)
        api = ApiClient(aiohttp.ClientSession(url))
        before = await rows(deployment)
        body = b'{"data": {"taskId": "t"}}'
        try:
            assert {one.method for one in routes} == {"GET", "POST"}
            for route in routes:
                for text in IN_A_PATH:
                    target = route.path.replace("{token}", "\0").encode().replace(b"\0", text)
                    target += b"" if "{token}" in route.path else b"?a=" + text
                    head = b"%b %b HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n" % (
                        route.method.encode(),
                        target,
                    )
                    sent = body if route.method == "POST" else b""
                    status, _ = await exchange(
                        api, head + b"Content-Length: %d\r\n\r\n%b" % (len(sent), sent)
                    )
                    wanted = {400, 404} if route.method == "POST" else {200, 400}
                    assert status in wanted, (route.path, text[:40], status)
            assert await rows(deployment) == before
        finally:
            await api.session.close()


BODIES = (
    *(b"\xff", b"{}", b'{"taskId": "\\u0000"}', b'{"taskId": "\\ud800"}', b"[" * 9_999),
    *(b'{"taskId": "%b"}' % (b"9" * 201), b'{"taskId": 1e400}', b'{"taskId": "\xe2\x80\xae"}'),
)


async def test_no_body_of_a_callback_breaks_its_route(deployment: Deployment) -> None:
    async with deployment.worker_with_callbacks() as resources, aiohttp.ClientSession() as session:
        url = f"{resources.deps.settings.kie_callback_url}/callbacks/kie/"
        for body in BODIES:
            for token in ("nobody", "%00", "a" * 32):
                async with session.post(url + token, data=body) as answer:
                    assert answer.status in {400, 404}, body
