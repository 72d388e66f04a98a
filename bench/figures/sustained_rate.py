"""The figure P2: the highest rate of jobs that one worker carries without falling behind.

It is sustainable throughput (Karimov et al., ICDE 2018): jobs are offered evenly, and the worker
must keep up (`bench.figures.rate_trial`). A screening at a low rate tells how busy it keeps
everybody; only Darkroom and the two peers that it keeps least busy go on. Their rates are then
found in alternating rounds (`bench.figures.rate_search`), one trial of each in every round.
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
from bench.measurement.run_statistics import percentile, turned

SCREENING_RATE = 100
SCREENING_SECONDS = 20.0
PEERS_MEASURED = 2


@dataclass(frozen=True, slots=True)
class Sustained:
    """All that was tried."""

    screened: list[Trial] = field(default_factory=list)
    trials: dict[str, list[Trial]] = field(default_factory=dict)
    """By contestant, Darkroom first; a trial for each round."""

    def tried(self, name: str) -> list[Tried]:
        """Return the rates that one contestant was tried at, with what became of them."""
        return [trial.tried for trial in self.trials[name]]

    def last_carried(self, name: str) -> Trial | None:
        """Return the last trial of a contestant that it carried, if it carried any."""
        carried = [one for one in self.trials[name] if one.outcome is Outcome.CARRIED]
        return carried[-1] if carried else None


async def measure_sustained(deployment: BenchDeployment, options: FigureOptions) -> Sustained:
    """Screen everybody, and find the rates of those who go on."""
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
    """Return the names of the peers of whom most is to be expected, at most two, best first."""
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
