"""What a SQLSTATE of Postgres means to Darkroom.

A short positive list says which errors are a refusal: a rule of ours, or the data of the request,
refused the statement, and the same statement would be refused again. Every other error means that
the server cannot do it now. A code that this file does not know is of the second sort: what was
paid for is then written again later, and never given up for an error that nobody thought of.
"""

from __future__ import annotations

_OUR_OWN_CLASS = "DR"
_DATA_EXCEPTION_CLASS = "22"
_CONSTRAINT_CLASS = "23"
_NOT_NULL_VIOLATION = "23502"
_NAMED_CONSTRAINT_VIOLATIONS = frozenset({"23001", "23503", "23505", "23514", "23P01"})

SERIALIZATION_FAILURE = "40001"
DEADLOCK_DETECTED = "40P01"
LOCK_NOT_AVAILABLE = "55P03"
QUERY_CANCELED = "57014"

ROLLED_BACK = frozenset({SERIALIZATION_FAILURE, DEADLOCK_DETECTED})
"""The server has certainly rolled the transaction back, and asks for it to be run again."""

_ROW_CODES = ROLLED_BACK | {LOCK_NOT_AVAILABLE, QUERY_CANCELED}
# Limits that one value exceeds, a view's or a policy's check, and errors that a trigger raises.
_ROW_CLASSES = frozenset({"09", "21", "27", "38", "39", "44", "54", "P0"})
_OTHER_SERVER_CLASSES = ("08", "25", "57P")


def is_refusal(sqlstate: str, *, constraint: str | None, column: str | None) -> bool:
    """Return whether a rule of ours or the request's own data refused the statement."""
    if sqlstate[:2] in {_OUR_OWN_CLASS, _DATA_EXCEPTION_CLASS}:
        return True
    if sqlstate == _NOT_NULL_VIOLATION:
        return column is not None
    # Without a name it is no constraint of a table: a row that no partition takes, for one.
    return sqlstate in _NAMED_CONSTRAINT_VIOLATIONS and constraint is not None


def may_concern_one_row(sqlstate: str) -> bool:
    """Return whether one row of many may have caused the error, and others may be written."""
    return sqlstate in _ROW_CODES or sqlstate[:2] in _ROW_CLASSES


def may_concern_one_table(sqlstate: str) -> bool:
    """Return whether the server may well write to other tables: a permission, a changed schema."""
    return sqlstate.startswith("42")


def breaks_connection(sqlstate: str) -> bool:
    """Return whether a new connection may fare better than the one that has had this error.

    It may reach another server, have other prepared statements, or be given the settings of its
    role anew. A lock or a rolled back transaction says nothing about the connection.
    """
    return not (
        sqlstate in ROLLED_BACK
        or sqlstate == LOCK_NOT_AVAILABLE
        or sqlstate[:2] in {_OUR_OWN_CLASS, _DATA_EXCEPTION_CLASS, _CONSTRAINT_CLASS, "P0"}
    )


def breaks_all_connections(sqlstate: str) -> bool:
    """Return whether all connections of a pool probably lead to a server that was replaced."""
    return sqlstate.startswith(_OTHER_SERVER_CLASSES)
