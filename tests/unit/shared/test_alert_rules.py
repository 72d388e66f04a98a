"""The alert rules: which alerts are found, since when, and with which fix."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from shared.domain.alerts.alert import ALERT_NAMES, REDIS_ALERT_NAMES, Alert
from shared.domain.alerts.alert_rules import find_alerts
from shared.domain.alerts.system_state import (
    QUEUED_COUNT_MAX,
    ActiveRoute,
    BalanceDrift,
    EndedJob,
    FailingReceiver,
    KeyDifference,
    KieModelState,
    LockHolder,
    LostWorker,
    OperatorPause,
    ProcessWithoutRedis,
    RedisState,
    RedisUser,
    SkewedProcess,
    SubmitPause,
    SubmitRate,
    SystemState,
)

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
WELL = SystemState(
    at=NOW,
    is_standby=False,
    is_read_only=False,
    connections=20,
    connections_most=97,
    queued=0,
    due=0,
    paused=0,
    pauses=(),
    routes=(),
    other_routes={"4o": ("market-4o",), "market-4o": ()},
    waiting_since=None,
    last_submitted_at=None,
    tasks=0,
    long=0,
    long_since=None,
    held=0,
    held_since=None,
    lockers=(),
    images_waiting=0,
    images_since=None,
    images_error=None,
    images_given_up=0,
    images_given_up_since=None,
    late=0,
    late_credits=Decimal(0),
    late_since=None,
    in_doubt=0,
    in_doubt_since=None,
    in_doubt_job=None,
    drifting=(),
    kie_models=(),
    skewed=(),
    without_redis=(),
    differing_keys=(),
    renamed_keys=(),
    unknown=0,
    unknown_since=None,
    ended=(),
    failing=(),
    dead_webhooks=0,
    dead_since=None,
    process_ids=frozenset(),
    workers_alive=1,
    worker_seen_at=NOW,
    workers_lost=(),
    unpriced=(),
)


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


CONTENT = RedisState()


def alerts_of(redis: RedisState | None = CONTENT, **changes: Any) -> list[Alert]:
    return find_alerts(replace(WELL, **changes), redis)


def ended(*words: str) -> tuple[EndedJob, ...]:
    """Return jobs that ended one second apart, the newest first."""
    return tuple(
        EndedJob(
            "failed" if word != "succeeded" else word,
            None if word == "succeeded" else word,
            None if word == "succeeded" else f"said {word}",
            ago(number),
        )
        for number, word in enumerate(words)
    )


OTHERS = RedisState(first_user=RedisUser(UUID(int=7), "worker", "shop-1:7", "db/shop", ago(9)))
PAUSE = SubmitPause(NOW + timedelta(seconds=39.2), 2, "account_refused", "402: no credits", ago(90))

SLOW = SubmitRate(5.5, 20, ago(-5), 0.4, "rate_limited", "429", ago(400))
OPERATOR_PAUSE = OperatorPause(17, "account", "acme", "they asked", "maria", ago(90), None)
KIE_MODEL = KieModelState(
    *("4o-image-api", "gpt-4o-image", ago(60), True, ()),
    success_percent=Decimal(99),
    usual_success_percent=Decimal(99),
    moved_prices=(),
    price_credits=("8", "16"),
)


GONE = replace(PAUSE, reason="wrong_endpoint")
ROUTE = ActiveRoute("4o", "market-4o", 0, Decimal(0), ago(70))

CASES: list[tuple[str, dict[str, Any], str, datetime | None, str]] = [
    (
        "submits_paused",
        {"redis": RedisState(pauses=(("default", PAUSE),)), "queued": 1960},
        "default are paused for 40 s more (account_refused: 402: no credits); 1,960 jobs wait",
        ago(90),
        "fix the Kie account",
    ),
    (
        "submits_slowed",
        {"redis": RedisState(rates=(("default", SLOW),)), "queued": 12},
        "down to 5 of 20 per 10 s, and have been below the limit for 400 s (rate_limited: 429); 12",
        ago(400),
        "KIE_SUBMITS_PER_10_SECONDS",
    ),
    (
        "submits_paused",
        {"redis": RedisState(pauses=(("b", replace(PAUSE, until=ago(1), reason="full")),))},
        "by the Kie account b are sent one at a time",
        ago(90),
        "recovers by itself",
    ),
    (
        "submits_paused",
        {
            "redis": RedisState(
                family_pauses=(("default", "m", replace(PAUSE, reason="wrong_endpoint")),)
            )
        },
        "submits of m by the Kie account default are paused for 40 s more (wrong_endpoint: 402",
        ago(90),
        "KIE_BASE_URL",
    ),
    (
        "submits_paused",
        {"redis": RedisState(family_pauses=(("default", "4o", GONE),))},
        "submits of 4o by the Kie account default are paused for 40 s more (wrong_endpoint: 402",
        ago(90),
        "`darkroom models route 4o --via market-4o`",
    ),
    (
        "submits_paused",
        {
            "redis": RedisState(family_pauses=(("default", "market-4o", GONE),)),
            "routes": (ROUTE,),
        },
        "submits of market-4o by the Kie account default are paused",
        ago(90),
        "`darkroom models route 4o --direct`",
    ),
    (
        "route_unfit",
        {"routes": (replace(ROUTE, unfit=12, unfit_credits=Decimal("84.00")),)},
        (
            "12 jobs of 4o wait: the model is sent by market-4o, which cannot carry them; they hold"
            " 84 credits"
        ),
        ago(70),
        (
            "`darkroom jobs cancel --where model=4o --where reason=route_unfit`; or take the route"
            " back: `darkroom models route 4o --direct`"
        ),
    ),
    (
        "paused_by_operator",
        {"pauses": (OPERATOR_PAUSE,), "paused": 12, "queued": 15},
        "submits of account acme are paused by maria: they asked; 12 jobs wait",
        ago(90),
        "darkroom queue resume 17",
    ),
    (
        "paused_by_operator",
        {"pauses": (replace(OPERATOR_PAUSE, scope="everything", value=None, until=NOW),)},
        "submits of everything are paused by maria, until 2026-11-27 12:00:00Z: they asked; 0 jobs",
        ago(90),
        "darkroom queue resume 17",
    ),
    (
        "paused_by_operator",
        {"pauses": (replace(OPERATOR_PAUSE, scope="kie_account", value="studio"),)},
        "submits of Kie account studio are paused by maria: they asked; other Kie accounts",
        ago(90),
        "darkroom queue resume 17",
    ),
    (
        "no_worker",
        {"workers_alive": 0, "queued": 3, "tasks": 4, "long": 4, "worker_seen_at": ago(120)},
        "no worker is running; 3 jobs wait and 4 tasks",
        ago(120),
        "darkroom worker",
    ),
    (
        "worker_lost",
        {"workers_lost": (LostWorker("host:7", ago(30)),)},
        "host:7 died or lost Postgres; 1 is alive",
        ago(30),
        "start another",
    ),
    (
        "tasks_run_long",
        {"tasks": 226, "long": 226, "long_since": ago(600)},
        "226 of 226 tasks",
        ago(600),
        "Kie's log page",
    ),
    (
        "unknown_submissions",
        {"unknown": 180, "unknown_since": ago(80)},
        "180 submissions",
        ago(80),
        "--state unknown",
    ),
    (
        "jobs_fail",
        {"ended": ended(*["provider_failed"] * 5, "succeeded", "succeeded")},
        "5 of the last 7 jobs failed (provider_failed 5); the last said: said provider_failed",
        ago(4),
        "Kie's log page",
    ),
    (
        "nothing_is_submitted",
        {"due": 9, "waiting_since": ago(60), "last_submitted_at": ago(40)},
        "9 jobs are due",
        ago(40),
        "the log of the workers",
    ),
    (
        "jobs_wait",
        {"due": 9, "waiting_since": ago(301), "last_submitted_at": ago(1)},
        "the oldest has waited for 301 s",
        ago(301),
        "Kie's limit",
    ),
    (
        "webhooks_fail",
        {"failing": (FailingReceiver("https://r.example/h", 7, ago(20), "status 500"),)},
        "https://r.example/h did not take 7 webhooks (status 500)",
        ago(20),
        "tried again",
    ),
    (
        "webhooks_dead",
        {"dead_webhooks": 2, "dead_since": ago(5)},
        "2 webhooks were given up",
        ago(5),
        "darkroom webhooks replay",
    ),
    (
        "results_unreadable",
        {"tasks": 3, "held": 2, "held_since": ago(9)},
        "2 tasks succeeded",
        ago(9),
        "darkroom jobs resolve ID",
    ),
    (
        "images_come_late",
        {"late": 3, "late_credits": Decimal(18), "late_since": ago(900)},
        "3 tasks delivered after the end of the job within the last hour; Kie charged 18 credits",
        ago(900),
        "JOB_DEADLINE_SECONDS",
    ),
    (
        "images_not_stored",
        {"images_waiting": 12, "images_since": ago(600), "images_error": "No space left"},
        "12 images have waited long for a copy; the last error: No space left",
        ago(600),
        "free its disk",
    ),
    (
        "late_tasks_in_doubt",
        {"in_doubt": 2, "in_doubt_since": ago(70), "in_doubt_job": UUID(int=7)},
        "2 tasks succeeded after the end of the job",
        ago(70),
        "darkroom jobs show 00000000-0000-0000-0000-000000000007",
    ),
    (
        "keys_differ",
        {"differing_keys": (KeyDifference("b", "w:1, w:2 and another at w:3", ago(30)),)},
        "the Kie account b has one key at w:1, w:2 and another at w:3",
        ago(30),
        "the same KIE_API_KEYS",
    ),
    (
        "keys_differ",
        {"renamed_keys": (KeyDifference("a and b", "a at w:1, b at w:2", ago(31)),)},
        "one key has several names (a at w:1, b at w:2)",
        ago(31),
        "one name of its own",
    ),
    (
        "kie_balance_drifts",
        {"drifting": (BalanceDrift("default", Decimal("57.50"), ago(60)),)},
        "Kie took 57.50 credits more from its account default than our tasks explain",
        ago(60),
        "provider_balance_checks",
    ),
    (
        "kie_balance_drifts",
        {"drifting": (BalanceDrift("b", Decimal(-80), ago(9)),)},
        "80 credits less from its account b",
        ago(9),
        "Kie's log page",
    ),
    (
        "kie_model_changed",
        {"kie_models": (replace(KIE_MODEL, is_listed=False),)},
        "Kie's catalogue no longer lists 4o-image-api, which gpt-4o-image uses",
        ago(60),
        "Kie's documentation",
    ),
    (
        "kie_model_changed",
        {"kie_models": (replace(KIE_MODEL, missing_parts=("mask", "size=3:2")),)},
        "differs from what gpt-4o-image sends: mask, size=3:2",
        ago(60),
        "a version that knows",
    ),
    (
        "kie_price_moved",
        {"kie_models": (replace(KIE_MODEL, moved_prices=("6 for a", "7 for b")),)},
        "names 8, 16 credits, but pricing has 6 for a; 7 for b",
        ago(60),
        "darkroom prices compare",
    ),
    (
        "kie_model_unreliable",
        {"kie_models": (replace(KIE_MODEL, success_percent=Decimal("42.5")),)},
        "42.5 % of its tasks of 4o-image-api succeeded in the last hour, and 99 % in the last day",
        ago(60),
        "darkroom queue pause --model",
    ),
    (
        "clock_skew",
        {"skewed": (SkewedProcess("host:7", 1800.4),)},
        "the clock of host:7 is 1800 s ahead of",
        None,
        "NTP",
    ),
    (
        "clock_skew",
        {"skewed": (SkewedProcess("host:7", -61.0),)},
        "is 61 s behind that",
        None,
        "NTP",
    ),
    (
        "process_without_redis",
        {"without_redis": (ProcessWithoutRedis("host:7", "OOM command not allowed", ago(20)),)},
        "process host:7 is alive and cannot write to its Redis: OOM command",
        ago(20),
        "REDIS_URL",
    ),
    (
        "rows_locked",
        {"lockers": (LockHolder(71, "admin psql idle in transaction", ago(30)),)},
        "session 71 (admin psql idle in transaction) keeps rows",
        ago(30),
        "pg_terminate_backend(71)",
    ),
    ("postgres_is_read_only", {"is_read_only": True}, "refuses writes", None, "primary"),
    ("postgres_is_read_only", {"is_standby": True}, "is a standby", None, "promote"),
    ("connections_nearly_used_up", {"connections": 90}, "90 of 97", None, "max_connections"),
    ("price_missing", {"unpriced": ("gpt-4o-image x 1",)}, "gpt-4o-image x 1", None, "INSERT"),
    ("redis_is_replica", {"redis": RedisState(is_replica=True)}, "replica", None, "primary"),
    ("redis_evicts", {"redis": RedisState(policy="allkeys-lru")}, "allkeys", None, "noevict"),
    ("redis_is_full", {"redis": RedisState(memory_share=0.97)}, "97%", None, "maxmemory"),
    (
        "redis_was_wiped",
        {"redis": RedisState(wiped_at=ago(20))},
        "every open job was delivered again",
        ago(20),
        "darkroom queue acknowledge redis_was_wiped",
    ),
    (
        "writes_lost",
        {"redis": RedisState(lost_writes=1)},
        "confirmed writes are not in Postgres: 1 job or event",
        None,
        "darkroom queue acknowledge writes_lost",
    ),
    ("redis_cannot_save", {"redis": RedisState(saves=False)}, "failed", None, "disk"),
    ("redis_of_another_database", {"redis": OTHERS}, "worker shop-1:7", ago(9), "REDIS_PREFIX"),
]


@pytest.mark.parametrize(("name", "changes", "words", "since", "fix"), CASES)
def test_each_fault_is_shown_with_its_time_and_its_fix(
    name: str, changes: dict[str, Any], words: str, since: datetime | None, fix: str
) -> None:
    (alert,) = alerts_of(**changes)
    assert alert.name == name
    assert words in alert.detail
    assert alert.since == since
    assert fix in alert.fix


def test_every_name_has_a_case_and_no_other_is_used() -> None:
    assert {case[0] for case in CASES} == set(ALERT_NAMES)
    assert set(ALERT_NAMES) > REDIS_ALERT_NAMES


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"workers_alive": 0},
        {"ended": ended(*["provider_failed"] * 4)},
        {"ended": ended(*["provider_failed"] * 5, *["succeeded"] * 5)},
        {"tasks": 100, "long": 19, "long_since": ago(100)},
        {"tasks": 2, "long": 2, "long_since": ago(100)},
        {"due": 9, "waiting_since": ago(11)},
        {"due": 9, "waiting_since": ago(299), "last_submitted_at": ago(10)},
        {"due": 0, "waiting_since": ago(9000)},
        # The first process in this Redis is of this database.
        {"redis": OTHERS, "process_ids": frozenset({UUID(int=7)})},
    ],
)
def test_what_is_usual_is_no_alert(changes: dict[str, Any]) -> None:
    assert alerts_of(**changes) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"redis": RedisState(pauses=(("default", PAUSE),))},
        {"redis": None},
        {"workers_alive": 0, "queued": 9},
        {"worker_seen_at": ago(10)},
        {"pauses": (replace(OPERATOR_PAUSE, scope="kie_account", value="default"),)},
    ],
)
def test_a_queue_with_a_known_pause_is_not_reported_as_stalled(
    changes: dict[str, Any],
) -> None:
    found = alerts_of(due=9, waiting_since=ago(60), **changes)
    assert "nothing_is_submitted" not in {alert.name for alert in found}


def test_a_long_wait_is_no_alert_of_its_own_while_a_kie_account_is_paused() -> None:
    pause = replace(OPERATOR_PAUSE, scope="kie_account", value="default")
    found = alerts_of(due=9, waiting_since=ago(9000), last_submitted_at=ago(1), pauses=(pause,))
    assert [alert.name for alert in found] == ["paused_by_operator"]
    # A paused account holds back nothing of the others: they are still alerted.
    others = alerts_of(due=9, waiting_since=ago(60), pauses=(OPERATOR_PAUSE,))
    assert {alert.name for alert in others} == {"paused_by_operator", "nothing_is_submitted"}


@pytest.mark.parametrize("refusal", ["is_read_only", "is_standby"])
def test_no_worker_is_declared_lost_while_none_can_write(refusal: str) -> None:
    silent: dict[str, Any] = {
        "workers_alive": 0,
        "workers_lost": (LostWorker("a:1", ago(60)),),
        "queued": 3,
    }
    assert {alert.name for alert in alerts_of(**silent)} == {"no_worker", "worker_lost"}
    assert [alert.name for alert in alerts_of(**{**silent, refusal: True})] == [
        "postgres_is_read_only"
    ]


def test_cancelled_jobs_count_neither_way() -> None:
    jobs = ended(*["rejected"] * 5, *["succeeded"] * 4)
    cancelled = tuple(replace(jobs[0], state="cancelled") for _ in range(20))
    (alert,) = alerts_of(ended=jobs + cancelled)
    assert "5 of the last 9" in alert.detail


def test_a_long_queue_is_not_counted_to_its_end() -> None:
    (alert,) = alerts_of(due=QUEUED_COUNT_MAX, waiting_since=ago(301), last_submitted_at=ago(1))
    assert alert.detail.startswith("10,000 jobs or more are due")
