"""Classifies SQLSTATEs of Postgres.

A list of codes says which errors are refusals: a rule of ours or the data of the request refused
the statement, and a retry would be refused again. All other codes, including unknown ones, mean
that the server cannot run the statement now. Such a write is retried, so that an unexpected error
never discards a result that was paid for.
"""

from __future__ import annotations

_OUR_OWN_CLASS = "DR"
_DATA_EXCEPTION_CLASS = "22"
_CONSTRAINT_CLASS = "23"
_NOT_NULL_VIOLATION = "23502"

INSUFFICIENT_CREDITS = f"{_OUR_OWN_CLASS}402"
PRIORITY_NOT_ALLOWED = f"{_OUR_OWN_CLASS}403"
ACCOUNT_MISSING = f"{_OUR_OWN_CLASS}404"
LIMIT_REACHED = f"{_OUR_OWN_CLASS}429"
FOREIGN_KEY_VIOLATION = "23503"
SERIALIZATION_FAILURE = "40001"
DEADLOCK_DETECTED = "40P01"
INSUFFICIENT_PRIVILEGE = "42501"
LOCK_NOT_AVAILABLE = "55P03"
QUERY_CANCELED = "57014"

_NAMED_CONSTRAINT_VIOLATIONS = frozenset(
    {"23001", FOREIGN_KEY_VIOLATION, "23505", "23514", "23P01"}
)

ROLLED_BACK = frozenset({SERIALIZATION_FAILURE, DEADLOCK_DETECTED})
"""The server has certainly rolled the transaction back, and a retry may succeed."""

_ROW_CODES = ROLLED_BACK | {LOCK_NOT_AVAILABLE, QUERY_CANCELED}
# Limits exceeded by one value, checks of views and policies, and errors raised by triggers.
_ROW_CLASSES = frozenset({"09", "21", "27", "38", "39", "44", "54", "P0"})
_OTHER_SERVER_CLASSES = ("08", "25", "57P")


def is_refusal(sqlstate: str, *, constraint: str | None, column: str | None) -> bool:
    """Return whether a rule of ours or the data of the request refused the statement."""
    if sqlstate[:2] in {_OUR_OWN_CLASS, _DATA_EXCEPTION_CLASS}:
        return True
    if sqlstate == _NOT_NULL_VIOLATION:
        return column is not None
    # Without a name the error is not from a constraint, but for example from partitioning.
    return sqlstate in _NAMED_CONSTRAINT_VIOLATIONS and constraint is not None


def may_concern_one_row(sqlstate: str) -> bool:
    """Return whether a single row may have caused the error, so that others can be written."""
    return sqlstate in _ROW_CODES or sqlstate[:2] in _ROW_CLASSES


def may_concern_one_table(sqlstate: str) -> bool:
    """Return whether other tables may be writable (missing permission, changed schema)."""
    return sqlstate.startswith("42")


def breaks_connection(sqlstate: str) -> bool:
    """Return whether a new connection may succeed after this error.

    A new connection may reach another server, has no prepared statements, and gets the current
    settings of its role. Locks and rollbacks say nothing about the connection.
    """
    return not (
        sqlstate in ROLLED_BACK
        or sqlstate == LOCK_NOT_AVAILABLE
        or sqlstate[:2] in {_OUR_OWN_CLASS, _DATA_EXCEPTION_CLASS, _CONSTRAINT_CLASS, "P0"}
    )


def breaks_all_connections(sqlstate: str) -> bool:
    """Return whether all connections of a pool probably lead to a replaced server."""
    return sqlstate.startswith(_OTHER_SERVER_CLASSES)
