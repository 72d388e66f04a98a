"""The answer with images, as OpenAI's SDKs read it: URLs, or base64 that is written in pieces."""

from __future__ import annotations

import base64
import weakref
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson
from aiohttp import web

from producer.api.openai_api.job_answers import JOB_ID, name_jobs
from producer.api.openai_api.model_names import NamedModel
from producer.api.openai_api.result_images import FetchedImage
from producer.api.responses.json_response import json_response
from shared.adapters.http.slow_readers import ReadTimeoutConnection
from shared.domain.job import Job
from shared.job_json import credits_to_json

MODEL = "x-darkroom-model"
"""The header that names the family that made the images."""
_PIECE_BYTES = 24 * 1024
"""Divisible by 3, so that pieces of base64 can be joined."""


def url_answer(jobs: Sequence[Job], model: NamedModel, urls: Sequence[str]) -> web.Response:
    """Return the answer with the addresses of the images."""
    body = {**_first_members(jobs, model), "data": [{"url": url} for url in urls]}
    return json_response(body, headers=_headers(jobs, model))


def _first_members(jobs: Sequence[Job], model: NamedModel) -> dict[str, Any]:
    charged = sum(job.credits_charged or 0 for job in jobs)
    ended = max(job.finished_at or job.created_at for job in jobs)
    return {
        "created": int(ended.timestamp()),
        "darkroom": {
            "model": model.family.name,
            "job_ids": [str(job.id) for job in jobs],
            "credits_charged": credits_to_json(charged or None),
        },
    }


def _headers(jobs: Sequence[Job], model: NamedModel) -> dict[str, str]:
    return {JOB_ID: name_jobs(jobs), MODEL: model.family.name}


class EncodedImages(web.StreamResponse):
    """The answer with the images as base64. It closes their files when it is written or dropped."""

    def __init__(
        self, jobs: Sequence[Job], model: NamedModel, images: Sequence[FetchedImage]
    ) -> None:
        super().__init__(headers=_headers(jobs, model))
        self._images = images
        self._head = _head_of_body(_first_members(jobs, model), images)
        self.content_type = "application/json"
        self.content_length = _length_of_body(self._head, images)
        self._close_files = weakref.finalize(self, _close_files, list(images))

    async def write_eof(self, data: bytes = b"") -> None:
        request = self._req
        connection = request.protocol if request is not None else None
        try:
            for piece in self._pieces():
                await self.write(piece)
                if (
                    isinstance(connection, ReadTimeoutConnection)
                    and not await connection.wait_until_read()
                ):
                    raise ConnectionResetError("the reader of the response is gone")
            await super().write_eof(data)
        finally:
            self._close_files()

    def _pieces(self) -> Iterator[bytes]:
        yield self._head
        for index, image in enumerate(self._images):
            yield _SEPARATOR if index else _FIRST
            image.file.seek(0)
            while piece := image.file.read(_PIECE_BYTES):
                yield base64.b64encode(piece)
            yield _AFTER_IMAGE
        yield _END


_FIRST = b'{"b64_json":"'
_SEPARATOR = b',{"b64_json":"'
_AFTER_IMAGE = b'"}'
_END = b"]}"


def _head_of_body(members: Mapping[str, Any], images: Sequence[FetchedImage]) -> bytes:
    format_names = {image.format for image in images}
    known = {"output_format": format_names.pop()} if len(format_names) == 1 else {}
    return orjson.dumps({**members, **known})[:-1] + b',"data":['


def _length_of_body(head: bytes, images: Sequence[FetchedImage]) -> int:
    encoded = sum(4 * -(-image.length // 3) for image in images)
    between = len(_FIRST) + len(_SEPARATOR) * (len(images) - 1) + len(_AFTER_IMAGE) * len(images)
    return len(head) + encoded + between + len(_END)


def _close_files(images: Sequence[FetchedImage]) -> None:
    for image in images:
        image.file.close()
