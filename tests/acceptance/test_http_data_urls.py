"""Images in an order over HTTP: `data:` URLs are uploaded before anything is held."""

from __future__ import annotations

import base64
import io
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest

from producer import ImageToImage, Order, Producer
from producer.api.endpoint import DATA_URL_BODY_BYTES, JOB_BODY_BYTES
from producer.api.handlers.job_handlers import BATCH_IMAGES_MAX
from shared.errors import InvalidRequest
from tests.acceptance.test_http_files import uploading_api
from tests.fakes.fake_uploads import FakeUploads, receiving_uploads
from tests.support.api_client import ApiClient, ApiResponse
from tests.support.deployment import Deployment, image_to_image, text_to_image
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


async def test_a_batch_is_given_the_urls_of_its_images_and_uploads_equal_ones_once(
    deployment: Deployment, kie: FakeUploads
) -> None:
    batch = {
        "jobs": [
            {**ORDER, "image_urls": [data_url(PNG)], "mask_url": data_url(JPEG)},
            {**ORDER, "task": "text-to-image", "prompt": "a cat"},
            {**ORDER, "image_urls": [URL, data_url(JPEG), data_url(PNG)]},
        ]
    }
    async with uploading_api(deployment, kie) as api:
        first = (await api.post("/v1/jobs/batch", batch, Idempotency_Key="k")).expect(202)
        await deployment.run_sql("UPDATE files SET expires_at = now()")
        again = (await api.post("/v1/jobs/batch", batch, Idempotency_Key="k")).expect(202)
    assert again == first
    masked, _, several = [job["request"] for job in first["jobs"]]
    assert kie.stored[masked["mask_url"]] == JPEG
    assert several["image_urls"] == [URL, masked["mask_url"], *masked["image_urls"]]
    assert len(kie.stored) == 4  # two, and the two again that had expired
    [row] = await deployment.run_sql("SELECT string_agg(request::text, '') AS stored FROM jobs")
    assert "base64" not in row["stored"]


@pytest.mark.promise("The refusal names the field", "in a batch")
@pytest.mark.promise("The jobs of a batch contain at most 64 different images")
@pytest.mark.parametrize(
    ("jobs", "faults"),
    [
        (
            [{"image_urls": [URL]}, {"image_urls": [URL, data_url(b"GIF89a" + bytes(9))]}],
            {"jobs.1.image_urls.1": "is a GIF"},
        ),
        (
            [{"image_urls": [data_url(PNG[:-5])]}] * 2,
            {"jobs.0.image_urls.0": "is cut off", "jobs.1.image_urls.0": "is cut off"},
        ),
        (
            [{"image_urls": ["data:image/png,abc"]}, {"image_urls": [data_url(PNG)], "n": 2}],
            {"jobs.0.image_urls.0": "not of the form", "jobs.1.n": "quantity"},
        ),
        (
            [{"image_urls": [URL]}, {"image_urls": [data_url(PNG)], "account_id": "nobody"}],
            {"jobs.1.account_id": "nobody"},
        ),
        (
            [{"image_urls": [data_url(bytes([one]))]} for one in range(BATCH_IMAGES_MAX + 1)],
            {"jobs": f"contain {BATCH_IMAGES_MAX + 1} different images"},
        ),
    ],
)
async def test_a_fault_in_a_batch_names_the_job_and_holds_nothing(
    deployment: Deployment,
    kie: FakeUploads,
    jobs: list[dict[str, Any]],
    faults: dict[str, str],
) -> None:
    batch = {"jobs": [{**ORDER, **one} for one in jobs]}
    async with uploading_api(deployment, kie) as api:
        found = (await api.post("/v1/jobs/batch", batch)).faults()
    assert found.keys() == faults.keys()
    for field, words in faults.items():
        assert words in found[field]
    assert await deployment.run_sql("SELECT FROM jobs") == []
    await deployment.check_account(balance=10_000)


@pytest.mark.promise("For a batch, each URL is requested once")
async def test_images_of_a_batch_are_checked_before_anything_is_held(
    deployment: Deployment, kie: FakeUploads
) -> None:
    dead = "https://dead.example/a.png"
    orders = [{**ORDER, "image_urls": [data_url(PNG)]}, {**ORDER, "image_urls": [dead]}]
    many = [{**ORDER, "image_urls": [f"{dead}?{one}"]} for one in range(BATCH_IMAGES_MAX + 1)]
    path = "/v1/jobs/batch?check_images=true"
    async with uploading_api(deployment, kie) as api:
        found = (await api.post(path, {"jobs": orders})).faults()
        alone = (await api.post(path, {"jobs": orders[1:]})).faults()
        fine = (await api.post(path, {"jobs": orders[:1]})).expect(202)
        refused = (await api.post(path, {"jobs": many})).faults()
    assert (found.keys(), alone.keys()) == ({"jobs.1.image_urls.0"}, {"jobs.0.image_urls.0"})
    assert "cannot be fetched" in found["jobs.1.image_urls.0"]
    assert len(fine["jobs"]) == 1
    assert f"request {BATCH_IMAGES_MAX + 1} different images" in refused["check_images"]


async def test_a_python_caller_has_images_checked_before_anything_is_held(
    deployment: Deployment,
) -> None:
    dead = image_to_image(image_urls=[URL, "https://dead.example/a.png"])
    masked = image_to_image(mask_url="https://also.dead.example/mask.png")
    with pytest.raises(InvalidRequest) as one:
        await deployment.enqueue(dead, check_images=True)
    orders = [Order(request=each, account_id="acme") for each in (text_to_image(), dead, masked)]
    with pytest.raises(InvalidRequest) as many:
        await deployment.producer.enqueue_many(orders, check_images=True)
    assert "image_urls.1" in {fault.field for fault in one.value.faults}
    fields = {fault.field for fault in many.value.faults}
    assert fields >= {"jobs.1.image_urls.1", "jobs.2.mask_url"}
    assert not {field for field in fields if field.startswith("jobs.0")}
    await deployment.check_account(balance=10_000)
    await deployment.producer.enqueue_many(orders)


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
