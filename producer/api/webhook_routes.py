"""The routes of webhook messages and of the secrets that sign them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from producer.api.endpoint import (
    ENQUEUE_ROLES,
    LIMIT,
    WRITE_ROLES,
    Endpoint,
    Parameter,
)
from producer.api.handlers import webhook_handlers
from producer.list_pages import PAGE_BYTES
from producer.orders.field_limits import ACCOUNT_LENGTH
from producer.webhooks.webhook_messages import no_such_message
from shared.errors import DarkroomError
from shared.text_and_url_checks import URL_LENGTH_MAX

_MESSAGE_ID = {"type": "string", "pattern": "^msg_[0-9a-f]{32}$"}
_ACCOUNT_ID = {"id": {"type": "string", "minLength": 1, "maxLength": ACCOUNT_LENGTH}}
_URL = Parameter(
    "url",
    {
        "type": "string",
        "minLength": 1,
        "maxLength": URL_LENGTH_MAX,
        "format": "public-url",
    },
    "the webhook URL whose secret is meant; absent: the secret of the whole account",
)


def _message_not_found(parts: Mapping[str, str]) -> DarkroomError:
    return no_such_message(parts["id"])


_of_message = partial(
    Endpoint,
    tag="webhooks",
    roles=WRITE_ROLES,
    path_schemas={"id": _MESSAGE_ID},
    not_found=_message_not_found,
    problems=(404, 422),
)
_of_secret = partial(
    Endpoint, tag="webhooks", roles=ENQUEUE_ROLES, path_schemas=_ACCOUNT_ID, problems=(404, 422)
)

WEBHOOK_ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint(
        method="GET",
        path="/v1/webhooks",
        handler=webhook_handlers.list_webhooks,
        name="listWebhooks",
        summary="List webhook messages, newest first",
        tag="webhooks",
        roles=WRITE_ROLES,
        parameters=(
            Parameter(
                "account_id",
                _ACCOUNT_ID["id"],
                "only those of this account; a service sees its own alone",
            ),
            Parameter("job_id", {"type": "string", "format": "uuid"}, "only those about this job"),
            Parameter(
                "state",
                {"type": "string", "enum": list(webhook_handlers.STATES)},
                "only those in this state",
            ),
            LIMIT,
            Parameter("cursor", _MESSAGE_ID, "`next_cursor` of the page before"),
        ),
        responses={200: "WebhookPage"},
        max_response_bytes=PAGE_BYTES,
        problems=(422,),
    ),
    _of_message(
        method="GET",
        path="/v1/webhooks/{id}",
        handler=webhook_handlers.show_webhook,
        name="getWebhook",
        summary="Show a webhook message with its tries, newest first",
        responses={200: "WebhookWithTries"},
    ),
    _of_message(
        method="POST",
        path="/v1/webhooks/{id}/replay",
        handler=webhook_handlers.replay_webhook,
        name="replayWebhook",
        summary="Send a webhook message again, with the same id and another day of tries",
        responses={200: "WebhookDelivery"},
    ),
    _of_secret(
        method="GET",
        path="/v1/accounts/{id}/webhook-secret",
        handler=webhook_handlers.show_secret,
        name="getWebhookSecret",
        summary="Show the secret that signs webhooks of an account",
        parameters=(_URL,),
        responses={200: "WebhookSecret"},
    ),
    _of_secret(
        method="PUT",
        path="/v1/accounts/{id}/webhook-secret",
        handler=webhook_handlers.create_secret,
        name="createWebhookSecret",
        summary="Make the secret that signs webhooks of an account, or return it",
        parameters=(_URL,),
        responses={200: "WebhookSecret"},
    ),
    _of_secret(
        method="POST",
        path="/v1/accounts/{id}/webhook-secret/rotate",
        handler=webhook_handlers.rotate_secret,
        name="rotateWebhookSecret",
        summary="Replace the secret; the old one signs as well for a day",
        parameters=(_URL,),
        responses={200: "WebhookSecret"},
    ),
    _of_secret(
        method="POST",
        path="/v1/accounts/{id}/webhook-secret/revoke",
        handler=webhook_handlers.revoke_secret,
        name="revokeWebhookSecret",
        summary="End the secret of the whole account at once; those of its URLs stay",
        responses={200: "RevokedWebhookSecret"},
    ),
)
