"""Plain links of images die, and download-url gives fresh ones until the image is gone."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl, urlsplit

import orjson
import pytest

from tests.unit.simulator.fake_kie import CALLER, FakeKie, read
from worker.simulator.image_routes import (
    answer_common_download_url,
    answer_download_url,
    answer_image,
)
from worker.simulator.simulated_task import SimulatedTask

DAY = 86_400.0


def get(fake: FakeKie, url: str) -> int:
    """The HTTP status of an image's URL."""
    parts = urlsplit(url)
    return answer_image(fake.kie, parts.path, dict(parse_qsl(parts.query))).http_status


def ask(fake: FakeKie, *, common: bool = False, **fields: Any) -> dict[str, Any]:
    answer = answer_common_download_url if common else answer_download_url
    return read(answer(fake.kie, CALLER, orjson.dumps(fields)))


def finished(fake: FakeKie) -> tuple[SimulatedTask, str]:
    task = fake.created()
    fake.time.advance(10)
    return task, task.result_urls("http://sim")[0]


@pytest.mark.parametrize("common", [False, True])
def test_a_link_that_died_is_replaced_by_download_url_until_the_image_is_gone(
    common: bool,
) -> None:
    fake = FakeKie(image_lifetime_seconds=60, dead_image_status=403)
    task, url = finished(fake)
    fields = {"url": url} if common else {"url": url, "taskId": task.id}
    assert get(fake, url) == 200
    fake.time.advance(60)
    assert get(fake, url) == 403
    fresh = ask(fake, common=common, **fields)["data"]
    assert task.id not in fresh
    assert get(fake, fresh) == 200
    assert get(fake, fresh.partition("?")[0]) == 403
    assert get(fake, fresh.replace("until=", "until=9")) == 403
    fake.time.advance(1_200)
    assert get(fake, fresh) == 403
    assert get(fake, ask(fake, common=common, **fields)["data"]) == 200
    fake.time.advance(14 * DAY - 1_260)
    assert ask(fake, common=common, **fields)["msg"] == "record is older than 14 days"


def test_a_fresh_link_lives_as_long_as_asked_and_never_longer_than_the_image() -> None:
    fake = FakeKie(fresh_link_lifetime_seconds=30, image_retention_seconds=40)
    task, url = finished(fake)
    fresh = ask(fake, url=url, taskId=task.id)["data"]
    fake.time.advance(30)
    assert get(fake, fresh) == 404
    fresh = ask(fake, url=url, taskId=task.id)["data"]
    fake.time.advance(10)
    assert (get(fake, fresh), get(fake, url)) == (404, 404)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"taskId": "0" * 32, "url": "http://sim/images/x.png"}, "record is null"),
        ({"taskId": "", "url": "http://sim/images/x.png"}, "taskId and url are required"),
        ({"imageUrl": "http://sim/images/x.png"}, "taskId and url are required"),
    ],
)
def test_download_url_refuses_in_kies_words(fields: dict[str, Any], message: str) -> None:
    answer = ask(FakeKie(), **fields)
    assert answer == {"code": 422, "msg": message, "data": None}


def test_download_url_has_no_link_to_a_running_a_failed_or_another_tasks_image() -> None:
    fake = FakeKie()
    running = fake.created()
    url = running.image_urls("http://sim", 1)[0]
    assert ask(fake, taskId=running.id, url=url)["msg"] == "record status is not success"
    assert ask(fake, common=True, url=url)["msg"] == "url is wrong"
    failed = fake.created("x [[sim: outcome=generate_failed]]")
    fake.time.advance(10)
    assert ask(fake, taskId=failed.id, url=url)["msg"] == "record status is not success"
    other = fake.created()
    fake.time.advance(10)
    assert ask(fake, taskId=other.id, url=url)["msg"] == "url is wrong"


@pytest.mark.parametrize("url", ["https://example.com/cat.png", "http://sim/files/a.png", 7, None])
def test_common_download_url_has_links_to_kies_images_alone(url: object) -> None:
    assert ask(FakeKie(), common=True, url=url)["msg"] == "url is wrong"


def test_download_url_can_fail() -> None:
    fake = FakeKie(download_url_code=500)
    task, url = finished(fake)
    assert ask(fake, taskId=task.id, url=url)["code"] == 500
    assert read(answer_download_url(fake.kie, CALLER, b"{"))["code"] == 400


def test_a_task_that_starts_from_an_image_that_is_gone_fails_with_451() -> None:
    fake = FakeKie(image_lifetime_seconds=60)
    _, url = finished(fake)
    fine = fake.created(filesUrl=[url, "https://example.com/cat.png"])
    fake.time.advance(60)
    late = fake.created(filesUrl=["https://example.com/cat.png", url])
    masked = fake.created(filesUrl=["https://a/b.png"], maskUrl="http://sim/files/mask.png")
    fake.time.advance(10)
    codes = [fake.shown(task)["errorCode"] for task in (fine, late, masked)]
    assert codes == [None, 451, 451]


def test_an_image_has_the_size_that_is_asked_for() -> None:
    fake = FakeKie(image_pixels=64, image_kib=300)
    _, url = finished(fake)
    picture = answer_image(fake.kie, urlsplit(url).path).body
    assert len(picture) == 300 * 1024
    assert int.from_bytes(picture[16:20]) == 64
