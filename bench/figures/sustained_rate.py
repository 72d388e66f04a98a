"""The figure P2: the highest rate of jobs that one worker sustains.

Sustainable throughput (Karimov et al., ICDE 2018): jobs are offered at a constant rate, and the
worker must keep up (`bench.figures.rate_trial`). A screening at a low rate measures the CPU use of
all pipelines. Only Darkroom and the two peers with the lowest use are measured further, in rounds
with one trial each (`bench.figures.rate_search`).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field

from bench.figures.cpu_per_job import peers_of
from bench.figures.figure_options import FigureOptions
from bench.figures.rate_search import Outcome, Tried, next_rate
from bench.figures.rate_trial import Trial, try_rate
from bench.measurement.bench_deployment import BenchDeployment
from bench.measurement.pipelines import DarkroomPipeline, PeerPipeline
from bench.measurement.run_statistics import turned
from tests.support.percentiles import percentile

SCREENING_RATE = 100
SCREENING_SECONDS = 20.0
PEERS_MEASURED = 2


@dataclass(frozen=True, slots=True)
class Sustained:
    """All trials."""

    screened: list[Trial] = field(default_factory=list)
    trials: dict[str, list[Trial]] = field(default_factory=dict)
    """The trials by pipeline, Darkroom first. One for each round."""

    def tried(self, name: str) -> list[Tried]:
        """Return the trials of one pipeline."""
        return [trial.tried for trial in self.trials[name]]

    def last_carried(self, name: str) -> Trial | None:
        """Return the last sustained trial of a pipeline, or None."""
        carried = [one for one in self.trials[name] if one.outcome is Outcome.CARRIED]
        return carried[-1] if carried else None


async def measure_sustained(deployment: BenchDeployment, options: FigureOptions) -> Sustained:
    """Screen all pipelines, and find the rates of the best ones."""
    pipelines: dict[str, DarkroomPipeline | PeerPipeline] = {
        DarkroomPipeline.name: DarkroomPipeline()
    }
    pipelines |= {peer.name: peer for peer in peers_of(options.peers)}
    screened = [
        _told("screening", await try_rate(deployment, one, SCREENING_RATE, SCREENING_SECONDS))
        for one in pipelines.values()
    ]
    guesses = {trial.name: trial.tried.guess for trial in screened}
    finalists = [DarkroomPipeline.name, *best_peers(screened)]
    trials: dict[str, list[Trial]] = {name: [] for name in finalists}
    found = Sustained(screened, trials)
    for number in range(options.sustained_rounds):
        for name in turned(finalists, number):
            rate = next_rate(found.tried(name)) if trials[name] else guesses[name]
            trial = await try_rate(deployment, pipelines[name], rate, options.offered_seconds)
            trials[name].append(_told(f"round {number + 1}", trial))
    return found


def best_peers(screened: Sequence[Trial]) -> list[str]:
    """Return the names of the peers with the highest expected rate, at most two, the best first."""
    peers = [trial for trial in screened if trial.name != DarkroomPipeline.name]
    best = sorted(peers, key=lambda trial: trial.tried.guess, reverse=True)
    return [trial.name for trial in best[:PEERS_MEASURED]]


def _told(when: str, trial: Trial) -> Trial:
    sys.stderr.write(
        f"{when}: {trial.name}, {trial.rate} jobs/s: {trial.outcome},"
        f" {100 * trial.worker_share:.0f} % of a core, {trial.cpu_ms_per_job:.2f} ms a job,"
        f" {trial.polls_per_job:.2f} polls a job,"
        f" submitted after {percentile(trial.submit_delays, 95):.2f} s, settled after"
        f" {percentile(trial.lags, 50):.2f} and {percentile(trial.lags, 95):.2f} s, the simulated"
        f" Kie at {100 * trial.kie_share:.0f} % of a core\n"
    )
    return trial
