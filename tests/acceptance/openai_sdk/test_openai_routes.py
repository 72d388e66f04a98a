"""Below /openai/ every refusal has OpenAI's shape, and what the SDKs do next buys nothing twice."""

from __future__ import annotations

import asyncio
import base64
import io
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import aiohttp
from pydantic import SecretStr

from producer.api import serving_api
from producer.api.openai_api.image_requests import OpenaiImages
from producer.api.openai_api.openai_routes import openai_endpoints
from producer.keys.key_store import KeyStore
from producer.keys.roles import Role
from tests.support.api_client import ApiClient, ApiResponse
from tests.support.database_logins import logged_in
from tests.support.deployment import Deployment, eventually
from tests.support.example_images import encoded_image

GENERATIONS = "/openai/v1/images/generations"
EDITS = "/openai/v1/images/edits"
IMAGES: Any = None
ROUTES = [
    (one.method, one.path.replace("{id}", "gpt-image-1"), one.roles)
    for one in openai_endpoints(OpenaiImages(IMAGES, wait_seconds=1.0))
]
URL = {"prompt": "a cat", "response_format": "url"}


@asynccontextmanager
async def openai_api(deployment: Deployment, **changes: Any) -> AsyncIterator[ApiClient]:
    """Run the API, and yield a client with a key for the account."""
    _, key = await KeyStore(deployment.database).create(Role.SERVICE, "acme")
    async with deployment.api(**changes) as api:
        yield api.with_key(key)


