"""The Python client of Darkroom, for backend services.

    from producer import ImageToImage, Producer, TextToImage

    async with Producer.connect() as producer:
        job = await producer.enqueue(
            TextToImage(prompt="a lighthouse at dusk", aspect_ratio="3:2"), account_id="acme"
        )
        job = await producer.wait(job.id, timeout_seconds=600)

Only the names of this module are public. The errors are those of `shared.errors`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from shared.package_guard import require_own_packages

if TYPE_CHECKING:
    from producer.accounts.account import Account
    from producer.accounts.limit_errors import (
        DailyLimitReached,
        LimitReached,
        PriorityNotAllowed,
        QueueLimitReached,
    )
    from producer.actor import Actor
    from producer.billing import Quote
    from producer.client import Producer
    from producer.files.uploaded_file import UploadedFile
    from producer.jobs.job_counts import JobCount
    from producer.jobs.job_filter import JobFilter
    from producer.money.price_changes import PricePreview
    from producer.orders.model_request import build_request
    from producer.orders.order import Order
    from producer.pauses import Pause
    from shared.catalog import ImageRequest
    from shared.catalog.families.gpt4o_image import ImageToImage, TextToImage
    from shared.domain.job import Job
    from shared.domain.lifecycle import JobState, Reason
    from shared.errors import (
        AccountNotFound,
        AlreadyExists,
        AlreadyRefunded,
        ConfigurationError,
        ConfirmationNeeded,
        DarkroomError,
        DatabaseRefused,
        DatabaseUrlRefused,
        DependencyDown,
        Fault,
        FileNotFound,
        IdempotencyConflict,
        InsufficientCredits,
        InvalidRequest,
        JobNotFound,
        KeyNotFound,
        KeyRefused,
        NotFound,
        PostgresDown,
        PriceChanged,
        PriceMissing,
        RedisDown,
        RefundTooLarge,
        RequestRefused,
        ResultsStoreDown,
        RowBusy,
        ScheduledPriceEnded,
        ScheduledPriceNotFound,
        SchemaOutdated,
        StateConflict,
        TooLateToCancel,
        UploadFailed,
        UploadsNotConfigured,
        WaitTimedOut,
        WouldLeaveDebt,
    )
    from shared.settings import Settings

require_own_packages()

__all__ = [
    "Account",
    "AccountNotFound",
    "Actor",
    "AlreadyExists",
    "AlreadyRefunded",
    "ConfigurationError",
    "ConfirmationNeeded",
    "DailyLimitReached",
    "DarkroomError",
    "DatabaseRefused",
    "DatabaseUrlRefused",
    "DependencyDown",
    "Fault",
    "FileNotFound",
    "IdempotencyConflict",
    "ImageRequest",
    "ImageToImage",
    "InsufficientCredits",
    "InvalidRequest",
    "Job",
    "JobCount",
    "JobFilter",
    "JobNotFound",
    "JobState",
    "KeyNotFound",
    "KeyRefused",
    "LimitReached",
    "NotFound",
    "Order",
    "Pause",
    "PostgresDown",
    "PriceChanged",
    "PriceMissing",
    "PricePreview",
    "PriorityNotAllowed",
    "Producer",
    "QueueLimitReached",
    "Quote",
    "Reason",
    "RedisDown",
    "RefundTooLarge",
    "RequestRefused",
    "ResultsStoreDown",
    "RowBusy",
    "ScheduledPriceEnded",
    "ScheduledPriceNotFound",
    "SchemaOutdated",
    "Settings",
    "StateConflict",
    "TextToImage",
    "TooLateToCancel",
    "UploadFailed",
    "UploadedFile",
    "UploadsNotConfigured",
    "WaitTimedOut",
    "WouldLeaveDebt",
    "build_request",
]

_MODULES = {
    "Account": "producer.accounts.account",
    "Actor": "producer.actor",
    **dict.fromkeys(
        ("DailyLimitReached", "LimitReached", "PriorityNotAllowed", "QueueLimitReached"),
        "producer.accounts.limit_errors",
    ),
    "ImageRequest": "shared.catalog",
    "ImageToImage": "shared.catalog.families.gpt4o_image",
    "Job": "shared.domain.job",
    "JobCount": "producer.jobs.job_counts",
    "JobFilter": "producer.jobs.job_filter",
    "JobState": "shared.domain.lifecycle",
    "Order": "producer.orders.order",
    "Pause": "producer.pauses",
    "PricePreview": "producer.money.price_changes",
    "Producer": "producer.client",
    "Quote": "producer.billing",
    "Reason": "shared.domain.lifecycle",
    "Settings": "shared.settings",
    "TextToImage": "shared.catalog.families.gpt4o_image",
    "UploadedFile": "producer.files.uploaded_file",
    "build_request": "producer.orders.model_request",
}
"""Where the names are that are not in `shared.errors`. A module is imported when a name of it is
first used, so that a part of this package is imported without the rest."""

if not TYPE_CHECKING:  # With it, a type checker would take any name.

    def __getattr__(name: str) -> Any:
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(import_module(_MODULES.get(name, "shared.errors")), name)
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
