"""OpenAI's own SDK for Python works against a running system, with another base URL and key."""

from __future__ import annotations

import asyncio
import base64
import io
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI
from PIL import Image

from producer.api import serving_api
from producer.keys.key_store import KeyStore
from producer.keys.roles import Role
from tests.fakes.fake_uploads import receiving_uploads
from tests.support.deployment import Deployment, eventually
from tests.support.example_images import edit_mask, encoded_image

EXAMPLE = Path(__file__).parents[3] / "examples" / "openai_sdk.py"


@asynccontextmanager
async def sdk_client(
    deployment: Deployment, role: Role = Role.SERVICE, **options: Any
) -> AsyncIterator[AsyncOpenAI]:
    """Run the API, and yield a client with its base URL and a key."""
    uploads = {name: options.pop(name) for name in list(options) if name.startswith("kie_")}
    account = "acme" if role is Role.SERVICE else None
    _, key = await KeyStore(deployment.database).create(role, account)
    async with (
        serving_api(deployment.settings.model_copy(update=uploads)) as addresses,
        AsyncOpenAI(
            base_url=f"http://{addresses[0]}/openai/v1", **{"api_key": key, **options}
        ) as client,
    ):
        yield client


async def test_the_examples_of_the_guide_make_images(deployment: Deployment) -> None:
    async with deployment.worker(), sdk_client(deployment) as client:
        made = await client.images.generate(
            model="gpt-image-1",
            prompt="a children's book drawing of a veterinarian listening to a baby otter",
            size="1536x1024",
            n=2,
            quality="auto",
            background="auto",
            output_format="png",
            user="user-1234",
        )
        assert made.data is not None
        pictures = [
            Image.open(io.BytesIO(base64.b64decode(one.b64_json or ""))) for one in made.data
        ]
        assert [one.width * 2 for one in pictures] == [one.height * 3 for one in pictures]
        assert len(pictures) == 2
        assert (made.output_format, made.data[0].url) == ("png", None)
        answered = await client.images.with_raw_response.generate(
            model="dall-e-3", prompt="a white siamese cat", size="1024x1024", style="vivid"
        )
        [link] = answered.parse().data or []
        assert (link.b64_json, answered.headers["x-darkroom-model"]) == (None, "gpt-4o-image")
        job = await deployment.producer.get(answered.headers["x-darkroom-job-id"])
        assert (link.url,) == job.result_urls
        assert {one.id for one in (await client.models.list()).data} >= {"gpt-4o-image", "dall-e-3"}
        assert (await client.models.retrieve("gpt-image-1")).owned_by == "darkroom"
    await deployment.check_account(balance=10_000 - 7 - 6)
    assert [
        one["metadata"]
        for one in await deployment.run_sql(
            "SELECT metadata ->> 'user' AS metadata FROM jobs ORDER BY id"
        )
    ] == ["user-1234", None]


async def test_each_refusal_raises_the_exception_of_the_sdk(deployment: Deployment) -> None:
    await deployment.open_account("poor", 1)
    async with sdk_client(deployment, Role.ADMIN, organization="poor") as client:
        with pytest.raises(openai.RateLimitError) as poor:
            await client.images.generate(prompt="a cat", model="gpt-image-1")
        assert poor.value.code == "insufficient_quota"
        refusals: dict[str, Any] = {
            "n": 3,
            "size": "1792x1024",
            "quality": "high",
            "style": "natural",
            "prompt": " ",
        }
        for param, value in refusals.items():
            with pytest.raises(openai.BadRequestError) as refused:
                await client.images.generate(
                    **{"prompt": "a cat", "model": "gpt-image-1", param: value}
                )
            assert refused.value.param == param, refused.value
        with pytest.raises(openai.NotFoundError, match="'gpt-4o-image'"):
            await client.images.generate(prompt="a cat", model="imagen-4")
        with pytest.raises(openai.NotFoundError):
            await client.files.list()
        with pytest.raises(openai.AuthenticationError) as unknown:
            await client.with_options(api_key="sk-wrong").images.generate(prompt="a cat")
        assert unknown.value.code == "invalid_api_key"
        with pytest.raises(openai.BadRequestError, match="OpenAI-Organization"):
            await client.with_options(organization="not an account").images.generate(prompt="a cat")
    assert await deployment.run_sql("SELECT FROM jobs") == []


