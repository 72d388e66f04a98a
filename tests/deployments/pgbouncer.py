"""Runs a PgBouncer in front of a database."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import unquote, urlsplit

from tests.deployments.programs import (
    open_folder,
    require_program,
    running_program,
    unprivileged_user,
)
from tests.support.ports import port_for_restarts


@contextmanager
def running_pgbouncer(
    database_url: str, *, mode: str = "transaction", settings: Mapping[str, str] | None = None
) -> Iterator[str]:
    """Yield the URL of a PgBouncer in front of the database. Settings as in `pgbouncer.ini`."""
    program = require_program("pgbouncer")
    parts, port = urlsplit(database_url), port_for_restarts()
    target = f"host={unquote(parts.hostname or '')} port={parts.port}"
    lines = {
        "listen_addr": "127.0.0.1",
        "listen_port": str(port),
        "unix_socket_dir": "",
        "auth_type": "any",
        "pool_mode": mode,
        "max_client_conn": "200",
        **(settings or {}),
    }
    name, user = parts.path.strip("/"), parts.username or "postgres"
    with open_folder("pgbouncer-") as folder:
        file = folder / "pgbouncer.ini"
        file.write_text(
            f"[databases]\n{name} = {target} dbname={name} user={user}\n[pgbouncer]\n"
            + "".join(f"{key} = {value}\n" for key, value in lines.items())
        )
        file.chmod(0o644)
        command = [program, str(file)]
        with running_program(command, folder / "log", port=port, user=unprivileged_user()):
            yield f"postgresql://{user}@127.0.0.1:{port}/{name}"
