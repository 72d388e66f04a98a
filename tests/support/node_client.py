"""Brings the client for Node and its compiler to where a program finds them."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from tests.support.npm_package import NpmPackage, install_module

CLIENT = Path(__file__).parents[2] / "clients" / "node"
TYPESCRIPT = NpmPackage(
    "typescript",
    "5.9.3",
    "sha512-jl1vZzPDinLr9eUt3J/t7V6FgNEw9QjvBPdysz9KfQDD41fQrC2Y4vKQdiaUpFT4bXlb1RHhLpp8wtm6M5TgSw==",
)
RUN_SECONDS = 90.0


def install_client(folder: Path) -> None:
    """Let programs in the folder import `darkroom-client`, as `npm install` of the folder does."""
    modules = folder / "node_modules"
    modules.mkdir(exist_ok=True)
    (modules / "darkroom-client").symlink_to(CLIENT, target_is_directory=True)


def compiler() -> Path:
    """Return TypeScript's compiler, which is downloaded once. Raises `DownloadError`."""
    return install_module(TYPESCRIPT) / "node_modules" / "typescript" / "bin" / "tsc"


async def run_node(*arguments: str | Path, cwd: Path, **environ: str) -> tuple[int, str]:
    """Run Node, and return its exit code and what it said."""
    process = await asyncio.create_subprocess_exec(
        *("node", *arguments),
        cwd=cwd,
        env={**os.environ, **environ},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(RUN_SECONDS):
            out, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    return process.returncode, out.decode()
