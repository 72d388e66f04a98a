"""Files are uploaded in Kie's three ways, fetched again, and gone after a day."""

from __future__ import annotations

import base64
import time
from io import BytesIO
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest

from tests.integration.simulator.simulator_client import (
    Answer,
    KieCaller,
    calling_simulator,
    wait_until,
)
from worker.simulator.png_images import draw_picture
from worker.simulator.upload_routes import BASE64_UPLOAD, STREAM_UPLOAD, URL_UPLOAD
from worker.simulator.uploaded_files import FILE_HOST

PNG = draw_picture("an upload", "1:1", shorter_side=8)
TEXT = base64.b64encode(PNG).decode()


async def upload(kie: KieCaller, path: str, key: str = "sim-key", **fields: Any) -> Answer:
    return await kie.call("POST", path, BytesIO(orjson.dumps(fields)), key)


async def upload_stream(kie: KieCaller, content: bytes, **fields: str) -> Answer:
    form = aiohttp.FormData(fields)
    form.add_field("file", BytesIO(content), filename="cat.png", content_type="image/png")
    url = kie.simulator.base_url + STREAM_UPLOAD
    headers = {"Authorization": "Bearer sim-key"}
    async with kie.session.post(url, data=form, headers=headers) as response:
        return Answer(response.status, dict(response.headers), await response.read())


async def fetch(kie: KieCaller, url: str, method: str = "GET") -> Answer:
    return await kie.call(method, url.replace(FILE_HOST, kie.simulator.base_url))


def read_data(answer: Answer) -> dict[str, Any]:
    told = answer.json()
    assert (answer.status, told["code"], told["success"]) == (200, 200, True), told
    assert told["msg"] == "File uploaded successfully"
    data: dict[str, Any] = told["data"]
    return data


async def test_a_file_is_uploaded_in_three_ways_and_fetched_again() -> None:
    async with calling_simulator() as kie:
        answers = [
            await upload(kie, BASE64_UPLOAD, base64Data=TEXT, uploadPath="a", fileName="cat.png"),
            await upload(
                kie, BASE64_UPLOAD, base64Data=f"data:image/png;base64,{TEXT}", uploadPath="a/b"
            ),
            await upload_stream(kie, PNG, uploadPath="a"),
        ]
        first = read_data(answers[0])
        answers.append(
            await upload(kie, URL_UPLOAD, fileUrl=first["downloadUrl"], uploadPath="copies")
        )
        assert first["filePath"] == "kieai/100001/a/cat.png"
        for answer in answers:
            data = read_data(answer)
            assert data.keys() == {
                *("success", "fileName", "filePath", "downloadUrl", "fileSize"),
                *("mimeType", "uploadedAt"),
            }
            assert (data["fileSize"], data["mimeType"]) == (len(PNG), "image/png")
            assert data["fileName"].endswith(".png")
            fetched = await fetch(kie, data["downloadUrl"])
            assert (fetched.status, fetched.body) == (200, PNG)
            assert fetched.headers["Content-Type"] == "image/png"
        head = await fetch(kie, first["downloadUrl"], "HEAD")
        assert (head.headers["Content-Length"], head.body) == (str(len(PNG)), b"")
        listed = await kie.call("GET", "/simulator/record/files")
        assert len(orjson.loads(listed.body)) == 4


async def test_a_file_larger_than_a_megabyte_comes_as_a_stream_and_a_name_is_overwritten() -> None:
    async with calling_simulator() as kie:
        large = PNG + bytes(3_000_000)
        for content in (PNG, large):
            data = read_data(await upload_stream(kie, content, uploadPath="a", fileName="x.png"))
            assert (await fetch(kie, data["downloadUrl"])).body == content


@pytest.mark.parametrize(
    ("path", "fields", "message"),
    [
        (URL_UPLOAD, {}, "Missing required parameter: fileUrl (file download URL)"),
        (URL_UPLOAD, {"fileUrl": "not a url", "uploadPath": "a"}, "Failed to download the file"),
        (BASE64_UPLOAD, {"uploadPath": "a"}, "Missing required parameter: base64Data"),
        (BASE64_UPLOAD, {"base64Data": "?", "uploadPath": "a"}, "base64Data is not base64"),
        (BASE64_UPLOAD, {"base64Data": TEXT}, "Missing required parameter: uploadPath"),
        (BASE64_UPLOAD, {"base64Data": TEXT, "uploadPath": "/a"}, "uploadPath must not begin"),
        (BASE64_UPLOAD, {"base64Data": TEXT, "uploadPath": "a/../b"}, "uploadPath must not begin"),
        (STREAM_UPLOAD, {"uploadPath": "a"}, "Content-Type must be multipart/form-data"),
        (BASE64_UPLOAD, {"base64Data": "A" * 14_000_000, "uploadPath": "a"}, "is larger than"),
    ],
)
async def test_a_wrong_upload_is_code_400_in_http_200_and_keeps_nothing(
    path: str, fields: dict[str, Any], message: str
) -> None:
    async with calling_simulator() as kie:
        answer = await upload(kie, path, **fields)
        told = answer.json()
        assert (answer.status, told.keys()) == (200, {"success", "code", "msg"})
        assert (told["code"], told["success"]) == (400, False)
        assert message in told["msg"]
        assert orjson.loads((await kie.call("GET", "/simulator/record/files")).body) == []


async def test_uploads_are_refused_to_a_wrong_key_and_by_a_switch() -> None:
    async with calling_simulator() as kie:
        fields: dict[str, Any] = {"base64Data": TEXT, "uploadPath": "a"}
        refused = (await upload(kie, BASE64_UPLOAD, "wrong", **fields)).json()
        assert (refused["code"], refused["success"]) == (401, False)
        kie.simulator.set_faults(upload_code=500)
        assert (await upload(kie, BASE64_UPLOAD, **fields)).json()["code"] == 500
        kie.simulator.set_faults(upload_code_rate=0.0)
        read_data(await upload(kie, BASE64_UPLOAD, **fields))
        wrong = await kie.call("GET", "/api/file-upload")
        assert wrong.status == 404
        assert STREAM_UPLOAD in wrong.json()["msg"]


async def test_a_file_is_gone_after_its_lifetime_and_a_task_with_it_fails() -> None:
    async with calling_simulator(duration=0.0) as kie:
        data = read_data(await upload(kie, BASE64_UPLOAD, base64Data=TEXT, uploadPath="a"))
        url = data["downloadUrl"]
        fine = await kie.poll(await kie.created_id(filesUrl=[url]))
        assert fine.json()["data"]["successFlag"] == 1
        uploaded = time.monotonic()
        kie.simulator.set_faults(file_lifetime_seconds=0.05)
        await wait_until(lambda: time.monotonic() > uploaded + 0.05)
        assert (await fetch(kie, url)).status == 404
        failed = await kie.poll(await kie.created_id(filesUrl=[url]))
        assert failed.json()["data"]["errorCode"] == 451


async def test_a_stopped_simulator_leaves_no_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    async with calling_simulator() as kie:
        read_data(await upload(kie, BASE64_UPLOAD, base64Data=TEXT, uploadPath="a"))
        assert len(list(tmp_path.iterdir())) == 1
        kie.simulator.reset()
        assert list(tmp_path.iterdir()) == []
        read_data(await upload(kie, BASE64_UPLOAD, base64Data=TEXT, uploadPath="a"))
    assert list(tmp_path.iterdir()) == []
