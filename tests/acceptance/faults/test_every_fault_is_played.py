"""Holds the list of played faults complete: a new alert fails here until it is played."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from shared.domain.alerts.alert import ALERT_NAMES
from tests.acceptance.faults import (
    test_job_faults,
    test_kie_faults,
    test_process_faults,
    test_server_faults,
)
from worker.simulator.fault_switch_parser import describe_switches
from worker.simulator.task_ends import TASK_ENDS

ROOT = Path(__file__).parents[3]
FAULTS = [
    *(*test_job_faults.FAULTS, *test_kie_faults.FAULTS),
    *(*test_process_faults.FAULTS, *test_server_faults.FAULTS),
]
PLAYED = frozenset(fault.alert for fault in FAULTS)
OF_SERVERS = frozenset({"postgres_down", "redis_down"})
"""They are no alerts of Postgres's and Redis's contents: `test_servers_away.py` plays both."""
RUNBOOK = {
    "Jobs were charged by a wrong price": (
        "tests/acceptance/cli/test_cli_money.py"
        "::test_a_charge_is_refunded_and_the_statement_and_the_margin_say_so"
    ),
    "A scheduled price was not applied": (
        "tests/integration/database/test_scheduled_prices.py::test_a_later_change_by_hand_is_not_taken_back"
    ),
    "The lane is paused": "submits_paused",
    "The lane is slow": "submits_slowed",
    "Pause and resume": "paused_by_operator",
    "Kie fails, or is not there": "submits_paused",
    "The endpoint of a model is gone": "route_unfit",
    "Several Kie accounts": (
        "tests/acceptance/test_kie_accounts.py"
        "::test_a_removed_key_is_logged_as_an_error_and_put_back_in_time"
    ),
    "Unknown jobs": "unknown_submissions",
    "A success cannot be read": "results_unreadable",
    "Images that come late": "images_come_late",
    "Results that stay": "images_not_stored",
    "Writes were lost": "writes_lost",
    "A failover": (
        "tests/failover/test_short_failover.py"
        "::test_a_failover_of_each_server_loses_nothing_and_jobs_move_again_in_time"
    ),
    "Redis is down": "redis_down",
    "Pushes do not arrive": (
        "tests/integration/worker/test_forgotten_connections.py"
        "::test_a_dead_listen_connection_is_replaced_and_notifications_arrive_again"
    ),
    "Redis refuses": "redis_is_replica",
    "Redis was wiped": "redis_was_wiped",
    "Workers do not share one Redis": (
        "tests/integration/producer/test_doctor_processes.py::test_another_redis_is_named"
    ),
    "Keys differ": "keys_differ",
    "Postgres is down": "postgres_down",
    "Postgres refuses": "postgres_is_read_only",
    "A clock is wrong": "clock_skew",
    "A row is locked": "rows_locked",
    "A worker was killed": "worker_lost",
    "The balance of an account is below zero": (
        "tests/integration/database/test_settlement.py"
        "::test_a_rise_beyond_the_balance_is_delivered_charged_and_owed"
    ),
    "The price history was forged": (
        "tests/integration/database/test_price_forgery.py"
        "::test_an_earlier_forgery_is_found_and_fixed_by_the_statement_that_the_doctor_names"
    ),
    "A function was opened to everybody": (
        "tests/integration/database/test_invariant_findings.py::test_every_corruption_is_found_and_its_row_is_named"
    ),
    "A flood of connections": (
        "tests/acceptance/test_listeners.py"
        "::test_a_worker_with_few_descriptors_continues_under_a_flood_of_half_requests"
    ),
    "A caller is answered 401 or 429": (
        "tests/acceptance/test_long_pages.py"
        "::test_a_client_that_reads_nothing_costs_little_and_is_refused_further_streams"
    ),
    "One customer takes everything": (
        "tests/acceptance/test_account_limits.py"
        "::test_what_exceeds_a_limit_is_429_with_the_numbers_and_nothing_is_stored"
    ),
    "Kie changes a model": "kie_model_changed",
    "A price row is missing": "price_missing",
    "The balance at Kie drifts": "kie_balance_drifts",
    "A job hangs": (
        "tests/integration/producer/test_doctor.py::test_a_job_that_nobody_moves_is_named"
    ),
}
"""By heading of the runbook: the alert of a row, or the test of a fault without an alert."""
PROCEDURES = frozenset({"A restore", "Stopping a worker", "Who did it"})
"""Headings that say how something is done; nothing is wrong there."""

TESTS = Path(__file__).parents[2]
WITHOUT_THE_PRODUCT = frozenset({"validation_code"})
"""Switches of the simulated Kie for clients other than ours, which sends no faulty request."""


def operations() -> str:
    return (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")


def section(start: str, end: str) -> str:
    text = operations().partition(start)[2].partition(end)[0]
    assert text, start
    return text


def test_every_alert_has_a_played_fault_and_no_row_plays_another() -> None:
    assert set(ALERT_NAMES) == PLAYED


def test_faults_are_distinguished_by_their_names() -> None:
    names = [fault.name for fault in FAULTS]
    assert len(set(names)) == len(names)


def test_both_tables_of_the_operations_page_name_every_alert() -> None:
    for start, end in (
        ("\n## What is wrong\n", "How a fault looks, in each output"),
        ("How a fault looks, in each output", "\n## Metrics\n"),
    ):
        rows = "\n".join(line for line in section(start, end).splitlines() if line[:1] == "|")
        missing = [
            name
            for name in sorted({*ALERT_NAMES, *OF_SERVERS})
            if f"`{name}`" not in rows and f'alert="{name}"' not in rows
        ]
        assert not missing, f"not in the table after {start.strip()!r}: {missing}"


def test_every_heading_of_the_runbook_is_played() -> None:
    runbook = section("\n## Runbook\n", "\n## ")
    headings = {line[4:] for line in runbook.splitlines() if line.startswith("### ")}
    assert headings == set(RUNBOOK) | PROCEDURES
    for heading, told in RUNBOOK.items():
        path, _, name = told.partition("::")
        if not name:
            assert told in PLAYED | OF_SERVERS, heading
            continue
        tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
        tests = {one.name for one in tree.body if isinstance(one, ast.AsyncFunctionDef)}
        assert name in tests, heading


def test_every_switch_of_the_simulated_kie_is_played_against_the_product() -> None:
    """By name, in a test that is not about the simulator itself."""
    text = "\n".join(
        path.read_text(encoding="utf-8")
        for part in ("acceptance", "integration", "campaign", "browser")
        for path in (TESTS / part).rglob("*.py")
        if path != Path(__file__) and "simulator" not in path.parent.name
    )
    assert describe_switches().keys() >= WITHOUT_THE_PRODUCT
    names = describe_switches().keys() - WITHOUT_THE_PRODUCT
    assert [name for name in sorted(names) if not re.search(rf"\b{name}\b", text)] == []
    ends = [name for name in TASK_ENDS if not re.search(rf"\b{name}\b", text)]
    assert ends == []
