"""Runs the PostgreSQL of the system."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep

from tests.deployments.programs import require_program, running_program, unprivileged_user
from tests.support.ports import port_for_restarts

_START_SECONDS = 20.0


@contextmanager
def running_postgres(folder: Path) -> Iterator[str]:
    """Yield `127.0.0.1:PORT` of a new server in a folder that every user may write.

    The superuser `postgres` comes without a password, every other role with one.
    """
    initdb, postgres = require_program("initdb"), require_program("postgres")
    data, port, user = folder / "data", port_for_restarts(), unprivileged_user()
    subprocess.run(
        [initdb, "-D", data, "-U", "postgres", "--auth=trust", "-E", "UTF8", "--locale=C.UTF-8"],
        check=True,
        capture_output=True,
        user=user,
    )
    (data / "pg_hba.conf").write_text(
        "host all postgres 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n"
    )
    settings = [f"port={port}", "listen_addresses=127.0.0.1", "unix_socket_directories="]
    command = [postgres, "-D", str(data), *(word for one in settings for word in ("-c", one))]
    with running_program(command, folder / "postgres.log", port=port, user=user):
        wait_until_ready(port)
        yield f"127.0.0.1:{port}"


def wait_until_ready(port: int) -> None:
    """Wait: the server listens while it still refuses connections because it starts."""
    give_up_at = monotonic() + _START_SECONDS
    ask = [require_program("pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(port)]
    while subprocess.run(ask).returncode != 0:
        if monotonic() > give_up_at:
            raise AssertionError(f"PostgreSQL on port {port} still starts")
        sleep(0.05)
