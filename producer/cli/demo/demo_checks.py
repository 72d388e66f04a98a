"""Compares the result of the demo with what was expected."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from producer.cli.demo.demo_jobs import DEMO_JOBS, DemoJob
from producer.cli.demo.demo_run import DemoResult, Entries
from producer.cli.display.text_format import credits_text, job_task_text
from shared.domain.counted import counted
from shared.domain.job import Job
from shared.domain.lifecycle import JobState
from shared.settings import Settings

MAX_POLLS_PER_SECOND: int = Settings.model_fields["kie_polls_per_second_per_task"].default


def find_differences(result: DemoResult) -> list[str]:
    """Return a sentence for each difference from the expected result."""
    return [
        *_check_jobs(result),
        *_check_account(result),
        *_check_kie(result),
        *_check_processes(result),
    ]


def _check_jobs(result: DemoResult) -> Iterator[str]:
    rows = zip(DEMO_JOBS, result.jobs, result.expected_costs.prices, result.entries, strict=True)
    for demo_job, job, price, entries in rows:
        for fault in _check_job(demo_job, job, price, entries):
            yield f"job {job.id} ({job_task_text(job)}): {fault}"


def _check_job(demo_job: DemoJob, job: Job, price: Decimal, entries: Entries) -> Iterator[str]:
    expected = JobState.SUCCEEDED if demo_job.succeeds else JobState.FAILED
    if job.state is not expected:
        yield f"is {job.state} ({job.reason}: {job.message}), not {expected}"
    charged = price if demo_job.succeeds else None
    if job.credits_charged != charged:
        yield f"was charged {credits_text(job.credits_charged)}, not {credits_text(charged)}"
    images = job.quantity if demo_job.succeeds else 0
    if len(job.result_urls) != images:
        yield f"has {counted(len(job.result_urls), 'image')}, not {images}"
    for number, image in enumerate(job.images, 1):
        if not image.is_stored:
            yield f"image {number} is not copied"
    kinds = [entry["kind"] for entry in entries]
    if kinds != ["hold", "capture" if demo_job.succeeds else "release"]:
        yield f"its ledger entries are {', '.join(kinds)}"
    if job.attempt != 1:
        yield f"took {counted(job.attempt, 'paid POST')}, not 1"


def _check_account(result: DemoResult) -> Iterator[str]:
    if result.had_leftovers:
        # Jobs of an interrupted demo may end during this one, so the sums include them.
        return
    charged = result.before.balance - result.after.balance
    if charged != result.expected_costs.charged:
        yield (
            f"the account paid {credits_text(charged)} credits,"
            f" not {credits_text(result.expected_costs.charged)}"
        )
    if result.after.held != 0:
        yield f"{credits_text(result.after.held)} credits are still held"


def _check_kie(result: DemoResult) -> Iterator[str]:
    if not result.had_leftovers and result.paid_posts != len(DEMO_JOBS):
        yield f"Kie was paid {result.paid_posts} times, not {len(DEMO_JOBS)}"
    worst = result.kie_after.worst_polls_per_second
    if worst > MAX_POLLS_PER_SECOND:
        yield f"Kie saw {worst} polls of one task in a second; {MAX_POLLS_PER_SECOND} are allowed"


def _check_processes(result: DemoResult) -> Iterator[str]:
    if result.image is None or not result.image.content:
        yield "no image could be fetched"
    yield from (f"the {name} is not ready" for name, ready in result.ready.items() if not ready)
