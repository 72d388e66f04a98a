"""The Darkroom in memory: what tests script, and how it is run as a program."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx2
import pytest
from darkroom_client import ConnectionFailed, Darkroom, JobFailed, RetryPolicy, problems
from darkroom_client.testing import InMemoryDarkroom, Outcome, ScriptedKie

PNG = b"\x89PNG\r\n\x1a\n" + b"drawn by the test"


def test_it_answers_soon_after_its_start() -> None:
    started = time.monotonic()
    with InMemoryDarkroom() as darkroom, darkroom.client() as client:
        job = client.enqueue(prompt="a cat", aspect_ratio="1:1").wait()
    seconds = time.monotonic() - started
    sys.stderr.write(f"started, and made a job: {seconds:.3f} s\n")
    assert job.has_succeeded
    assert seconds < 10, "wide, for a busy machine"


def test_the_script_decides_about_the_next_jobs_in_order(
    darkroom: InMemoryDarkroom, darkroom_kie: ScriptedKie
) -> None:
    assert darkroom.kie is darkroom_kie
    darkroom_kie.succeed(images=[PNG])
    darkroom_kie.fail("content_policy", "not this cat")
    darkroom_kie.fail("rejected")
    darkroom_kie.every = Outcome(reason="provider_failed")
    client = darkroom.client()
    jobs = [client.enqueue(prompt="a cat", aspect_ratio="1:1").wait() for _ in range(5)]
    assert [job.reason for job in jobs] == [
        *(None, "content_policy", "rejected", "provider_failed", "provider_failed"),
    ]
    assert jobs[0].download() == PNG
    with pytest.raises(JobFailed, match="not this cat"):
        jobs[1].raise_for_failure()
    assert [one.event for one in jobs[2].events()] == ["enqueued", "claimed", "rejected"]
    darkroom_kie.decide = lambda job: Outcome() if "dog" in job["request"]["prompt"] else None
    assert client.enqueue(prompt="a dog", aspect_ratio="1:1").wait().has_succeeded


def test_held_jobs_stay_queued_until_they_are_let_go(
    darkroom: InMemoryDarkroom, darkroom_kie: ScriptedKie
) -> None:
    client = darkroom.client()
    with darkroom_kie.held():
        jobs = [client.enqueue(prompt="a cat", aspect_ratio="1:1") for _ in range(2)]
        assert [(job.position, job.wait_reason) for job in jobs] == [(1, "paused"), (2, "paused")]
        assert jobs[0].cancel().state == "cancelled"
        assert jobs[1].refresh().position == 1
        assert jobs[1].refresh().state == "queued"
    assert jobs[1].wait().has_succeeded
    assert client.account().balance == 994


def test_other_accounts_prices_and_refusals(darkroom: InMemoryDarkroom) -> None:
    darkroom.create_account("poor", 5)
    with pytest.raises(ValueError, match="exists already"):
        darkroom.create_account("poor")
    poor = Darkroom(darkroom.url, darkroom.create_key("poor"))
    darkroom.set_price("gpt-4o-image", "text-to-image", 5)
    job = poor.enqueue(prompt="a cat", aspect_ratio="1:1").wait()
    assert job.credits_charged == 5
    with pytest.raises(problems.JobNotFound):
        darkroom.client().job(job.id)
    with pytest.raises(problems.Forbidden):
        poor.account(darkroom.account_id)
    darkroom.refuse(code="forbidden")
    with pytest.raises(problems.Forbidden, match="asked for this"):
        poor.prices()


def test_it_runs_as_a_program_for_other_clients() -> None:
    command = [sys.executable, "-m", "darkroom_client.testing", "--credits", "7"]
    folder = Path(__file__).parents[1]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=folder) as program:
        assert program.stdout is not None
        said = program.stdout.readline() + program.stdout.readline()
        values = dict(re.findall(r"^export (\w+)=(\S+)$", said, re.MULTILINE))
        with Darkroom(values["DARKROOM_URL"], values["DARKROOM_API_KEY"]) as client:
            assert client.account("test").balance == 7
        program.send_signal(signal.SIGINT)
        assert program.wait(timeout=20) == 0


def test_a_closed_one_answers_nobody_on_a_kept_connection_either() -> None:
    with InMemoryDarkroom() as darkroom:
        retries = RetryPolicy(tries=2, first_pause_seconds=0.0)
        with Darkroom(darkroom.url, darkroom.key, account_id="test", retries=retries) as api:
            assert api.account().balance == 1_000
            darkroom.close()
            with pytest.raises(ConnectionFailed):
                api.account()


def test_a_stream_in_progress_ends_when_it_is_closed() -> None:
    with InMemoryDarkroom() as darkroom, darkroom.kie.held():
        job = darkroom.client().enqueue(prompt="a cat", aspect_ratio="1:1")
        path = f"{darkroom.url}/v1/jobs/{job.id}/events"
        headers = {"Authorization": f"Bearer {darkroom.key}"}
        with httpx2.stream("GET", path, headers=headers, trust_env=False, timeout=30) as stream:
            chunks = stream.iter_bytes()
            started = b""
            while b"enqueued" not in started:
                started += next(chunks)
            darkroom.close()
            assert b"succeeded" not in b"".join(chunks)
