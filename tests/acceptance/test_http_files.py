"""Images are uploaded over HTTP: what is taken, what is refused, and who sees it."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import aiohttp
import pytest

from producer.api.access.upload_slots import UploadSlots
from producer.api.responses.http_errors import TooManyRequests
from producer.keys.key_store import KeyStore
from producer.keys.roles import Role
from tests.fakes.fake_uploads import FakeUploads, receiving_uploads
from tests.support.api_client import ApiClient, ApiResponse
from tests.support.deployment import Deployment
from tests.support.example_images import encoded_image, large_png, png_of

PNG = encoded_image("PNG")
LARGE = large_png(2_000_000)
PATH = "/v1/files?account_id=acme"


@pytest.fixture
async def kie() -> AsyncIterator[FakeUploads]:
    async with receiving_uploads() as fake:
        yield fake


@asynccontextmanager
async def uploading_api(deployment: Deployment, kie: FakeUploads) -> AsyncIterator[ApiClient]:
    key = kie.access.key
    async with deployment.api(kie_upload_url=kie.url, kie_upload_key=key) as api:
        yield api


async def send(
    api: ApiClient, data: Any, content_type: str = "image/png", path: str = PATH
) -> ApiResponse:
    body = io.BytesIO(data) if isinstance(data, bytes) else data
    return await api.send("POST", path, data=body, headers={"Content-Type": content_type})


def form_of(data: bytes, name: str = "file") -> aiohttp.FormData:
    form = aiohttp.FormData()
    form.add_field(name, io.BytesIO(data), filename="cat.exe", content_type="text/html")
    return form


async def test_an_image_is_uploaded_and_named_in_a_job(
    deployment: Deployment, kie: FakeUploads
) -> None:
    async with uploading_api(deployment, kie) as api, deployment.worker():
        answer = await send(api, PNG)
        file = answer.expect(201)
        assert answer.headers["Location"] == f"/v1/files/{file['id']}"
        assert (file["content_type"], file["width"], file["height"]) == ("image/png", 37, 23)
        assert kie.stored[file["url"]] == PNG
        assert (await api.get(answer.headers["Location"])).expect(200) == file
        order = {"account_id": "acme", "task": "image-to-image", "aspect_ratio": "1:1"}
        job = (await api.post("/v1/jobs", {**order, "image_urls": [file["url"]]})).expect(202)
        ended = (await api.get(f"/v1/jobs/{job['id']}", wait=20)).expect(200)
        schema = (await api.get("/openapi.json")).expect(200)["components"]["schemas"]["File"]
    assert ended["state"] == "succeeded"
    assert ended["request"]["image_urls"] == [file["url"]]
    assert set(file) == set(schema["properties"])
    await deployment.check_account(balance=10_000 - ended["credits_charged"])


@pytest.mark.promise("Its bytes alone decide", "The same bytes are the same file")
@pytest.mark.parametrize("content_type", ["image/png", "text/plain", "application/json", "a"])
@pytest.mark.parametrize("data", [PNG, LARGE])
async def test_the_bytes_alone_tell_the_type(
    deployment: Deployment, kie: FakeUploads, data: bytes, content_type: str
) -> None:
    async with uploading_api(deployment, kie) as api:
        raw = (await send(api, data, content_type)).expect(201)
        form = (await api.send("POST", PATH, data=form_of(data))).expect(201)
    assert raw == form
    assert raw["content_type"] == "image/png"


BAD_IMAGES = {
    "an empty file": (b"", "is empty"),
    "a header that is cut off": (PNG[:20], "is cut off"),
    "an svg": (b"<svg xmlns='http://www.w3.org/2000/svg'><script/></svg>", "SVG or HTML"),
    "a gif": (b"GIF89a" + bytes(50), "is a GIF"),
    "a bomb": (png_of(40_000, 25_001, (b"IDAT", b""), (b"IEND", b"")), "100,000,000 pixels"),
    "a polyglot": (PNG + b"<script>alert(1)</script>", "after its end"),
    "a large polyglot": (LARGE + b"PK\x03\x04", "after its end"),
}


@pytest.mark.promise("Anything else is `422`")
@pytest.mark.parametrize("name", BAD_IMAGES)
async def test_what_is_no_image_is_refused(
    deployment: Deployment, kie: FakeUploads, name: str
) -> None:
    data, words = BAD_IMAGES[name]
    async with uploading_api(deployment, kie) as api:
        for answer in (await send(api, data), await api.send("POST", PATH, data=form_of(data))):
            assert words in answer.faults()["file"]
    assert not kie.stored


@pytest.mark.promise("up to 25 MiB and 100 million pixels")
async def test_a_file_of_more_than_25_mib_is_refused(
    deployment: Deployment, kie: FakeUploads
) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        yield png_of(64, 64) + b"\x7f\xff\xff\xffIDAT"
        while True:
            sent += 65_536
            yield bytes(65_536)

    async with uploading_api(deployment, kie) as api:
        (await send(api, large_png(25 * 2**20 + 1))).expect(413)
        # The connection may end before the client has read the answer.
        with suppress(aiohttp.ClientError):
            (await send(api, endless())).expect(413)
    assert sent < 30 * 2**20
    assert not kie.stored


BAD_FORMS: dict[str, tuple[str, bytes]] = {
    "no boundary": ("multipart/form-data", PNG),
    "no parts": ("multipart/form-data; boundary=x", b"--x--\r\n"),
    "no end": (
        "multipart/form-data; boundary=x",
        b'--x\r\nContent-Disposition: form-data; name="file"\r\n\r\n' + PNG,
    ),
    "no form": ("multipart/form-data; boundary=x", bytes(5_000)),
    "a charset": (
        "multipart/form-data; boundary=x",
        b'--x\r\nContent-Disposition: form-data; name="_charset_"\r\n\r\n' + bytes(50),
    ),
}


@pytest.mark.parametrize("name", BAD_FORMS)
async def test_a_form_that_is_none_is_refused(
    deployment: Deployment, kie: FakeUploads, name: str
) -> None:
    content_type, data = BAD_FORMS[name]
    async with uploading_api(deployment, kie) as api:
        answer = await send(api, data, content_type)
    assert answer.status in {400, 422}, answer
    assert not kie.stored


async def test_a_form_has_one_file_and_nothing_else(
    deployment: Deployment, kie: FakeUploads
) -> None:
    second = form_of(PNG)
    second.add_field("file", PNG, filename="dog.png")
    async with uploading_api(deployment, kie) as api:
        for form, field in ((form_of(PNG, "picture"), "picture"), (second, "file")):
            faults = (await api.send("POST", PATH, data=form)).faults()
            assert "is not a part of an upload" in faults[field]
    assert not kie.stored


@pytest.mark.promise("file_not_found")
async def test_a_file_is_seen_by_its_account_alone(
    deployment: Deployment, kie: FakeUploads
) -> None:
    await deployment.open_account("other", 0)
    keys = KeyStore(deployment.database)
    operator = (await keys.create(Role.OPERATOR, None))[1]
    viewer = (await keys.create(Role.VIEWER, None))[1]
    admin_key = (await keys.create(Role.ADMIN, None))[1]
    own = (await keys.create(Role.SERVICE, "acme"))[1]
    foreign = (await keys.create(Role.SERVICE, "other"))[1]
    async with uploading_api(deployment, kie) as nobody:
        (await send(nobody, PNG)).expect(401)
        mine = nobody.with_key(own)
        file = (await send(mine, PNG, path="/v1/files")).expect(201)
        (await send(mine, PNG, path="/v1/files?account_id=other")).expect(403)
        path = f"/v1/files/{file['id']}"
        assert (await mine.get(path)).expect(200) == file
        (await nobody.with_key(foreign).get(path)).expect(404)
        (await mine.get("/v1/files/cat")).expect(404)
        admin = nobody.with_key(admin_key)
        assert "account_id" in (await send(admin, PNG, path="/v1/files")).faults()
        assert "account_id" in (await send(admin, PNG, path="/v1/files?account_id=no")).faults()
        (await send(admin, PNG)).expect(201)
        (await admin.get(path)).expect(200)
        for key, shown in ((operator, 200), (viewer, 403)):
            (await nobody.with_key(key).get(path)).expect(shown)
            (await send(nobody.with_key(key), PNG)).expect(403)


@pytest.mark.promise("upload_failed")
async def test_what_kie_does_not_take_is_503_with_its_words(
    deployment: Deployment, kie: FakeUploads
) -> None:
    kie.answers = [(200, {"success": False, "code": 401, "msg": "Unauthorized"})]
    async with uploading_api(deployment, kie) as api:
        problem = (await send(api, PNG)).expect(503)
        assert problem["type"] == "urn:darkroom:problem:upload_failed"
        assert "401: Unauthorized" in problem["detail"]
        (await send(api, PNG)).expect(201)


@pytest.mark.promise("uploads_not_configured")
async def test_without_a_key_of_kie_it_says_what_to_set(deployment: Deployment) -> None:
    async with deployment.api(kie_api_key=None) as api:
        problem = (await send(api, PNG)).expect(501)
    assert "KIE_UPLOAD_KEY" in problem["detail"]


async def test_a_body_that_breaks_off_leaves_nothing(
    deployment: Deployment, kie: FakeUploads
) -> None:
    async with uploading_api(deployment, kie) as api:
        host = api.session._base_url
        assert host is not None
        _, writer = await asyncio.open_connection(host.host, host.port)
        head = f"POST {PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(LARGE)}\r\n\r\n"
        writer.write(head.encode() + LARGE[:1_500_000])
        await writer.drain()
        writer.close()
        # The process goes on.
        (await send(api, PNG)).expect(201)
    assert [len(data) for data in kie.stored.values()] == [len(PNG)]


@pytest.mark.promise("uploads at once")
async def test_a_process_has_a_limited_number_of_uploads() -> None:
    slots = UploadSlots(1)
    with (
        slots.hold(),
        pytest.raises(TooManyRequests, match="1 uploads are in progress"),
        slots.hold(),
    ):
        pass
    with slots.hold():
        assert slots.in_use == 1
    assert slots.in_use == 0


async def test_uploads_take_turns_so_that_other_requests_run_between_their_parts() -> None:
    slots, order = UploadSlots(), list[str]()

    async def upload(name: str) -> None:
        for _ in range(3):
            await slots.wait_for_turn()
            order.append(name)

    async def other_request() -> None:
        for _ in range(9):
            await asyncio.sleep(0)
            order.append("-")

    gone = asyncio.create_task(slots.wait_for_turn())
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.gather(*(upload(name) for name in "abc"), other_request())
    assert sorted(order) == sorted("abcabcabc---------")
    parts = "".join(order).replace("-", " ").split()
    assert max(map(len, parts)) == 1, order
