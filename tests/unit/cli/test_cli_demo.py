"""The demo's environment, its preview image and its checks."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from producer.accounts.account import Account
from producer.cli.demo.demo_checks import find_differences
from producer.cli.demo.demo_jobs import DEMO_JOBS, DemoJob, ExpectedCosts
from producer.cli.demo.demo_processes import child_environ, demo_settings, ignored_settings
from producer.cli.demo.demo_run import DemoResult
from producer.cli.demo.simulator_record import FetchedImage, KieRecord
from shared.domain.job import Job
from shared.domain.lifecycle import JobState
from tests.support.example_jobs import example_job

NOW = datetime(2030, 1, 31, tzinfo=UTC)
PRICES = tuple(map(Decimal, (6, 7, 8, 6, 7, 8, 7)))


def job_of(demo_job: DemoJob, price: Decimal) -> Job:
    """Return the job as it should have ended."""
    quantity = demo_job.request.price_quantity
    return example_job(
        account_id="demo",
        model=demo_job.request.model,
        task=demo_job.request.task,
        state=JobState.SUCCEEDED if demo_job.succeeds else JobState.FAILED,
        result_urls=("u",) * (quantity if demo_job.succeeds else 0),
        credits_quoted=price,
        credits_charged=price if demo_job.succeeds else None,
        quantity=quantity,
    )


def account(balance: int, held: int = 0) -> Account:
    return Account("demo", Decimal(balance), Decimal(held), Decimal(balance - held), NOW)


@pytest.fixture
def result() -> DemoResult:
    """Everything as it should be."""
    ends = [{"kind": "capture" if demo_job.succeeds else "release"} for demo_job in DEMO_JOBS]
    return DemoResult(
        expected_costs=ExpectedCosts(PRICES),
        jobs=tuple(job_of(*pair) for pair in zip(DEMO_JOBS, PRICES, strict=True)),
        entries=tuple([{"kind": "hold"}, end] for end in ends),
        before=account(100),
        after=account(58),
        kie_before=KieRecord(10, 3),
        kie_after=KieRecord(17, 3),
        image=FetchedImage("u", "image/png", b"x"),
        ready={"worker": True, "api": True},
        had_leftovers=False,
    )


def test_a_demo_that_went_as_expected_has_no_differences(result: DemoResult) -> None:
    assert find_differences(result) == []
    assert (result.expected_costs.held, result.expected_costs.charged) == (Decimal(49), Decimal(42))


def test_whatever_is_not_as_expected_is_reported(result: DemoResult) -> None:
    first, *others = result.jobs
    dearer = replace(first, credits_charged=Decimal(7), result_urls=(), attempt=2)
    wrong = replace(
        result,
        jobs=(replace(dearer, state=JobState.FAILED), *others),
        entries=([{"kind": "hold"}], *result.entries[1:]),
        after=account(50, held=6),
        kie_after=KieRecord(18, 4),
        image=None,
        ready={"worker": True, "api": False},
    )
    told = "\n".join(find_differences(wrong))
    for text in (
        *("is failed", "was charged 7, not 6", "has 0 images, not 1", "entries are hold"),
        *("took 2 paid POSTs", "paid 50 credits, not 42", "6 credits are still held"),
        *("paid 8 times, not 7", "4 polls", "no image", "the api is not ready"),
    ):
        assert text in told


def test_sums_are_not_judged_while_an_interrupted_demo_still_ends(result: DemoResult) -> None:
    assert find_differences(replace(result, had_leftovers=True, after=account(30, held=6))) == []


def test_the_demo_takes_its_home_alone_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("kie_api_key=real\nAPI_PORT=no-number\n")
    environ = {"DARKROOM_HOME": "here", "DATABASE_URL": "postgresql://h/real", "REDIS_URL": ""}
    settings = demo_settings(environ)
    assert settings.darkroom_home == tmp_path / "here"
    assert settings.database_url is settings.redis_url is settings.kie_api_key is None
    assert settings.api_port == 8080
    assert ignored_settings(environ) == ["DATABASE_URL", "KIE_API_KEY"]


def test_the_demos_children_see_no_setting_of_the_caller(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("database_url", "postgresql://h/real")
    monkeypatch.setenv("CHARGE_BASIS", "quoted")
    settings = demo_settings({"DARKROOM_HOME": str(tmp_path)})
    environ = child_environ(settings, {"KIE_API_KEY": "sim"})
    assert {"database_url", "CHARGE_BASIS"}.isdisjoint(environ)
    assert environ["DARKROOM_HOME"] == str(tmp_path)
    assert environ["KIE_API_KEY"] == "sim"
