"""Connects to the primary among the hosts of a Postgres URL."""

from __future__ import annotations

import asyncio
import ssl
from typing import Any

import asyncpg

from shared.adapters.postgres.connections.driver_arguments import (
    PLAIN,
    Attempt,
    read_connect_options,
)
from shared.adapters.postgres.connections.kept_alive_connection import KeptAliveConnection
from shared.adapters.postgres.sqlstates import INSUFFICIENT_PRIVILEGE
from shared.errors import DatabaseUrlRefused

_BETWEEN_HOSTS_SECONDS = 0.2
"""How long to wait for a host before connecting to the next one in parallel."""
_REFUSED_PARAMETERS = frozenset({"42704", "22023", "42601"})
"""The server knows no such parameter, not this value, or cannot read `options`."""
_NO_STARTUP_PARAMETER = "unsupported startup parameter"
_NO_TLS = "rejected SSL upgrade"
_NO_ENTRY = "28000"
"""The server lets nobody log in so: this login, from this host, without TLS or with it."""


async def connect_to_primary(url: str, **options: Any) -> Any:
    """Return a connection to the first host that accepts writes. Takes the options of the driver.

    The driver tries one host after the other within one timeout. A host that does not reply, such
    as a machine without power, would use up the timeout before the primary is tried. Here the
    hosts are tried in parallel, each a little after the previous one. Raises errors of the
    driver, and `DatabaseUrlRefused` for what the URL asks and nobody can do.
    """
    found = read_connect_options(url)
    options.setdefault("connection_class", KeptAliveConnection)
    if found.timeout_seconds is not None:
        options["timeout"] = found.timeout_seconds
    settings = options.pop("server_settings", {})
    options["server_settings"] = {**found.server_settings, **settings}
    connection = await _connect_to_one(list(found.attempts), options)
    if isinstance(connection, KeptAliveConnection):
        connection.set_keepalive(found.keepalive)
    return connection


async def _connect_to_one(left: list[Attempt], options: dict[str, Any]) -> Any:
    if len(left) == 1:
        return await _connect(left[0], options)
    waiting: set[asyncio.Task[Any]] = set()
    errors: list[BaseException] = []
    try:
        while left or waiting:
            if left:
                waiting.add(asyncio.ensure_future(_connect(left.pop(0), options)))
            done, waiting = await asyncio.wait(
                waiting,
                timeout=_BETWEEN_HOSTS_SECONDS if left else None,
                return_when=asyncio.FIRST_COMPLETED,
            )
            found = [task.result() for task in done if task.exception() is None]
            errors += [error for task in done if (error := task.exception()) is not None]
            for surplus in found[1:]:
                surplus.terminate()
            if found:
                return found[0]
    finally:
        await _cancel_all(waiting)
    raise _most_informative(errors)


async def _connect(attempt: Attempt, options: dict[str, Any]) -> Any:
    """Connect to one host, with TLS or without as its mode allows."""
    first, *others = attempt.tls
    try:
        return await _connect_with(first, attempt, options)
    except (OSError, asyncpg.InvalidAuthorizationSpecificationError) as error:
        if not others or not _may_be_about_tls(error):
            raise
    return await _connect_with(others[0], attempt, options)


async def _connect_with(tls: Any, attempt: Attempt, options: dict[str, Any]) -> Any:
    try:
        return await asyncpg.connect(**attempt.arguments, **options, ssl=tls)
    except asyncpg.PostgresError as error:
        refusal = _find_refusal(error, attempt)
        if refusal is None:
            raise
        raise DatabaseUrlRefused(refusal, sqlstate=error.sqlstate) from error
    except ssl.SSLCertVerificationError as error:
        raise DatabaseUrlRefused(
            f"the certificate of Postgres is not accepted: {error.verify_message}; see sslmode and"
            " sslrootcert of DATABASE_URL"
        ) from error
    except (ConnectionError, ssl.SSLError) as error:
        if _NO_TLS in str(error) and len(attempt.tls) == 1:
            raise DatabaseUrlRefused(
                "the server of DATABASE_URL has no TLS, which its sslmode asks for: sslmode=prefer"
                " uses TLS where a server has it, sslmode=disable never"
            ) from error
        is_direct = tls and attempt.arguments["direct_tls"]
        if is_direct and not isinstance(error, ConnectionRefusedError):
            raise ConnectionResetError(
                f"{str(error) or 'the server closed the connection'}; sslnegotiation=direct of"
                " DATABASE_URL needs PostgreSQL 17 with TLS, or leave it out"
            ) from error
        raise


def _find_refusal(error: asyncpg.PostgresError, attempt: Attempt) -> str | None:
    """Return a sentence if the server refuses what the URL says, and no password."""
    words = str(error.args[0]) if error.args else ""
    if error.sqlstate in _REFUSED_PARAMETERS or _NO_STARTUP_PARAMETER in words:
        return f"the server refuses a parameter of DATABASE_URL: {words}"
    login = f"the server refuses the login of DATABASE_URL: {words} (SQLSTATE {error.sqlstate})"
    if error.sqlstate == INSUFFICIENT_PRIVILEGE:
        return login
    is_remote = not str(attempt.arguments["host"] or "/").startswith("/")
    if error.sqlstate == _NO_ENTRY and attempt.tls == (PLAIN,) and is_remote:
        return f"{login}. If it wants TLS: sslmode=disable forbids that"
    return None


def _may_be_about_tls(error: BaseException) -> bool:
    """Return whether the same server may accept a connection with or without TLS."""
    return not isinstance(
        error, asyncpg.InvalidPasswordError | ConnectionRefusedError | TimeoutError
    )


async def _cancel_all(waiting: set[asyncio.Task[Any]]) -> None:
    for task in waiting:
        task.cancel()
    for outcome in await asyncio.gather(*waiting, return_exceptions=True):
        if not isinstance(outcome, BaseException):
            outcome.terminate()


def _most_informative(errors: list[BaseException]) -> BaseException:
    """Return an authentication error if any, else that no host accepts writes, else the last."""
    for kind in (
        DatabaseUrlRefused,
        asyncpg.InvalidAuthorizationSpecificationError,
        asyncpg.InvalidCatalogNameError,
    ):
        for error in errors:
            if isinstance(error, kind):
                return error
    for error in errors:
        if isinstance(error, asyncpg.TargetServerAttributeNotMatched):
            return error
    return errors[-1]
