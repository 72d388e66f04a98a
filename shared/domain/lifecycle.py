"""The state machine of a job: which event moves it from which states to which state.

Read this first. Every write of a job's state is a guarded SQL statement whose source and target
states come from `TRANSITIONS`. No other transition is possible. The *state* says where a job is.
The *reason* says why.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from shared.domain import job_events
from shared.domain.job_events import Event


class JobState(StrEnum):
    """The state of a job. `jobs.state` stores the values, and a CHECK there lists them."""

    QUEUED = "queued"
    """Accepted, credits held, waiting to be submitted."""
    SUBMITTING = "submitting"
    """The intent to POST is committed. The POST may be in progress."""
    UNKNOWN = "unknown"
    """The POST may have reached Kie, but no task id was received. The hold stays."""
    GENERATING = "generating"
    """Kie returned a task id. The task is polled."""
    SUCCEEDED = "succeeded"
    """Kie delivered. The credits were captured in the same statement."""
    FAILED = "failed"
    """The job ended without images. The hold was released in the same statement."""
    CANCELLED = "cancelled"
    """The job was cancelled while it had no task at Kie. The hold was released."""


TERMINAL = frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED})
"""States that never change."""
OPEN = frozenset(JobState) - TERMINAL
"""States that hold credits. Each must reach a terminal state."""
IN_FLIGHT = frozenset({JobState.SUBMITTING, JobState.UNKNOWN, JobState.GENERATING})
"""States in which a paid task may exist at Kie, which takes none back. A cancel that is requested
in them moves nothing."""


class Reason(StrEnum):
    """Why a job is in its state: stable codes for programs. `message` has the sentence."""

    # queued again, because the attempt certainly created no task
    RATE_LIMITED = "rate_limited"
    MAINTENANCE = "maintenance"
    PROVIDER_FULL = "provider_full"
    UNREACHABLE = "unreachable"
    ACCOUNT_REFUSED = "account_refused"
    WRONG_ENDPOINT = "wrong_endpoint"
    MODEL_GONE = "model_gone"
    # queued, because the route of the model cannot carry the request
    ROUTE_UNFIT = "route_unfit"
    # unknown
    REPLY_LOST = "reply_lost"
    SERVER_ERROR = "server_error"
    WORKER_LOST = "worker_lost"
    # generating; also failed, if an operator found no images
    RESULT_UNREADABLE = "result_unreadable"
    # failed
    REJECTED = "rejected"
    PROVIDER_FAILED = "provider_failed"
    CONTENT_POLICY = "content_policy"
    SUBMISSION_LOST = "submission_lost"
    DEADLINE_EXCEEDED = "deadline_exceeded"
    # cancelled
    CANCELLED_BY_CALLER = "cancelled_by_caller"
    CANCELLED_BY_OPERATOR = "cancelled_by_operator"


@dataclass(frozen=True, slots=True)
class Transition:
    """One row of the table: `event` moves a job from any state of `sources` to `target`."""

    event: type[Event]
    sources: frozenset[JobState]
    target: JobState


def _row(event: type[Event], sources: set[JobState], target: JobState) -> Transition:
    return Transition(event, frozenset(sources), target)


_S = JobState
# A reply to a submit may arrive after another worker has declared the attempt unknown (the lease
# expired, or Redis was wiped). The reply is better evidence, so Submitted, Deferred and Rejected
# are accepted from `unknown` too. The attempt number fences them: a reply to an older attempt
# changes nothing.
_REPLY_IS_AWAITED = {_S.SUBMITTING, _S.UNKNOWN}

TRANSITIONS: tuple[Transition, ...] = (
    _row(job_events.Claimed, {_S.QUEUED}, _S.SUBMITTING),
    _row(job_events.RouteUnfit, {_S.QUEUED}, _S.QUEUED),
    _row(job_events.Cancelled, {_S.QUEUED}, _S.CANCELLED),
    _row(job_events.Submitted, _REPLY_IS_AWAITED, _S.GENERATING),
    _row(job_events.Deferred, _REPLY_IS_AWAITED, _S.QUEUED),
    _row(job_events.CancelledOnDeferral, _REPLY_IS_AWAITED, _S.CANCELLED),
    _row(job_events.Rejected, _REPLY_IS_AWAITED, _S.FAILED),
    _row(job_events.OutcomeUnknown, {_S.SUBMITTING}, _S.UNKNOWN),
    _row(job_events.SubmissionLost, {_S.UNKNOWN}, _S.FAILED),
    _row(job_events.Progressed, {_S.GENERATING}, _S.GENERATING),
    _row(job_events.HeldForReview, {_S.GENERATING}, _S.GENERATING),
    _row(job_events.Completed, {_S.GENERATING}, _S.SUCCEEDED),
    _row(job_events.ProviderFailed, {_S.GENERATING}, _S.FAILED),
    _row(job_events.DeadlineExceeded, {_S.GENERATING}, _S.FAILED),
)

_BY_EVENT = {transition.event: transition for transition in TRANSITIONS}


def transition_of(event: type[Event]) -> Transition:
    """Return the row of the table for `event`. Each event has exactly one target state."""
    return _BY_EVENT[event]


def next_state(state: JobState, event: type[Event]) -> JobState | None:
    """Return the state after `event` in `state`, or None if the table has no such row."""
    transition = _BY_EVENT[event]
    return transition.target if state in transition.sources else None


def event_name(event: type[Event]) -> str:
    """Return the value of `job_events.event`: `ProviderFailed` → `provider_failed`."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", event.__name__).lower()
