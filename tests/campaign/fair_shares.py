"""Checks the shares of accounts by a record of every choice, which a trigger of the campaign keeps.

Two accounts are compared while both surely have a job waiting in the same priority: one that was
placed a while before the choice and is chosen later. By start-time fair queueing their shares then
differ by no more than one job each, divided by their weights. A pause ends every comparison.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from uuid import UUID

import asyncpg

from shared.adapters.postgres.database import Database

WEIGHTS: Mapping[str, float] = {
    **dict.fromkeys(("harbour", "lighthouse", "pier", "quay"), 1.0),
    **dict.fromkeys(("anchor", "beacon", "jetty"), 2.0),
    **dict.fromkeys(("mole", "reef", "sound"), 3.0),
    **dict.fromkeys(("dock", "wharf"), 4.0),
}
"""The accounts of a campaign with enough credits, and their weights."""
GRANULARITY_JOBS = 2
"""The jobs of an account that may be chosen twice: a pause takes them back."""
_SURELY_SECONDS = 2.0
"""After this a job that was placed is committed, and its account is known to wait."""

_RECORD_CHOICES = """
CREATE TABLE campaign_choices (
    number    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    job_id    uuid NOT NULL,
    at        timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE FUNCTION campaign_record_choice() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO campaign_choices (job_id) SELECT id FROM jobs WHERE id = NEW.job_id AND attempt = 0;
    RETURN NULL;
END $$;
CREATE TRIGGER campaign_record_choice AFTER INSERT ON chosen_jobs
   FOR EACH ROW EXECUTE FUNCTION campaign_record_choice();
"""


@dataclass(frozen=True, slots=True)
class Choice:
    """One choice of a job that had no attempt. Times are seconds since the epoch."""

    job_id: UUID
    account: str
    priority: str
    at_epoch: float
    placed_epoch: float


@dataclass(frozen=True, slots=True)
class Choices:
    """Every choice in order, and when pauses began or ended."""

    choices: Sequence[Choice] = ()
    pause_epochs: Sequence[float] = ()


async def record_choices(database_url: str) -> None:
    """Set the weights of the accounts, and record every choice from now on."""
    connection = await asyncpg.connect(database_url)
    try:
        for account, weight in WEIGHTS.items():
            await connection.execute(
                "UPDATE accounts SET weight = $2::float8 WHERE id = $1", account, weight
            )
        await connection.execute(_RECORD_CHOICES)
    finally:
        await connection.close()


async def read_choices(database: Database) -> Choices:
    """Return what was recorded."""
    rows = await database.pool.fetch(
        "SELECT job_id, account_id, priority, extract(epoch FROM at)::float8 AS at,"
        " extract(epoch FROM due_at)::float8 AS placed"
        " FROM campaign_choices JOIN jobs ON jobs.id = job_id ORDER BY number"
    )
    pauses = await database.pool.fetch(
        "SELECT extract(epoch FROM moment)::float8 AS moment FROM pauses,"
        " LATERAL (VALUES (paused_at), (coalesce(resumed_at, until))) AS edge (moment)"
        " WHERE scope <> 'kie_account' AND moment IS NOT NULL"
    )
    return Choices(
        [
            Choice(
                UUID(int=row["job_id"].int),
                row["account_id"],
                row["priority"],
                row["at"],
                row["placed"],
            )
            for row in rows
        ],
        sorted(row["moment"] for row in pauses),
    )


def count_compared(record: Choices) -> int:
    """Return how many choices fell into a comparison of two accounts."""
    return sum(len(run) for _, _, run in _runs(record))


def find_unfair(record: Choices) -> list[str]:
    """Return the comparisons in which an account got more than its share."""
    unfair = []
    for one, other, run in _runs(record):
        weights = WEIGHTS[one], WEIGHTS[other]
        lowest = highest = balance = 0.0
        for choice in run:
            balance += 1 / weights[0] if choice.account == one else -1 / weights[1]
            lowest, highest = min(lowest, balance), max(highest, balance)
        allowed = (1 + GRANULARITY_JOBS) * (1 / weights[0] + 1 / weights[1])
        if highest - lowest > allowed + 1e-9:
            unfair.append(
                f"{one} and {other}, {len(run)} choices: {highest - lowest:.1f} > {allowed:.1f}"
            )
    return unfair


def _runs(record: Choices) -> list[tuple[str, str, list[Choice]]]:
    """Return the comparisons: two accounts, and their choices while both surely waited."""
    runs = []
    for priority in ("high", "normal", "low"):
        own = [one for one in record.choices if one.priority == priority]
        waits = _surely_waiting(own)
        for one, other in combinations(sorted(WEIGHTS), 2):
            run: list[Choice] = []
            last_epoch = 0.0
            for number, choice in enumerate(own):
                is_cut = any(last_epoch <= at <= choice.at_epoch for at in record.pause_epochs)
                if is_cut or number not in waits[one] or number not in waits[other]:
                    runs.append((one, other, run))
                    run = []
                elif choice.account in {one, other}:
                    run.append(choice)
                last_epoch = choice.at_epoch
            runs.append((one, other, run))
    return [run for run in runs if len({choice.account for choice in run[2]}) == 2]


def _surely_waiting(own: Sequence[Choice]) -> Mapping[str, set[int]]:
    """Return at which choices each account surely has another job waiting."""
    waits: defaultdict[str, set[int]] = defaultdict(set)
    placed: defaultdict[str, list[tuple[float, int]]] = defaultdict(list)
    for number, choice in enumerate(own):
        placed[choice.account].append((choice.placed_epoch + _SURELY_SECONDS, number))
    for number, choice in enumerate(own):
        for account, jobs in placed.items():
            if any(since <= choice.at_epoch and number < chosen for since, chosen in jobs):
                waits[account].add(number)
    return waits
