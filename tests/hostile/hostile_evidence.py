"""The evidence of a hostile campaign: rows in Postgres, memory, descriptors and logs."""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.hostile.hostile_deployment import HONEST, HostileDeployment

_LOOK_SECONDS = 0.5
_DOCTOR_SECONDS = 60.0

_STORED = """
SELECT (SELECT count(*) FROM jobs WHERE account_id <> $1) AS jobs_of_hostile_accounts,
       (SELECT count(*) FROM ledger_entries WHERE account_id <> $1) AS their_ledger_entries,
       (SELECT count(*) FROM jobs) - (SELECT count(*) FROM jobs WHERE account_id <> $1)
           - $2 AS honest_jobs_beyond_those_placed,
       (SELECT count(*) FROM callback_inbox AS inbox WHERE NOT EXISTS (
            SELECT FROM job_attempts AS attempt WHERE attempt.token = inbox.token
               AND attempt.provider_task_id = inbox.provider_task_id)) AS forged_callbacks,
       (SELECT count(*) FROM webhook_messages) AS webhooks,
       (SELECT count(*) FROM accounts) AS accounts,
       (SELECT count(*) FROM api_keys) AS keys
"""


async def stored(deployment: HostileDeployment, honest_jobs: int) -> dict[str, int]:
    """Return the numbers of rows that attackers could have created."""
    row = await deployment.database.pool.fetchrow(_STORED, HONEST, honest_jobs)
    assert row is not None
    return dict(row)


@dataclass(slots=True)
class ResourceWatch:
    """The maxima of each process so far."""

    memory_bytes: dict[str, int]
    descriptors: dict[str, int]


def _memory_bytes(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    (line,) = [one for one in status.splitlines() if one.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024


async def watch(deployment: HostileDeployment, seen: ResourceWatch) -> None:
    """Record memory and descriptors of the processes until cancelled."""
    while True:
        for name, pid in deployment.pids().items():
            with suppress(OSError, ValueError):
                held = len(list(Path(f"/proc/{pid}/fd").iterdir()))
                seen.descriptors[name] = max(seen.descriptors.get(name, 0), held)
                # The kernel's high-water mark, so nothing is missed between two samples.
                seen.memory_bytes[name] = _memory_bytes(pid)
        await asyncio.sleep(_LOOK_SECONDS)


def log_bytes(deployment: HostileDeployment) -> dict[str, int]:
    """Return how long each log is now."""
    return {
        name: path.stat().st_size if path.exists() else 0 for name, path in deployment.logs.items()
    }


async def ask_doctor(deployment: HostileDeployment) -> tuple[int, str]:
    """Run `darkroom doctor`. Return its exit code and its findings."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "producer", "doctor"),
        env=deployment.environ,
        cwd=deployment.folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(_DOCTOR_SECONDS):
        out, _ = await process.communicate()
    return process.returncode or 0, out.decode(errors="replace")
