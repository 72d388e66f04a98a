"""The routes of jobs and events."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from decimal import Decimal
from time import monotonic
from typing import Any

from darkroom_client.testing.accounts import credits_number
from darkroom_client.testing.checks.field_checks import Fault
from darkroom_client.testing.checks.order_check import (
    MemoryOrder,
    check_batch,
    check_order,
    order_rules,
)
from darkroom_client.testing.event_streams import EVENT_STREAM, account_frames, job_frames
from darkroom_client.testing.http_server import MemoryRequest, MemoryResponse, Route
from darkroom_client.testing.job_filters import (
    FILTERS,
    page_of,
    parse_job_list,
    parse_query,
    select_jobs,
    where_faults,
)
from darkroom_client.testing.jobs import Jobs, MemoryJob
from darkroom_client.testing.problem import Refusal, invalid_request
from darkroom_client.testing.request_parts import (
    RequestParts,
    read_check_images,
    read_json,
    read_key,
    read_wait,
    require_account,
)

_WAIT_ENDS = 50.0


class JobRoutes:
    """Answers requests about jobs."""

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs

    def routes(self) -> Sequence[Route]:
        """Return every route. The first that matches answers."""
        return (
            Route("POST", "/v1/jobs", self.create),
            Route("POST", "/v1/jobs/batch", self.create_many),
            Route("GET", "/v1/jobs", self.list),
            Route("GET", "/v1/jobs/counts", self.count),
            Route("POST", "/v1/jobs/cancel", self.cancel_many),
            Route("POST", "/v1/jobs/retry", self.retry_many),
            Route("GET", "/v1/jobs/{id}", self.show),
            Route("POST", "/v1/jobs/{id}/cancel", self.cancel),
            Route("POST", "/v1/jobs/{id}/retry", self.retry),
            Route("GET", "/v1/jobs/{id}/events", self.events),
            Route("GET", "/v1/jobs/{id}/images/{number}", self.image),
            Route("GET", "/v1/accounts/{id}/events", self.account_events),
        )

    def create(self, request: MemoryRequest) -> MemoryResponse:
        """Place a job."""
        body, parts = read_json(request), RequestParts()
        parts.read(lambda: read_check_images(request), None)
        key = parts.read(lambda: read_key(request, 255), None)
        order = parts.read_last(lambda: check_order(body, request.account_id))
        require_account(request, order.account_id)
        [(job, is_new)] = self._jobs.enqueue([(order, key)])
        headers = {"Location": f"/v1/jobs/{job.id}", **_replayed(not is_new)}
        return MemoryResponse(202, job.first, headers)

    def create_many(self, request: MemoryRequest) -> MemoryResponse:
        """Place all jobs or none."""
        body, parts = read_json(request), RequestParts()
        parts.read(lambda: read_check_images(request), None)
        key = parts.read(lambda: read_key(request, 251), None)
        orders = parts.read_last(lambda: check_batch(body, request.account_id))
        for order in orders:
            require_account(request, order.account_id)
        placed = self._jobs.enqueue(
            [(order, f"{key}/{index}" if key else None) for index, order in enumerate(orders)]
        )
        # As by Darkroom: the answer is a repeated one where no job is new.
        headers = _replayed(not any(is_new for _, is_new in placed))
        return MemoryResponse(202, {"jobs": [job.first for job, _ in placed]}, headers)

    def show(self, request: MemoryRequest, job_id: str) -> MemoryResponse:
        """Show a job, or wait for its end."""
        seconds, wanted = read_wait(request)
        job = self._find(request, job_id)
        ends_at = monotonic() + min(seconds, _WAIT_ENDS)
        with self._jobs.changed:
            asked_at = job.fields["cancel_requested_at"]
            while not (job.has_ended or self._jobs.is_closed):
                if job.fields["cancel_requested_at"] != asked_at:
                    break
                left_seconds = ends_at - monotonic()
                if left_seconds <= 0 or not self._jobs.changed.wait(left_seconds):
                    break
            return MemoryResponse(200, _selected(self._jobs.shown(job), wanted))

    def list(self, request: MemoryRequest) -> MemoryResponse:
        """List jobs, newest first."""
        query, wanted = parse_job_list(request)
        with self._jobs.changed:
            found = select_jobs(self._jobs, request.account_id, query)
            page, cursor = page_of(found, query, lambda job: job.id)
            jobs = [_selected(self._jobs.shown(job), wanted) for job in page]
        return MemoryResponse(200, {"jobs": jobs, "next_cursor": cursor})

    def count(self, request: MemoryRequest) -> MemoryResponse:
        """Count jobs by state and reason."""
        counts: dict[tuple[str, str | None], int] = {}
        where = parse_query(request, FILTERS, where_faults)
        with self._jobs.changed:
            found = select_jobs(self._jobs, request.account_id, where)
            for job in found:
                key = job.fields["state"], job.fields["reason"]
                counts[key] = counts.get(key, 0) + 1
        named = [
            {"state": state, "reason": reason, "jobs": jobs}
            for (state, reason), jobs in counts.items()
        ]
        return MemoryResponse(200, {"jobs": sum(counts.values()), "counts": named})

    def cancel(self, request: MemoryRequest, job_id: str) -> MemoryResponse:
        """Cancel a queued job."""
        job = self._find(request, job_id)
        with self._jobs.changed:
            self._jobs.cancel(job)
            return MemoryResponse(200 if job.has_ended else 202, self._jobs.shown(job))

    def retry(self, request: MemoryRequest, job_id: str) -> MemoryResponse:
        """Run the request of an ended job again, once."""
        job = self._find(request, job_id)
        again = read_json(request).get("again") is True if request.body else False
        with self._jobs.changed:
            retried, is_new = self._retry(job, again)
            if not is_new:
                return MemoryResponse(200, self._jobs.shown(retried))
            headers = {"Location": f"/v1/jobs/{retried.id}"}
            return MemoryResponse(202, retried.first, headers)

    def _retry(self, job: MemoryJob, again: bool) -> tuple[MemoryJob, bool]:
        if job.retry_id is not None:
            return self._jobs.by_id[job.retry_id], False
        state = job.fields["state"]
        if not job.has_ended:
            message = f"job {job.id} is {state}: only an ended job is retried"
            raise invalid_request([Fault("id", message)], "state_conflict")
        if state == "succeeded" and not again:
            message = (
                f"job {job.id} succeeded, and {job.fields['credits_charged']} credits were charged:"
                " a retry is charged as well; say again (--again on the command line) if it is"
                " meant"
            )
            raise invalid_request([Fault("again", message)], "state_conflict")
        rules = order_rules()[job.fields["model"]][job.fields["task"]]
        request = job.fields["request"]
        order = MemoryOrder(
            account_id=job.fields["account_id"],
            model=job.fields["model"],
            task=job.fields["task"],
            request=request,
            quantity=request.get("quantity") or 1,
            variant=request[rules["variant"]] if rules["variant"] else "",
            metadata=job.fields["metadata"],
            webhook_url=job.webhook_url,
            priority=job.fields["priority"],
            run_at=None,
        )
        [(retried, _)] = self._jobs.enqueue([(order, None)])
        job.retry_id = retried.id
        return retried, True

    # --- many jobs --------------------------------------------------------------------------

    def cancel_many(self, request: MemoryRequest) -> MemoryResponse:
        """Cancel many jobs."""
        return self._change_many(request, "cancel")

    def retry_many(self, request: MemoryRequest) -> MemoryResponse:
        """Retry many jobs."""
        return self._change_many(request, "retry")

    def _change_many(self, request: MemoryRequest, action: str) -> MemoryResponse:
        body = read_json(request)
        with self._jobs.changed:
            jobs = self._selection(request, body, action)
            result = _Result(action, bool(body.get("dry_run")))
            for job in jobs:
                self._change(job, result, again=body.get("again") is True)
            return MemoryResponse(200, result.to_json())

    def _selection(
        self, request: MemoryRequest, body: Mapping[str, Any], action: str
    ) -> Sequence[MemoryJob]:
        if "ids" in body:
            return [self._find(request, one) for one in body["ids"]]
        where = dict(body.get("where") or {})
        if not where:
            message = "give at least one filter: without one, it would mean every job"
            raise invalid_request([Fault("where", message)])
        where.setdefault("state", "queued" if action == "cancel" else "failed")
        found = select_jobs(self._jobs, request.account_id, where)
        return found if action == "cancel" else [job for job in found if job.retry_id is None]

    def _change(self, job: MemoryJob, result: _Result, *, again: bool) -> None:
        if result.action == "cancel" and job.fields["state"] == "cancelled":
            result.add(job, job, is_new=False)
            return
        try:
            if result.action == "cancel":
                if result.dry_run and not job.has_ended:
                    result.match(job)
                    return
                is_new = self._jobs.cancel(job)
                if is_new:
                    result.match(job)
                result.add(job, job, is_new=is_new)
                return
            if result.dry_run and job.has_ended and job.retry_id is None:
                result.match(job)
                return
            retried, is_new = self._retry(job, again)
            if is_new:
                result.match(job)
            result.add(job, retried, is_new=is_new)
        except Refusal as refused:
            detail = refused.body["detail"].partition(": ")[2] or refused.body["detail"]
            result.refused.append({"id": job.id, "code": refused.code, "detail": detail})

    # --- events and images ------------------------------------------------------------------

    def events(self, request: MemoryRequest, job_id: str) -> MemoryResponse:
        """Follow a job."""
        job = self._find(request, job_id)
        after = int(request.headers.get("last-event-id") or 0)
        if job.has_ended and after >= job.events[-1]["id"]:
            return MemoryResponse(204)
        return MemoryResponse(200, job_frames(self._jobs, job, after), EVENT_STREAM)

    def account_events(self, request: MemoryRequest, account_id: str) -> MemoryResponse:
        """Follow all jobs of an account."""
        require_account(request, account_id)
        given = request.headers.get("last-event-id")
        after = int(given.rpartition(".")[2]) if given else len(self._jobs.events)
        frames = account_frames(self._jobs, account_id, after)
        return MemoryResponse(200, frames, EVENT_STREAM)

    def image(self, request: MemoryRequest, job_id: str, number: str) -> MemoryResponse:
        """Refuse: clients take the links of the job."""
        job = self._find(request, job_id)
        raise Refusal("not_found", f"no image {number} of job {job.id} is kept")

    def _find(self, request: MemoryRequest, job_id: Any) -> MemoryJob:
        with self._jobs.changed:
            job = self._jobs.by_id.get(job_id)
        if job is None or job.fields["account_id"] != request.account_id:
            raise Refusal("job_not_found", f"no job has the id {job_id!r}")
        return job


_AT_KIE = ("submitting", "unknown", "generating")


class _Result:
    """The outcome of a call for many jobs."""

    def __init__(self, action: str, dry_run: bool) -> None:
        self.action, self.dry_run = action, dry_run
        self.refused: list[dict[str, Any]] = []
        self._done: list[dict[str, Any]] = []
        self._matched: list[MemoryJob] = []

    def match(self, job: MemoryJob) -> None:
        """Count a job that the action is possible for."""
        self._matched.append(job)

    def add(self, job: MemoryJob, other: MemoryJob, *, is_new: bool) -> None:
        """Add a job for which it was done."""
        self._done.append(
            {
                "id": job.id,
                "job_id": other.id,
                "account_id": job.fields["account_id"],
                "state": other.fields["state"],
                "is_new": is_new,
            }
        )

    def to_json(self) -> dict[str, Any]:
        """Return the object of the answer."""
        at_kie = [job for job in self._matched if job.fields["state"] in _AT_KIE]
        moved = [job.credits for job in self._matched if job not in at_kie]
        credits = credits_number(sum(moved, start=Decimal(0)))
        accounts = {job.fields["account_id"] for job in self._matched}
        return {
            "action": self.action,
            "dry_run": self.dry_run,
            "matched": len(self._matched),
            "remaining": 0,
            "requested": len(at_kie) if self.action == "cancel" else 0,
            "next_cursor": None,
            "credits": credits,
            "accounts": [
                {
                    "account_id": one,
                    "jobs": len(self._matched),
                    "credits": credits,
                    "available": None,
                    "lacking": 0,
                    "jobs_without_price": 0,
                }
                for one in accounts
            ],
            "done": self._done,
            "refused": self.refused,
        }


def _replayed(is_replayed: bool) -> dict[str, str]:
    return {"Idempotent-Replayed": "true"} if is_replayed else {}


def _selected(job: dict[str, Any], wanted: Collection[str] | None) -> dict[str, Any]:
    if wanted is None:
        return job
    return {name: value for name, value in job.items() if name in wanted}
