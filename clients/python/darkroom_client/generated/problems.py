"""One exception per `type` of a refusal. Written by `make types` from the document."""

from __future__ import annotations

from decimal import Decimal

from darkroom_client.errors import ApiError
from darkroom_client.json_reader import read_value


class MalformedRequest(ApiError):
    """The request cannot be read (400)."""


class KeyRefused(ApiError):
    """The API key is missing or not accepted (401)."""


class InsufficientCredits(ApiError):
    """The account has too few credits available (402)."""

    @property
    def needed(self) -> Decimal:
        """With too few credits: what the jobs cost."""
        value: Decimal = read_value(Decimal, self.body["needed"], "needed")
        return value

    @property
    def available(self) -> Decimal:
        """With too few credits: what there is."""
        value: Decimal = read_value(Decimal, self.body["available"], "available")
        return value

    @property
    def held(self) -> Decimal:
        """With too few credits: what open jobs hold."""
        value: Decimal = read_value(Decimal, self.body["held"], "held")
        return value


class PriorityNotAllowed(ApiError):
    """This priority is not allowed (403)."""


class Forbidden(ApiError):
    """This API key may not do that (403)."""


class NotFound(ApiError):
    """There is nothing here (404)."""


class JobNotFound(ApiError):
    """There is no such job (404)."""


class AccountNotFound(ApiError):
    """There is no such account (404)."""


class FileNotFound(ApiError):
    """There is no such file (404)."""


class ScheduledPriceNotFound(ApiError):
    """There is no such scheduled price (404)."""


class PauseNotFound(ApiError):
    """There is no such pause (404)."""


class SessionNotFound(ApiError):
    """There is no such session (404)."""


class PriceNotFound(ApiError):
    """There is no such price (404)."""


class RequestTooSlow(ApiError):
    """The body did not arrive in time (408)."""


class StateConflict(ApiError):
    """The state of the job does not allow this (409)."""


class IdempotencyConflict(ApiError):
    """The idempotency key was used for another request (409)."""

    @property
    def job_id(self) -> str:
        """With 409: the job that caused the conflict."""
        value: str = read_value(str, self.body["job_id"], "job_id")
        return value

    @property
    def differs(self) -> tuple[str, ...]:
        """With a key that was used: the fields that differ."""
        value: tuple[str, ...] = read_value(tuple[str, ...], self.body["differs"], "differs")
        return value


class ConfirmationNeeded(ApiError):
    """The change looks like a typing error (409)."""


class PriceChanged(ApiError):
    """The price was changed meanwhile (409)."""


class AlreadyExists(ApiError):
    """It exists already (409)."""


class TooLateToCancel(ApiError):
    """The job has ended (409)."""

    @property
    def job_id(self) -> str:
        """With 409: the job that caused the conflict."""
        value: str = read_value(str, self.body["job_id"], "job_id")
        return value

    @property
    def state(self) -> str:
        """With a job that cannot be cancelled: its state."""
        value: str = read_value(str, self.body["state"], "state")
        return value


class WouldLeaveDebt(ApiError):
    """The account would be left in debt (409)."""


class RefundTooLarge(ApiError):
    """The refund is more than the charge (409)."""


class AlreadyRefunded(ApiError):
    """The job was refunded already (409)."""


class ScheduledPriceEnded(ApiError):
    """The change does not wait any more (409)."""


class RequestTooLarge(ApiError):
    """The body is too large (413)."""


class UnsupportedContent(ApiError):
    """The body must be application/json (415)."""


class InvalidRequest(ApiError):
    """The request breaks rules (422)."""


class PriceMissing(ApiError):
    """There is no price for this (422)."""


class DatabaseRefused(ApiError):
    """A rule of the database refused the change (422)."""


class QueueLimitReached(ApiError):
    """The account has as many queued jobs as it may have (429)."""


class DailyLimitReached(ApiError):
    """The account has used its credits of the day (429)."""


class TooMuchAtOnce(ApiError):
    """This API key has too many requests in progress (429)."""


class InternalError(ApiError):
    """Darkroom made a mistake (500)."""


class UploadsNotConfigured(ApiError):
    """This process cannot upload files (501)."""


class DependencyDown(ApiError):
    """A server that Darkroom needs cannot serve now (503)."""


class PostgresDown(ApiError):
    """Postgres cannot serve now; nothing was stored (503)."""


class RedisDown(ApiError):
    """Redis cannot serve now (503)."""


class ResultsStoreDown(ApiError):
    """The store of images cannot serve now (503)."""


class RowBusy(ApiError):
    """Another session holds a row that this needs (503)."""


