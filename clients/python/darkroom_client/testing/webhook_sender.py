"""Sends the webhooks of jobs that have ended, signed as Darkroom signs them."""

from __future__ import annotations

import base64
import json
import queue
import secrets
import threading
import time
from dataclasses import dataclass, field

import httpx2

from darkroom_client.testing.jobs import MemoryJob
from darkroom_client.webhooks import SECRET_PREFIX, sign_webhook

_PAUSES_SECONDS = (0.1, 0.3, 1.0, 3.0)
_TIMEOUT_SECONDS = 15.0


@dataclass
class SentWebhook:
    """One message, and what became of it."""

    id: str
    url: str
    body: bytes
    statuses: list[int | None] = field(default_factory=list)
    """The status of each try, or None where there was no answer."""

    @property
    def is_delivered(self) -> bool:
        """Whether a try was answered with 2xx."""
        return any(one is not None and 200 <= one < 300 for one in self.statuses)


class WebhookSender:
    """Sends messages from a thread of its own, each until it is accepted or was tried 5 times."""

    def __init__(self) -> None:
        self.sent: list[SentWebhook] = []
        self._secrets: dict[tuple[str, str], str] = {}
        self._queue: queue.SimpleQueue[tuple[MemoryJob, SentWebhook] | None] = queue.SimpleQueue()
        self._is_closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="darkroom-webhooks", daemon=True)
        self._thread.start()

    def secret(self, account_id: str, url: str) -> str:
        """Return the secret of an endpoint: a URL without its query."""
        key = account_id, url.partition("?")[0]
        if key not in self._secrets:
            random = base64.b64encode(secrets.token_bytes(24)).decode()
            self._secrets[key] = SECRET_PREFIX + random
        return self._secrets[key]

    def add(self, job: MemoryJob) -> None:
        """Send the message of a job that has ended, if it asked for one."""
        if job.webhook_url is None:
            return
        message = {
            "type": f"job.{job.fields['state']}",
            "timestamp": job.fields["finished_at"],
            "data": dict(job.fields),
        }
        sent = SentWebhook(
            f"msg_{secrets.token_hex(16)}", job.webhook_url, json.dumps(message).encode()
        )
        self.sent.append(sent)
        self._queue.put((job, sent))

    def close(self) -> None:
        """Stop sending."""
        self._is_closed.set()
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        # Proxies of the environment are not asked for receivers on this machine.
        with httpx2.Client(trust_env=False, timeout=_TIMEOUT_SECONDS) as http:
            while (taken := self._queue.get()) is not None:
                self._send(http, *taken)

    def _send(self, http: httpx2.Client, job: MemoryJob, sent: SentWebhook) -> None:
        secret = self.secret(job.fields["account_id"], sent.url)
        for pause_seconds in (*_PAUSES_SECONDS, None):
            sent_at = int(time.time())
            headers = {
                "Content-Type": "application/json",
                "webhook-id": sent.id,
                "webhook-timestamp": str(sent_at),
                "webhook-signature": sign_webhook(secret, sent.id, sent_at, sent.body),
            }
            try:
                status = http.post(sent.url, content=sent.body, headers=headers).status_code
            except httpx2.RequestError:
                status = None
            sent.statuses.append(status)
            if sent.is_delivered or pause_seconds is None or self._is_closed.wait(pause_seconds):
                return
