"""Each error has its exit code, its lines, and a next command if there is one."""

from __future__ import annotations

from decimal import Decimal

import pytest

from producer.cli.display.error_output import error_lines, next_command
from producer.cli.exit_codes import ExitCode, code_of
from producer.money.grants import GrantConflict
from shared.errors import (
    AccountNotFound,
    ConfigurationError,
    DarkroomError,
    DatabaseRefused,
    DatabaseUrlRefused,
    EmbeddedServerError,
    Fault,
    IdempotencyConflict,
    InsufficientCredits,
    InvalidRequest,
    JobNotFound,
    PostgresDown,
    PriceMissing,
    RedisDown,
    SchemaOutdated,
    SettingsRefused,
    TooLateToCancel,
    WaitTimedOut,
)

SHORT = InsufficientCredits(
    "acme inc", needed=Decimal("7.5"), available=Decimal(5), held=Decimal(0)
)


@pytest.mark.parametrize(
    ("error", "code", "ending"),
    [
        (InvalidRequest([Fault("a", "b")]), ExitCode.ERROR, "jobs list --help"),
        (SHORT, ExitCode.ERROR, "accounts grant 'acme inc' 2.5 --reason top-up"),
        (IdempotencyConflict("k", "j1", ["prompt"]), ExitCode.ERROR, "jobs show j1"),
        (GrantConflict("acme", "k", "s", ["credits"]), ExitCode.ERROR, "accounts ledger acme"),
        (PriceMissing("m", "t", 3), ExitCode.ERROR, "prices list"),
        (TooLateToCancel("j1", "cancelled"), ExitCode.ERROR, "jobs show j1"),
        (DatabaseRefused("no", sqlstate="DR001"), ExitCode.ERROR, None),
        (ConfigurationError("no"), ExitCode.ERROR, None),
        (SettingsRefused("no"), ExitCode.USAGE, None),
        (DatabaseUrlRefused("no"), ExitCode.USAGE, "doctor"),
        (EmbeddedServerError("no"), ExitCode.ERROR, None),
        (SchemaOutdated("old"), ExitCode.ERROR, "migrate"),
        (JobNotFound("j1"), ExitCode.NOT_FOUND, "jobs list"),
        (AccountNotFound("acme"), ExitCode.NOT_FOUND, "accounts create acme --credits 100"),
        (WaitTimedOut("j1", "queued", 5), ExitCode.TIMED_OUT, "jobs wait j1"),
        (PostgresDown("away"), ExitCode.DEPENDENCY_DOWN, "doctor"),
        (PostgresDown("wrong password", sqlstate="28P01"), ExitCode.USAGE, "doctor"),
        (PostgresDown("no such database", sqlstate="3D000"), ExitCode.USAGE, "doctor"),
        (PostgresDown("not in pg_hba.conf", sqlstate="28000"), ExitCode.USAGE, "doctor"),
        (PostgresDown("starting up", sqlstate="57P03"), ExitCode.DEPENDENCY_DOWN, "doctor"),
        (PostgresDown("too many", sqlstate="53300"), ExitCode.DEPENDENCY_DOWN, "doctor"),
        (RedisDown("away"), ExitCode.DEPENDENCY_DOWN, "doctor"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, DarkroomError) else None,
)
def test_an_error_has_its_code_and_its_next_command(
    error: DarkroomError, code: ExitCode, ending: str | None
) -> None:
    assert code_of(error) is code
    advice = next_command(error, "darkroom jobs list")
    assert advice == (None if ending is None else f"darkroom {ending}")


def test_each_fault_stands_on_a_line_of_its_own() -> None:
    error = InvalidRequest([Fault("quantity", "is 3"), Fault("prompt", "is \x1b blank")])
    assert error_lines(error) == [
        "the request is refused:",
        "  quantity: is 3",
        "  prompt: is \ufffd blank",
    ]
