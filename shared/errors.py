"""Every error that Darkroom raises, in one tree.

DarkroomError
├── RequestRefused            the caller must change something
│   ├── InvalidRequest        every fault at once, each with its field path
│   ├── InsufficientCredits   needed, available and held
│   ├── IdempotencyConflict   the key was used for a different request
│   ├── PriceMissing          no price row for this model, task and quantity
│   ├── NotFound
│   │   ├── JobNotFound
│   │   ├── AccountNotFound
│   │   └── KeyNotFound
│   ├── AlreadyExists         an account of this name exists
│   ├── KeyRefused            the API key is missing, malformed, unknown or revoked
│   ├── TooLateToCancel       the job has left the queue
│   └── WouldLeaveDebt        more credits would be taken than are available
├── WaitTimedOut              the job is not terminal yet; it goes on
├── StaleJob                  somebody else moved the job first: stop, do nothing
├── DatabaseRefused           a rule of the database refused the data; nothing was stored
├── TooEarly                  not yet, by Postgres's clock: come back after the wait
├── DependencyDown            try again later
│   ├── PostgresDown          it does not answer, or answers that it cannot do it now
│   ├── RedisDown             the same of Redis
│   └── RowBusy               another session holds a lock that the call needs
└── ConfigurationError        the operator must change something
    ├── SchemaOutdated        `darkroom migrate` has not been run
    ├── MigrationFailed
    └── EmbeddedServerError   Postgres or Valkey could not be started here

Errors of libraries never leave an adapter: they are the `__cause__` of one of these.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import ClassVar, Literal

FAULTS_MAX = 1_000
"""How many faults a refusal lists: one for each job of a batch."""
KeyRefusal = Literal["missing", "malformed", "unknown", "revoked"]
"""Why a key was refused; `revoked` is told only to who presents the whole key."""
KEY_REFUSAL_MESSAGES: dict[KeyRefusal, str] = {
    "missing": "an API key is needed; send it in the header `Authorization: Bearer dk_...`",
    "malformed": (
        "this is no API key: one is dk_, 12 letters or digits, _, and 43 letters or digits,"
        " as `darkroom keys create` printed it"
    ),
    "unknown": "this API key is not known here; ask an operator for one",
    "revoked": "this API key was revoked; ask an operator for another",
}


class DarkroomError(Exception):
    """The root: catch it to catch everything that Darkroom raises on purpose."""

    code: ClassVar[str] = "error"
    """Stable, for programs: the last part of the problem `type` over HTTP."""


class RequestRefused(DarkroomError):
    """Nothing was stored; the same call would be refused again until the caller changes it."""

    code = "request_refused"


class InvalidRequest(RequestRefused):
    """The request breaks rules; `faults` lists them, not only the first, up to a thousand."""

    code = "invalid_request"

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = cap_faults(faults)
        super().__init__("; ".join(str(fault) for fault in self.faults))


class InsufficientCredits(RequestRefused):
    """The account has fewer credits available than the hold needs."""

    code = "insufficient_credits"

    def __init__(self, account_id: str, needed: Decimal, available: Decimal, held: Decimal) -> None:
        self.account_id, self.needed = account_id, needed
        self.available, self.held = available, held
        super().__init__(
            f"account {account_id!r} needs {needed:f} credits but has {available:f} available"
            f" ({held:f} held by open jobs); grant more with `darkroom accounts grant`"
        )


class IdempotencyConflict(RequestRefused):
    """The idempotency key already names a different request of the same account."""

    code = "idempotency_conflict"

    def __init__(self, key: str, job_id: str, differs: Sequence[str]) -> None:
        self.key, self.job_id, self.differs = key, job_id, tuple(differs)
        super().__init__(
            f"idempotency key {key!r} was used for job {job_id}, whose request differs in:"
            f" {', '.join(self.differs)}; use a new key for a new request"
        )


class PriceMissing(RequestRefused):
    """There is no row in `pricing` for what was asked, so it cannot be sold."""

    code = "price_missing"

    def __init__(self, model: str, task: str, quantity: int) -> None:
        self.model, self.task, self.quantity = model, task, quantity
        super().__init__(
            f"no price for model {model!r}, task {task!r}, quantity {quantity};"
            " an admin must insert that row into pricing"
        )


class NotFound(RequestRefused):
    """What was named does not exist."""

    code = "not_found"


class JobNotFound(NotFound):
    """No job has this id."""

    code = "job_not_found"

    def __init__(self, job_id: str) -> None:
        self.job_id = job_id
        super().__init__(f"no job has the id {job_id!r}")


class AccountNotFound(NotFound):
    """No account has this id."""

    code = "account_not_found"

    def __init__(self, account_id: str) -> None:
        self.account_id = account_id
        super().__init__(
            f"no account has the id {account_id!r}; create it with"
            f" `darkroom accounts create {account_id}`"
        )


class KeyNotFound(NotFound):
    """No API key has this prefix or id."""

    code = "key_not_found"

    def __init__(self, name: str) -> None:
        """`name` must be no secret: a prefix, an id, or what was typed instead, cut short."""
        self.name = name
        super().__init__(f"no API key has the prefix or id {name!r}; see `darkroom keys list`")


class AlreadyExists(RequestRefused):
    """An account of this name exists already."""

    code = "already_exists"


class KeyRefused(RequestRefused):
    """Whoever asks is not recognised; `reason` says why. The message never repeats the key."""

    code = "key_refused"

    def __init__(self, reason: KeyRefusal) -> None:
        self.reason = reason
        super().__init__(KEY_REFUSAL_MESSAGES[reason])


class TooLateToCancel(RequestRefused):
    """Kie has no cancel: only a job that still waits in the queue can be cancelled."""

    code = "too_late_to_cancel"

    def __init__(self, job_id: str, state: str) -> None:
        self.job_id, self.state = job_id, state
        super().__init__(
            f"job {job_id} is {state}: only a queued job can be cancelled,"
            " because Kie cannot take back a submitted task"
        )


class WaitTimedOut(DarkroomError):
    """The wait is over, the job is not: it goes on, and another wait may be started."""

    code = "wait_timed_out"

    def __init__(self, job_id: str, state: str, timeout_seconds: float) -> None:
        self.job_id, self.state, self.timeout_seconds = job_id, state, timeout_seconds
        super().__init__(f"job {job_id} is still {state} after {timeout_seconds:g} s; it goes on")


class StaleJob(DarkroomError):
    """The guarded statement found the job elsewhere: somebody else moved it, so stop."""

    code = "stale_job"

    def __init__(self, job_id: str, event: str) -> None:
        self.job_id, self.event = job_id, event
        super().__init__(f"job {job_id} had already moved on when {event} came")


class TooEarly(DarkroomError):
    """It is not yet time, by Postgres's clock, for what was asked; nothing was written."""

    code = "too_early"

    def __init__(self, job_id: str, event: str, wait_seconds: float) -> None:
        self.job_id, self.event, self.wait_seconds = job_id, event, wait_seconds
        super().__init__(f"job {job_id} is {wait_seconds:.3f} s too early for {event}")


