"""No error of the driver leaves the adapter: each becomes PostgresDown or DatabaseRefused."""

from __future__ import annotations

import asyncpg
import pytest

from shared.adapters.postgres import translated_errors
from shared.errors import DatabaseRefused, JobNotFound, PostgresDown


@pytest.mark.parametrize(
    "error",
    [
        OSError("no route"),
        ConnectionRefusedError(),
        TimeoutError(),
        asyncpg.InterfaceError("connection is closed"),
        asyncpg.InternalClientError("cannot switch to state 12"),
        asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation"),
        asyncpg.CannotConnectNowError("the database system is starting up"),
        asyncpg.AdminShutdownError("terminating connection due to administrator command"),
        asyncpg.CrashShutdownError("terminating connection because of crash"),
        asyncpg.TooManyConnectionsError("sorry, too many clients already"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_server_that_cannot_answer_is_postgres_down(error: Exception) -> None:
    with pytest.raises(PostgresDown) as raised, translated_errors():
        raise error
    assert raised.value.__cause__ is error


def test_a_refusal_keeps_its_code_constraint_and_words() -> None:
    with pytest.raises(DatabaseRefused, match="violates") as raised, translated_errors():
        raise asyncpg.CheckViolationError("violates a check")
    assert raised.value.sqlstate == "23514"


def test_our_own_errors_pass_as_they_are() -> None:
    with pytest.raises(JobNotFound), translated_errors():
        raise JobNotFound("x")
