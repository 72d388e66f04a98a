"""The names that other people's code depends on: adding one is fine, losing one is breaking."""

from __future__ import annotations

import inspect
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

import producer
from producer import ImageToImage, Job, Producer, Settings, TextToImage
from shared import errors
from shared.errors import DarkroomError, DependencyDown, RequestRefused
from worker.limits.throttle import Throttled

ROOT = Path(__file__).parents[2]
METHODS = {"balance", "cancel", "connect", "enqueue", "enqueue_many", "get", "quote", "wait"}
ENQUEUE_OPTIONS = {
    *("account_id", "connection", "idempotency_key", "metadata", "priority", "run_at"),
    "webhook_url",
}
JOB_FIELDS = {
    *("account_id", "attempt", "created_at", "credits_charged", "credits_quoted", "finished_at"),
    *("id", "message", "metadata", "model", "priority", "progress", "provider_task_id", "reason"),
    *("request", "result_urls", "run_at", "state", "submitted_at", "task"),
}
SETTINGS = {
    *("API_HOST", "API_PORT", "CHARGE_BASIS", "DARKROOM_HOME", "DATABASE_URL"),
    *("JOB_DEADLINE_SECONDS", "KIE_API_KEY", "KIE_BASE_URL", "KIE_CALLBACK_URL"),
    *("KIE_POLLS_PER_SECOND_PER_TASK", "KIE_REQUEST_TIMEOUT_SECONDS"),
    *("KIE_SUBMITS_PER_10_SECONDS", "KIE_WEBHOOK_HMAC_KEY", "LOG_FORMAT", "LOG_LEVEL"),
    *("REDIS_URL", "UNKNOWN_LIMIT_SECONDS", "WORKER_HTTP_HOST", "WORKER_HTTP_PORT"),
}
COMMON_FIELDS = {"aspect_ratio", "enhance_prompt", "fallback_model", "quantity", "upload_cn"}
CODES = {
    "AccountNotFound": "account_not_found",
    "AlreadyExists": "already_exists",
    "ConfigurationError": "configuration",
    "DarkroomError": "error",
    "DependencyDown": "dependency_down",
    "IdempotencyConflict": "idempotency_conflict",
    "InsufficientCredits": "insufficient_credits",
    "InvalidRequest": "invalid_request",
    "JobNotFound": "job_not_found",
    "KeyNotFound": "key_not_found",
    "KeyRefused": "key_refused",
    "NotFound": "not_found",
    "PostgresDown": "postgres_down",
    "PriceChanged": "price_changed",
    "PriceMissing": "price_missing",
    "RedisDown": "redis_down",
    "RequestRefused": "request_refused",
    "RowBusy": "row_busy",
    "SchemaOutdated": "schema_outdated",
    "StateConflict": "state_conflict",
    "TooLateToCancel": "too_late_to_cancel",
    "WouldLeaveDebt": "would_leave_debt",
    "WaitTimedOut": "wait_timed_out",
}


def all_errors() -> dict[str, type[DarkroomError]]:
    return {
        name: one
        for name, one in inspect.getmembers(errors, inspect.isclass)
        if issubclass(one, DarkroomError)
    }


@pytest.mark.parametrize("name", producer.__all__)
def test_a_public_name_exists_and_has_a_docstring(name: str) -> None:
    assert inspect.getdoc(getattr(producer, name))


def test_public_names_are_listed_in_order() -> None:
    assert producer.__all__ == sorted(set(producer.__all__))


def test_the_client_has_every_promised_method_explained() -> None:
    public = {name: getattr(Producer, name) for name in dir(Producer) if not name.startswith("_")}
    assert set(public) >= METHODS
    assert not [name for name, one in public.items() if not inspect.getdoc(one)]


def test_enqueue_takes_every_promised_option_by_keyword() -> None:
    parameters = inspect.signature(Producer.enqueue).parameters
    keywords = {name for name, one in parameters.items() if one.kind is one.KEYWORD_ONLY}
    assert keywords >= ENQUEUE_OPTIONS
    assert [name for name in parameters if name not in keywords] == ["self", "request"]


def test_waiting_has_a_limit_unless_another_is_given() -> None:
    limit = inspect.signature(Producer.wait).parameters["timeout_seconds"]
    assert limit.default > 0


def test_a_job_has_every_promised_field() -> None:
    assert {field.name for field in fields(Job)} >= JOB_FIELDS


def test_requests_have_the_promised_fields_and_no_others() -> None:
    assert set(TextToImage.model_fields) == COMMON_FIELDS | {"prompt"}
    assert set(ImageToImage.model_fields) == COMMON_FIELDS | {"image_urls", "mask_url", "prompt"}


def test_every_promised_setting_is_read() -> None:
    assert {name.upper() for name in Settings.model_fields} >= SETTINGS


def test_error_codes_are_stable_and_distinct() -> None:
    codes = {name: one.code for name, one in all_errors().items()}
    assert {name: codes[name] for name in CODES} == CODES
    assert len(set(codes.values())) == len(codes)
    assert Throttled.code not in codes.values()


def test_whatever_a_caller_may_have_to_catch_can_be_imported_from_the_client() -> None:
    callers = {
        name
        for name, one in all_errors().items()
        if issubclass(one, RequestRefused | DependencyDown)
    }
    assert callers <= set(producer.__all__)


def test_a_service_that_imports_the_client_imports_no_worker() -> None:
    code = (
        "import producer, sys; print([m for m in sys.modules if m.partition('.')[0] == 'worker'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout.strip() == "[]"