class WouldLeaveDebt(RequestRefused):
    """An adjustment takes more credits than are available, and no debt was asked for."""

    code = "would_leave_debt"


class DatabaseRefused(DarkroomError):
    """A rule of the database refused the data; nothing was stored, and trying again is useless.

    Rules are our own triggers and constraints, and what a column's type can hold.
    """

    code = "database_refused"

    def __init__(
        self,
        message: str,
        *,
        sqlstate: str,
        constraint: str | None = None,
        hint: str | None = None,
        detail: str | None = None,
    ) -> None:
        self.sqlstate, self.constraint = sqlstate, constraint
        self.message, self.hint, self.detail = message, hint, detail
        super().__init__(f"{message}. {hint}" if hint else message)


class DependencyDown(DarkroomError):
    """A server that Darkroom needs cannot serve now; the call may be tried again later."""

    code = "dependency_down"


class PostgresDown(DependencyDown):
    """Postgres does not answer, or answers that it cannot do this now.

    With a `sqlstate` of the server nothing was stored, unless its class is 08 or 57P or it is
    40003; without one the statement may have been carried out before the answer was lost.
    """

    code = "postgres_down"

    def __init__(self, message: str, *, sqlstate: str | None = None) -> None:
        self.sqlstate = sqlstate
        super().__init__(message)


class RedisDown(DependencyDown):
    """Redis or Valkey does not answer, or answers that it cannot do this now.

    Jobs are safe in Postgres and go on when it is back.
    """

    code = "redis_down"


class RowBusy(DependencyDown):
    """Another session holds a lock that the call needs; nothing was stored."""

    code = "row_busy"

    def __init__(
        self, what: str, *, wait_seconds: float = 1.0, sqlstate: str | None = None
    ) -> None:
        """`what` names the row; without `sqlstate` it was found locked a moment before."""
        self.what, self.wait_seconds, self.sqlstate = what, wait_seconds, sqlstate
        super().__init__(f"{what} is locked by another session; nothing was stored")


class ConfigurationError(DarkroomError):
    """The operator must change something before Darkroom can start."""

    code = "configuration"


class SchemaOutdated(ConfigurationError):
    """The database has fewer (or other) migrations than this version of Darkroom needs."""

    code = "schema_outdated"


class MigrationFailed(ConfigurationError):
    """A migration was refused; it left nothing behind, because each is one transaction."""

    code = "migration_failed"


class EmbeddedServerError(ConfigurationError):
    """Postgres or Valkey could not be found or started on this machine."""

    code = "embedded_server"


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with a request: where it is, and a sentence saying what is allowed."""

    field: str
    message: str

    def __str__(self) -> str:
        return f"{self.field}: {self.message}"


def cap_faults(faults: Sequence[Fault]) -> tuple[Fault, ...]:
    """Return the faults that a refusal lists; the last one counts those that it leaves out."""
    more = len(faults) - FAULTS_MAX
    shown = tuple(faults[:FAULTS_MAX])
    return (*shown, Fault("", f"and {more:,} more")) if more > 0 else shown
