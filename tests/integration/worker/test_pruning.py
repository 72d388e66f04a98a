"""Workers prune what is old by themselves, with a pause after each batch."""

from __future__ import annotations

from shared.domain.lifecycle import JobState
from tests.integration.database.database_setup import DatabaseSetup
from tests.integration.worker.worker_setup import WorkerSetup
from tests.support.aged_jobs import age
from worker.pruning import Pruning


async def test_a_run_prunes_batch_after_batch_with_pauses_until_nothing_is_left(
    setup: WorkerSetup,
) -> None:
    database = DatabaseSetup(setup.database)
    old = await database.job_in(JobState.FAILED)
    await age(database, old.id, days=500)
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    pruning = Pruning(setup.with_deps(sleep=sleep).deps)
    await pruning.run()
    now = await database.book.get(old.id)
    assert (now.request, now.pruned_at is not None) == ({}, True)
    kinds = await database.value("SELECT count(*) FROM retention_progress")
    assert len(pauses) == kinds
    assert min(pauses) > 0
    await pruning.run()
    assert len(pauses) == kinds, "where nothing is left, nothing is repeated"
    assert await database.broken_invariants() == {}


async def test_what_the_settings_keep_for_ever_stays(setup: WorkerSetup) -> None:
    database = DatabaseSetup(setup.database)
    old = await database.job_in(JobState.FAILED)
    await age(database, old.id, days=5_000)
    before = await database.snapshot()
    kinds = ("events", "callbacks", "webhooks", "prompts", "jobs")
    forever = setup.with_settings(**{f"retention_{kind}_days": None for kind in kinds})
    await Pruning(forever.deps).run()
    assert await database.snapshot() == before
