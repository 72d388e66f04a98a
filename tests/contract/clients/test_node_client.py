"""The client for Node: its own tests on every system, and its built files."""

from __future__ import annotations

import asyncio
import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

from standardwebhooks import Webhook

from tests.contract.clients.systems import System
from tests.support.example_images import encoded_image
from tests.support.node_client import CLIENT, compiler, install_client, run_node

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
BODY = '{"type": "job.succeeded", "timestamp": "2031-01-01T00:00:00Z", "data": {"id": "é"}}'


def signed_webhook() -> str:
    """Return a message that another library has signed just now."""
    now = datetime.now(UTC)
    headers = {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(SECRET).sign("msg_1", now, BODY),
    }
    return json.dumps({"secret": SECRET, "headers": headers, "body": BODY})


async def test_the_client_passes_its_tests(system: System, tmp_path: Path) -> None:
    install_client(tmp_path)
    shutil.copy(CLIENT / "test" / "client.test.mjs", tmp_path)
    image = tmp_path / "cat.png"
    image.write_bytes(encoded_image("PNG"))
    code, said = await run_node(
        *("--test-reporter=spec", "client.test.mjs"),
        cwd=tmp_path,
        DARKROOM_URL=system.url,
        DARKROOM_API_KEY=await system.key(),
        FAILING_PROMPT=system.prompt("content_policy"),
        IMAGE=str(image),
        WEBHOOK=signed_webhook(),
    )
    assert code == 0, said
    assert "pass 14" in said
    assert "skipped 0" in said


async def test_the_built_files_are_those_of_the_sources(tmp_path: Path) -> None:
    """The compiler takes `test/usage.ts` as well, with the mistakes in it that it must find."""
    config = {
        "extends": str(CLIENT / "tsconfig.json"),
        "compilerOptions": {"rootDir": str(CLIENT), "outDir": str(tmp_path / "out")},
        "include": [str(CLIENT / "src"), str(CLIENT / "test" / "usage.ts")],
    }
    (tmp_path / "tsconfig.json").write_text(json.dumps(config), encoding="utf-8")
    code, said = await run_node(await asyncio.to_thread(compiler), cwd=tmp_path)
    assert code == 0, said
    built = {file.name: file.read_text("utf-8") for file in (tmp_path / "out" / "src").iterdir()}
    kept = {file.name: file.read_text("utf-8") for file in (CLIENT / "lib").iterdir()}
    assert kept == built, "run `make types`"


def test_the_package_needs_no_other_at_run_time() -> None:
    package = json.loads((CLIENT / "package.json").read_text("utf-8"))
    assert not {"dependencies", "peerDependencies", "optionalDependencies"} & set(package)
    [entry] = package["exports"].values()
    assert all((CLIENT / file).is_file() for file in entry.values())
