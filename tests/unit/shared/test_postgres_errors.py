"""Each error of the driver becomes PostgresDown, RowBusy or DatabaseRefused.

The table has every SQLSTATE that the driver knows. A new SQLSTATE of a newer driver fails the test
until it is classified.
"""

from __future__ import annotations

import asyncpg
import pytest
from asyncpg import exceptions

from shared.adapters.postgres import sqlstates
from shared.adapters.postgres.database import translated_postgres_errors
from shared.errors import DarkroomError, DatabaseRefused, JobNotFound, PostgresDown, RowBusy

CODES = {
    kind.sqlstate: kind
    for kind in vars(exceptions).values()
    if isinstance(kind, type)
    and issubclass(kind, asyncpg.PostgresError)
    and kind.__dict__.get("sqlstate")
}
REFUSALS = {
    *(code for code in CODES if code.startswith("22")),
    *("23001", "23502", "23503", "23505", "23514", "23P01"),
}
"""Our own rules, and what a type can hold; with DR*, which the driver has no names for."""
CANNOT_NOW = {
    *("01", "02", "03", "08", "09", "0A", "0B", "0F", "0L", "0P", "0Z", "10", "20", "21", "24"),
    *("25", "26", "27", "28", "2B", "2D", "2F", "34", "38", "39", "3B", "3D", "3F", "40", "42"),
    *("44", "53", "54", "55", "57", "58", "72", "F0", "HV", "P0", "XX"),
}
"""Classes of which every code means that the server, the schema or the session is not as it
should be. Among them are mistakes of our own, like a statement that does not parse: no caller can
fix one, and paid tasks are kept until it is fixed."""


def translated(sqlstate: str, **fields: str) -> DarkroomError:
    """Return the translation of a server error with that code."""
    error = asyncpg.PostgresError.new({"C": sqlstate, "M": "the server's own words", **fields})
    with pytest.raises(DarkroomError) as raised, translated_postgres_errors():
        raise error
    assert raised.value.__cause__ is error
    return raised.value


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (TimeoutError(), "Postgres does not answer: no reply in time"),
        (ConnectionResetError(), "Postgres does not answer: the server closed the connection"),
        (
            OSError(113, "No route to host"),
            "Postgres does not answer: [Errno 113] No route to host",
        ),
    ],
)
def test_an_error_without_words_is_told_in_words(error: Exception, said: str) -> None:
    with pytest.raises(PostgresDown) as raised, translated_postgres_errors():
        raise error
    assert str(raised.value) == said


def test_every_code_that_the_driver_knows_has_been_decided_on() -> None:
    undecided = {
        code
        for code in CODES
        if code not in REFUSALS and code[:2] not in CANNOT_NOW and code != "23000"
    }
    assert not undecided
    assert len(CODES) > 250


@pytest.mark.parametrize("sqlstate", sorted(CODES))
def test_only_our_rules_and_the_requests_data_are_a_refusal(sqlstate: str) -> None:
    error = translated(sqlstate, n="jobs_rule", c="name")
    if sqlstate in REFUSALS:
        assert isinstance(error, DatabaseRefused)
        assert error.sqlstate == sqlstate
    elif sqlstate == "55P03":
        assert isinstance(error, RowBusy)
        assert error.sqlstate == sqlstate
        assert "the server's own words" not in str(error)
        return
    else:
        assert isinstance(error, PostgresDown)
    assert "the server's own words" in str(error)


@pytest.mark.parametrize("sqlstate", ["DR001", "DR402", "DR404", "DR999"])
def test_what_our_own_triggers_raise_is_a_refusal(sqlstate: str) -> None:
    error = translated(sqlstate, H="do this", D="{}")
    assert isinstance(error, DatabaseRefused)
    assert (error.sqlstate, error.hint, error.detail) == (sqlstate, "do this", "{}")


@pytest.mark.parametrize("sqlstate", ["ZZ999", "99999", "D0001", "M0001"])
def test_a_code_that_nobody_knows_is_no_refusal(sqlstate: str) -> None:
    error = translated(sqlstate)
    assert isinstance(error, PostgresDown)
    assert error.sqlstate == sqlstate


@pytest.mark.parametrize("sqlstate", ["23514", "23505", "23503", "23502"])
def test_a_violation_without_the_name_of_a_rule_is_no_refusal(sqlstate: str) -> None:
    """A row without a partition has the SQLSTATE of a CHECK violation."""
    assert isinstance(translated(sqlstate), PostgresDown)


@pytest.mark.parametrize(
    ("sqlstate", "words"),
    [
        ("25006", "cannot do this now: the server's own words (SQLSTATE 25006)"),
        ("53100", "cannot do this now: the server's own words (SQLSTATE 53100)"),
        ("08P01", "cannot do this now: the server's own words (SQLSTATE 08P01)"),
    ],
)
def test_a_server_that_answers_is_not_reported_as_silent(sqlstate: str, words: str) -> None:
    assert words in str(translated(sqlstate))


@pytest.mark.parametrize(
    "error",
    [
        OSError("no route"),
        ConnectionRefusedError(),
        TimeoutError(),
        BufferError("insufficient data to read: requested 4, available 1"),
        asyncpg.InterfaceError("connection is closed"),
        asyncpg.InternalClientError("cannot switch to state 12"),
        exceptions.ProtocolError("unexpected message"),
        exceptions.TargetServerAttributeNotMatched("no host is read-write"),
        asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_server_that_does_not_answer_is_postgres_down(error: Exception) -> None:
    with (
        pytest.raises(PostgresDown, match="does not answer") as raised,
        translated_postgres_errors(),
    ):
        raise error
    assert raised.value.__cause__ is error
    assert raised.value.sqlstate is None


def test_our_own_errors_pass_as_they_are() -> None:
    with pytest.raises(JobNotFound), translated_postgres_errors():
        raise JobNotFound("x")


@pytest.mark.parametrize(
    ("sqlstate", "is_of_a_row", "spoils_one", "spoils_all"),
    [
        ("25006", False, True, True),  # the server was demoted
        ("57P01", False, True, True),  # it is being stopped
        ("28P01", False, True, False),  # the password was rotated
        ("26000", False, True, False),  # the prepared statement is gone
        ("42501", False, True, False),  # the permission is lost
        ("53100", False, True, False),  # the disk is full
        ("57014", True, True, False),  # a timeout of the role, or of one statement that waits
        ("55P03", True, False, False),  # somebody else has the row
        ("40001", True, False, False),
        ("40P01", True, False, False),
        ("P0001", True, False, False),  # a trigger that is not ours
        ("54000", True, True, False),
    ],
)
def test_what_an_error_says_of_other_rows_and_connections(
    sqlstate: str, is_of_a_row: bool, spoils_one: bool, spoils_all: bool
) -> None:
    assert sqlstates.may_concern_one_row(sqlstate) is is_of_a_row
    assert sqlstates.breaks_connection(sqlstate) is spoils_one
    assert sqlstates.breaks_all_connections(sqlstate) is spoils_all
