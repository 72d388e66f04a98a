"""Signatures of webhooks agree with the Standard Webhooks specification and its library."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from worker.webhooks.webhook_signature import message_header_id, signed_headers, webhook_signature

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OLD_SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
ID = UUID("0190163d-8694-739b-aea5-966c26f8ad91")
BODY = b'{"type":"job.succeeded","data":{"prompt":"\xe2\x98\x95"}}'


def now() -> datetime:
    return datetime.now(UTC)


def test_the_published_test_vector_comes_out() -> None:
    signature = webhook_signature(
        SECRET, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}'
    )
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_the_standard_library_verifies_what_was_signed() -> None:
    headers = dict(signed_headers([SECRET], ID, now(), BODY))
    assert Webhook(SECRET).verify(BODY, headers) == {
        "type": "job.succeeded",
        "data": {"prompt": "\N{HOT BEVERAGE}"},
    }


def test_it_signs_what_the_standard_library_signs() -> None:
    moment = now()
    (signature,) = signed_headers([OLD_SECRET], ID, moment, BODY)["webhook-signature"].split()
    assert signature == Webhook(OLD_SECRET).sign(
        msg_id=message_header_id(ID), timestamp=moment, data=BODY.decode()
    )


def test_while_a_rotation_lasts_either_secret_verifies() -> None:
    headers = dict(signed_headers([SECRET, OLD_SECRET], ID, now(), BODY))
    assert len(headers["webhook-signature"].split(" ")) == 2
    for secret in (SECRET, OLD_SECRET):
        assert Webhook(secret).verify(BODY, headers)


@pytest.mark.parametrize(
    "change",
    [
        {"webhook-id": "msg_other"},
        {"webhook-timestamp": str(int(now().timestamp()) + 1)},
        {"webhook-signature": "v1,AAAA"},
        {},
    ],
    ids=["other-id", "other-moment", "no-signature-of-ours", "nothing"],
)
def test_whatever_is_changed_does_not_verify(change: dict[str, str]) -> None:
    headers = {**signed_headers([SECRET], ID, now(), BODY), **change}
    body = BODY if change else BODY.replace(b"succeeded", b"cancelled")
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(body, headers)


def test_another_secret_does_not_verify() -> None:
    headers = dict(signed_headers([SECRET], ID, now(), BODY))
    with pytest.raises(WebhookVerificationError):
        Webhook(OLD_SECRET).verify(BODY, headers)


def test_a_try_of_long_ago_is_refused_by_receivers() -> None:
    headers = dict(signed_headers([SECRET], ID, now() - timedelta(minutes=10), BODY))
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(BODY, headers)


def test_headers_are_plain_words_and_numbers() -> None:
    headers = signed_headers([SECRET, OLD_SECRET], ID, datetime(2031, 1, 1, tzinfo=UTC), BODY)
    assert headers["webhook-id"] == "msg_0190163d8694739baea5966c26f8ad91"
    assert headers["webhook-timestamp"] == "1924992000"
    assert all(value.isascii() and value.isprintable() for value in headers.values())
