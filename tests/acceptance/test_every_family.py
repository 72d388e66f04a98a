"""Every task of every family of the catalog by every way of placing a job, in one deployment."""

from __future__ import annotations

import asyncio
import base64
import shutil
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from math import isqrt
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson
from openai import AsyncOpenAI
from openai.types import ImagesResponse

from producer.cli.request.request_options import FIELD_OPTIONS
from producer.keys.key_store import KeyStore
from producer.keys.roles import Role
from shared.catalog import get_family, list_families
from tests.acceptance.cli.cli_program import Darkroom
from tests.acceptance.openai_sdk.test_node_sdk import come
from tests.acceptance.openai_sdk.test_python_sdk import sdk_client
from tests.support.api_client import ApiClient
from tests.support.deployment import Deployment, environment
from tests.support.example_images import encoded_image

CAT = encoded_image("PNG", 60, 90)
BALANCE = 10_000
_PIXELS = {"1K": 1_000_000, "2K": 4_000_000, "4K": 8_000_000}
"""How many pixels ask for each resolution."""
_SAME_NAMED = ("quality", "background", "output_format")


@dataclass(frozen=True)
class Case:
    """The last example of one task of a family, which has the most fields as a rule."""

    model: str
    task: str
    fields: Mapping[str, Any]

    def by(self, way: str) -> dict[str, Any]:
        """Return the fields with a prompt that no other way and case has."""
        return {**self.fields, "prompt": f"{self.model} {self.task} by {way}"}

    def sdk_fields(self, way: str) -> dict[str, Any]:
        """Return what OpenAI's API has of the fields, under its names."""
        given = {"model": self.model, "prompt": self.by(way)["prompt"]}
        across, _, down = self.fields.get("aspect_ratio", "auto").partition(":")
        if down:
            pixels = _PIXELS[self.fields.get("resolution", "1K")]
            scale = isqrt(pixels // (int(across) * int(down)))
            given["size"] = f"{scale * int(across)}x{scale * int(down)}"
        if "quantity" in self.fields:
            given["n"] = self.fields["quantity"]
        return {**given, **{name: self.fields[name] for name in _SAME_NAMED if name in self.fields}}


@dataclass(frozen=True)
class Outcome:
    """What a way of placing a job says of it."""

    job_id: str
    images: int
    credits: Decimal
    state: str = "succeeded"

    @staticmethod
    def of_job(job: Mapping[str, Any]) -> Outcome:
        """Read a job object."""
        charged = Decimal(job["credits_charged"] or 0)
        return Outcome(job["id"], len(job["result_urls"]), charged, job["state"])

    @staticmethod
    def of_images(answer: Mapping[str, Any]) -> Outcome:
        """Read an answer of OpenAI's API. Fails unless each image is a PNG."""
        images = [base64.b64decode(one["b64_json"]) for one in answer["data"]]
        assert all(one.startswith(b"\x89PNG") for one in images)
        [job_id] = answer["darkroom"]["job_ids"]
        return Outcome(job_id, len(images), Decimal(answer["darkroom"]["credits_charged"]))


CASES = [
    Case(family.name, task, request.model_json_schema()["examples"][-1])
    for family in list_families().values()
    for task, request in family.tasks.items()
]


async def place_by_http(api: ApiClient, case: Case) -> Outcome:
    order = {"model": case.model, "task": case.task, "account_id": "acme", **case.by("http")}
    job = (await api.post("/v1/jobs", order)).expect(202)
    return Outcome.of_job((await api.get(f"/v1/jobs/{job['id']}", wait=30)).expect(200))


async def place_by_python(deployment: Deployment, case: Case) -> Outcome:
    request = get_family(case.model).validate(case.task, case.by("python"))
    job = await deployment.ended(await deployment.enqueue(request))
    return Outcome(str(job.id), len(job.result_urls), job.credits_charged or Decimal(0), job.state)


async def place_by_cli(darkroom: Darkroom, case: Case) -> Outcome:
    words = ["enqueue", "--account", "acme", "--model", case.model, "--wait", "--json"]
    for name, value in case.by("cli").items():
        option = FIELD_OPTIONS.get(name)
        if option is None:
            words += ["--field", f"{name}={orjson.dumps(value).decode()}"]
        elif value is True:
            words.append(option)
        else:
            for one in value if isinstance(value, list) else [value]:
                words += [option, str(one)]
    done = await darkroom.run(*words)
    assert done.code == 0, done.err
    return Outcome.of_job(done.object)


async def place_by_python_sdk(client: AsyncOpenAI, case: Case) -> Outcome:
    fields = case.sdk_fields("python sdk")
    made: ImagesResponse = (
        await client.images.generate(**fields)
        if case.task == "text-to-image"
        else await client.images.edit(image=("cat.png", CAT), **fields)
    )
    return Outcome.of_images(made.model_dump())


async def place_by_node_sdk(deployment: Deployment, folder: Path, address: str) -> list[Outcome]:
    """Place all cases by one program."""
    images = [base64.b64encode(CAT).decode()]
    calls = [
        ("generate", case.sdk_fields("node sdk"))
        if case.task == "text-to-image"
        else ("edit", {"images": images, **case.sdk_fields("node sdk")})
        for case in CASES
    ]
    answers = await come(deployment, folder, address, calls)
    assert [one for one in answers if "exception" in one] == []
    return [Outcome.of_images(answer) for answer in answers]


async def in_turn(place: Callable[[Case], Awaitable[Outcome]]) -> list[Outcome]:
    return [await place(case) for case in CASES]


async def test_every_task_of_every_family_is_done_by_every_way(
    deployment: Deployment, tmp_path: Path
) -> None:
    darkroom = Darkroom(environment(deployment.settings), tmp_path)
    _, key = await KeyStore(deployment.database).create(Role.ADMIN, None)
    async with (
        deployment.worker_with_callbacks(),
        deployment.api() as api,
        sdk_client(deployment) as client,
    ):
        ways = {
            "http": in_turn(partial(place_by_http, api.with_key(key))),
            "python": in_turn(partial(place_by_python, deployment)),
            "cli": in_turn(partial(place_by_cli, darkroom)),
            "python sdk": in_turn(partial(place_by_python_sdk, client)),
        }
        if shutil.which("node"):
            address = client.base_url.netloc.decode()
            ways["node sdk"] = place_by_node_sdk(deployment, tmp_path, address)
        async with asyncio.TaskGroup() as group:
            placed = {way: group.create_task(each) for way, each in ways.items()}
    done = [
        (way, case, outcome)
        for way, outcomes in placed.items()
        for case, outcome in zip(CASES, outcomes.result(), strict=True)
    ]
    for way, case, outcome in done:
        await check_outcome(deployment, way, case, outcome)
    charged = sum(outcome.credits for _, _, outcome in done)
    await deployment.check_account(balance=BALANCE - int(charged))
    assert len(deployment.simulator.record.tasks) == len(done)
    deployment.check_paid_once()


async def check_outcome(deployment: Deployment, way: str, case: Case, outcome: Outcome) -> None:
    """Fail unless the job is what was ordered, was paid once, and cost its price."""
    job = await deployment.producer.get(UUID(outcome.job_id))
    said = f"{case.model} {case.task} by {way}: {job}"
    assert (job.model, job.task) == (case.model, case.task), said
    expected = case.by(way)
    if "sdk" in way:  # which names neither images by URL, nor what OpenAI's API lacks
        given = case.sdk_fields(way)
        kept = {"prompt", "quantity", *_SAME_NAMED}
        kept |= {"aspect_ratio", "resolution"} if "size" in given else set()
        expected = {name: value for name, value in expected.items() if name in kept}
    assert job.request.items() >= expected.items(), said
    request = get_family(job.model).validate(job.task, dict(job.request))
    price = (await deployment.producer.quote(request)).credits
    quantity = request.price_quantity
    assert outcome == Outcome(str(job.id), quantity, price), said
    assert deployment.simulator.record.tasks_by_prompt[job.request["prompt"]] == 1, said
