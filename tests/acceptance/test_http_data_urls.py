"""Images in an order over HTTP: `data:` URLs are uploaded before anything is held."""

from __future__ import annotations

import base64
import io
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest

from producer import ImageToImage, Producer
from producer.api.endpoint import DATA_URL_BODY_BYTES, JOB_BODY_BYTES
from tests.acceptance.test_http_files import uploading_api
from tests.fakes.fake_uploads import FakeUploads, receiving_uploads
from tests.support.api_client import ApiClient, ApiResponse
from tests.support.deployment import Deployment
from tests.support.example_images import encoded_image, large_png

PNG, JPEG = encoded_image("PNG"), encoded_image("JPEG")
ORDER = {"account_id": "acme", "task": "image-to-image", "aspect_ratio": "1:1"}
URL = "https://example.com/a.png"


@pytest.fixture
async def kie() -> AsyncIterator[FakeUploads]:
    async with receiving_uploads() as fake:
        yield fake


def data_url(data: bytes, kind: str = "image/png;charset=x") -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


async def post(api: ApiClient, path: str, body: Any) -> ApiResponse:
    headers = {"Content-Type": "application/json"}
    return await api.send("POST", path, data=io.BytesIO(orjson.dumps(body)), headers=headers)


async def test_a_data_url_is_uploaded_and_its_url_is_what_is_stored(
    deployment: Deployment, kie: FakeUploads
) -> None:
    body = {**ORDER, "image_urls": [data_url(PNG)], "mask_url": data_url(JPEG, "text/html")}
    async with uploading_api(deployment, kie) as api:
        job = (await api.post("/v1/jobs", body)).expect(202)
    request = job["request"]
    assert kie.stored[request["image_urls"][0]] == PNG
    assert kie.stored[request["mask_url"]] == JPEG
    [row] = await deployment.run_sql("SELECT request::text AS stored FROM jobs")
    assert "base64" not in row["stored"]


async def test_a_repeated_order_is_the_same_job_after_the_file_has_expired(
    deployment: Deployment, kie: FakeUploads
) -> None:
    body = {**ORDER, "image_urls": [data_url(PNG)]}
    async with uploading_api(deployment, kie) as api:
        first = (await api.post("/v1/jobs", body, Idempotency_Key="k")).expect(202)
        await deployment.run_sql("UPDATE files SET expires_at = now()")
        again = await api.post("/v1/jobs", body, Idempotency_Key="k")
        assert again.expect(202) == first
        assert again.headers["Idempotent-Replayed"] == "true"
        later = (await api.post("/v1/jobs", body)).expect(202)
    assert later["request"]["image_urls"] != first["request"]["image_urls"]


@pytest.mark.promise("The refusal names the field")
@pytest.mark.parametrize(
    ("fields", "faults"),
    [
        ({"image_urls": [URL, data_url(b"GIF89a" + bytes(9))]}, {"image_urls.1": "is a GIF"}),
        ({"image_urls": ["data:image/png,abc"]}, {"image_urls.0": "not of the form"}),
        ({"image_urls": ["DATA:;base64,%%%"]}, {"image_urls.0": "cannot be read"}),
        ({"image_urls": [URL], "mask_url": data_url(PNG[:-5])}, {"mask_url": "is cut off"}),
        (
            {"image_urls": [data_url(PNG)], "aspect_ratio": "7:1", "quantity": 3},
            {"aspect_ratio": "7:1", "quantity": "3"},
        ),
        ({"image_urls": [data_url(PNG)] * 9}, {"image_urls": "has 9 URLs"}),
        ({"image_urls": [data_url(PNG)], "account_id": "nobody"}, {"account_id": "nobody"}),
    ],
)
async def test_a_fault_names_the_field_and_holds_nothing(
    deployment: Deployment, kie: FakeUploads, fields: dict[str, Any], faults: dict[str, str]
) -> None:
    async with uploading_api(deployment, kie) as api:
        found = (await api.post("/v1/jobs", {**ORDER, **fields})).faults()
    assert found.keys() == faults.keys()
    for field, words in faults.items():
        assert words in found[field]
    assert not kie.stored
    await deployment.check_account(balance=10_000)


@pytest.mark.promise("body of a request")
async def test_only_a_body_with_data_urls_may_be_long(
    deployment: Deployment, kie: FakeUploads
) -> None:
    long = {**ORDER, "image_urls": [data_url(large_png(2_000_000))]}
    async with uploading_api(deployment, kie) as api:
        (await post(api, "/v1/jobs", long)).expect(202)
        plain = {**ORDER, "image_urls": [URL], "prompt": "a" * JOB_BODY_BYTES}
        (await api.post("/v1/jobs", plain)).expect(413)
        longest = {**ORDER, "image_urls": [data_url(bytes(DATA_URL_BODY_BYTES))]}
        (await post(api, "/v1/jobs", longest)).expect(413)
        batch = (await post(api, "/v1/jobs/batch", {"jobs": [long]})).faults()
    assert batch.keys() == {"jobs.0.image_urls.0"}


@pytest.mark.promise("`?check_images=true` requests")
@pytest.mark.promise("An image that does not answer", "requests the start of each image")
async def test_images_are_checked_before_anything_is_held(
    deployment: Deployment, kie: FakeUploads
) -> None:
    async with uploading_api(deployment, kie) as api:
        dead = {**ORDER, "image_urls": [data_url(PNG), "https://dead.example/a.png"]}
        faults = (await api.post("/v1/jobs?check_images=true", dead)).faults()
        assert faults.keys() == {"image_urls.1"}
        assert "cannot be fetched" in faults["image_urls.1"]
        await deployment.check_account(balance=10_000)
        own = {**ORDER, "image_urls": [data_url(PNG)]}
        (await api.post("/v1/jobs?check_images=true", own)).expect(202)
        await deployment.run_sql("UPDATE files SET expires_at = now()")
        job = {**ORDER, "image_urls": [next(iter(kie.stored))]}
        faults = (await api.post("/v1/jobs?check_images=true", job)).faults()
        assert "Kie has deleted" in faults["image_urls.0"]
        assert "check_images" in (await api.post("/v1/jobs?check_images=yes", own)).faults()
        (await api.post("/v1/jobs?check_images=false", dead)).expect(202)


async def test_what_kie_does_not_take_holds_nothing(
    deployment: Deployment, kie: FakeUploads
) -> None:
    kie.answers = [(200, {"code": 401, "msg": "Unauthorized"})]
    async with uploading_api(deployment, kie) as api:
        (await api.post("/v1/jobs", {**ORDER, "image_urls": [data_url(PNG)]})).expect(503)
    await deployment.check_account(balance=10_000)


async def test_a_python_caller_names_images_of_every_kind(
    deployment: Deployment, kie: FakeUploads, tmp_path: Any
) -> None:
    path = tmp_path / "cat.png"
    path.write_bytes(PNG)
    fields = {"image_urls": [URL, data_url(JPEG), str(path)], "aspect_ratio": "1:1"}
    settings = deployment.settings.model_copy(
        update={"kie_upload_url": kie.url, "kie_upload_key": kie.access.key}
    )
    async with Producer.connect(settings) as producer:
        given = await producer.with_uploaded_images(fields, account_id="acme")
    urls = ImageToImage(**given).image_urls
    assert urls[0] == URL
    assert [kie.stored[url] for url in urls[1:]] == [JPEG, PNG]
