"""Webhooks are verified: genuine ones are taken, and no others."""

from __future__ import annotations

import json
import time
from typing import Any

import httpx2
import pytest
from darkroom_client import WebhookNotGenuine, verify_webhook
from darkroom_client.testing import InMemoryDarkroom
from darkroom_client.webhooks import sign_webhook

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER = "whsec_Zm9yZ2VkLWJ5LXNvbWVib2R5LWVsc2U="
NOW = 1_924_992_000


def message(darkroom: InMemoryDarkroom) -> bytes:
    job = darkroom.client().enqueue(prompt="a cat", aspect_ratio="1:1", metadata={"n": 0.1}).wait()
    headers = {"Authorization": f"Bearer {darkroom.key}"}
    data = httpx2.get(f"{darkroom.url}/v1/jobs/{job.id}", headers=headers, trust_env=False).json()
    return json.dumps(
        {"type": "job.succeeded", "timestamp": data["finished_at"], "data": data}
    ).encode()


def signed(body: bytes, secret: str = SECRET, sent_at: int = NOW) -> dict[str, str]:
    return {
        "Webhook-Id": "msg_1",
        "webhook-timestamp": str(sent_at),
        "WEBHOOK-SIGNATURE": sign_webhook(secret, "msg_1", sent_at, body),
    }


def test_a_genuine_message_is_read(darkroom: InMemoryDarkroom) -> None:
    body = message(darkroom)
    read = verify_webhook(SECRET, signed(body), body, now=NOW + 299)
    assert (read.id, read.type, read.data.state) == ("msg_1", "job.succeeded", "succeeded")
    assert read.data.metadata == {"n": 0.1}
    both = signed(body) | {
        "WEBHOOK-SIGNATURE": f"v1a,x {sign_webhook(OTHER, 'msg_1', NOW, body)}",
    }
    assert verify_webhook([SECRET, OTHER], both, body, now=NOW).id == "msg_1"


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"WEBHOOK-SIGNATURE": ""}, "no signature fits"),
        ({"WEBHOOK-SIGNATURE": "v1,\xe9"}, "no signature fits"),
        ({"WEBHOOK-SIGNATURE": "v1,\udce9"}, "no signature fits"),
        ({"Webhook-Id": "msg_\udcff"}, "no signature fits"),
        ({"Webhook-Id": "msg_\xe9"}, "no signature fits"),
        ({"WEBHOOK-SIGNATURE": sign_webhook(OTHER, "msg_1", NOW, b"{}")}, "no signature fits"),
        ({"Webhook-Id": "msg_2"}, "no signature fits"),
        ({"webhook-timestamp": str(NOW - 1)}, "no signature fits"),
        ({"webhook-timestamp": "soon"}, "no number"),
        ({"webhook-timestamp": str(NOW - 301)}, "too old"),
        ({"webhook-timestamp": str(NOW + 301)}, "too old"),
    ],
)
def test_a_forged_or_old_message_is_refused(changes: dict[str, str], why: str) -> None:
    with pytest.raises(WebhookNotGenuine, match=why):
        verify_webhook(SECRET, signed(b"{}") | changes, b"{}", now=NOW)


def test_missing_headers_and_bad_secrets_are_told_apart() -> None:
    with pytest.raises(WebhookNotGenuine, match="webhook-id"):
        verify_webhook(SECRET, {}, b"{}", now=NOW)
    for secret in ("whsec_", "whsec_%", ""):
        with pytest.raises(ValueError, match="secret"):
            verify_webhook(secret, signed(b"{}"), b"{}", now=NOW)
    with pytest.raises(WebhookNotGenuine, match="no JSON"):
        verify_webhook(SECRET, signed(b"{"), b"{", now=NOW)


def test_the_darkroom_of_tests_repeats_its_webhooks(darkroom: InMemoryDarkroom) -> None:
    hook = "http://127.0.0.1:9/hook"  # where nobody listens
    job: Any = darkroom.client().enqueue(prompt="a cat", aspect_ratio="1:1", webhook_url=hook)
    job.wait()
    ends_at = time.monotonic() + 10
    while not (darkroom.webhooks and len(darkroom.webhooks[0].statuses) >= 2):
        assert time.monotonic() < ends_at
        time.sleep(0.02)
    [sent] = darkroom.webhooks
    assert not sent.is_delivered
    assert sent.statuses[:2] == [None, None]
    assert darkroom.webhook_secret(hook).startswith("whsec_")
