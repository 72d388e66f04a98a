"""Operators see late images and their costs."""

from __future__ import annotations

from tests.acceptance.cli.cli_program import Darkroom
from tests.support.deployment import Deployment, eventually, text_to_image


async def test_late_images_are_on_the_jobs_page_and_summed_on_the_queues(
    darkroom: Darkroom, deployment: Deployment
) -> None:
    before = (await darkroom.run("queue", "--json")).object["late_deliveries_day"]
    assert before == {"tasks": 0, "provider_credits": 0}
    async with deployment.worker(job_deadline_seconds=1.0):
        job = await deployment.enqueue(text_to_image("[[sim: duration=3]]", quantity=2))
        await deployment.ended(job)
        waiting = await darkroom.run("jobs", "show", str(job.id))
        assert "none yet" in waiting.out

        async def came() -> bool:
            await deployment.run_sql(
                "UPDATE late_tasks SET next_check_at = now() WHERE outcome IS NULL"
            )
            return bool((await deployment.producer.get(job.id)).late_result_urls)

        await eventually(came, "the late images are on the job", 60)
    shown, page, said, queue, listed = await darkroom.run_all(
        ("jobs", "show", str(job.id), "--json"),
        ("jobs", "show", str(job.id)),
        ("queue", "--json"),
        ("queue",),
        ("jobs", "list", "--json"),
    )
    urls = shown.object["late_result_urls"]
    assert len(urls) == 2
    assert listed.object["late_result_urls"] == urls
    [late] = shown.object["late_tasks"]
    assert (late["outcome"], late["provider_credits"], late["next_check_at"]) == (
        "delivered",
        7,
        None,
    )
    for text in ("late image 1", "late image 2", "delivered_late", "nothing charged"):
        assert text in page.out
    assert said.object["late_deliveries_day"] == {"tasks": 1, "provider_credits": 7}
    assert "1 delivered late in 24 h, 7 credits that no account pays" in queue.out
