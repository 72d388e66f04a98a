"""The jobs, their states and events, and the thread that submits them to the scripted Kie."""

from __future__ import annotations

import heapq
import itertools
import secrets
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from dataclasses import fields as dataclass_fields
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from typing import Any

from darkroom_client.generated.models import JobFields
from darkroom_client.http.calls import ENDED
from darkroom_client.testing.accounts import Accounts, credits_number, now_text, time_text
from darkroom_client.testing.checks.order_check import MemoryOrder, time_of
from darkroom_client.testing.problem import Refusal
from darkroom_client.testing.scripted_kie import MESSAGES, Outcome, ScriptedKie, one_colour_png

Saver = Callable[[str, bytes], str]


@dataclass(eq=False)
class MemoryJob:
    """One job."""

    fields: dict[str, Any]
    """The job object, as it is now."""
    first: dict[str, Any]
    """The job object, as it was accepted."""
    webhook_url: str | None
    idempotency_key: str | None
    price_id: int
    credits: Decimal
    events: list[dict[str, Any]] = field(default_factory=list)
    retry_id: str | None = None

    @property
    def id(self) -> str:
        """The id of the job."""
        return str(self.fields["id"])

    @property
    def has_ended(self) -> bool:
        """Whether the state never changes again."""
        return self.fields["state"] in ENDED


