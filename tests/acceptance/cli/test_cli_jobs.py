"""Jobs on the command line: enqueue, show, wait, cancel, retry."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

from producer import Order
from shared.domain.job import Priority
from tests.acceptance.cli.cli_program import Darkroom
from tests.support.deployment import Deployment, text_to_image

JOB_FIELDS = {
    *("id", "account_id", "model", "task", "request", "state", "reason", "message", "progress"),
    *("provider_task_id", "result_urls", "credits_quoted", "credits_charged", "attempt"),
    *("created_at", "submitted_at", "finished_at", "metadata", "priority", "run_at"),
}
A_LIGHTHOUSE = ("enqueue", "--account", "acme", "--prompt", "a lighthouse")
A_FAILURE = (*A_LIGHTHOUSE[:-1], "[[sim: outcome=generate_failed]]")
PRIORITIES: tuple[Priority, ...] = ("high", "normal", "low")
NOBODY = "00000000-0000-7000-8000-000000000000"


async def test_enqueue_prints_the_id_alone_and_says_the_rest_on_stderr(darkroom: Darkroom) -> None:
    said = await darkroom.run(*A_LIGHTHOUSE, "--quantity", "2")
    assert said.code == 0
    assert said.lines == [str(UUID(said.out.strip()))]
    assert "7 credits held" in said.err
    assert "no worker is running" in said.err
    assert said.err.splitlines()[-1].endswith(f"jobs wait {said.out.strip()}")


async def test_enqueue_takes_every_option(darkroom: Darkroom) -> None:
    next_month = (datetime.now(UTC) + timedelta(days=30)).replace(microsecond=0)
    run_at = next_month.astimezone(timezone(timedelta(hours=1))).isoformat()
    said = await darkroom.run(
        *A_LIGHTHOUSE,
        *("--image", "https://example.com/a.png", "--mask", "https://example.com/m.png"),
        *("--aspect-ratio", "2:3", "--quantity", "4", "--enhance-prompt"),
        *("--fallback-model", "FLUX_MAX", "--idempotency-key", "k1", "--priority", "high"),
        *("--webhook-url", "https://example.com/hook", "--metadata", '{"order": 7}'),
        *("--run-at", run_at, "--model", "gpt-4o-image", "--json"),
    )
    job = said.object
    assert said.code == 0
    assert job.keys() >= JOB_FIELDS
    assert job["task"] == "image-to-image"
    assert job["request"]["image_urls"] == ["https://example.com/a.png"]
    assert job["request"]["mask_url"] == "https://example.com/m.png"
    assert job["request"]["fallback_model"] == "FLUX_MAX"
    assert job["request"]["enhance_prompt"] is True
    assert (job["priority"], job["metadata"]) == ("high", {"order": 7})
    assert datetime.fromisoformat(job["run_at"]) == next_month
    assert job["credits_quoted"] == 8


async def test_waiting_prints_the_image_urls_and_shows_the_way_on_stderr(
    darkroom: Darkroom, deployment: Deployment
) -> None:
    async with deployment.worker():
        said = await darkroom.run(*A_LIGHTHOUSE, "--quantity", "2", "--wait", "--timeout", "20")
    assert said.code == 0, said.err
    assert len(said.lines) == 2
    assert all(line.startswith(deployment.simulator.base_url) for line in said.lines)
    assert "queued" in said.err
    assert "7 credits charged" in said.err


async def test_a_job_that_fails_leaves_with_4_and_can_be_run_again(
    darkroom: Darkroom, deployment: Deployment
) -> None:
    async with deployment.worker():
        failed = await darkroom.run(*A_FAILURE, "--wait", "--json")
        assert failed.code == 4
        assert failed.object["state"] == "failed"
        first = failed.object["id"]
    retried, waited = await darkroom.run_all(("jobs", "retry", first), ("jobs", "wait", first))
    assert (retried.code, waited.code, waited.out) == (0, 4, "")
    assert "nothing is charged" in waited.err
    story = (await darkroom.run("jobs", "show", retried.out.strip(), "--json")).object
    assert (story["retry_of"], story["state"]) == (first, "queued")


async def test_a_wait_that_is_over_leaves_with_5_and_says_how_to_continue(
    darkroom: Darkroom,
) -> None:
    said = await darkroom.run(*A_LIGHTHOUSE, "--wait", "--timeout", "0.2")
    assert (said.code, said.out) == (5, "")
    assert "still queued after 0.2 s" in said.err
    assert "jobs wait" in said.err.splitlines()[-1]


async def test_a_queued_job_is_cancelled_once(darkroom: Darkroom, deployment: Deployment) -> None:
    job_id = str((await deployment.enqueue()).id)
    first = await darkroom.run("jobs", "cancel", job_id, "--json")
    assert (first.code, first.object["state"]) == (0, "cancelled")
    second, waited = await darkroom.run_all(("jobs", "cancel", job_id), ("jobs", "wait", job_id))
    assert (second.code, waited.code) == (1, 4)
    assert "only an open job can be cancelled" in second.err


async def test_of_a_job_at_kie_the_cancel_is_requested_and_counted_apart(
    darkroom: Darkroom, deployment: Deployment
) -> None:
    deployment.simulator.set_faults(never_ends=1.0)
    async with deployment.worker():
        job = await deployment.enqueue()
        await deployment.in_state(job, "generating")
        said = await darkroom.run("jobs", "cancel", str(job.id))
    assert (said.code, said.lines) == (0, [f"{job.id} cancel requested, 6 credits held"])
    assert "it ends by Kie's outcome" in said.err
    many = await darkroom.run("jobs", "cancel", "--where", "state=generating", "--yes")
    assert "0 jobs cancelled, 1 were before" in many.err


async def test_a_refused_request_names_every_fault_on_a_line_of_its_own(
    darkroom: Darkroom,
) -> None:
    said = await darkroom.run(
        *("enqueue", "--account", "a b", "--quantity", "3", "--aspect-ratio", "4:3"),
        *("--priority", "urgent"),
    )
    assert (said.code, said.out) == (1, "")
    starts = [line.split(":")[0].strip() for line in said.err.splitlines()]
    for field in ("aspect_ratio", "quantity", "prompt", "account_id", "priority"):
        assert field in starts
    assert said.err.splitlines()[-1].endswith("enqueue --help")


async def test_what_does_not_exist_leaves_with_3(darkroom: Darkroom) -> None:
    for said in await darkroom.run_all(
        ("jobs", "show", NOBODY),
        ("enqueue", "--account", "nobody", "--prompt", "x"),
    ):
        assert (said.code, said.out) == (3, ""), said
        assert "next: " in said.err


async def test_too_few_credits_say_which_grant_would_do(
    darkroom: Darkroom, deployment: Deployment
) -> None:
    await deployment.open_account("poor", 5)
    said = await darkroom.run("enqueue", "--account", "poor", "--prompt", "x", "--quantity", "4")
    assert said.code == 1
    assert "needs 8 credits but has 5" in said.err
    assert "accounts grant poor 3 --reason" in said.err.splitlines()[-1]


async def test_an_idempotency_key_names_one_job(darkroom: Darkroom) -> None:
    first = await darkroom.run(*A_LIGHTHOUSE, "--idempotency-key", "k")
    assert first.code == 0
    other = await darkroom.run(*A_LIGHTHOUSE, "--idempotency-key", "k", "--quantity", "4")
    assert other.code == 1
    assert "differs in: quantity" in other.err
    assert other.err.splitlines()[-1].endswith(f"jobs show {first.out.strip()}")


async def test_the_list_is_newest_first_filtered_and_paged(
    darkroom: Darkroom, deployment: Deployment
) -> None:
    jobs = [await deployment.enqueue() for _ in range(3)]
    await deployment.producer.cancel(jobs[0].id)
    listed = await darkroom.run("jobs", "list", "--account", "acme", "--limit", "2", "--json")
    assert [one["id"] for one in listed.objects] == [str(jobs[2].id), str(jobs[1].id)]
    assert listed.objects[0].keys() >= JOB_FIELDS
    page, refused = await darkroom.run_all(
        ("jobs", "list", "--limit", "1", "--state", "queued"), ("jobs", "list", "--state", "lost")
    )
    columns = ["id", "account", "model", "job", "state", "credits", "age"]
    assert page.lines[0].split() == columns
    assert page.lines[1].startswith(str(jobs[2].id))
    assert f"jobs list --state queued --below {jobs[2].id}" in page.err
    assert refused.code == 1
    assert "generating" in refused.err


async def test_one_job_is_shown_with_its_timeline_attempts_and_money(
    darkroom: Darkroom, deployment: Deployment
) -> None:
    async with deployment.worker():
        job = await deployment.ended(await deployment.enqueue())
    show = ("jobs", "show", str(job.id))
    shown, told = await darkroom.run_all(show, (*show, "--json"))
    assert shown.code == 0
    for text in ("succeeded", "Timeline", "completed", "Paid POSTs", "accepted", "capture"):
        assert text in shown.out
    story = told.object
    assert story.keys() >= {*JOB_FIELDS, "events", "attempts", "entries"}
    assert [entry["kind"] for entry in story["entries"]] == ["hold", "capture"]
    assert story["events"][0]["at"].endswith("Z")
    assert story["attempts"][0]["number"] == 1


async def test_foreign_text_cannot_steer_the_terminal(darkroom: Darkroom) -> None:
    said = await darkroom.run(*A_LIGHTHOUSE[:-1], "\x1b[2J[bold]sneaky[/bold]")
    shown = await darkroom.run("jobs", "show", said.out.strip())
    assert "\x1b" not in shown.out
    assert "[bold]sneaky[/bold]" in shown.out


async def test_lists_and_counts_take_every_filter(
    darkroom: Darkroom, deployment: Deployment
) -> None:
    first = await deployment.enqueue(metadata={"order": 7}, priority="high", idempotency_key="k-1")
    other = await deployment.enqueue(metadata={"order": 8})
    await deployment.producer.cancel(other.id)
    for filters, expected in (
        (("--metadata", "order=7", "--priority", "high"), [first]),
        (("--state", "cancelled,failed", "--reason", "cancelled_by_caller"), [other]),
        (("--created-from", "2000-01-01", "--task", "text-to-image"), [other, first]),
        (("--created-to", "2000-01-01"), []),
        (("--idempotency-key", "k-1", "--id", str(first.id)), [first]),
        (("--provider-task-id", "none", "--model", "gpt-4o-image"), []),
        (("--retried", "false", "--account", "acme"), [other, first]),
    ):
        said = await darkroom.run("jobs", "list", *filters, "--json")
        assert [one["id"] for one in said.objects] == [str(job.id) for job in expected]
        counted = await darkroom.run("jobs", "counts", *filters, "--json")
        assert counted.object["jobs"] == len(expected)

    shown = await darkroom.run("jobs", "counts", "--account", "acme")
    assert [line.split() for line in shown.lines[1:]] == [
        ["queued", "-", "1"],
        ["cancelled", "cancelled_by_caller", "1"],
    ]
    page = await darkroom.run("jobs", "list", "--limit", "1", "--metadata", "order=7")
    assert page.err.splitlines()[-1].endswith(f"--metadata order=7 --below {first.id}")


async def test_a_filter_with_a_slip_is_refused_by_its_name(darkroom: Darkroom) -> None:
    said = await darkroom.run("jobs", "counts", "--state", "faild", "--metadata", "order")
    assert said.code == 1
    assert "state: 'faild' must be one of queued" in said.err
    assert "metadata: 'order' must be a key, = and its value" in said.err


async def test_quote_prints_price_credits_and_wait_and_places_nothing(darkroom: Darkroom) -> None:
    a_lighthouse = ("quote", "--account", "acme", "--prompt", "a lighthouse")
    said = await darkroom.run(*a_lighthouse, "--quantity", "2", "--json")
    assert (said.code, said.object["credits"], said.object["position"]) == (0, 7, 1)
    shown = await darkroom.run(*a_lighthouse)
    assert shown.lines[-1] == "position 1, not known: no worker is alive"
    refused = await darkroom.run(*a_lighthouse, "--quantity", "3")
    assert (refused.code, "quantity: is 3" in refused.err) == (1, True)
    assert (await darkroom.run("jobs", "list", "--json")).objects == []


async def test_queue_waiting_shows_who_is_served_next(
    darkroom: Darkroom, deployment: Deployment
) -> None:
    await deployment.producer.enqueue_many(
        [Order(request=text_to_image(), account_id="acme", priority=one) for one in PRIORITIES] * 10
    )
    said = await darkroom.run("queue", "waiting", "--json")
    assert (said.object["chosen"], said.object["waiting"]) == (8, 22)
    assert [one["priority"] for one in said.object["accounts"]] == ["high", "normal", "low"]
    assert {one["wait_reason"] for one in said.object["accounts"]} == {"no_worker"}
    # Of 21 submits, 16 are of high priority, 4 of normal and 1 of low.
    shares = [one["share"] for one in said.object["accounts"]]
    assert shares == [round(turns / 21, 4) for turns in (16, 4, 1)]
    shown = await darkroom.run("queue", "waiting", "--limit", "1")
    assert shown.code == 0
    assert "76.2 %" in shown.out
    assert "22 jobs wait, 8 are chosen; the end is not known: no worker is alive" in shown.err
    async with deployment.api() as api:
        told = (await api.get("/v1/queue/waiting?limit=2")).expect(200)
        assert (len(told["accounts"]), told["accounts_in_all"]) == (2, 3)
        assert told["accounts"][0]["oldest_waiting_seconds"] > 0
