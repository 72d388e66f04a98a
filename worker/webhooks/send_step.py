"""The webhook step: send one message once, and record the result.

The result is recorded after the request, so a worker that is lost between the two sends again. A
message is sent at least once, always with the same id, by which receivers detect a repetition.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import asyncpg
import orjson
import structlog

from shared.adapters.monitoring.incident_log import incidents
from shared.adapters.postgres.job_rows import job_from_row
from shared.domain.job import Job, replace_fields
from shared.errors import DarkroomError
from shared.job_json import job_to_json, timestamp_to_json
from worker.dependencies import Dependencies
from worker.queue.delivery_run import UNCLAIMED, DeliveryRun
from worker.webhooks.http_sender import SendResult
from worker.webhooks.retry_schedule import next_try_at, read_retry_after
from worker.webhooks.send_concurrency import ConcurrencyReached
from worker.webhooks.webhook_signature import signed_headers

log = structlog.get_logger(__name__)

STATUS_GONE = 410
"""The status by which a receiver asks for no further tries."""


@dataclass(frozen=True, slots=True)
class OutgoingMessage:
    """A pending message: its endpoint and its tries, without its body."""

    id: UUID
    job_id: UUID
    account_id: str
    event: str
    created_at: datetime
    url: str = field(repr=False)
    endpoint: str = field(repr=False)
    secrets: tuple[str, ...] = field(repr=False)
    """The secret of the endpoint and that of the account, and during a rotation the one before."""
    tries: int
    next_try_at: datetime
    retry_until: datetime

    @property
    def host(self) -> str:
        """The receiver as far as it may be logged: scheme, host and port."""
        try:
            parts = urlsplit(self.url)
        except ValueError:
            return "a URL that cannot be read"
        return f"{parts.scheme}://{parts.netloc}"

    def body(self, job: Job) -> bytes:
        """Return the body: the same bytes for every try."""
        return orjson.dumps(
            {
                "type": self.event,
                "timestamp": timestamp_to_json(self.created_at),
                "data": job_to_json(job),
            }
        )


async def send_webhook(
    deps: Dependencies, message_id: UUID, run: DeliveryRun = UNCLAIMED
) -> float | None:
    """Send a pending message once. Returns the seconds to the next try, or None if it is over."""
    del run
    row, fault = await _fetch_message(deps, message_id)
    if row is None:
        return None
    message, now = _message_from_row(row), deps.clock.now()
    early_seconds = (message.next_try_at - now).total_seconds()
    if early_seconds > 0:
        return early_seconds
    try:
        with deps.send_concurrency.reserve(message.endpoint, message.host, message.account_id):
            answer = await _send(deps, message, fault or row, now)
    except ConcurrencyReached as full:
        if message.tries > 0 and now >= message.retry_until:
            return await _record_failed(
                deps, message, SendResult(None, "no request was free for the last try", 0.0)
            )
        return full.wait_seconds * (1 + 0.1 * deps.random.random())
    if not answer.is_accepted:
        return await _record_failed(deps, message, answer)
    await _record_delivered(deps, message, answer)
    return None


async def _fetch_message(
    deps: Dependencies, message_id: UUID
) -> tuple[asyncpg.Record | None, Exception | None]:
    """Return the message with its job, or where the job cannot be read, the message and
    the error.
    """
    try:
        return await deps.queries.fetch_row("webhook_to_send", message_id), None
    except DarkroomError:
        raise
    except Exception as error:
        # The driver cannot decode a value of the job. The message alone can still be given up.
        return await deps.queries.fetch_row("webhook_to_try", message_id), error


async def _send(
    deps: Dependencies, message: OutgoingMessage, read: asyncpg.Record | Exception, now: datetime
) -> SendResult:
    """Send the message with the job that was read.

    An error of our own counts as a failed try, so that it is repeated less and less often, and
    ends.
    """
    try:
        if isinstance(read, Exception):
            raise read
        body = message.body(_job_from_row(read))
        headers = signed_headers(message.secrets, message.id, now, body)
        answer = await deps.webhook_sender.send(message.url, headers, body)
    except DarkroomError:
        raise
    except Exception as error:
        incidents.record_failure(
            "webhook_not_sent",
            "our own mistake",
            repr(error),
            level="error",
            message_id=str(message.id),
            job_id=str(message.job_id),
            exc_info=True,
        )
        return SendResult(None, f"not sent: a mistake of ours ({type(error).__name__})", 0.0)
    incidents.record_success("webhook_not_sent", "our own mistake")
    return answer


async def _record_delivered(
    deps: Dependencies, message: OutgoingMessage, answer: SendResult
) -> None:
    if (
        await deps.queries.fetch_row(
            "record_webhook_delivered", message.id, answer.status, answer.seconds
        )
        is None
    ):
        return
    deps.metrics.count_webhook("delivered", answer.seconds)
    incidents.record_success("webhook_failed", message.host)
    log.info(
        "webhook_delivered",
        message_id=str(message.id),
        job_id=str(message.job_id),
        host=message.host,
        status=answer.status,
        tries=message.tries + 1,
    )


async def _record_failed(
    deps: Dependencies, message: OutgoingMessage, answer: SendResult
) -> float | None:
    now, tries = deps.clock.now(), message.tries + 1
    again_at = None
    if answer.status != STATUS_GONE:
        again_at = next_try_at(
            tries,
            now,
            message.retry_until,
            jitter=deps.random.random(),
            asked_seconds=read_retry_after(answer.retry_after, now),
        )
    recorded = await deps.queries.fetch_row(
        "record_webhook_failed",
        message.id,
        message.tries,
        answer.status,
        answer.error,
        again_at,
        answer.seconds,
    )
    if recorded is None:
        return (
            0.0  # another worker has recorded a result, or the message was replayed: run it again
        )
    deps.metrics.count_webhook("dead" if again_at is None else "failed", answer.seconds)
    _log_failed(message, answer, again_at)
    return None if again_at is None else (again_at - now).total_seconds()


def _log_failed(message: OutgoingMessage, answer: SendResult, again_at: datetime | None) -> None:
    error = answer.error or f"status {answer.status}"
    facts: dict[str, Any] = {
        "message_id": str(message.id),
        "job_id": str(message.job_id),
        "tries": message.tries + 1,
    }
    if again_at is not None:
        again = again_at.isoformat()
        incidents.record_failure("webhook_failed", message.host, error, **facts, again_at=again)
        return
    log.error(
        "webhook_dead",
        **facts,
        host=message.host,
        error=error,
        meaning="given up; darkroom webhooks replay sends it",
    )


def _message_from_row(row: asyncpg.Record) -> OutgoingMessage:
    secrets = (
        *(row["secret"], row["previous_secret"]),
        *(row["account_secret"], row["previous_account_secret"]),
    )
    return OutgoingMessage(
        id=UUID(int=row["message_id"].int),
        job_id=UUID(int=row["message_job_id"].int),
        account_id=row["message_account_id"],
        event=row["message_event"],
        created_at=row["message_created_at"],
        url=row["message_url"],
        endpoint=row["endpoint_url"],
        secrets=tuple(secret for secret in secrets if secret is not None),
        tries=row["tries"],
        next_try_at=row["next_try_at"],
        retry_until=row["retry_until"],
    )


def _job_from_row(row: asyncpg.Record) -> Job:
    late_urls = row["message_late_result_urls"]
    late_result_urls = None if late_urls is None else tuple(late_urls)
    return replace_fields(job_from_row(row), late_result_urls=late_result_urls)
