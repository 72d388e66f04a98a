"""Judges the demo: whatever is not exactly as expected is a sentence."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from producer.cli.demo.demo_jobs import SCENES, Scene
from producer.cli.demo.demo_run import Ending, Entries
from producer.cli.display.text_format import count_text, credits_text, order_text
from shared.domain.job import Job
from shared.domain.lifecycle import JobState

MOST_POLLS_PER_SECOND = 3


def differences(ending: Ending) -> list[str]:
    """Return what came out otherwise than it should; empty where all is well."""
    return [*_of_jobs(ending), *_of_account(ending), *_of_kie(ending), *_of_processes(ending)]


def _of_jobs(ending: Ending) -> Iterator[str]:
    rows = zip(SCENES, ending.jobs, ending.programme.prices, ending.entries, strict=True)
    for scene, job, price, entries in rows:
        for fault in _of_job(scene, job, price, entries):
            yield f"job {job.id} ({order_text(job)}): {fault}"


def _of_job(scene: Scene, job: Job, price: Decimal, entries: Entries) -> Iterator[str]:
    expected = JobState.SUCCEEDED if scene.succeeds else JobState.FAILED
    if job.state is not expected:
        yield f"is {job.state} ({job.reason}: {job.message}), not {expected}"
    charged = price if scene.succeeds else None
    if job.credits_charged != charged:
        yield f"was charged {credits_text(job.credits_charged)}, not {credits_text(charged)}"
    images = job.quantity if scene.succeeds else 0
    if len(job.result_urls) != images:
        yield f"has {count_text(len(job.result_urls), 'image')}, not {images}"
    kinds = [entry["kind"] for entry in entries]
    if kinds != ["hold", "capture" if scene.succeeds else "release"]:
        yield f"its ledger entries are {', '.join(kinds)}"
    if job.attempt != 1:
        yield f"took {count_text(job.attempt, 'paid POST')}, not 1"


def _of_account(ending: Ending) -> Iterator[str]:
    if ending.had_leftovers:
        # Jobs of an interrupted run end whenever they end, so the sums are not this run's alone.
        return
    charged = ending.before.balance - ending.after.balance
    if charged != ending.programme.charged:
        yield (
            f"the account paid {credits_text(charged)} credits,"
            f" not {credits_text(ending.programme.charged)}"
        )
    if ending.after.held != 0:
        yield f"{credits_text(ending.after.held)} credits are still held"


def _of_kie(ending: Ending) -> Iterator[str]:
    if not ending.had_leftovers and ending.paid_posts != len(SCENES):
        yield f"Kie was paid {ending.paid_posts} times, not {len(SCENES)}"
    worst = ending.kie_after.worst_polls_per_second
    if worst > MOST_POLLS_PER_SECOND:
        yield f"Kie saw {worst} polls of one task in a second; {MOST_POLLS_PER_SECOND} are allowed"


def _of_processes(ending: Ending) -> Iterator[str]:
    if ending.image is None or not ending.image.content:
        yield "no image could be fetched"
    yield from (f"the {name} is not ready" for name, ready in ending.ready.items() if not ready)
