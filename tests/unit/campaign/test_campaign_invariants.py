"""The counts that must be zero: which evidence breaks them, and which does not."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from tests.campaign.campaign_evidence import Attempt, Capture
from tests.campaign.campaign_invariants import GivenUp
from tests.campaign.campaign_invariants import given_up as sum_given_up
from tests.campaign.campaign_orders import key_of
from tests.support.restarted_process import Death
from tests.unit.campaign.sample_evidence import (
    OPTIONS,
    broken,
    cancelled,
    evidence_of,
    lost_job,
    made_task,
    short_number,
    succeeded,
    webhook_of,
)

TOLD_TWICE = "late images with two webhook messages"


def test_consistent_evidence_breaks_no_zero() -> None:
    assert broken(evidence_of()) == []


def test_an_order_without_a_job_is_lost() -> None:
    assert broken(evidence_of([succeeded(0), succeeded(1)])) == ["orders lost"]


def test_a_refusal_excuses_the_short_account_alone() -> None:
    options = replace(OPTIONS, jobs=short_number())
    jobs = [succeeded(number) for number in range(short_number())]
    assert broken(evidence_of(jobs, refused=[key_of(short_number())]), options) == []
    assert broken(evidence_of(jobs[1:], refused=[key_of(0)]), options) == ["orders lost"]


@pytest.mark.parametrize(
    ("credits", "price_id"),
    [(6, 1), (7, 2), (9, 3)],
    ids=[
        "a version that was no longer in force",
        "other credits than its version's",
        "the version of another variant",
    ],
)
def test_a_charge_by_another_price_is_seen(credits: int, price_id: int) -> None:
    jobs = [succeeded(0, charged=credits), succeeded(1), succeeded(2)]
    charged = {n: [Capture(Decimal(9), 2)] for n in range(3)}
    charged[0] = [Capture(Decimal(credits), price_id)]
    assert broken(evidence_of(jobs, captures=charged)) == [
        "successes not charged the price in force when they ended"
    ]


def test_a_price_that_changed_while_it_was_settled_may_be_either() -> None:
    jobs = [replace(succeeded(n, charged=6), finished_epoch=902.0) for n in range(3)]
    charged = {n: [Capture(Decimal(6), 1)] for n in range(3)}
    assert broken(evidence_of(jobs, captures=charged)) == []


def test_a_second_charge_is_seen() -> None:
    charged = {n: [Capture(Decimal(9), 2)] for n in range(3)}
    charged[1] *= 2
    assert "jobs charged twice" in broken(evidence_of(captures=charged))


def test_a_hold_beyond_the_credits_is_seen() -> None:
    evidence = evidence_of(overheld=[succeeded(1).id])
    assert broken(evidence) == ["holds beyond what their account owned"]


def test_an_attempt_during_a_pause_is_seen() -> None:
    evidence = evidence_of(claimed_while_paused=[succeeded(1).id])
    assert broken(evidence) == ["attempts that began during a pause"]


def test_only_who_took_a_job_back_may_find_it_cancelled() -> None:
    options = replace(OPTIONS, jobs=5)
    taken_back = [*map(succeeded, range(4)), cancelled(4)]
    assert broken(evidence_of(taken_back), options) == []
    another = [*map(succeeded, range(3)), cancelled(3), succeeded(4)]
    assert broken(evidence_of(another), options) == ["failures for any other reason"]


def test_webhooks_may_repeat_themselves_and_nothing_else() -> None:
    job = succeeded(0)
    right = webhook_of(job)
    assert broken(evidence_of(webhooks=[right, right])) == []
    assert broken(evidence_of(webhooks=[])) == ["ends of which no webhook came"]
    another = webhook_of(job, message="msg_2")
    assert broken(evidence_of(webhooks=[right, another])) == ["ends with two webhook messages"]
    stranger = replace(right, job_id="somebody")
    for false in (webhook_of(job, state="failed"), webhook_of(job, secret="whsec_b3RoZXI=")):
        assert broken(evidence_of(webhooks=[right, stranger])) == broken(
            evidence_of(webhooks=[false])
        )
        assert broken(evidence_of(webhooks=[false])) == [
            "webhooks with a wrong end or without a valid signature"
        ]


def test_late_images_are_distinguished_from_the_end() -> None:
    right = webhook_of(succeeded(0))
    late = webhook_of(succeeded(0), message="msg_2", event="job.delivered_late")
    false = ["webhooks with a wrong end or without a valid signature"]
    assert broken(evidence_of(webhooks=[right, late])) == false, "nothing came late"
    job = lost_job(0, late_urls=("https://kie/task-0.png",))
    right, late = webhook_of(job), webhook_of(job, message="msg_2", event="job.delivered_late")
    again = webhook_of(job, message="msg_3", event="job.delivered_late")
    jobs = [job, succeeded(1), succeeded(2)]
    task = made_task("task-0", job.prompt, reply_lost=True)
    for webhooks, told in (([right, late], []), ([right, late, again], [TOLD_TWICE])):
        assert broken(evidence_of(jobs, webhooks=webhooks, lost_tasks=[task])) == told


def test_late_images_must_be_the_jobs_own_and_free() -> None:
    wrong = lost_job(0, late_urls=("https://kie/task-7.png",))
    task = made_task("task-0", wrong.prompt, reply_lost=True)
    found = evidence_of([wrong, succeeded(1), succeeded(2)], lost_tasks=[task])
    assert broken(found) == ["late images that are another's, or that were charged"]
    kept = lost_job(0, late_urls=("https://kie/task-0.png",))
    found = evidence_of([kept, succeeded(1), succeeded(2)], lost_tasks=[task])
    told = GivenUp(paid=[], kept=[f"{kept.key} ({kept.id})"], paid_and_failed=[], never_paid=[])
    assert sum_given_up(found) == told


@pytest.mark.parametrize(
    ("reply_lost", "killed_after_seconds", "is_seen"),
    [(False, None, True), (False, 30.0, True), (False, 0.5, False), (True, None, False)],
    ids=["it lived", "it died later", "it died in the POST", "the reply was lost"],
)
def test_a_paid_task_whose_worker_had_the_reply_may_not_be_given_up(
    reply_lost: bool, killed_after_seconds: float | None, is_seen: bool
) -> None:
    job = lost_job(0)
    task = made_task("task-0", job.prompt, reply_lost=reply_lost)
    evidence = evidence_of([job, succeeded(1), succeeded(2)], lost_tasks=[task])
    attempt = Attempt(job.id, "here:7", 100.0, None)
    tables = replace(evidence.tables, attempts=[attempt])
    deaths = [] if killed_after_seconds is None else [Death(100 + killed_after_seconds, "w", 7)]
    found = broken(replace(evidence, tables=tables, deaths=deaths))
    assert ("paid tasks given up though a worker had the reply" in found) is is_seen