async def test_a_retry_of_the_sdk_gets_the_first_job(deployment: Deployment) -> None:
    async with sdk_client(deployment, timeout=1.0) as client:
        with pytest.raises(openai.InternalServerError) as late:
            await client.with_options(max_retries=0).images.generate(
                model="gpt-image-1", prompt="a cat that nobody waits for"
            )
        named = late.value.response.headers["x-darkroom-job-id"]
        assert (late.value.code, named in late.value.message) == ("job_not_finished", True)
        asked = [
            asyncio.create_task(
                client.with_options(max_retries=20).images.generate(
                    model="dall-e-3", prompt="the same cat", extra_headers=headers
                )
            )
            # The last one gives up before the server expects it to.
            for headers in ({}, {}, {"x-stainless-read-timeout": "600"})
        ]
        await eventually(lambda: has_jobs(deployment, 4), "each request has placed its job")
        await asyncio.sleep(1.5)
        async with deployment.worker():
            made = await asyncio.gather(*asked)
    assert len({one.data[0].url for one in made if one.data}) == 3
    assert await has_jobs(deployment, 4)


FAILURES: list[tuple[str, str, type[Exception], str]] = [
    ("gpt-image-1", "generate_failed", openai.InternalServerError, "provider_failed"),
    ("gpt-image-1", "content_policy", openai.BadRequestError, "moderation_blocked"),
    ("dall-e-3", "content_policy", openai.BadRequestError, "content_policy_violation"),
]


async def test_a_failed_job_is_not_bought_again_by_the_sdk(deployment: Deployment) -> None:
    async with deployment.worker(), sdk_client(deployment) as client:
        failed = await asyncio.gather(
            *(
                client.images.generate(model=model, prompt=f"a cat [[sim: outcome={outcome}]]")
                for model, outcome, _, _ in FAILURES
            ),
            return_exceptions=True,
        )
    raised = [(type(one), one.code) for one in failed if isinstance(one, openai.APIStatusError)]
    assert raised == [(exception, code) for _, _, exception, code in FAILURES]
    assert await has_jobs(deployment, len(FAILURES))
    await deployment.check_account(balance=10_000)


async def has_jobs(deployment: Deployment, count: int) -> bool:
    return len(await deployment.run_sql("SELECT FROM jobs")) == count


async def test_the_example_makes_an_image(deployment: Deployment, tmp_path: Path) -> None:
    _, key = await KeyStore(deployment.database).create(Role.SERVICE, "acme")
    async with deployment.worker(), serving_api(deployment.settings) as addresses:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, str(EXAMPLE), "a", "lighthouse"),
            cwd=tmp_path,
            env={
                **os.environ,
                "DARKROOM_URL": f"http://{addresses[0]}",
                "DARKROOM_API_KEY": key,
            },
        )
        async with asyncio.timeout(60):
            assert await process.wait() == 0
    with Image.open(tmp_path / "lighthouse.png") as picture:
        assert picture.width * 2 == picture.height * 3


async def test_images_are_edited_with_a_mask(deployment: Deployment) -> None:
    cat = encoded_image("PNG", 60, 90)
    async with (
        receiving_uploads() as kie,
        deployment.worker(),
        sdk_client(deployment, kie_upload_url=kie.url, kie_upload_key=kie.access.key) as client,
    ):
        made = await client.images.edit(
            model="gpt-image-1",
            image=("cat.png", cat),
            mask=("mask.png", edit_mask(60, 90)),
            prompt="put a hat on the cat",
            n=2,
            size="auto",
        )
        assert len(made.data or ()) == 2
        [job] = await deployment.producer.list(limit=10)
        # The size `auto` is the shape of the image.
        assert (job.task, job.request["aspect_ratio"]) == ("image-to-image", "2:3")
        assert kie.stored[job.request["image_urls"][0]] == cat
        with Image.open(io.BytesIO(kie.stored[job.request["mask_url"]])) as mask:
            corners = [mask.getpixel((0, 0)), mask.getpixel((59, 89))]
        assert corners == [(0, 0, 0), (255, 255, 255)]
        keyed = {"Idempotency-Key": "edit-1"}
        several = [
            await client.images.with_raw_response.edit(
                model="gpt-image-1",
                image=[("a.png", cat), ("b.jpg", encoded_image("JPEG")), encoded_image("WEBP")],
                prompt="a group portrait",
                size="1024x1024",
                response_format="url",
                extra_headers=keyed,
            )
            for _ in range(2)
        ]
    assert several[0].headers["x-darkroom-job-id"] == several[1].headers["x-darkroom-job-id"]
    job = await deployment.producer.get(several[0].headers["x-darkroom-job-id"])
    assert len(job.request["image_urls"]) == 3
    assert len(set(kie.stored.values())) == 4
    await deployment.check_account(balance=10_000 - 7 - 6)


