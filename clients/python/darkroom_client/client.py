"""The client of Darkroom's HTTP API.

Written by `make types` from async_client.py.
"""

from __future__ import annotations

import os
from collections.abc import (
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from datetime import datetime
from types import TracebackType
from typing import Any, Literal, Self, Unpack

from darkroom_client.generated import problems
from darkroom_client.generated.models import (
    Account,
    BulkResult,
    File,
    JobCounts,
    JobFields,
    LedgerEntry,
    Price,
    Quote,
    Statement,
)
from darkroom_client.generated.orders import Order, OrderFields
from darkroom_client.generated.webhook_models import (
    RevokedWebhookSecret,
    WebhookDelivery,
    WebhookSecret,
    WebhookWithTries,
)
from darkroom_client.http import calls, webhook_calls
from darkroom_client.http.calls import PAGE_LENGTH, Call, JobFilter, Page
from darkroom_client.http.connection import Connection
from darkroom_client.http.event_stream import Event
from darkroom_client.http.exchange import DEFAULT_URL, Exchange
from darkroom_client.http.retries import RetryPolicy
from darkroom_client.http.wait import wait_for_end
from darkroom_client.image_sources import local_images, read_image, with_urls
from darkroom_client.job import Job


class Darkroom:
    """One API and one key. Close it, or use it as a context manager.

    Every method raises an `ApiError` of `problems` for a refusal, and
    `ConnectionFailed` if no answer came after all tries.
    """

    def __init__(
        self,
        url: str | None = None,
        key: str | None = None,
        *,
        account_id: str | None = None,
        timeout_seconds: float = 35.0,
        retries: RetryPolicy | None = None,
    ) -> None:
        """Make a client.

        Args:
            url: Where the API is, with a sub-path if it has one. Default: `DARKROOM_URL` of the
                environment, or http://127.0.0.1:8080.
            key: The API key. Default: `DARKROOM_API_KEY` of the environment, or none.
            account_id: The account of orders and reads that name none. A service key has its own.
            timeout_seconds: How long one answer may take, beside the time of `wait`.
            retries: When requests are repeated.
        """
        exchange = Exchange(
            url=url or os.environ.get("DARKROOM_URL") or DEFAULT_URL,
            key=key or os.environ.get("DARKROOM_API_KEY") or None,
            timeout_seconds=timeout_seconds,
            retries=retries or RetryPolicy(),
        )
        self._connection = Connection(exchange)
        self._account_id = account_id

    def __enter__(self) -> Self:
        """Return the client."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the connections."""
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._connection.close()

    # --- jobs -------------------------------------------------------------------------------

    def enqueue(
        self,
        *,
        idempotency_key: str | None = None,
        check_images: bool = False,
        **order: Unpack[OrderFields],
    ) -> Job:
        """Place a job and return it as it was accepted. Its price is held.

        Paths in `image_urls` and `mask_url` are local files, which are uploaded first. Without
        `task`, the order is image-to-image if it has `image_urls`, else text-to-image.

        Args:
            idempotency_key: The same key is the same job, for ever. Without one, the client makes
                a key, which makes its own retries safe. Give a key that you keep, such as the
                number of an order, and a restart of your program places no second job.
            check_images: Whether the images are requested before the job is accepted.
            order: The fields of the model. `model` is `gpt-4o-image` by default.

        Raises:
            InvalidRequest: With every fault, by field.
            InsufficientCredits: The account has too few.
            IdempotencyConflict: The key was used for another order.
        """
        completed = calls.complete_order(self._upload_files(order), self._account_id)
        call = calls.create_job(completed, idempotency_key, check_images)
        fields = self._connection.send(call)
        return Job.of(fields, self)

    def enqueue_many(
        self,
        orders: Iterable[Order | OrderFields],
        *,
        idempotency_key: str | None = None,
        check_images: bool = False,
    ) -> list[Job]:
        """Place up to 1,000 jobs, all or none, and return them in the same order."""
        completed = [
            calls.complete_order(self._upload_files(order), self._account_id) for order in orders
        ]
        call = calls.create_jobs(completed, idempotency_key, check_images)
        placed = self._connection.send(call)
        return [Job.of(one, self) for one in placed]

    def job(self, job_id: str) -> Job:
        """Return a job as it is now."""
        return Job.of(self._connection.send(calls.get_job(job_id)), self)

    def wait(
        self,
        job_id: str,
        timeout_seconds: float = 600.0,
        *,
        last_known: JobFields | None = None,
    ) -> Job:
        """Return a job when it has ended. Raises `WaitTimedOut`, and the job goes on.

        The wait also ends when the cancel of the job is requested meanwhile: the job is then
        returned open. Whatever the API does, the wait ends within 5 s after its timeout, and the
        error has the state that was last read, before the wait in `last_known`.
        """
        fields = wait_for_end(self._connection, job_id, timeout_seconds, last_known)
        return Job.of(fields, self)

    def jobs(self, **where: Unpack[JobFilter]) -> Iterator[Job]:
        """Yield the jobs that match every filter, newest first, page by page."""

        def page(cursor: str | None) -> Call[Page[JobFields]]:
            return calls.list_jobs(where, PAGE_LENGTH, cursor)

        for one in self._connection.entries(page):
            yield Job.of(one, self)

    def count(self, **where: Unpack[JobFilter]) -> JobCounts:
        """Return how many jobs match every filter, by state and reason."""
        return self._connection.send(calls.count_jobs(where))

    def cancel(self, job_id: str) -> Job:
        """Cancel a queued job and release its hold, or request the cancel of a job at Kie.

        Kie takes no task back: the job is returned open with `cancel_requested_at`, is not
        submitted again, and ends by Kie's outcome. Raises `TooLateToCancel` if it has ended.
        A cancel that is lost on its way is not sent again: it may have arrived.
        """
        return Job.of(self._connection.send(calls.cancel_job(job_id)), self)

    def retry(self, job_id: str, *, again: bool = False) -> Job:
        """Run the request of an ended job again, as a new job, which is charged as well.

        A job has one retry: a second call returns the job of the first. Raises `StateConflict`
        for an open job, and without `again` for one that succeeded.
        """
        return Job.of(self._connection.send(calls.retry_job(job_id, again)), self)

    def cancel_many(
        self,
        selection: Sequence[str] | JobFilter,
        *,
        dry_run: bool = False,
        cursor: str | None = None,
    ) -> BulkResult:
        """Cancel up to 1,000 open jobs, by their ids or by filters."""
        action: Literal["cancel"] = "cancel"
        return self._connection.send(
            calls.change_many(action, selection, dry_run=dry_run, cursor=cursor)
        )

    def retry_many(
        self,
        selection: Sequence[str] | JobFilter,
        *,
        again: bool = False,
        dry_run: bool = False,
        cursor: str | None = None,
    ) -> BulkResult:
        """Retry up to 1,000 ended jobs, by their ids or by filters."""
        return self._connection.send(
            calls.change_many("retry", selection, dry_run=dry_run, cursor=cursor, again=again)
        )

    # --- events -----------------------------------------------------------------------------

    def events(self, job_id: str, last_event_id: str | None = None) -> Iterator[Event]:
        """Yield the events of a job, from the start or after that one, until it has ended.

        A broken connection is resumed: no event is missed or repeated.
        """
        return self._connection.events(calls.job_events_path(job_id), last_event_id)

    def account_events(
        self, account_id: str | None = None, last_event_id: str | None = None
    ) -> Iterator[Event]:
        """Yield the events of all jobs of an account, from now on or after that one, without end.

        `0.0` is the beginning. A resumed stream may repeat events: drop repeats by `id`.
        """
        path = calls.account_events_path(self._account(account_id))
        return self._connection.events(path, last_event_id, ends_with_job=False)

    # --- images -----------------------------------------------------------------------------

    def upload(
        self, image: str | os.PathLike[str] | bytes, *, account_id: str | None = None
    ) -> File:
        """Upload a PNG, a JPEG or a WebP: a path, or its bytes. Its `url` is for `image_urls`.

        The same bytes are the same file. It costs nothing.
        """
        return self._connection.send(
            calls.upload_file(read_image(image), account_id or self._account_id)
        )

    def file(self, file_id: str) -> File:
        """Return what is known of an uploaded image."""
        return self._connection.send(calls.get_file(file_id))

    def download(self, job_id: str, number: int = 1) -> bytes:
        """Return the bytes of one image of a job; the first has the number 1.

        They come from the copy that Darkroom keeps, or else from Kie's link. The key is sent to
        the API alone. Raises `problems.NotFound` if there is no such image.
        """
        try:
            return self._connection.download(calls.get_image(job_id, number))
        except problems.NotFound:
            urls = (self._connection.send(calls.get_job(job_id))).result_urls
            if not 1 <= number <= len(urls):
                raise
        return self._connection.download_link(calls.get_link(urls[number - 1]))

    def _upload_files(self, order: Mapping[str, Any]) -> Mapping[str, Any]:
        urls = {}
        for path in local_images(order):
            urls[path] = (self.upload(path, account_id=order.get("account_id"))).url
        return with_urls(order, urls) if urls else order

    # --- prices and credits -----------------------------------------------------------------

    def prices(self) -> tuple[Price, ...]:
        """Return every price in force."""
        return self._connection.send(calls.list_prices())

    def quote(self, **order: Unpack[OrderFields]) -> Quote:
        """Say what an order would cost and when it would be submitted. Nothing is placed or held.

        Images are URLs. Raises `InvalidRequest` like `enqueue`.
        """
        call = calls.quote_order(calls.complete_order(order, self._account_id))
        return self._connection.send(call)

    def account(self, account_id: str | None = None) -> Account:
        """Return the credits of an account."""
        return self._connection.send(calls.get_account(self._account(account_id)))

    def ledger(self, account_id: str | None = None) -> Iterator[LedgerEntry]:
        """Yield every movement of credits of an account, newest first, page by page."""
        name = self._account(account_id)

        def page(cursor: str | None) -> Call[Page[LedgerEntry]]:
            return calls.list_ledger(name, PAGE_LENGTH, cursor)

        yield from self._connection.entries(page)

    def statement(
        self,
        account_id: str | None = None,
        *,
        from_: datetime | None = None,
        to: datetime | None = None,
        cursor: str | None = None,
    ) -> Statement:
        """Return what changed the balance in a period, by month, with up to 1,000 lines."""
        name = self._account(account_id)
        return self._connection.send(calls.get_statement(name, from_, to, cursor))

    def statement_csv(
        self,
        account_id: str | None = None,
        *,
        from_: datetime | None = None,
        to: datetime | None = None,
    ) -> str:
        """Return the lines of a statement as CSV."""
        name = self._account(account_id)
        return self._connection.send(calls.statement_csv(name, from_, to))

    def webhooks(
        self,
        *,
        account_id: str | None = None,
        job_id: str | None = None,
        state: Literal["pending", "delivered", "dead"] | None = None,
    ) -> Iterator[WebhookDelivery]:
        """Yield webhook messages, newest first, page by page."""
        given = {"account_id": account_id, "job_id": job_id, "state": state}
        where = {name: value for name, value in given.items() if value is not None}

        def page(cursor: str | None) -> Call[Page[WebhookDelivery]]:
            return webhook_calls.list_webhooks(where, PAGE_LENGTH, cursor)

        yield from self._connection.entries(page)

    def webhook(self, message_id: str) -> WebhookWithTries:
        """Return a webhook message with each of its tries."""
        return self._connection.send(webhook_calls.get_webhook(message_id))

    def replay_webhook(self, message_id: str) -> WebhookDelivery:
        """Send a webhook message again, with the same id and another day of tries."""
        return self._connection.send(webhook_calls.replay_webhook(message_id))

    def webhook_secret(
        self, url: str | None = None, *, account_id: str | None = None, create: bool = False
    ) -> WebhookSecret:
        """Return the secret that signs all webhooks of an account, or those to a URL.

        With `create` it is made where there is none.
        """
        call = webhook_calls.create_secret if create else webhook_calls.get_secret
        return self._connection.send(call(self._account(account_id), url))

    def rotate_webhook_secret(
        self, url: str | None = None, *, account_id: str | None = None
    ) -> WebhookSecret:
        """Replace a secret and return the new one. The old one signs as well for a day."""
        call = webhook_calls.rotate_secret(self._account(account_id), url)
        return self._connection.send(call)

    def revoke_webhook_secret(self, *, account_id: str | None = None) -> RevokedWebhookSecret:
        """End the secret of the account at once. Those of its URLs stay."""
        return self._connection.send(webhook_calls.revoke_secret(self._account(account_id)))

    def _account(self, account_id: str | None) -> str:
        name = account_id or self._account_id
        if name is None:
            raise ValueError("name the account, here or once as `account_id` of the client")
        return name
