"""Compares the database with the reference row by row, and checks that ended jobs stay."""

from __future__ import annotations

from collections import Counter
from uuid import UUID

from shared.adapters.postgres.job_rows import job_from_row
from tests.model.model_setup import ModelSetup
from tests.model.reference import LIVE_OUTCOMES, Reference, RefJob

# What no state of a job shows: each stands in its history exactly as often as it happened.
_NOTES = (
    *("resolved_by_operator", "held_for_review", "delivered_late", "failed_late"),
    *("route_unfit", "cancel_requested"),
)


class Agreement:
    """Holds one database equal to one reference."""

    def __init__(self, setup: ModelSetup, reference: Reference) -> None:
        self._setup, self._reference = setup, reference
        self._ended: dict[UUID, str] = {}

    async def check_invariants(self) -> None:
        """Fail if an invariant of the database is broken."""
        broken = await self._setup.broken_invariants()
        assert not broken, "\n".join(broken)

    async def check(self) -> None:
        """Fail if they differ."""
        await self._check_jobs()
        await self._check_attempts()
        await self._check_late_tasks()
        await self._check_accounts()
        await self._check_notes()
        await self._check_pauses()
        await self._check_chosen()

    async def _check_jobs(self) -> None:
        rows = await self._setup.database.pool.fetch(
            "SELECT *, (to_jsonb(jobs) - 'late_result_urls' - 'updated_at')::text AS whole"
            " FROM jobs"
        )
        assert {UUID(int=row["id"].int) for row in rows} == set(self._reference.jobs)
        for row in rows:
            stored = job_from_row(row)
            job = self._reference.jobs[stored.id]
            assert {
                "state": stored.state.value,
                "reason": stored.reason,
                "charged": stored.credits_charged,
                "quoted": stored.credits_quoted,
                "attempt": stored.attempt,
                "task": stored.provider_task_id,
                "images": len(stored.result_urls),
                "progress": stored.progress,
                "cancel requested": row["cancel_reason"],
            } == _expected(job), f"job {job.id}: database, then reference"
            if job.has_ended:
                first = self._ended.setdefault(job.id, row["whole"])
                assert row["whole"] == first, f"job {job.id} had ended, and was changed"
            last = job.snapshots[-1] if job.snapshots else None
            if last is None or (last.state, last.attempt) != (stored.state, stored.attempt):
                job.snapshots.append(stored)

    async def _check_attempts(self) -> None:
        rows = await self._setup.rows(
            "SELECT job_id::text, number, token, outcome, provider_task_id, route FROM job_attempts"
        )
        stored = {tuple(row.values()) for row in rows}
        assert stored == {
            (str(job.id), one.number, one.token, one.outcome, one.stored_task, one.route)
            for job, one in self._reference.attempts()
        }
        live = Counter(row["job_id"] for row in rows if row["outcome"] in LIVE_OUTCOMES)
        assert all(count == 1 for count in live.values()), f"two live attempts: {live}"

    async def _check_late_tasks(self) -> None:
        rows = await self._setup.rows(
            "SELECT job_id::text, attempt, provider_task_id, is_claimed, outcome FROM late_tasks"
        )
        assert {tuple(row.values()) for row in rows} == {
            (str(job.id), *key, late.is_claimed, late.outcome)
            for job in self._reference.jobs.values()
            for key, late in job.late_tasks.items()
        }
        shown = await self._setup.rows("SELECT id::text FROM jobs WHERE late_result_urls <> '{}'")
        assert {row["id"] for row in shown} == {
            str(job.id)
            for job in self._reference.jobs.values()
            if any(late.outcome == "delivered" for late in job.late_tasks.values())
        }

    async def _check_accounts(self) -> None:
        rows = await self._setup.rows("SELECT id, balance, held, available FROM accounts")
        assert {row["id"]: (row["balance"], row["held"]) for row in rows} == {
            name: (one.balance, one.held) for name, one in self._reference.accounts.items()
        }
        assert all(row["available"] == row["balance"] - row["held"] for row in rows)
        charges = await self._setup.rows(
            "SELECT jobs.state FROM ledger_entries JOIN jobs ON jobs.id = job_id"
            " WHERE kind = 'capture' AND jobs.state <> 'succeeded'"
        )
        assert not charges, f"charged without success: {charges}"
        refunds = await self._setup.rows(
            "SELECT job_id::text, credits FROM ledger_entries"
            " WHERE kind = 'adjustment' AND job_id IS NOT NULL"
        )
        assert Counter(tuple(row.values()) for row in refunds) == Counter(
            (str(job.id), job.refunded)
            for job in self._reference.jobs.values()
            if job.refunded is not None
        )
        early = await self._setup.rows(
            "SELECT id FROM scheduled_prices WHERE failure IS NOT NULL"
            " OR price_id IS NOT NULL AND (is_revoked OR id = ANY($1::bigint[]))",
            list(self._reference.scheduled),
        )
        assert not early, f"applied too early, or given up: {early}"

    async def _check_pauses(self) -> None:
        rows = await self._setup.rows("SELECT id, scope, value, reason FROM active_pauses")
        assert {tuple(row.values()) for row in rows} == {
            (one.id, one.scope, one.value, one.reason) for one in self._reference.active_pauses()
        }

    async def _check_chosen(self) -> None:
        rows = await self._setup.rows(
            "SELECT id FROM chosen_jobs JOIN jobs ON id = job_id WHERE state = 'queued'"
        )
        queued = {job.id for job in self._reference.jobs_in("queued")}
        assert {UUID(int=row["id"].int) for row in rows} == self._reference.order.chosen & queued

    async def _check_notes(self) -> None:
        rows = await self._setup.rows(
            "SELECT job_id::text, event FROM job_events WHERE event = ANY($1::text[])", _NOTES
        )
        assert Counter((row["job_id"], row["event"]) for row in rows) == Counter(
            {
                (str(job.id), event): count
                for job in self._reference.jobs.values()
                for event, count in job.notes.items()
                if count
            }
        )
        inbox = await self._setup.rows("SELECT id, verdict FROM callback_inbox")
        assert {row["id"]: row["verdict"] for row in inbox} == {
            one.id: one.verdict for one in self._reference.callbacks
        }


def _expected(job: RefJob) -> dict[str, object]:
    return {
        "state": job.state,
        "reason": job.reason,
        "charged": job.charged,
        "quoted": job.quoted,
        "attempt": len(job.attempts),
        "task": job.task,
        "images": job.images,
        "progress": job.progress,
        "cancel requested": job.cancel_reason,
    }