class Jobs:
    """Every job. Methods with a `job` are called with the lock held."""

    def __init__(self, accounts: Accounts, kie: ScriptedKie, save_image: Saver) -> None:
        self.accounts = accounts
        self.changed = threading.Condition(threading.RLock())
        """The lock of everything, and where waits and streams hear of changes."""
        self.by_id: dict[str, MemoryJob] = {}
        self.events: list[dict[str, Any]] = []
        self.on_end: Callable[[MemoryJob], None] = lambda job: None
        self.is_closed = False
        self._keys: dict[tuple[str, str], MemoryJob] = {}
        self._kie, self._save_image = kie, save_image
        self._steps: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count(1)
        kie.on_release = self._wake
        self._thread = threading.Thread(target=self._run, name="darkroom-kie", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop the thread, and every wait and stream."""
        with self.changed:
            self.is_closed = True
            self.changed.notify_all()
        self._thread.join()

    def enqueue(
        self, orders: Sequence[tuple[MemoryOrder, str | None]]
    ) -> list[tuple[MemoryJob, bool]]:
        """Store all orders with their keys or none. Return each job, and whether it is new."""
        with self.changed:
            placed = [(order, key, self._find(order, key)) for order, key in orders]
            self._require_credits([order for order, _, found in placed if found is None])
            return [
                (found, False) if found else (self._store(order, key), True)
                for order, key, found in placed
            ]

    def cancel(self, job: MemoryJob) -> bool:
        """Cancel a queued job, or request the cancel of a job at Kie. Return whether it is new."""
        state = job.fields["state"]
        if job.has_ended:
            raise Refusal(
                "too_late_to_cancel",
                f"job {job.id} is {state}: it has ended, and only an open job can be cancelled",
                {"job_id": job.id, "state": state},
            )
        reason = "cancelled_by_caller"
        if state == "queued":
            self._end(job, "cancelled", "cancelled", reason, "cancelled by the caller")
            return True
        if job.fields["cancel_requested_at"] is not None:
            return False
        job.fields["cancel_requested_at"] = now_text()
        told = {"reason": reason, "message": "cancel requested by the caller", "state": state}
        self._event(job, "cancel_requested", told)
        return True

    def shown(self, job: MemoryJob) -> dict[str, Any]:
        """Return the job object, with the place of a queued job and when it is submitted."""
        return {**job.fields, **self._estimate(job)}

    def _estimate(self, job: MemoryJob) -> dict[str, Any]:
        if job.fields["state"] != "queued":
            return {}
        is_held, now = self._kie.is_held, datetime.now(UTC)
        starts_at = max(now, time_of(job.fields["run_at"]))
        before = [
            one
            for one in self.by_id.values()
            if one.fields["state"] == "queued" and time_of(one.fields["run_at"]) <= now
        ]
        return {
            "position": before.index(job) + 1 if job in before else None,
            "estimated_start_at": None if is_held else time_text(starts_at),
            "wait_reason": "paused" if is_held else None,
        }

    def _find(self, order: MemoryOrder, key: str | None) -> MemoryJob | None:
        found = self._keys.get((order.account_id, key)) if key else None
        if found is None:
            return None
        first = found.first
        named = {
            "model": (order.model, first["model"]),
            "task": (order.task, first["task"]),
            **{
                name: (order.request.get(name), first["request"].get(name))
                for name in sorted({*order.request, *first["request"]})
            },
            "metadata": (order.metadata, first["metadata"]),
            "webhook_url": (order.webhook_url, found.webhook_url),
            "priority": (order.priority, first["priority"]),
        }
        differs = [name for name, (new, old) in named.items() if new != old]
        if differs:
            raise Refusal(
                "idempotency_conflict",
                f"idempotency key {key!r} was used for job {found.id}, whose request differs in:"
                f" {', '.join(differs)}; use a new key for a new request",
                {"job_id": found.id, "differs": differs},
            )
        return found

    def _require_credits(self, orders: Sequence[MemoryOrder]) -> None:
        sums: dict[str, Decimal] = {}
        for one in orders:
            price, _ = self.accounts.price(one.model, one.task, one.quantity, one.variant)
            sums[one.account_id] = sums.get(one.account_id, Decimal(0)) + price
        for account_id, needed in sums.items():
            self.accounts.require(self.accounts.get(account_id), needed)

    def _store(self, order: MemoryOrder, key: str | None) -> MemoryJob:
        credits, price_id = self.accounts.price(
            order.model, order.task, order.quantity, order.variant
        )
        fields = _new_fields(order, credits)
        job = MemoryJob(dict(fields), fields, order.webhook_url, key, price_id, credits)
        self.accounts.hold(order.account_id, credits, job.id, price_id)
        self.by_id[job.id] = job
        job.first = self.shown(job)
        if key:
            self._keys[order.account_id, key] = job
        quoted = credits_number(credits)
        self._event(job, "enqueued", {"price_id": price_id, "credits_quoted": quoted})
        delay = (order.run_at - datetime.now(UTC)).total_seconds() if order.run_at else 0.0
        self._later(delay, lambda: self._submit(job))
        return job

    # --- what Kie does ----------------------------------------------------------------------

    def _submit(self, job: MemoryJob) -> None:
        if job.fields["state"] != "queued":
            return
        if self._kie.is_held:
            self._later(0.02, lambda: self._submit(job))
            return
        outcome = self._kie.outcome_of(dict(job.fields))
        job.fields |= {"state": "submitting", "attempt": 1}
        self._event(job, "claimed", {"attempt": 1})
        if outcome.reason == "rejected":
            message = outcome.message or MESSAGES["rejected"]
            self._end(job, "rejected", "failed", "rejected", message)
            return
        task_id = secrets.token_hex(16)
        told = {"attempt": 1, "provider_task_id": task_id}
        job.fields |= {
            "state": "generating",
            "provider_task_id": task_id,
            "submitted_at": now_text(),
        }
        self._event(job, "submitted", told)
        for number, progress in enumerate(outcome.progress, start=1):
            seconds = outcome.seconds * number / (len(outcome.progress) + 1)
            self._later(seconds, partial(self._progress, job, progress))
        self._later(outcome.seconds, lambda: self._settle(job, outcome))

    def _progress(self, job: MemoryJob, progress: float) -> None:
        if not job.has_ended:
            job.fields["progress"] = progress
            self._event(job, "progressed", {"progress": progress})

    def _settle(self, job: MemoryJob, outcome: Outcome) -> None:
        if outcome.reason is not None:
            message = outcome.message or MESSAGES.get(outcome.reason, outcome.reason)
            event = outcome.reason if outcome.reason == "deadline_exceeded" else "provider_failed"
            self._end(job, event, "failed", outcome.reason, message)
            return
        count = job.fields["request"].get("quantity") or 1
        images = outcome.images or [one_colour_png(number) for number in range(1, count + 1)]
        urls = [
            self._save_image(f"{job.id}_{number}.png", one)
            for number, one in enumerate(images, start=1)
        ]
        job.fields |= {"progress": 1.0, "result_urls": urls}
        self._end(job, "completed", "succeeded", None, None)

    def _end(
        self, job: MemoryJob, event: str, state: str, reason: str | None, message: str | None
    ) -> None:
        job.fields |= {
            "state": state,
            "reason": reason,
            "message": message,
            "finished_at": now_text(),
        }
        account = job.fields["account_id"]
        if state == "succeeded":
            charged = credits_number(job.credits)
            job.fields["credits_charged"] = charged
            self.accounts.capture(account, job.credits, job.id, job.price_id)
            images = len(job.fields["result_urls"])
            detail = {"images": images, "price_id": job.price_id, "credits_charged": charged}
            self._event(job, event, detail)
        else:
            self.accounts.release(account, job.credits, job.id, job.price_id, str(reason))
            self._event(job, event, {"reason": reason, "message": message})
        self.on_end(job)

    def _event(self, job: MemoryJob, name: str, detail: Mapping[str, Any]) -> None:
        event = {
            "id": len(self.events) + 1,
            "job_id": job.id,
            "account_id": job.fields["account_id"],
            "at": now_text(),
            "event": name,
            "state": job.fields["state"],
            "detail": dict(detail),
        }
        job.events.append(event)
        self.events.append(event)
        self.changed.notify_all()

    # --- time -------------------------------------------------------------------------------

    def _later(self, seconds: float, step: Callable[[], None]) -> None:
        due = time.monotonic() + seconds
        heapq.heappush(self._steps, (due, next(self._numbers), step))
        self.changed.notify_all()

    def _wake(self) -> None:
        with self.changed:
            self.changed.notify_all()

    def _run(self) -> None:
        with self.changed:
            while not self.is_closed:
                left = self._steps[0][0] - time.monotonic() if self._steps else None
                if left is not None and left <= 0:
                    heapq.heappop(self._steps)[2]()
                else:
                    self.changed.wait(left)


def _new_fields(order: MemoryOrder, credits: Decimal) -> dict[str, Any]:
    """Return the job object of a new job."""
    created_at = now_text()
    run_at = order.run_at.isoformat().replace("+00:00", "Z") if order.run_at else created_at
    return {
        # Fields that a later version adds begin as null.
        **dict.fromkeys(one.name for one in dataclass_fields(JobFields)),
        "id": new_id(),
        "account_id": order.account_id,
        "model": order.model,
        "task": order.task,
        "variant": order.variant,
        "request": order.request,
        "state": "queued",
        "reason": None,
        "message": None,
        "progress": 0.0,
        "provider_task_id": None,
        "result_urls": [],
        "late_result_urls": None,
        "images": [],
        "credits_quoted": credits_number(credits),
        "credits_charged": None,
        "attempt": 0,
        "created_at": created_at,
        "submitted_at": None,
        "finished_at": None,
        "cancel_requested_at": None,
        "metadata": order.metadata,
        "priority": order.priority,
        "run_at": run_at,
        "route": None,
    }


def new_id() -> str:
    """Return a UUID of version 7, which begins with the time."""
    milliseconds = time.time_ns() // 1_000_000
    number = (milliseconds << 80) | (0x7 << 76) | secrets.randbits(76)
    return str(uuid.UUID(int=(number & ~(0x3 << 62)) | (0x2 << 62)))