class UploadFailed(ApiError):
    """Kie's upload host did not take the file (503)."""


BY_CODE: dict[str, type[ApiError]] = {
    "malformed_request": MalformedRequest,
    "key_refused": KeyRefused,
    "insufficient_credits": InsufficientCredits,
    "priority_not_allowed": PriorityNotAllowed,
    "forbidden": Forbidden,
    "not_found": NotFound,
    "job_not_found": JobNotFound,
    "account_not_found": AccountNotFound,
    "file_not_found": FileNotFound,
    "scheduled_price_not_found": ScheduledPriceNotFound,
    "pause_not_found": PauseNotFound,
    "session_not_found": SessionNotFound,
    "price_not_found": PriceNotFound,
    "request_too_slow": RequestTooSlow,
    "state_conflict": StateConflict,
    "idempotency_conflict": IdempotencyConflict,
    "confirmation_needed": ConfirmationNeeded,
    "price_changed": PriceChanged,
    "already_exists": AlreadyExists,
    "too_late_to_cancel": TooLateToCancel,
    "would_leave_debt": WouldLeaveDebt,
    "refund_too_large": RefundTooLarge,
    "already_refunded": AlreadyRefunded,
    "scheduled_price_ended": ScheduledPriceEnded,
    "request_too_large": RequestTooLarge,
    "unsupported_content": UnsupportedContent,
    "invalid_request": InvalidRequest,
    "price_missing": PriceMissing,
    "database_refused": DatabaseRefused,
    "queue_limit_reached": QueueLimitReached,
    "daily_limit_reached": DailyLimitReached,
    "too_much_at_once": TooMuchAtOnce,
    "internal_error": InternalError,
    "uploads_not_configured": UploadsNotConfigured,
    "dependency_down": DependencyDown,
    "postgres_down": PostgresDown,
    "redis_down": RedisDown,
    "results_store_down": ResultsStoreDown,
    "row_busy": RowBusy,
    "upload_failed": UploadFailed,
}
"""The exceptions by the word that ends `type`."""

STATUS_AND_TITLE: dict[str, tuple[int, str]] = {
    "malformed_request": (400, "The request cannot be read"),
    "key_refused": (401, "The API key is missing or not accepted"),
    "insufficient_credits": (402, "The account has too few credits available"),
    "priority_not_allowed": (403, "This priority is not allowed"),
    "forbidden": (403, "This API key may not do that"),
    "not_found": (404, "There is nothing here"),
    "job_not_found": (404, "There is no such job"),
    "account_not_found": (404, "There is no such account"),
    "file_not_found": (404, "There is no such file"),
    "scheduled_price_not_found": (404, "There is no such scheduled price"),
    "pause_not_found": (404, "There is no such pause"),
    "session_not_found": (404, "There is no such session"),
    "price_not_found": (404, "There is no such price"),
    "request_too_slow": (408, "The body did not arrive in time"),
    "state_conflict": (409, "The state of the job does not allow this"),
    "idempotency_conflict": (409, "The idempotency key was used for another request"),
    "confirmation_needed": (409, "The change looks like a typing error"),
    "price_changed": (409, "The price was changed meanwhile"),
    "already_exists": (409, "It exists already"),
    "too_late_to_cancel": (409, "The job has ended"),
    "would_leave_debt": (409, "The account would be left in debt"),
    "refund_too_large": (409, "The refund is more than the charge"),
    "already_refunded": (409, "The job was refunded already"),
    "scheduled_price_ended": (409, "The change does not wait any more"),
    "request_too_large": (413, "The body is too large"),
    "unsupported_content": (415, "The body must be application/json"),
    "invalid_request": (422, "The request breaks rules"),
    "price_missing": (422, "There is no price for this"),
    "database_refused": (422, "A rule of the database refused the change"),
    "queue_limit_reached": (429, "The account has as many queued jobs as it may have"),
    "daily_limit_reached": (429, "The account has used its credits of the day"),
    "too_much_at_once": (429, "This API key has too many requests in progress"),
    "internal_error": (500, "Darkroom made a mistake"),
    "uploads_not_configured": (501, "This process cannot upload files"),
    "dependency_down": (503, "A server that Darkroom needs cannot serve now"),
    "postgres_down": (503, "Postgres cannot serve now; nothing was stored"),
    "redis_down": (503, "Redis cannot serve now"),
    "results_store_down": (503, "The store of images cannot serve now"),
    "row_busy": (503, "Another session holds a row that this needs"),
    "upload_failed": (503, "Kie's upload host did not take the file"),
}
