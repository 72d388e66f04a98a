"""``python -m worker.simulator``: the simulator as a process of its own."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import orjson

from shared.errors import ConfigurationError

from .command_line import read_command_line
from .http_routes import running_simulator
from .simulator_config import SimulatorConfig


def write_ready_file(path: str, content: bytes) -> None:
    """Write the file atomically: a reader sees nothing or the whole content. Raises `OSError`."""
    target = Path(path)
    draft = target.with_name(f".{target.name}.{os.getpid()}")
    draft.write_bytes(content)
    draft.replace(target)


async def serve(config: SimulatorConfig, ready_file: str) -> None:
    """Run until SIGTERM or SIGINT. The ready file has the address once it listens."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    async with running_simulator(config) as simulator:
        keys = ", ".join(config.api_keys)
        what = "API key" if len(config.api_keys) == 1 else "API keys"
        sys.stderr.write(f"Kie simulator on {simulator.base_url}, {what} {keys}\n")
        sys.stderr.flush()
        if ready_file:
            facts = {
                "base_url": simulator.base_url,
                "api_key": simulator.api_key,
                "pid": str(os.getpid()),
            }
            write_ready_file(ready_file, orjson.dumps(facts))
        await stopped.wait()


def main() -> int:
    """Serve as the arguments state. Returns 0 when a signal stops it, 1 when it cannot listen."""
    config = read_command_line(sys.argv[1:])
    try:
        asyncio.run(serve(config, os.environ.get("DARKROOM_READY_FILE", "")))
    except (ConfigurationError, OSError) as error:
        sys.stderr.write(
            f"the simulator cannot start on {config.host}:{config.port}: {error}; "
            "--port 0 takes any free port\n"
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
