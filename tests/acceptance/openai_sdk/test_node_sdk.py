"""OpenAI's own SDK for Node works against a running system, with another base URL and key."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from producer.api import serving_api
from producer.keys.key_store import KeyStore
from producer.keys.roles import Role
from tests.support.deployment import Deployment, eventually
from tests.support.example_images import edit_mask, encoded_image
from tests.support.npm_package import NpmPackage, install_module

# The newest one that runs on Node 20.
OPENAI = NpmPackage(
    "openai",
    "6.49.0",
    "sha512-aYCc0C6L864eR6WSYIwQGyXriw/nIyZx0ObvhzOEVuk0zoBDpynjSbrionWI7q65B5H8jJX0DXR9snEzM6bfPg==",
)
CAT = base64.b64encode(encoded_image("PNG", 60, 90)).decode()
MASK = base64.b64encode(edit_mask(60, 90)).decode()
RUN_SECONDS = 60.0
HERE = Path(__file__).parent
EXAMPLE = Path(__file__).parents[3] / "examples" / "node" / "openai_sdk.mjs"

Calls = Sequence[tuple[str, dict[str, Any]]]


async def run_node(folder: Path, script: Path, *arguments: str, **environ: str) -> str:
    """Run a script beside the SDK, and return what it prints."""
    modules = await asyncio.to_thread(install_module, OPENAI)
    if not (folder / "node_modules").exists():
        (folder / "node_modules").symlink_to(modules / "node_modules")
    shutil.copy(script, folder / script.name)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OPENAI_")}
    process = await asyncio.create_subprocess_exec(
        *("node", script.name, *arguments),
        cwd=folder,
        env={**kept, **environ},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(RUN_SECONDS):
            out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, err.decode()
    return out.decode()


async def come(
    deployment: Deployment, folder: Path, address: str, calls: Calls, **options: Any
) -> list[dict[str, Any]]:
    """Return what each call of the SDK comes to: its answer, or its exception."""
    _, key = await KeyStore(deployment.database).create(Role.SERVICE, "acme")
    said = await run_node(
        folder,
        HERE / "calls.mjs",
        BASE_URL=f"http://{address}/openai/v1",
        API_KEY=key,
        CALLS=json.dumps(calls),
        OPTIONS=json.dumps(options),
    )
    return [json.loads(line) for line in said.splitlines()]


async def test_images_are_made_and_each_refusal_raises_the_exception_of_the_sdk(
    deployment: Deployment, tmp_path: Path
) -> None:
    calls: Calls = [
        ("generate", {"model": "gpt-image-1", "prompt": "an otter", "size": "1024x1536", "n": 2}),
        ("generate", {"model": "dall-e-3", "prompt": "a cat", "quality": "standard"}),
        ("edit", {"prompt": "a hat", "images": [CAT], "mask": MASK, "response_format": "url"}),
        ("edit", {"model": "gpt-image-1", "prompt": "two cats", "images": [CAT, CAT], "n": 2}),
        ("models", {}),
        ("generate", {"model": "gpt-image-1", "prompt": "a cat", "n": 3}),
        ("generate", {"model": "gpt-image-9", "prompt": "a cat"}),
        ("generate", {"prompt": "a cat [[sim: outcome=content_policy]]"}),
        ("generate", {"prompt": "a cat [[sim: outcome=generate_failed]]"}),
    ]
    async with deployment.worker(), serving_api(deployment.settings) as addresses:
        made, link, masked, several, models, *refused = await come(
            deployment, tmp_path, addresses[0], calls
        )
    pictures = [Image.open(io.BytesIO(base64.b64decode(one["b64_json"]))) for one in made["data"]]
    assert [one.width * 3 == one.height * 2 for one in pictures] == [True, True]
    assert [one.keys() for one in link["data"]] == [{"url"}]
    assert [len(one["data"]) for one in (masked, several)] == [1, 2]
    assert "gpt-image-2" in models["ids"]
    assert [(one["exception"], one["code"], one["param"]) for one in refused] == [
        ("BadRequestError", "invalid_value", "n"),
        ("NotFoundError", "model_not_found", None),
        ("BadRequestError", "moderation_blocked", None),
        ("InternalServerError", "provider_failed", None),
    ]
    assert len(await deployment.run_sql("SELECT FROM jobs")) == 6
    await deployment.check_account(balance=10_000 - 7 - 6 - 6 - 7)


async def test_a_retry_of_the_sdk_gets_the_first_job(
    deployment: Deployment, tmp_path: Path
) -> None:
    """The SDK gives up after 1 s, and its server knows it."""
    calls: Calls = [("generate", {"model": "dall-e-3", "prompt": "the same cat"})] * 3

    async def are_placed() -> bool:
        return len(await deployment.run_sql("SELECT FROM jobs")) == len(calls)

    async with serving_api(deployment.settings) as addresses:
        asked = asyncio.create_task(
            come(deployment, tmp_path, addresses[0], calls, timeout=1_000, maxRetries=20)
        )
        await eventually(are_placed, "each call has placed its job")
        await asyncio.sleep(1.0)
        async with deployment.worker():
            made = await asked
    assert len({one["data"][0]["url"] for one in made}) == len(calls)
    assert await are_placed()


async def test_the_example_makes_an_image(deployment: Deployment, tmp_path: Path) -> None:
    _, key = await KeyStore(deployment.database).create(Role.SERVICE, "acme")
    async with deployment.worker(), serving_api(deployment.settings) as addresses:
        said = await run_node(
            tmp_path,
            EXAMPLE,
            *("a", "lighthouse"),
            DARKROOM_URL=f"http://{addresses[0]}",
            DARKROOM_API_KEY=key,
        )
    assert said.startswith("lighthouse.png: ")
    with Image.open(tmp_path / "lighthouse.png") as picture:
        assert picture.width * 2 == picture.height * 3
