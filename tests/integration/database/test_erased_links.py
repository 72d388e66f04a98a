"""An erasure deletes every link of an image, and copies of it; what money is counted by stays."""

from __future__ import annotations

import pytest

from producer.retention.prompt_erasure import PromptErasures, advise_on_copies
from shared.domain.job import Job
from shared.domain.lifecycle import JobState
from shared.errors import DatabaseRefused
from tests.integration.database.database_setup import DatabaseSetup
from tests.support.aged_jobs import KEPT, age, prune
from tests.support.marked_texts import columns_with
from tests.support.stored_images import add_failed_image, add_stored_image

HOSTS = ("https://images.example", "https://kie.example", "https://darkroom.example")
"""Of Kie's links of results, of Kie's links of copies, and of copies."""
LATE = "SELECT * FROM darkroom_record_delivered_late($1, 1, $2, $3, 'delivered_late', false)"


async def given_up(setup: DatabaseSetup) -> Job:
    """Return a job that reached its deadline, and whose task may still deliver."""
    return await setup.exceed_deadline(await setup.job_in(JobState.GENERATING))


async def deliver_late(setup: DatabaseSetup, job: Job, name: str = "late") -> None:
    """Let Kie deliver an image of the task that the job does not wait for any more."""
    await setup.sql(LATE, job.id, job.provider_task_id, [f"{HOSTS[0]}/{name}.png"])


async def with_copies(setup: DatabaseSetup) -> Job:
    """Return a success with one image in the store and one whose copy has failed."""
    job = await setup.settle(await setup.job_in(JobState.GENERATING), images=2)
    await add_stored_image(setup, job)
    await add_failed_image(setup, job, position=2)
    await setup.sql("SELECT darkroom_show_images($1)", job.id)
    return job


async def found_links(setup: DatabaseSetup) -> set[str]:
    """Return the columns that have a link of an image."""
    return {column for host in HOSTS for column in await columns_with(setup.database, host)}


async def sums(setup: DatabaseSetup) -> dict[str, list[str]]:
    """Return what is counted: the ledger, totals and prices, and the charges of jobs and tasks."""
    for _ in range(3):
        await setup.sql("SELECT darkroom_sum_settlements()")
    tables = {name: "*" for name, columns in KEPT.items() if columns == "*"} | {
        "jobs": "id, state, credits_charged, price_id, provider_task_id, finished_at",
        "late_tasks": "job_id, attempt, provider_task_id, outcome, ended_at, provider_credits",
        "darkroom_settlements('-infinity', 'infinity') AS one": "*",
    }
    return {
        table: sorted(str(tuple(row)) for row in await setup.sql(f"SELECT {names} FROM {table}"))
        for table, names in tables.items()
    }


async def erase(setup: DatabaseSetup) -> int:
    return (await PromptErasures(setup.database).erase("acme")).jobs


async def test_no_link_of_an_image_is_left_and_every_sum_is_as_before(
    setup: DatabaseSetup,
) -> None:
    copied = await with_copies(setup)
    await setup.job_in(JobState.SUCCEEDED)
    late = await given_up(setup)
    await deliver_late(setup, late)
    assert await found_links(setup) == {
        *("jobs.result_urls", "jobs.late_result_urls", "jobs.images", "late_tasks.result_urls"),
        *("job_images.kie_url", "job_images.url"),
    }
    before = await sums(setup)
    preview = await PromptErasures(setup.database).preview("acme")
    assert preview.copies == 1
    assert preview.copies_advice == advise_on_copies(1)
    assert await erase(setup) == 3
    assert await found_links(setup) == set()
    assert await sums(setup) == before
    assert await setup.broken_invariants() == {}
    # The object is still to be deleted from the store, by its key. Nobody is sent it.
    rows = await setup.sql("SELECT job_id, state, deleted_at, key <> '' AS has_key FROM job_images")
    assert [tuple(row) for row in rows] == [(copied.id, "pruned", None, True)]
    (erasure,) = await PromptErasures(setup.database).of_account("acme")
    assert erasure.copies_to_delete == 1
    assert erasure.copies_advice == advise_on_copies(1)
    shown = await setup.book.get(copied.id)
    assert (shown.state, shown.result_urls, shown.images) == (JobState.SUCCEEDED, (), ())


async def test_links_that_the_retention_of_prompts_left_are_erased_as_well(
    setup: DatabaseSetup,
) -> None:
    job = await setup.job_in(JobState.SUCCEEDED)
    await age(setup, job.id)
    assert await prune(setup, {"prompts": 90}) == {"prompts": 1}
    assert "jobs.result_urls" in await found_links(setup)
    assert (await PromptErasures(setup.database).preview("acme")).ended == 1
    assert await erase(setup) == 1
    assert await found_links(setup) == set()
    assert (await PromptErasures(setup.database).preview("acme")).ended == 0
    # The retention of jobs comes later, and finds nothing that it must not.
    assert (await prune(setup))["jobs"] == 1
    assert await setup.broken_invariants() == {}


async def test_a_task_that_may_still_deliver_holds_its_job_back(setup: DatabaseSetup) -> None:
    job = await given_up(setup)
    assert await erase(setup) == 0
    await deliver_late(setup, job)
    assert await prune(setup, {}) == {"erasures": 1}
    assert await found_links(setup) == set()
    assert await setup.broken_invariants() == {}


async def test_images_that_come_after_the_erasure_are_not_stored_and_their_cost_is(
    setup: DatabaseSetup,
) -> None:
    job = await given_up(setup)
    await setup.sql("UPDATE late_tasks SET outcome = 'forgotten', ended_at = now()")
    assert await erase(setup) == 1
    # A callback names the task again.
    await setup.sql("UPDATE late_tasks SET outcome = NULL, ended_at = NULL")
    await deliver_late(setup, job)
    assert await found_links(setup) == set()
    (task,) = await setup.sql("SELECT outcome, provider_credits FROM late_tasks")
    assert task["outcome"] == "delivered"
    assert task["provider_credits"] > 0
    assert await setup.broken_invariants() == {}


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE jobs SET result_urls = '{}' WHERE state = 'succeeded'",
        "UPDATE jobs SET result_urls = '{https://x.example}' WHERE state = 'succeeded'",
        "UPDATE jobs SET erased_at = now() WHERE state = 'succeeded'",
        (
            "UPDATE jobs SET result_urls = '{https://x.example}', erased_at = now()"
            " WHERE state = 'succeeded'"
        ),
        "UPDATE jobs SET late_result_urls = NULL WHERE state = 'failed'",
        "UPDATE late_tasks SET result_urls = '{}'",
        "UPDATE late_tasks SET result_urls = '{https://x.example}', erased_at = now()",
    ],
)
async def test_links_are_changed_by_nothing_else(setup: DatabaseSetup, change: str) -> None:
    await setup.job_in(JobState.SUCCEEDED)
    await deliver_late(setup, await given_up(setup))
    with pytest.raises(
        DatabaseRefused, match=r"stays|keeps|success_has_images|has_no_link|late_images"
    ):
        await setup.sql(change)


async def test_what_was_erased_stays_so(setup: DatabaseSetup) -> None:
    job = await setup.job_in(JobState.SUCCEEDED)
    await erase(setup)
    await setup.refuses("UPDATE jobs SET erased_at = NULL WHERE id = $1", job.id)
    await setup.refuses("UPDATE jobs SET result_urls = '{https://x.example}' WHERE id = $1", job.id)
