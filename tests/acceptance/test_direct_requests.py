"""Without keys only a program of this machine is trusted, and forms change nothing, key or no key.

Docs: "every client that reaches it directly may do everything", and what ends that.
"""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from producer.api.endpoint import Endpoint
from producer.api.routes import ENDPOINTS
from producer.keys.roles import Role
from tests.acceptance.test_hostile_callers import path_of
from tests.acceptance.test_hostile_input import check_refused, exchange, rows, unmoved
from tests.acceptance.test_http_access import key_of
from tests.acceptance.test_http_jobs import order
from tests.support.api_client import ApiClient, ApiResponse
from tests.support.deployment import Deployment

SIGNS = {
    "Forwarded": "for=192.0.2.60;proto=http",
    "X-Forwarded-For": "203.0.113.7",
    "x-forwarded-proto": "https",
    "X-Forwarded-Host": "localhost",
    "X-Real-IP": "127.0.0.1",
    "Via": "1.1 proxy",
    "X-Client-IP": "203.0.113.7",
    "CF-Connecting-IP": "203.0.113.7",
    "True-Client-IP": "203.0.113.7",
    "X-Envoy-External-Address": "203.0.113.7",
    "X-Original-URL": "/v1/jobs",
    "Origin": "https://evil.example",
    "origin": "null",
    "Sec-Fetch-Site": "cross-site",
    "sec-fetch-site": "same-site",
    "Referer": "https://evil.example/page",
}
CHANGING = [one for one in ENDPOINTS if one.method != "GET"]
FORMS = ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x")


async def ask(
    api: ApiClient, endpoint: Endpoint, headers: dict[str, str], body: bytes = b"{}"
) -> ApiResponse:
    given = {"Content-Type": "application/json", **headers}
    data = None if endpoint.method == "GET" else body
    return await api.send(endpoint.method, path_of(endpoint), data=data, headers=given)


@pytest.mark.promise("Any sign of a proxy or of another web page is `401`")
async def test_any_sign_of_a_proxy_or_of_another_page_needs_a_key(deployment: Deployment) -> None:
    async with unmoved(deployment) as api:
        for endpoint in ENDPOINTS:
            for name, value in SIGNS.items():
                answer = await ask(api, endpoint, {name: value})
                problem = check_refused(answer, 401)
                assert problem["type"] == "urn:darkroom:problem:key_refused"
                assert "darkroom keys create" in problem["detail"]
                assert name.lower() in problem["detail"].lower()
                assert answer.headers["WWW-Authenticate"]


@pytest.mark.promise("HTTP/1.0, a `Host` that is not this machine")
async def test_another_name_than_localhost_and_http_1_0_need_a_key(deployment: Deployment) -> None:
    """nginx sends HTTP/1.0 and the upstream's own name unless it is configured otherwise."""
    async with unmoved(deployment) as api:
        for host in (
            "evil.example",
            "localhost.evil.example",
            "192.0.2.1",
            "[2001:db8::1]:80",
            "[",
        ):
            answer = await api.send("GET", "/v1/jobs", headers={"Host": host})
            if answer.status != 400:
                assert "darkroom keys create" in check_refused(answer, 401)["detail"], host
        status, answer_bytes = await exchange(
            api, b"GET /v1/jobs HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n"
        )
        assert (status, b"darkroom keys create" in answer_bytes) == (401, True)


async def test_our_own_page_and_plain_programs_are_trusted(deployment: Deployment) -> None:
    async with deployment.api() as api:
        url = api.session._base_url
        assert url is not None
        own = f"http://{url.host}:{url.port}"
        for headers in (
            {"Sec-Fetch-Site": "same-origin", "Origin": own, "Referer": f"{own}/docs"},
            {"Sec-Fetch-Site": "none"},
            {"X-Request-Id": "a"},
        ):
            (await api.post("/v1/jobs", order(), **headers)).expect(202)
        port_of_another = {"Origin": f"http://{url.host}:{int(url.port or 0) + 1}"}
        check_refused(await api.post("/v1/jobs", order(), **port_of_another), 401)


async def test_with_a_key_a_proxy_changes_nothing(deployment: Deployment) -> None:
    key = await key_of(deployment, Role.ADMIN)
    async with deployment.api() as nobody:
        api = nobody.with_key(key)
        for name, value in SIGNS.items():
            (await api.send("GET", "/v1/jobs", headers={name: value})).expect(200)
            check_refused(await nobody.send("GET", "/v1/jobs", headers={name: value}), 401)


@pytest.mark.promise("A route that changes something accepts JSON alone, with a key or without")
@pytest.mark.parametrize("has_key", [True, False], ids=["with a key", "without keys"])
async def test_no_form_changes_anything_on_any_route(
    deployment: Deployment, *, has_key: bool
) -> None:
    """A web page can send these types anywhere without asking."""
    job = await deployment.enqueue()
    bodies: list[Any] = [orjson.dumps(order()), b"", b"credits=1&reason=x"]
    key = await key_of(deployment, Role.ADMIN) if has_key else None
    async with deployment.api() as nobody:
        api = nobody.with_key(key) if key else nobody
        before = await rows(deployment)
        for endpoint in CHANGING:
            # The one route of these that takes forms and bodies of any type: no body is an image.
            takes_files = endpoint.name == "uploadFile"
            query = "?account_id=acme" if takes_files else ""
            for kind in FORMS:
                for body in bodies:
                    answer = await api.send(
                        endpoint.method,
                        path_of(endpoint, job_id=str(job.id)) + query,
                        data=body,
                        headers={"Content-Type": kind},
                    )
                    check_refused(answer, *((400, 422) if takes_files else (415,)))
        assert await rows(deployment) == before
        assert (await deployment.producer.get(job.id)).state == "queued"
        cancelled = await api.send("POST", f"/v1/jobs/{job.id}/cancel")
        assert cancelled.expect(200)["state"] == "cancelled"
