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
│   │   ├── FileNotFound
│   │   └── KeyNotFound
│   ├── PriceChanged          another version of the price is in force than was read
│   ├── AlreadyExists         an account of this name exists
│   ├── KeyRefused            the API key is missing, malformed, unknown or revoked
│   ├── TooLateToCancel       the job has left the queue
│   └── WouldLeaveDebt        more credits would be taken than are available
├── WaitTimedOut              the job is not terminal yet; it continues
├── StaleJob                  another process moved the job first
├── DatabaseRefused           a rule of the database refused the data; nothing was stored
├── TooEarly                  not due yet by Postgres's clock: retry after the wait
├── DependencyDown            try again later
│   ├── PostgresDown          no reply, or a reply that it cannot run the statement now
│   │   └── DatabaseUrlRefused  a parameter or a file of DATABASE_URL cannot be used
│   ├── RedisDown             no reply, or a reply that it cannot run the command now
│   ├── ResultsStoreDown      the store of RESULTS_URL does not answer, or refuses
│   ├── RowBusy               another session holds a lock that the call needs
│   └── UploadFailed          Kie's file upload host did not take the file
└── ConfigurationError        the operator must change something
    ├── SettingsRefused       a variable of the environment has an impossible value
    ├── UploadsNotConfigured  this process has no key for Kie's file upload host
    ├── SchemaOutdated        `darkroom migrate` has not been run
    ├── MigrationFailed
    └── EmbeddedServerError   Postgres or Valkey could not be started here

An adapter never raises a library's error. It raises one of these, with that error as `__cause__`.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from shared.errors.darkroom_error import DarkroomError as DarkroomError
from shared.errors.server_errors import ConfigurationError as ConfigurationError
from shared.errors.server_errors import DatabaseUrlRefused as DatabaseUrlRefused
from shared.errors.server_errors import DependencyDown as DependencyDown
from shared.errors.server_errors import EmbeddedServerError as EmbeddedServerError
from shared.errors.server_errors import MigrationFailed as MigrationFailed
from shared.errors.server_errors import PostgresDown as PostgresDown
from shared.errors.server_errors import RedisDown as RedisDown
from shared.errors.server_errors import ResultsStoreDown as ResultsStoreDown
from shared.errors.server_errors import RowBusy as RowBusy
from shared.errors.server_errors import SchemaOutdated as SchemaOutdated
from shared.errors.server_errors import SettingsRefused as SettingsRefused
from shared.errors.server_errors import UploadFailed as UploadFailed
from shared.errors.server_errors import UploadsNotConfigured as UploadsNotConfigured
from shared.errors.server_errors import names_wrong_setting as names_wrong_setting
from shared.faults import FAULTS_MAX as FAULTS_MAX
from shared.faults import Fault as Fault
from shared.faults import cap_faults as cap_faults
from shared.key_refusals import KEY_REFUSAL_MESSAGES, KeyRefusal


class RequestRefused(DarkroomError):
    """Nothing was stored. The same call is refused again until the caller changes it."""

    code = "request_refused"


class InvalidRequest(RequestRefused):
    """The request breaks rules. `faults` lists all of them, up to 1,000."""

    code = "invalid_request"

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = cap_faults(faults)
        super().__init__("; ".join(str(fault) for fault in self.faults))


class StateConflict(InvalidRequest):
    """The request is valid, but not for the present state of the job."""

    code = "state_conflict"


class InsufficientCredits(RequestRefused):
    """The account has fewer available credits than the hold needs."""

    code = "insufficient_credits"

    def __init__(self, account_id: str, needed: Decimal, available: Decimal, held: Decimal) -> None:
        self.account_id, self.needed = account_id, needed
        self.available, self.held = available, held
        shown_needed, shown_available, shown_held = (
            f"{one.normalize():f}" for one in (needed, available, held)
        )
        super().__init__(
            f"account {account_id!r} needs {shown_needed} credits but has {shown_available}"
            f" available ({shown_held} held by open jobs); grant more with"
            " `darkroom accounts grant`"
        )


class IdempotencyConflict(RequestRefused):
    """The idempotency key was already used for a different request of the same account."""

    code = "idempotency_conflict"

    def __init__(self, key: str, job_id: str, differs: Sequence[str]) -> None:
        self.key, self.job_id, self.differs = key, job_id, tuple(differs)
        super().__init__(
            f"idempotency key {key!r} was used for job {job_id}, whose request differs in:"
            f" {', '.join(self.differs)}; use a new key for a new request"
        )


