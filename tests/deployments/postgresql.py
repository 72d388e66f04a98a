"""Runs the PostgreSQL of this system, with a plain role that owns a database."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.deployments.postgres import wait_until_ready
from tests.deployments.programs import (
    open_folder,
    require_program,
    running_program,
    unprivileged_user,
)
from tests.support.ports import port_for_restarts
from tests.support.tls_server import CA_FILE, CERTIFICATE_FILE, KEY_FILE

PASSWORD = "pass/word@1"
_ENCODED = PASSWORD.replace("/", "%2F").replace("@", "%40")
LOGIN, CERTIFIED_LOGIN = f"app:{_ENCODED}", f"certified:{_ENCODED}"
_ACCESS = """\
host all postgres 127.0.0.1/32 trust
host all app 127.0.0.1/32 scram-sha-256
host all app ::1/128 scram-sha-256
"""
_ACCESS_BY_CERTIFICATE = "hostssl all certified 127.0.0.1/32 scram-sha-256 clientcert=verify-ca\n"


class PlainPostgres:
    """A running server with the database `app`, which belongs to the role `app`."""

    def __init__(self, port: int) -> None:
        self.port = port

    def url(self, *, login: str = LOGIN, host: str = "localhost", query: str = "") -> str:
        """Return a URL, by default with the password of the role `app`."""
        return f"postgresql://{login}@{host}:{self.port}/app{'?' if query else ''}{query}"

    def run_sql(self, *statements: str) -> None:
        """Run statements as the superuser."""
        url = f"postgresql://postgres@127.0.0.1:{self.port}/postgres"
        for statement in statements:
            subprocess.run([require_program("psql"), "-qXc", statement, url], check=True)


@contextmanager
def running_postgres(*settings: str, has_tls: bool = False) -> Iterator[PlainPostgres]:
    """Run a new server in the block. Settings are `name=value`."""
    initdb, postgres = require_program("initdb"), require_program("postgres")
    user, port = unprivileged_user(), port_for_restarts()
    with open_folder("postgresql-") as folder:
        data = folder / "data"
        made = [
            initdb,
            "-D",
            str(data),
            "-U",
            "postgres",
            "--auth=trust",
            "-E",
            "UTF8",
            "--no-sync",
        ]
        subprocess.run([*made, "--locale=C.UTF-8"], check=True, capture_output=True, user=user)
        access = _ACCESS + _ACCESS_BY_CERTIFICATE * has_tls
        (data / "pg_hba.conf").write_text(access)
        given = [
            f"port={port}",
            "listen_addresses=localhost",
            "unix_socket_directories=",
            *settings,
        ]
        if has_tls:
            given += ["ssl=on", *_copy_certificate(data, user)]
        command = [postgres, "-D", str(data), *(word for one in given for word in ("-c", one))]
        with running_program(command, folder / "log", port=port, user=user):
            wait_until_ready(port)
            server = PlainPostgres(port)
            server.run_sql(
                f"CREATE ROLE app LOGIN PASSWORD '{PASSWORD}'",
                f"CREATE ROLE certified LOGIN PASSWORD '{PASSWORD}'",
                "CREATE DATABASE app OWNER app",
            )
            yield server


def _copy_certificate(data: Path, user: str | None) -> list[str]:
    """Copy the certificate of `localhost` for the server. Return its settings."""
    settings = []
    files = {"ssl_cert_file": CERTIFICATE_FILE, "ssl_key_file": KEY_FILE, "ssl_ca_file": CA_FILE}
    for name, source in files.items():
        copied = data / source.name
        shutil.copy(source, copied)
        copied.chmod(0o600)
        if user is not None:
            shutil.chown(copied, user)
        settings.append(f"{name}={source.name}")
    return settings
