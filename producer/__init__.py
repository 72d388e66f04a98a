"""The Python client of Darkroom, for backend services.

    from producer import ImageToImage, Producer, TextToImage

    async with Producer.connect() as producer:
        job = await producer.enqueue(
            TextToImage(prompt="a lighthouse at dusk", aspect_ratio="3:2"), account_id="acme"
        )
        job = await producer.wait(job.id, timeout_seconds=600)

Only the names of this module are public. The errors are those of `shared.errors`.
"""

from shared.package_guard import require_own_packages

require_own_packages()

from producer.actor import Actor  # noqa: E402
from producer.billing import Account, Quote  # noqa: E402
from producer.client import Producer  # noqa: E402
from producer.files.uploaded_file import UploadedFile  # noqa: E402
from producer.jobs.job_counts import JobCount  # noqa: E402
from producer.jobs.job_filter import JobFilter  # noqa: E402
from producer.money.price_changes import PricePreview  # noqa: E402
from producer.orders.order import Order  # noqa: E402
from producer.pauses import Pause  # noqa: E402
from shared.catalog import ImageRequest  # noqa: E402
from shared.catalog.families.gpt4o_image import ImageToImage, TextToImage  # noqa: E402
from shared.domain.job import Job  # noqa: E402
from shared.domain.lifecycle import JobState, Reason  # noqa: E402
from shared.errors import (  # noqa: E402
    AccountNotFound,
    AlreadyExists,
    AlreadyRefunded,
    ConfigurationError,
    ConfirmationNeeded,
    DarkroomError,
    DatabaseRefused,
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
from shared.settings import Settings  # noqa: E402

__all__ = [
    "Account",
    "AccountNotFound",
    "Actor",
    "AlreadyExists",
    "AlreadyRefunded",
    "ConfigurationError",
    "ConfirmationNeeded",
    "DarkroomError",
    "DatabaseRefused",
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
    "NotFound",
    "Order",
    "Pause",
    "PostgresDown",
    "PriceMissing",
    "PricePreview",
    "Producer",
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
]
