"""Reads the lateness of a worker's polls from the histogram on its `/metrics`. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import inf

from prometheus_client.parser import text_string_to_metric_families

METRIC = "darkroom_poll_lateness_seconds"


@dataclass(frozen=True, slots=True)
class Lateness:
    """Polls by lateness. `polls` of each bucket includes the buckets before."""

    edges: tuple[float, ...]
    polls: tuple[float, ...]
    seconds: float
    """The sum over all polls."""

    @property
    def count(self) -> int:
        """The number of polls sent."""
        return int(self.polls[-1]) if self.polls else 0

    def since(self, before: Lateness) -> Lateness:
        """Return the polls since an earlier reading of the same worker."""
        if self.edges != before.edges:
            raise ValueError(f"the buckets differ: {self.edges} and {before.edges}")
        added = tuple(now - then for now, then in zip(self.polls, before.polls, strict=True))
        return Lateness(self.edges, added, self.seconds - before.seconds)

    def share_within(self, seconds: float, unsent: int = 0) -> float:
        """Return the share of polls sent within that time, which must be an edge.

        `unsent` are polls that were due before that time and had not been sent at the end.
        """
        if seconds not in self.edges:
            raise ValueError(f"{seconds} is none of the edges {self.edges}")
        whole = self.count + unsent
        return self.polls[self.edges.index(seconds)] / whole if whole else 1.0

    def percentile(self, percent: float) -> float:
        """Return a percentile of the lateness, interpolated within its bucket."""
        wanted = self.count * percent / 100
        if not wanted:
            return 0.0
        if self.polls[0] >= wanted:
            return self.edges[0] * wanted / self.polls[0]
        for (low, below), (high, upto) in pairwise(zip(self.edges, self.polls, strict=True)):
            if upto >= wanted:
                share = (wanted - below) / (upto - below)
                return low if high == inf else low + (high - low) * share
        return inf


def read_lateness(metrics: str) -> Lateness:
    """Return the histogram in the text of `/metrics`. Raises ValueError without one."""
    for family in text_string_to_metric_families(metrics):
        if family.name != METRIC:
            continue
        buckets = [
            (float(sample.labels["le"]), sample.value)
            for sample in family.samples
            if sample.name == f"{METRIC}_bucket"
        ]
        seconds = [sample.value for sample in family.samples if sample.name == f"{METRIC}_sum"]
        edges, polls = zip(*sorted(buckets), strict=True)
        return Lateness(edges, polls, seconds[0])
    raise ValueError(f"the worker shows no {METRIC}")
