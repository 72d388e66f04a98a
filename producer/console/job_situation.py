"""What happens to a job now, or how it ended, in one sentence for its page."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from producer.console.text_filters import count_credits, format_duration, format_time, format_words
from producer.waiting.wait_texts import wait_text
from shared.domain.counted import counted
from shared.domain.job import Job
from shared.domain.lifecycle import JobState

_TONES = {
    JobState.FAILED: "bad",
    JobState.UNKNOWN: "warn",
    JobState.GENERATING: "warn",
}
"""How grave a reason is, by the state."""


@dataclass(frozen=True, slots=True)
class Situation:
    """The sentence, its explanation, and how grave it is."""

    tone: str
    title: str
    text: str


def describe_situations(job: Job, now: datetime, turn: str | None) -> list[Situation]:
    """Return at least one situation. `turn` is what decides the place of a queued job."""
    found = []
    if job.reason or job.message:
        title = format_words(job.reason or job.state).capitalize()
        found.append(Situation(_TONES.get(job.state, "info"), title, job.message or ""))
    if job.state is JobState.QUEUED:
        wait = wait_text(job, now, format_duration)
        found.append(Situation("info", wait[:1].upper() + wait[1:], turn or ""))
    return found or [_of_state(job)]


def _of_state(job: Job) -> Situation:
    match job.state:
        case JobState.SUBMITTING:
            return Situation("info", "It is being sent to Kie", "A worker waits for Kie's reply.")
        case JobState.GENERATING:
            done = "" if job.progress is None else f"{job.progress * 100:.0f} % is done. "
            end = f"It fails at {format_time(job.deadline_at)} UTC if Kie has not ended by then."
            return Situation("info", "Kie works on it", done + (end if job.deadline_at else ""))
        case JobState.SUCCEEDED:
            count = len(job.result_urls)
            made = counted(count, "image is there", "images are there")
            charged = count_credits(job.credits_charged, "credit was", "credits were")
            return Situation("good", made, f"{charged} charged.")
        case JobState.CANCELLED | JobState.FAILED:
            return Situation("info", f"It {job.state}", "Its hold was released.")
        case _:
            return Situation("warn", "It is not known whether Kie made a task", "Resolve it.")