async def test_an_edit_that_cannot_be_done_is_refused_under_its_own_name(
    deployment: Deployment,
) -> None:
    cat, grey = encoded_image("PNG", 60, 90), encoded_image("PNG", 60, 60)
    refusals: list[tuple[str, dict[str, Any]]] = [
        ("image", {"image": b"GIF89a no image"}),
        ("image", {"image": [cat] * 6}),
        ("mask", {"image": [cat, grey], "mask": edit_mask(60, 90)}),
        ("mask", {"image": grey, "mask": edit_mask(60, 90)}),
        ("mask", {"image": cat, "mask": cat}),
        ("mask", {"image": cat, "mask": edit_mask(60, 90), "model": "gpt-image-2"}),
        ("input_fidelity", {"image": cat, "input_fidelity": "high"}),
        ("n", {"image": cat, "n": 3}),
        ("prompt", {"image": cat, "prompt": " "}),
    ]
    async with (
        receiving_uploads() as kie,
        sdk_client(deployment, kie_upload_url=kie.url, kie_upload_key=kie.access.key) as client,
    ):
        for param, fields in refusals:
            with pytest.raises(openai.BadRequestError) as refused:
                await client.images.edit(**{"prompt": "x", "model": "gpt-image-1", **fields})
            assert refused.value.param == param, refused.value
    assert await has_jobs(deployment, 0)


async def test_a_retry_of_an_edit_gets_the_first_job(deployment: Deployment) -> None:
    """The form of a retry has another boundary, and its image is not uploaded again."""
    async with (
        receiving_uploads() as kie,
        sdk_client(
            deployment,
            kie_upload_url=kie.url,
            kie_upload_key=kie.access.key,
            timeout=1.0,
            max_retries=20,
        ) as client,
    ):
        asked = asyncio.create_task(
            client.images.edit(
                prompt="a hat", image=encoded_image("PNG"), response_format="url", size="auto"
            )
        )
        await eventually(lambda: has_jobs(deployment, 1), "the job is placed")
        await asyncio.sleep(1.2)
        async with deployment.worker():
            made = await asked
    [job] = await deployment.producer.list(limit=10)
    assert [one.url for one in made.data or ()] == list(job.result_urls)
    assert len(kie.stored) == 1


async def test_a_model_that_makes_one_image_at_a_time_gets_as_many_jobs(
    deployment: Deployment,
) -> None:
    async with deployment.database.pool.acquire() as connection, connection.transaction():
        await connection.execute("SET LOCAL darkroom.confirm = 'yes'")
        await connection.execute(
            "INSERT INTO pricing (model, task, quantity, variant, credits, provider_credits)"
            " VALUES ('gpt-image-2', 'text-to-image', 1, '1K', 6, 6)"
            " ON CONFLICT (model, task, quantity, variant) DO NOTHING"
        )
    async with deployment.worker(), sdk_client(deployment) as client:
        made = await client.images.with_raw_response.generate(
            model="gpt-image-2",
            prompt="a paper boat",
            n=3,
            background="transparent",
            response_format="url",
            extra_headers={"Idempotency-Key": "boat"},
        )
        again = await client.images.with_raw_response.generate(
            model="gpt-image-2",
            prompt="a paper boat",
            n=3,
            background="transparent",
            response_format="url",
            extra_headers={"Idempotency-Key": "boat"},
        )
    assert len(made.parse().data or ()) == 3
    assert made.parse().data == again.parse().data
    assert await has_jobs(deployment, 3)
    await deployment.check_account(balance=10_000 - 3 * 6)