class PriceMissing(RequestRefused):
    """`pricing` has no row for this model, task, quantity and variant."""

    code = "price_missing"

    def __init__(
        self,
        model: str,
        task: str,
        quantity: int,
        *,
        variant: str = "",
        priced: Sequence[str] = (),
    ) -> None:
        """`priced` are the rows that exist, for who may have mistyped one."""
        self.model, self.task, self.quantity, self.variant = model, task, quantity, variant
        self.priced = tuple(priced)
        of_variant = f", variant {variant!r}" if variant else ""
        exist = f"; priced are: {', '.join(priced)}" if priced else ""
        super().__init__(
            f"no price for model {model!r}, task {task!r}, quantity {quantity}{of_variant};"
            f" an admin must insert that row into pricing{exist}"
        )


class ConfirmationNeeded(RequestRefused):
    """A change may be a typing error, such as a price of 1 where 7 was, and was not confirmed."""

    code = "confirmation_needed"

    def __init__(self, doubts: str) -> None:
        self.doubts = doubts
        super().__init__(
            f"{doubts}; nothing was changed. If it is meant: --yes, or confirm over HTTP"
        )


class PriceChanged(RequestRefused):
    """A price was to be changed from a version that is not in force any more."""

    code = "price_changed"


class NotFound(RequestRefused):
    """The named object does not exist."""

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


class FileNotFound(NotFound):
    """No uploaded file has this id."""

    code = "file_not_found"

    def __init__(self, file_id: str) -> None:
        self.file_id = file_id
        super().__init__(f"no uploaded file has the id {file_id!r}")


class KeyNotFound(NotFound):
    """No API key has this prefix or id."""

    code = "key_not_found"

    def __init__(self, name: str) -> None:
        """`name` must not be a secret: pass a prefix, an id, or the shortened input."""
        self.name = name
        super().__init__(f"no API key has the prefix or id {name!r}; see `darkroom keys list`")


class AlreadyExists(RequestRefused):
    """An account of this name exists already."""

    code = "already_exists"


class KeyRefused(RequestRefused):
    """The caller is not authenticated. `reason` says why. The message never contains the key."""

    code = "key_refused"

    def __init__(self, reason: KeyRefusal) -> None:
        self.reason = reason
        super().__init__(KEY_REFUSAL_MESSAGES[reason])


class TooLateToCancel(RequestRefused):
    """The job has ended, so it cannot be cancelled."""

    code = "too_late_to_cancel"

    def __init__(self, job_id: str, state: str) -> None:
        self.job_id, self.state = job_id, state
        super().__init__(
            f"job {job_id} is {state}: it has ended, and only an open job can be cancelled"
        )


class WaitTimedOut(DarkroomError):
    """The wait timed out before the job ended. The job continues, and the caller can wait again."""

    code = "wait_timed_out"

    def __init__(self, job_id: str, state: str, timeout_seconds: float) -> None:
        self.job_id, self.state, self.timeout_seconds = job_id, state, timeout_seconds
        super().__init__(f"job {job_id} is still {state} after {timeout_seconds:g} s; it goes on")


class StaleJob(DarkroomError):
    """The guarded statement found the job in another state: another process came first."""

    code = "stale_job"

    def __init__(self, job_id: str, event: str) -> None:
        self.job_id, self.event = job_id, event
        super().__init__(f"job {job_id} had already moved on when {event} came")


class TooEarly(DarkroomError):
    """The event is not due yet by Postgres's clock. Nothing was written."""

    code = "too_early"

    def __init__(self, job_id: str, event: str, wait_seconds: float) -> None:
        self.job_id, self.event, self.wait_seconds = job_id, event, wait_seconds
        super().__init__(f"job {job_id} is {wait_seconds:.3f} s too early for {event}")


class WouldLeaveDebt(RequestRefused):
    """An adjustment takes more credits than are available, and debt was not allowed."""

    code = "would_leave_debt"


class RefundTooLarge(RequestRefused):
    """A refund is more than the job was charged, or the job was charged nothing."""

    code = "refund_too_large"


class AlreadyRefunded(RequestRefused):
    """The charge of a job was given back before. A job is refunded once."""

    code = "already_refunded"


class ScheduledPriceNotFound(NotFound):
    """No scheduled price has this id."""

    code = "scheduled_price_not_found"

    def __init__(self, scheduled_id: int) -> None:
        self.scheduled_id = scheduled_id
        super().__init__(f"no scheduled price has the id {scheduled_id}")


class ScheduledPriceEnded(RequestRefused):
    """The scheduled price was applied or given up, so it cannot be revoked any more."""

    code = "scheduled_price_ended"


class DatabaseRefused(DarkroomError):
    """A rule of the database refused the data. Nothing was stored, and a retry cannot succeed.

    Rules are Darkroom's triggers and constraints, and the range of a column's type.
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


class TaskOfAnotherJob(DatabaseRefused):
    """Another job has this task id: Kie returned it to one of the two by mistake."""

    code = "task_of_another_job"
