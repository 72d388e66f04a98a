"""Verifies the webhooks that Darkroom sends, by the Standard Webhooks specification."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from darkroom_client.errors import WebhookNotGenuine
from darkroom_client.generated.models import WebhookMessage
from darkroom_client.json_reader import read_model

TOLERANCE_SECONDS = 300.0
SECRET_PREFIX = "whsec_"  # noqa: S105 - the public mark of a secret, not one


class Headers(Protocol):
    """Headers as any framework has them: a dictionary, or another object with `items()`."""

    def items(self) -> Iterable[tuple[str, str]]:
        """Return each header with its name, in any case."""
        ...


@dataclass(frozen=True, kw_only=True)
class Webhook(WebhookMessage):
    """A genuine message."""

    id: str
    """The same for every try of one message: remember it, and drop repeats."""


def verify_webhook(
    secrets: str | Sequence[str],
    headers: Headers,
    body: bytes,
    *,
    tolerance_seconds: float = TOLERANCE_SECONDS,
    now: float | None = None,
) -> Webhook:
    """Return the message of a request, or raise `WebhookNotGenuine`.

    `secrets` is the secret of the endpoint, or both around a rotation. `headers` may have names in
    any case. `body` must be the bytes as they came. `now` is the present time in Unix seconds.
    """
    given = {name.lower(): value for name, value in headers.items()}
    verify_signature(
        [secrets] if isinstance(secrets, str) else secrets,
        given,
        body,
        tolerance_seconds=tolerance_seconds,
        now=time.time() if now is None else now,
    )
    try:
        message = read_model(WebhookMessage, json.loads(body))
    except ValueError as error:
        raise WebhookNotGenuine(f"the body is no JSON: {error}") from None
    return Webhook(**vars(message), id=given["webhook-id"])


def verify_signature(
    secrets: Sequence[str],
    headers: Mapping[str, str],
    body: bytes,
    *,
    tolerance_seconds: float,
    now: float,
) -> None:
    """Raise `WebhookNotGenuine` unless one of the secrets has signed these bytes just now."""
    try:
        message_id, sent_at = headers["webhook-id"], headers["webhook-timestamp"]
        given = headers["webhook-signature"].split()
    except KeyError as missing:
        raise WebhookNotGenuine(f"the header {missing} is missing") from None
    # Frameworks keep bytes that are no UTF-8 as lone surrogates, which no text of ours has.
    signatures = [one.encode(errors="replace") for one in given]
    if not message_id.isascii():
        raise WebhookNotGenuine("no signature fits the secret")
    if not (sent_at.isascii() and sent_at.isdigit() and len(sent_at) <= 12):
        raise WebhookNotGenuine("webhook-timestamp is no number of seconds")
    if abs(now - int(sent_at)) > tolerance_seconds:
        raise WebhookNotGenuine("the message is too old, or a clock is wrong")
    for secret in secrets:
        expected = sign_webhook(secret, message_id, int(sent_at), body).encode()
        # Around a rotation there are several. Each is compared in constant time.
        if any(hmac.compare_digest(expected, one) for one in signatures):
            return
    raise WebhookNotGenuine("no signature fits the secret")


def sign_webhook(secret: str, message_id: str, sent_at: int, body: bytes) -> str:
    """Return the signature `v1,<Base64>` of a message. Raises `ValueError` for a bad secret."""
    try:
        key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except binascii.Error as error:
        raise ValueError(f"a secret must be {SECRET_PREFIX} and Base64: {error}") from None
    if not key:
        raise ValueError("the secret is empty")
    signed = f"{message_id}.{sent_at}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
