"""Sends the webhooks of jobs that have ended, signed as Darkroom signs them."""

from __future__ import annotations

import json
import queue
import secrets
import threading
import time
from dataclasses import dataclass, field
from typing import Any

import httpx2

from darkroom_client.testing.accounts import now_text
from darkroom_client.testing.jobs import MemoryJob
from darkroom_client.testing.webhooks.webhook_secrets import WebhookSecrets
from darkroom_client.webhooks import sign_webhook

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
    job: MemoryJob | None = field(default=None, repr=False)
    created_at: str = ""
    replayed_at: str | None = None
    tries: list[dict[str, Any]] = field(default_factory=list, repr=False)
    """Each try as the API shows it, newest first."""
    first_try: int = 0
    """How many tries there were before the last replay."""

    @property
    def is_delivered(self) -> bool:
        """Whether a try was answered with 2xx."""
        since_replay = self.statuses[self.first_try :]
        return any(one is not None and 200 <= one < 300 for one in since_replay)

    def note(self, status: int | None, seconds: float) -> None:
        """Note the result of a try."""
        self.statuses.append(status)
        error = "no answer" if status is None else f"answered {status}"
        shown = None if status is not None and 200 <= status < 300 else error
        one = {"at": now_text(), "status": status, "error": shown, "seconds": seconds}
        self.tries.insert(0, one)


class WebhookSender:
    """Sends messages from a thread of its own, each until it is accepted or was tried 5 times."""

    def __init__(self) -> None:
        self.sent: list[SentWebhook] = []
        self.secrets = WebhookSecrets()
        self._queue: queue.SimpleQueue[tuple[MemoryJob, SentWebhook] | None] = queue.SimpleQueue()
        self._is_closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="darkroom-webhooks", daemon=True)
        self._thread.start()

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
            *(f"msg_{secrets.token_hex(16)}", job.webhook_url, json.dumps(message).encode()),
            job=job,
            created_at=now_text(),
        )
        self.sent.append(sent)
        self._queue.put((job, sent))

    def replay(self, sent: SentWebhook) -> None:
        """Send a message again, with the same id."""
        sent.replayed_at, sent.first_try = now_text(), len(sent.statuses)
        if sent.job is not None:
            self._queue.put((sent.job, sent))

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
        for pause_seconds in (*_PAUSES_SECONDS, None):
            began, sent_at = time.monotonic(), int(time.time())
            signing = self.secrets.signing(job.fields["account_id"], sent.url)
            headers = {
                "Content-Type": "application/json",
                "webhook-id": sent.id,
                "webhook-timestamp": str(sent_at),
                "webhook-signature": " ".join(
                    sign_webhook(secret, sent.id, sent_at, sent.body) for secret in signing
                ),
            }
            try:
                status = http.post(sent.url, content=sent.body, headers=headers).status_code
            except httpx2.RequestError:
                status = None
            sent.note(status, time.monotonic() - began)
            if sent.is_delivered or pause_seconds is None or self._is_closed.wait(pause_seconds):
                return
