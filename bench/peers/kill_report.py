"""Formats the results of the kills: the tables, and what is not comparable."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bench.peers.kill_run import (
    CREATE_SECONDS,
    KIES_ADVICE,
    TASK_SECONDS,
    UNKNOWN_LIMIT_SECONDS,
    KillPlan,
    KillResult,
)
from tests.support.report_page import table, wrapped
from tests.support.run_description import describe_run

BEGIN = "<!-- peers: written by `make campaign-peers` -->"
END = "<!-- end of peers -->"
_HEAD = (
    "",
    "jobs",
    "kills",
    "paid again",
    "never asked",
    "stuck",
    "ended without images",
    "charged again",
    "longest, s",
    "last end, s",
)


def write_section(
    found: Sequence[KillResult],
    plan: KillPlan,
    libraries: Sequence[str],
    loads: tuple[float, float],
) -> str:
    """Return the section as Markdown."""
    names = dict.fromkeys(one.name for one in found if one.name != "Darkroom")
    parts = [
        "## The same kills for the peers",
        wrapped(_introduction(plan)),
        "\n".join(describe_run(_command(plan, libraries), loads, ", ".join(names) or "none")),
        f"With {plan.kills} kills:",
        table(_HEAD, (_row(one) for one in found if not one.flushed)),
        f"With {plan.kills} kills and one `FLUSHALL`, half-way:",
        table(_HEAD, (_row(one) for one in found if one.flushed)),
        "\n".join(wrapped(f"- {line}", indent="  ") for line in _legend(plan)),
        "### What is not comparable",
        wrapped(_not_comparable(plan)),
    ]
    return "\n\n".join(parts) + "\n"


def _introduction(plan: KillPlan) -> str:
    return (
        f"{plan.jobs} orders over {plan.window_seconds:g} s, {plan.workers} workers, `kill -9`"
        f" of a worker at {plan.kills} random times in this window, while all are up. A dead worker"
        " is restarted at once. The simulated Kie answers a create after around"
        f" {CREATE_SECONDS:g} s, takes around {TASK_SECONDS:g} s for a task, and has no faults."
        " The peers' pipelines (`bench/peers/`) are written as each library's documentation"
        " advises, with every option at its default, and poll as Kie advises, every"
        f" {KIES_ADVICE.gap_seconds:g} s. Payments are counted by the record of the"
        " simulated Kie."
    )


def _command(plan: KillPlan, libraries: Sequence[str]) -> str:
    return (
        f"python -m bench.peers.campaign --jobs {plan.jobs} --kills {plan.kills}"
        f" --workers {plan.workers} --seed {plan.seed}"
        f" --window-seconds {plan.window_seconds:g}"
        f" --limit-seconds {plan.limit_seconds:g} --peers {','.join(libraries) or 'none'}"
    )


def _row(one: KillResult) -> tuple[str, ...]:
    faults = (one.paid_again, one.never_asked, one.stuck, one.without_images, one.charged_again)
    return (
        one.name,
        str(one.jobs),
        str(one.kills),
        *(f"**{count}**" if count else "0" for count in faults),
        f"{one.longest_seconds:.1f}",
        f"{one.last_seconds:.1f}",
    )


def _legend(plan: KillPlan) -> Iterator[str]:
    yield "paid again: tasks that Kie made, and was paid for, beyond the first one of a job"
    yield "never asked: jobs that Kie never heard of"
    yield (
        f"stuck: jobs that had not ended {plan.limit_seconds:g} s after the last order, when"
        " we stopped looking"
    )
    yield (
        "ended without images: Darkroom writes an attempt down before its POST and never sends it"
        " twice, so a worker that dies between the two leaves a job that Kie never heard of; where"
        " no evidence of a task comes, the job is given up and charged nothing, here after"
        f" {UNKNOWN_LIMIT_SECONDS} s"
    )
    yield "longest: from an order to its end, of those that ended; last end: after the last order"


def _not_comparable(plan: KillPlan) -> str:
    return (
        "Darkroom ran with callbacks, which tell it of tasks whose reply was lost with a worker;"
        " the hand-made pipelines only poll, as their authors would begin. With more code around"
        " them (an attempt written down before each POST, callbacks, a sweeper over the table,"
        " shorter timeouts) every one of them would fare better; that code is what Darkroom is."
        f" Darkroom's limit for jobs of unknown outcome was {UNKNOWN_LIMIT_SECONDS} s instead of"
        f" 900 s, so that they end within {plan.limit_seconds:g} s."
        " A seed repeats the times and the victims, not how processes interleave: counts differ"
        " from run to run. Only workers were killed, on one machine."
    )