def check_error(answer: ApiResponse, status: int, code: str, param: str | None = None) -> str:
    """Fail unless this is the error, in OpenAI's shape. Return its message."""
    assert answer.status == status, answer.text
    error = answer.body["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    assert (error["code"], error["param"]) == (code, param), error
    assert answer.headers["X-Request-Id"]
    message: str = error["message"]
    return message


async def test_every_route_refuses_in_the_shape_of_openai(deployment: Deployment) -> None:
    keys = KeyStore(deployment.database)
    of_role = {role: (await keys.create(role))[1] for role in (Role.VIEWER, Role.OPERATOR)}
    async with openai_api(deployment) as api:
        nobody = ApiClient(api.session)
        for method, path, roles in ROUTES:
            check_error(await nobody.send(method, path), 401, "invalid_api_key")
            check_error(await api.send("DELETE", path), 405, "method_not_allowed")
            for role, key in of_role.items():
                if role not in roles:
                    check_error(await api.with_key(key).send(method, path), 403, "forbidden")
        for path in ("/openai", "/openai/", "/openai/v1", "/openai/v2/models"):
            answer = await api.get(path)
            assert path == "/openai" or check_error(answer, 404, "not_found")
        check_error(await api.post("/openai/v1/images/variations", {}), 404, "not_found")
        check_error(await api.get("/openai/v1/models/gpt-9"), 404, "model_not_found")
        check_error(await api.get("/openai/v1/models/%00"), 404, "model_not_found")
    assert await deployment.run_sql("SELECT FROM jobs") == []


JSON = "application/json"
FORM = "multipart/form-data; boundary=b"
DEEP = b"[" * 900 + b"]" * 900


def form_of(*parts: tuple[str, bytes]) -> bytes:
    """Return the body of a form with these parts."""
    body = b"".join(
        b'--b\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n' % (name.encode(), data)
        for name, data in parts
    )
    return body + b"--b--\r\n"


BAD_BODIES: list[tuple[str, bytes, str, int, str, str | None]] = [
    (GENERATIONS, b"{", JSON, 400, "malformed_request", None),
    (GENERATIONS, b"[1]", JSON, 400, "malformed_request", None),
    (GENERATIONS, b'{"prompt":"a","n":1e400}', JSON, 400, "malformed_request", None),
    (GENERATIONS, b'{"prompt":"' + b"x" * 600_000, JSON, 413, "request_too_large", None),
    (GENERATIONS, form_of(("prompt", b"x")), FORM, 415, "unsupported_content", None),
    (GENERATIONS, b'{"prompt":%s}' % DEEP, JSON, 400, "invalid_value", "prompt"),
    (GENERATIONS, b'{"prompt":"a","seed":%s}' % DEEP, JSON, 400, "invalid_value", "seed"),
    (GENERATIONS, b'{"prompt":"a\\u0000"}', JSON, 400, "invalid_value", "prompt"),
    (GENERATIONS, b'{"prompt":"a","n":%s}' % (b"9" * 30), JSON, 400, "invalid_value", "n"),
    (EDITS, b"{}", JSON, 415, "unsupported_content", None),
    (EDITS, b"", "multipart/form-data", 400, "malformed_request", None),
    (EDITS, b"--b\r\nnothing", FORM, 400, "malformed_request", None),
    (EDITS, form_of(), FORM, 400, "invalid_value", "image"),
    (EDITS, form_of(("n", b"\xff")), FORM, 400, "invalid_value", "n"),
    (EDITS, form_of(("n", b"1"), ("n", b"1")), FORM, 400, "invalid_value", "n"),
    (EDITS, form_of(("prompt", b"x" * 600_000)), FORM, 400, "invalid_value", "prompt"),
    (EDITS, form_of(("image", b"no image")), FORM, 400, "invalid_value", "image"),
    (EDITS, form_of(*((f"a{n}", b"") for n in range(200))), FORM, 400, "invalid_value", None),
]


async def test_a_body_that_cannot_be_read_is_refused_and_stores_nothing(
    deployment: Deployment,
) -> None:
    async with openai_api(deployment) as api:
        for path, body, content_type, status, code, param in BAD_BODIES:
            headers = {"Content-Type": content_type, "x-stainless-retry-count": "9" * 5000}
            answer = await api.send("POST", path, data=body, headers=headers)
            check_error(answer, status, code, param)
        packed = {"Content-Type": JSON, "Content-Encoding": "gzip"}
        refused = await api.send("POST", GENERATIONS, data=b"x", headers=packed)
        # The listener refuses it before any handler.
        check_error(refused, 415, "unsupported_content")
    assert await deployment.run_sql("SELECT FROM jobs") == []
    assert await deployment.run_sql("SELECT FROM files") == []


async def test_an_image_that_cannot_be_read_is_an_error_that_names_its_job(
    deployment: Deployment,
) -> None:
    """The job is charged, as Kie has delivered. The retry of the SDK reads its image again."""
    deployment.simulator.set_faults(image_error_rate=1.0)
    async with deployment.worker(), openai_api(deployment) as api:
        refused = await api.post(GENERATIONS, {"prompt": "a cat"})
        message = check_error(refused, 502, "image_not_fetched")
        job_id = refused.headers["x-darkroom-job-id"]
        assert f"GET /v1/jobs/{job_id}" in message
        assert refused.headers["x-should-retry"] == "true"
        deployment.simulator.set_faults(image_error_rate=0.0)
        retried = await api.post(GENERATIONS, {"prompt": "a cat"}, x_stainless_retry_count="1")
        assert len(retried.expect(200)["data"][0]["b64_json"]) > 100
        assert retried.headers["x-darkroom-job-id"] == job_id
    await deployment.check_account(balance=10_000 - 6)


async def test_an_image_comes_from_its_copy_where_the_link_of_kie_has_died(
    deployment: Deployment, tmp_path: Path
) -> None:
    results: dict[str, Any] = {"results_url": f"file://{tmp_path}/images"}
    deployment.simulator.set_faults(image_lifetime_seconds=0.001)
    async with deployment.worker(**results), openai_api(deployment, **results) as api:
        answer = await api.post(GENERATIONS, {"prompt": "a cat", "n": 2})
        encoded = [base64.b64decode(one["b64_json"]) for one in answer.expect(200)["data"]]
        job = await deployment.producer.get(answer.headers["x-darkroom-job-id"])
        # An address of a copy needs a key, which the program of the caller does not send.
        links = await api.post(GENERATIONS, URL)
        named = await deployment.producer.get(links.headers["x-darkroom-job-id"])
    assert [sha256(one).hexdigest() for one in encoded] == [one.sha256 for one in job.images]
    assert [one["url"] for one in links.body["data"]] == [one.kie_url for one in named.images]


async def test_a_request_that_waits_is_answered_when_the_process_stops(
    deployment: Deployment,
) -> None:
    _, key = await KeyStore(deployment.database).create(Role.SERVICE, "acme")

    async def is_placed() -> bool:
        return bool(await deployment.run_sql("SELECT FROM jobs"))

    async with aiohttp.ClientSession() as session:
        async with serving_api(deployment.settings) as addresses:
            url = f"http://{addresses[0]}{GENERATIONS}"
            waiting = asyncio.create_task(ApiClient(session, key).post(url, URL))
            await eventually(is_placed, "the job is placed")
        answer = await waiting
    message = check_error(answer, 503, "job_not_finished")
    assert "this server stops" in message


async def test_a_login_of_the_role_of_the_api_suffices(
    deployment: Deployment, database_url: str
) -> None:
    picture = io.BytesIO(encoded_image("PNG"))
    form = {"prompt": "a hat", "image": picture, "response_format": "url"}
    async with logged_in(database_url, ["darkroom_api"]) as url:
        changes = {"database_url": SecretStr(url), "openai_wait_seconds": 0.01}
        async with openai_api(deployment, **changes) as api:
            first = await placed(api)
            assert await placed(api, x_stainless_retry_count="1") == first
            edited = await api.send("POST", EDITS, data=form)
            check_error(edited, 504, "job_not_finished")
            assert (await api.get("/openai/v1/models")).expect(200)["object"] == "list"


NO_RETRIES: list[dict[str, Any]] = [
    {},  # another request
    {"x_stainless_retry_count": "0"},
    {"x_stainless_retry_count": "-1"},
    {"x_stainless_retry_count": "²"},
    {"x_stainless_retry_count": "1", "Idempotency_Key": "another"},
]


async def test_what_is_no_retry_gets_a_job_of_its_own(deployment: Deployment) -> None:
    async with openai_api(deployment, openai_wait_seconds=0.01) as api:
        named = [await placed(api), *[await placed(api, **headers) for headers in NO_RETRIES]]
    assert len(set(named)) == 1 + len(NO_RETRIES)


async def placed(api: ApiClient, body: Mapping[str, Any] = URL, **headers: Any) -> str:
    """Return the id of the job of a request that is answered before its job has ended."""
    answer = await api.post(GENERATIONS, body, **headers)
    check_error(answer, 504, "job_not_finished")
    return answer.headers["x-darkroom-job-id"]


async def test_a_retry_gets_no_job_of_another_request_account_or_time(
    deployment: Deployment,
) -> None:
    await deployment.open_account("other", 100)
    _, key = await KeyStore(deployment.database).create(Role.SERVICE, "other")
    retry: dict[str, Any] = {"x_stainless_retry_count": "1"}
    async with openai_api(deployment, openai_wait_seconds=0.01) as api:
        named = [
            await placed(api),
            await placed(api, {**URL, "prompt": "a dog"}, **retry),
            await placed(api, {**URL, "user": "u"}, **retry),
            await placed(api.with_key(key), **retry),
        ]
        await deployment.run_sql("UPDATE jobs SET created_at = created_at - interval '1 day'")
        named.append(await placed(api, **retry))
        # The newest request was not claimed yet. It serves each retry once.
        assert await placed(api, **retry) == named[-1]
        named.append(await placed(api, **retry))
    assert len(set(named)) == 6
