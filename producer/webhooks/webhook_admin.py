"""Lists and replays webhook messages, and manages endpoints and their secrets, for operators.

Workers send the messages.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, get_args
from uuid import UUID

from producer.actor import Actor, actor_to_json
from producer.jobs.locked_rows import name_locked_row
from producer.list_pages import DEFAULT_LIST_LIMIT, find_limit_faults
from producer.orders.order import Order
from producer.webhooks.account_secrets import SECRET_OVERLAP_SECONDS, AccountSecrets
from producer.webhooks.webhook_messages import no_such_message, parse_message_id, show_message_id
from shared.adapters.monitoring.incident_log import incidents
from shared.adapters.postgres.database import Database
from shared.adapters.postgres.row_dicts import as_dicts
from shared.adapters.postgres.sqlstates import FOREIGN_KEY_VIOLATION
from shared.adapters.redis.deliveries import Delivery, DeliveryQueue, Lane
from shared.domain.allowed_receivers import NO_RECEIVERS, AllowedReceivers
from shared.domain.public_addresses import find_url_fault
from shared.errors import (
    AccountNotFound,
    DatabaseRefused,
    Fault,
    InvalidRequest,
    NotFound,
    RedisDown,
)

WebhookState = Literal["pending", "delivered", "dead"]

TRIES_MAX = 100
"""The most tries that are shown of a message."""
_PAGE_LENGTH = 1_000


def find_destination_faults(
    orders: Sequence[Order],
    *,
    allow_loopback: bool,
    receivers: AllowedReceivers = NO_RECEIVERS,
) -> list[Fault]:
    """Return a fault for each order with a webhook URL that is not allowed.

    `allow_loopback` and `receivers` are `WEBHOOKS_ALLOW_LOOPBACK` and `WEBHOOKS_ALLOW`. The field
    of the fault is `webhook_url` for a single order, and `jobs.<index>.webhook_url` for several.
    """
    sentences: dict[str, str | None] = {}
    faults = []
    for index, order in enumerate(orders):
        url = order.webhook_url
        if url is None:
            continue
        if url not in sentences:
            sentences[url] = find_url_fault(url, allow_loopback=allow_loopback, receivers=receivers)
        sentence = sentences[url]
        if sentence is not None:
            field = "webhook_url" if len(orders) == 1 else f"jobs.{index}.webhook_url"
            faults.append(Fault(field, sentence))
    return faults


class WebhookAdmin:
    """Lists, replays and configures webhooks. Every method may raise `PostgresDown`."""

    def __init__(
        self,
        database: Database,
        delivery_queue: DeliveryQueue,
        receivers: AllowedReceivers = NO_RECEIVERS,
    ) -> None:
        self._database = database
        self._delivery_queue = delivery_queue
        self._receivers = receivers
        self.account_secrets = AccountSecrets(database)
        """The secrets that sign all webhooks of an account."""

    async def list(
        self,
        *,
        account_id: str | None = None,
        state: str | None = None,
        job_id: UUID | None = None,
        before: UUID | str | None = None,
        limit: int = DEFAULT_LIST_LIMIT,
    ) -> list[dict[str, Any]]:
        """Return up to `limit` messages, newest first. The largest limit is 1,000.

        `before` is the id of a message: only older ones are returned. `id` is the `webhook-id` that
        receivers get. `endpoint` is the URL without its query. Raises `InvalidRequest`.
        """
        faults = find_limit_faults(limit)
        if state is not None and state not in get_args(WebhookState):
            allowed = ", ".join(get_args(WebhookState))
            faults.insert(0, Fault("state", f"{state!r:.80} must be one of {allowed}"))
        last = None if before is None else parse_message_id(before)
        if before is not None and last is None:
            faults.append(Fault("before", f"{str(before)!r:.80} is no id of a webhook message"))
        if faults:
            raise InvalidRequest(faults)
        rows = await self._database.fetch("list_webhooks", account_id, state, limit, job_id, last)
        return [show_message_id(row) for row in as_dicts(rows)]

    async def get(self, message_id: UUID | str) -> dict[str, Any]:
        """Return one message with `history`, its newest 100 tries, newest first.

        The tries before a replay are among them. Raises `NotFound`.
        """
        found = parse_message_id(message_id)
        row = None if found is None else await self._database.fetch_row("get_webhook", found)
        if row is None:
            raise no_such_message(message_id)
        tries = await self._database.fetch("list_webhook_tries", found, TRIES_MAX)
        return {**show_message_id(dict(row)), "history": as_dicts(tries)}

    async def replay(
        self, message_id: UUID | str, *, actor: Actor | str | None = None
    ) -> dict[str, Any]:
        """Send one message again, whatever its state, with the same id and new tries for a day.

        Raises `NotFound`.
        """
        found = parse_message_id(message_id)
        with name_locked_row(f"webhook message {found}"):
            row = (
                await self._database.fetch_row("replay_webhook", found, actor_to_json(actor))
                if found
                else None
            )
        if found is None or row is None:
            raise no_such_message(message_id)
        await self._deliver(found)
        return show_message_id(dict(row))

    async def replay_dead(self, account_id: str, *, actor: Actor | str | None = None) -> int:
        """Send every dead message of an account again, oldest first, and return their number.

        Postgres notifies the workers, which send them at a limited rate. Raises `AccountNotFound`.
        """
        if await self._database.fetch_row("get_account", account_id) is None:
            raise AccountNotFound(account_id)
        count = 0
        while True:
            with name_locked_row(f"a webhook message of account {account_id!r}"):
                rows = await self._database.fetch(
                    "replay_dead_webhooks", account_id, _PAGE_LENGTH, actor_to_json(actor)
                )
            count += len(rows)
            if len(rows) < _PAGE_LENGTH:
                return count

    async def endpoints(self, account_id: str | None = None) -> Sequence[dict[str, Any]]:
        """Return the endpoints, of one account or of all, without their secrets."""
        return as_dicts(await self._database.fetch("list_webhook_endpoints", account_id))

    async def secret(
        self,
        account_id: str,
        url: str,
        *,
        allow_loopback: bool | None = None,
        actor: Actor | str | None = None,
    ) -> dict[str, Any]:
        """Return the endpoint of a webhook URL, with its `secret`.

        If `allow_loopback` is given, a missing endpoint is created, so that a receiver can be set
        up before the first job. This may raise `InvalidRequest` and `AccountNotFound`. If it is
        None, a missing endpoint raises `NotFound`.
        """
        if allow_loopback is not None:
            await self._create_endpoint(account_id, url, allow_loopback=allow_loopback, actor=actor)
        row = await self._database.fetch_row("webhook_secret", account_id, url)
        if row is None:
            raise _no_endpoint(account_id, url)
        return dict(row)

    async def rotate(
        self, account_id: str, url: str, *, actor: Actor | str | None = None
    ) -> dict[str, Any]:
        """Give the endpoint a new secret, and return the endpoint with it.

        For a day, messages are signed with the old secret as well. A second rotation within that
        day ends the first secret immediately. Raises `NotFound`.
        """
        with name_locked_row(f"a webhook endpoint of account {account_id!r}"):
            row = await self._database.fetch_row(
                "rotate_webhook_secret",
                account_id,
                url,
                SECRET_OVERLAP_SECONDS,
                actor_to_json(actor),
            )
        if row is None:
            raise _no_endpoint(account_id, url)
        return dict(row)

    async def _create_endpoint(
        self, account_id: str, url: str, *, allow_loopback: bool, actor: Actor | str | None
    ) -> None:
        sentence = find_url_fault(url, allow_loopback=allow_loopback, receivers=self._receivers)
        if sentence is not None:
            raise InvalidRequest([Fault("url", sentence)])
        try:
            await self._database.fetch_row(
                "make_webhook_endpoint", account_id, url, actor_to_json(actor)
            )
        except DatabaseRefused as error:
            if error.sqlstate == FOREIGN_KEY_VIOLATION:
                raise AccountNotFound(account_id) from error
            raise

    async def _deliver(self, message_id: UUID) -> None:
        try:
            # A delivery may exist already: one that is due in hours, or one whose run is ending.
            await self._delivery_queue.make_due_now(message_id, Lane.WEBHOOK)
            delivery = Delivery(message_id, Lane.WEBHOOK)
            await self._delivery_queue.deliver([delivery], rerun_if_running=True)
        except RedisDown as error:
            # The row is committed; the reconciler delivers it when Redis is back.
            incidents.record_outage(error, doing="deliver_webhook")


def _no_endpoint(account_id: str, url: str) -> NotFound:
    shown = url.partition("?")[0][:200]
    return NotFound(
        f"account {account_id!r} has no webhook endpoint {shown!r}: one is made with the first job"
        " that names it; see `darkroom webhooks endpoints`"
    )
