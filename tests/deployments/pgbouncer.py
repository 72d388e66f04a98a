"""Runs a PgBouncer in front of a database."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

from tests.deployments.programs import require_program, running_program, unprivileged_user
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
    folder = Path(tempfile.mkdtemp(prefix="pgbouncer-"))
    try:
        file = folder / "pgbouncer.ini"
        file.write_text(
            f"[databases]\n{name} = {target} dbname={name} user={user}\n[pgbouncer]\n"
            + "".join(f"{key} = {value}\n" for key, value in lines.items())
        )
        folder.chmod(0o755)
        log = folder / "log"
        command = [program, str(file)]
        with running_program(command, log, port=port, user=unprivileged_user()):
            yield f"postgresql://{user}@127.0.0.1:{port}/{name}"
    finally:
        shutil.rmtree(folder)
