"""Counts what must be zero after a campaign, by the record of the simulated Kie. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from shared.domain.late_results import DELIVERED_LATE_WEBHOOK
from shared.domain.lifecycle import TERMINAL, Reason
from tests.campaign.campaign_evidence import Evidence, JobRow, Price, Task
from tests.campaign.campaign_options import CampaignOptions
from tests.campaign.campaign_orders import (
    PRICES,
    count_orders,
    grants,
    is_short,
    is_taken_back,
    is_told,
    key_of,
    number_of,
)
from tests.campaign.fair_shares import find_unfair

POLLS_PER_SECOND_MAX = 3
_NAMED_AT_MOST = 3
_SUCCESS = "success"
_ENDED = frozenset(state.value for state in TERMINAL)
_KIES_VERDICT = Reason.PROVIDER_FAILED.value
_GIVEN_UP = Reason.SUBMISSION_LOST.value
_TAKEN_BACK = Reason.CANCELLED_BY_CALLER.value
_POST_SECONDS = 3.0
"""How long after its intent was committed a POST may be in progress or just answered."""
_COMMIT_SECONDS = 3.0
"""The tolerance between the time of a price change and the time of a settlement."""


@dataclass(frozen=True, slots=True)
class ZeroCount:
    """A count that must be zero, with the jobs or tasks that it counts."""

    what: str
    who: Sequence[str]

    @property
    def is_kept(self) -> bool:
        """Whether it is zero."""
        return not self.who


@dataclass(frozen=True, slots=True)
class GivenUp:
    """Jobs that ended failed/submission_lost, by the state of their task at the simulated Kie."""

    paid: Sequence[str]
    """Kie made the images, and no job received them. We paid, the caller did not."""
    kept: Sequence[str]
    """Kie made the images, and they came late. They are on the job, free of charge."""
    paid_and_failed: Sequence[str]
    never_paid: Sequence[str]


def count_zeros(evidence: Evidence, options: CampaignOptions) -> list[ZeroCount]:
    """Return every count that must be zero."""
    jobs, record = evidence.tables.jobs, evidence.record
    cases = _Cases(evidence)
    keys = Counter(job.key for job in jobs)
    refused = {key for key in evidence.refused if is_short(number_of(key))}
    orders = {key_of(number) for number in range(count_orders(options.jobs))}
    prompts = {job.prompt for job in jobs}
    return [
        ZeroCount("orders lost", sorted(orders - set(keys) - refused)),
        ZeroCount("orders that became two jobs", [key for key, times in keys.items() if times > 1]),
        ZeroCount("jobs not ended", cases.where(lambda job, _: job.state not in _ENDED)),
        ZeroCount(
            "prompts paid more than once",
            [prompt for prompt, tasks in record.by_prompt().items() if len(tasks) > 1],
        ),
        ZeroCount(
            "tasks without a job", [task.id for task in record.tasks if task.prompt not in prompts]
        ),
        ZeroCount(
            "successes without exactly one task",
            cases.where(lambda job, tasks: job.state == "succeeded" and len(tasks) != 1),
        ),
        ZeroCount("successes whose task did not succeed", cases.where(_is_false_success)),
        ZeroCount("successes with another task's id or images", cases.where(_is_mixed_up)),
        ZeroCount(
            "late images that are another's, or that were charged", cases.where(_is_late_wrongly)
        ),
        ZeroCount(
            "failures reported as Kie's that Kie did not report", cases.where(_is_false_failure)
        ),
        ZeroCount("failures for any other reason", cases.where(_is_other_failure)),
        *_order(evidence),
        ZeroCount("cancelled jobs that Kie was paid for", cases.where(_is_paid_though_cancelled)),
        ZeroCount("paid tasks given up though a worker had the reply", _forgotten(evidence, cases)),
        *_money(evidence, cases, options),
        ZeroCount(
            f"tasks polled more than {POLLS_PER_SECOND_MAX} times in any sliding second",
            [task.id for task in record.tasks if task.worst_window > POLLS_PER_SECOND_MAX],
        ),
        *_webhooks(evidence),
        ZeroCount("broken invariants of the books", _broken(evidence)),
        ZeroCount(
            "steps that a bug ended",
            [event for event in evidence.loud_lines if event.startswith("step_failed")],
        ),
    ]


def _order(evidence: Evidence) -> list[ZeroCount]:
    return [
        ZeroCount(
            "attempts that began during a pause",
            [str(one) for one in evidence.tables.claimed_while_paused],
        ),
        ZeroCount(
            "accounts that got more than their share while another waited",
            find_unfair(evidence.tables.choices),
        ),
    ]


def given_up(evidence: Evidence) -> GivenUp:
    """Return the jobs that were given up, classified by the record of the simulated Kie."""
    cases = _Cases(evidence)

    def ended_so(is_so: Callable[[JobRow, list[str]], bool]) -> list[str]:
        return cases.where(
            lambda job, tasks: (
                job.reason == _GIVEN_UP and is_so(job, [task.outcome for task in tasks])
            )
        )

    return GivenUp(
        paid=ended_so(lambda job, outcomes: _SUCCESS in outcomes and not job.late_urls),
        kept=ended_so(lambda job, outcomes: _SUCCESS in outcomes and bool(job.late_urls)),
        paid_and_failed=ended_so(lambda _, outcomes: bool(outcomes) and _SUCCESS not in outcomes),
        never_paid=ended_so(lambda _, outcomes: not outcomes),
    )


class _Cases:
    """Each job with the tasks that the simulated Kie made for its prompt."""

    def __init__(self, evidence: Evidence) -> None:
        tasks = evidence.record.by_prompt()
        self._pairs = [(job, tasks.get(job.prompt, [])) for job in evidence.tables.jobs]

    def where(self, holds: Callable[[JobRow, list[Task]], bool]) -> list[str]:
        return [f"{job.key} ({job.id})" for job, tasks in self._pairs if holds(job, tasks)]


def _is_false_success(job: JobRow, tasks: list[Task]) -> bool:
    return job.state == "succeeded" and any(task.outcome != _SUCCESS for task in tasks)


def _is_mixed_up(job: JobRow, tasks: list[Task]) -> bool:
    if job.state != "succeeded":
        return False
    ids = [task.id for task in tasks]
    made = [task for task in tasks if task.id == job.task_id]
    return job.task_id not in ids or len(job.urls) != job.quantity or not _are_of(made, job.urls)


def _is_late_wrongly(job: JobRow, tasks: list[Task]) -> bool:
    are_own = _are_of([task for task in tasks if task.outcome == _SUCCESS], job.late_urls)
    return bool(job.late_urls) and (not are_own or job.charged is not None)


def _are_of(tasks: list[Task], urls: Sequence[str]) -> bool:
    """Whether each URL is that of an image of one of the tasks."""
    return all(
        url.endswith(tuple(image for task in tasks for image in task.images)) for url in urls
    )


def _is_false_failure(job: JobRow, tasks: list[Task]) -> bool:
    is_so = job.state == "failed" and job.reason == _KIES_VERDICT
    return is_so and [task.outcome for task in tasks] != ["generate_failed"]


def _is_other_failure(job: JobRow, _: list[Task]) -> bool:
    ended_well = job.state == "succeeded" or job.state not in _ENDED
    was_taken_back = job.reason == _TAKEN_BACK and is_taken_back(number_of(job.key))
    return not (ended_well or was_taken_back) and job.reason not in {_KIES_VERDICT, _GIVEN_UP}


def _is_paid_though_cancelled(job: JobRow, tasks: list[Task]) -> bool:
    return job.state == "cancelled" and bool(tasks)


def _forgotten(evidence: Evidence, cases: _Cases) -> list[str]:
    """Name the lost jobs whose task id had reached a worker that was not killed at that time.

    No callback is needed for these: the worker knew the id, whatever the servers said to it.
    """
    deaths = {str(death.pid): death.at_epoch for death in evidence.deaths}
    excused = {
        attempt.job_id
        for attempt in evidence.tables.attempts
        if (killed := deaths.get(attempt.worker.rpartition(":")[2])) is not None
        and attempt.sent_epoch <= killed <= attempt.sent_epoch + _POST_SECONDS
    }

    def is_forgotten(job: JobRow, tasks: list[Task]) -> bool:
        was_told = any(task.outcome == _SUCCESS and not task.reply_lost for task in tasks)
        return job.reason == _GIVEN_UP and was_told and job.id not in excused

    return cases.where(is_forgotten)


def _is_price_of(price: Price, job: JobRow) -> bool:
    """Return whether the price version was in force for the job when it ended."""
    ended = job.finished_epoch or 0.0
    of_price = (price.model, price.task, price.quantity, price.variant)
    return of_price == (job.model, job.task, job.quantity, job.variant) and (
        price.from_epoch - _COMMIT_SECONDS <= ended <= price.to_epoch + _COMMIT_SECONDS
    )


def _money(evidence: Evidence, cases: _Cases, options: CampaignOptions) -> list[ZeroCount]:
    captures = evidence.tables.captures
    keys = {job.id: job.key for job in evidence.tables.jobs}

    def is_charged_wrongly(job: JobRow, _: list[Task]) -> bool:
        entries = captures.get(job.id, [])
        if job.state != "succeeded":
            return False
        if len(entries) != 1:
            return True
        price = evidence.tables.prices[entries[0].price_id]
        is_right = entries[0].credits == price.credits == job.charged
        return not (is_right and _is_price_of(price, job))

    return [
        ZeroCount(
            "jobs charged twice", cases.where(lambda job, _: len(captures.get(job.id, [])) > 1)
        ),
        ZeroCount(
            "jobs charged without success",
            cases.where(lambda job, _: job.id in captures and job.state != "succeeded"),
        ),
        ZeroCount(
            "successes not charged the price in force when they ended",
            cases.where(is_charged_wrongly),
        ),
        ZeroCount(
            "holds beyond what their account owned", [keys[one] for one in evidence.tables.overheld]
        ),
        ZeroCount(
            "accounts whose balance is not the grant less their successes",
            _wrong(evidence, options),
        ),
        ZeroCount("credits that Kie kept and no job accounts for", _drift(evidence)),
    ]


def _wrong(evidence: Evidence, options: CampaignOptions) -> list[str]:
    wrong = []
    for account, grant in grants(options.jobs).items():
        spent = sum(
            job.charged or Decimal(0)
            for job in evidence.tables.jobs
            if job.account == account and job.state == "succeeded"
        )
        balance, held = evidence.tables.balances[account]
        if (balance, held) != (grant - spent, Decimal(0)):
            wrong.append(f"{account}: balance {balance}, held {held}, spent {spent}")
    return wrong


def _drift(evidence: Evidence) -> list[str]:
    """Compare the credits that Kie kept with the credits that jobs account for."""
    kept = Decimal(str(evidence.record.summary["credits"]["net"]))
    tasks = evidence.record.by_prompt()
    expected = Decimal(0)
    for job in evidence.tables.jobs:
        was_made = any(task.outcome == _SUCCESS for task in tasks.get(job.prompt, []))
        if job.state == "succeeded" or (job.reason == _GIVEN_UP and was_made):
            expected += PRICES[job.model, job.quantity, job.variant]
    return [] if kept == expected else [f"Kie kept {kept}, jobs account for {expected}"]


def _webhooks(evidence: Evidence) -> list[ZeroCount]:
    jobs = {str(job.id): job for job in evidence.tables.jobs}
    secrets, messages = evidence.tables.endpoint_secrets, defaultdict[str, set[str]](set)
    late = defaultdict[str, set[str]](set)
    false = []
    for webhook in evidence.webhooks:
        is_late = webhook.event == DELIVERED_LATE_WEBHOOK
        (late if is_late else messages)[webhook.job_id].add(webhook.message)
        job = jobs.get(webhook.job_id)
        is_true = (
            job is not None
            and webhook.state == job.state
            and (bool(job.late_urls) if is_late else webhook.event == f"job.{job.state}")
            and webhook.is_signed_with(secrets[job.account])
        )
        if not is_true:
            false.append(f"{job.key if job else 'nobody'}: {webhook}")
    told = [job for job in jobs.values() if is_told(number_of(job.key)) and job.state in _ENDED]
    return [
        ZeroCount(
            "ends of which no webhook came", [one.key for one in told if not messages[str(one.id)]]
        ),
        ZeroCount(
            "ends with two webhook messages",
            [jobs[one].key for one in jobs if len(messages[one]) > 1],
        ),
        ZeroCount(
            "late images with two webhook messages",
            [jobs[one].key for one in jobs if len(late[one]) > 1],
        ),
        ZeroCount("webhooks with a wrong end or without a valid signature", false),
    ]


def _broken(evidence: Evidence) -> list[str]:
    findings = evidence.tables.findings
    if not findings:
        return ["the books were not examined"]
    return [f"{finding.name}: {finding.detail}" for finding in findings if not finding.ok]


def name_some(who: Sequence[str]) -> str:
    """Return the first few names."""
    more = f" and {len(who) - _NAMED_AT_MOST} more" if len(who) > _NAMED_AT_MOST else ""
    return ", ".join(who[:_NAMED_AT_MOST]) + more
