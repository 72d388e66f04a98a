"""Images are written as base64 in pieces, and the length of the answer is known before."""

from __future__ import annotations

import base64
import io
from datetime import UTC, datetime

import orjson
import pytest

from producer.api.openai_api.image_answer import EncodedImages
from producer.api.openai_api.model_names import find_model
from producer.api.openai_api.result_images import FetchedImage
from tests.support.example_jobs import example_job

PIECE = 24 * 1024


@pytest.mark.parametrize(
    "lengths", [(1,), (2, 3), (PIECE - 1,), (PIECE,), (PIECE + 1, 7), (PIECE * 3 + 2, PIECE, 5)]
)
def test_the_pieces_are_the_json_of_the_images(lengths: tuple[int, ...]) -> None:
    contents = [bytes(index % 251 for index in range(length)) for length in lengths]
    images = [FetchedImage(io.BytesIO(one), len(one), "png") for one in contents]
    job = example_job(finished_at=datetime(2026, 1, 31, tzinfo=UTC))
    answer = EncodedImages([job], find_model("gpt-image-1"), images)
    written = b"".join(answer._pieces())
    assert len(written) == answer.content_length
    body = orjson.loads(written)
    assert [base64.b64decode(one["b64_json"]) for one in body["data"]] == contents
    assert (body["created"], body["output_format"]) == (1_769_817_600, "png")
    assert body["darkroom"]["job_ids"] == [str(job.id)]


def test_the_files_are_closed_when_the_answer_is_dropped() -> None:
    file = io.BytesIO(b"x")
    answer = EncodedImages([example_job()], find_model(None), [FetchedImage(file, 1, "png")])
    assert not file.closed
    del answer
    assert file.closed
