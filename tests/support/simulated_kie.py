"""Runs the simulated Kie as a process."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import orjson

from shared.adapters.embedded.auxiliary_processes import READY_FILE_VARIABLE
from shared.settings import Settings

NO_CREATE_LIMIT = ("--creates-per-10-seconds", "0")
_ROOT = Path(__file__).parents[2]
_READY_SECONDS = 30.0
_SETTINGS = frozenset(Settings.model_fields)


def clean_environment() -> dict[str, str]:
    """Return the environment of this process without settings, and with our modules."""
    kept = {name: value for name, value in os.environ.items() if name.lower() not in _SETTINGS}
    search = os.pathsep.join(filter(None, [str(_ROOT), kept.get("PYTHONPATH")]))
    return {**kept, "PYTHONPATH": search}


@asynccontextmanager
async def simulated_kie(
    folder: Path, arguments: Sequence[str], *, module: str = "worker.simulator"
) -> AsyncIterator[dict[str, str]]:
    """Run a simulated Kie during the block. Yields its ready file, and logs to `kie.log`."""
    ready = folder / "kie.ready.json"
    with (folder / "kie.log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", module, *arguments),
            env={**clean_environment(), READY_FILE_VARIABLE: str(ready)},
            cwd=folder,
            stderr=log,
        )
    try:
        async with asyncio.timeout(_READY_SECONDS):
            while not ready.exists():
                assert process.returncode is None, "the simulated Kie did not start"
                await asyncio.sleep(0.02)
        answer: dict[str, str] = orjson.loads(ready.read_bytes())
        yield answer
        assert process.returncode is None, "the simulated Kie has died"
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()
