"""Auxiliary processes run once per home, and end with the watchdog."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

from shared.adapters.embedded.host.process_info import is_alive
from tests.integration.embedded.shared_home import SharedHome, wait_for

PROGRAM = Path(__file__).with_name("auxiliary_program.py")
NO_SERVERS = {"postgres": False, "valkey": False}


def simulator(manner: str = "good", **more: Any) -> dict[str, Any]:
    return {"name": "simulator", "argv": [sys.executable, str(PROGRAM), manner], **more}


def test_all_clients_share_one_auxiliary_process(new_shared_home: SharedHome) -> None:
    first, second = (new_shared_home.start_client(**NO_SERVERS) for _ in range(2))
    first.urls()
    second.urls()
    for client in (first, second):
        client.tell(**simulator(env={"GREETING": "hello"}))
    answers = [client.hear()["answer"] for client in (first, second)]
    assert answers[0] == answers[1]
    assert answers[0]["greeting"] == "hello"
    assert is_alive(int(answers[0]["pid"]))


def test_it_ends_with_the_last_client_even_if_it_ignores_the_request(
    new_shared_home: SharedHome,
) -> None:
    polite, stubborn = (new_shared_home.start_client(**NO_SERVERS) for _ in range(2))
    polite.urls()
    stubborn.urls()
    pids = [
        int(polite.ensure(**simulator())["answer"]["pid"]),
        int(stubborn.ensure(**{**simulator("stubborn"), "name": "stubborn"})["answer"]["pid"]),
    ]
    polite.leave()
    stubborn.leave()
    wait_for("both ended", lambda: not any(is_alive(pid) for pid in pids))
    new_shared_home.wait_until_all_ended()


def test_an_auxiliary_that_died_is_restarted_on_the_next_request(
    new_shared_home: SharedHome,
) -> None:
    client = new_shared_home.start_client(**NO_SERVERS)
    client.urls()
    first = client.ensure(**simulator())["answer"]["pid"]
    os.kill(int(first), signal.SIGKILL)
    wait_for("it ended", lambda: not is_alive(int(first)))
    second = client.ensure(**simulator())["answer"]["pid"]
    assert second != first
    assert is_alive(int(second))


def test_one_that_fails_shows_the_end_of_its_log_and_may_be_tried_again(
    new_shared_home: SharedHome,
) -> None:
    client = new_shared_home.start_client(**NO_SERVERS)
    client.urls()
    message = client.ensure(**simulator("fail"))["error"]
    assert "'simulator' ended with code 1" in message
    assert "the port is taken" in message
    assert "pid" in client.ensure(**simulator())["answer"]


def test_one_that_is_not_ready_in_time_is_ended(new_shared_home: SharedHome) -> None:
    client = new_shared_home.start_client(**NO_SERVERS)
    client.urls()
    message = client.ensure(**simulator("silent", timeout_seconds=0.5))["error"]
    assert "was not ready within 0.5 s" in message
    assert "pid" in client.ensure(**simulator())["answer"]


def test_a_program_that_does_not_exist_and_a_name_that_is_taken_are_refused(
    new_shared_home: SharedHome,
) -> None:
    client = new_shared_home.start_client(**NO_SERVERS)
    client.urls()
    message = client.ensure(name="ghost", argv=["/nonexistent/program"])["error"]
    assert "/nonexistent/program" in message
    assert "cannot name a process" in client.ensure(name="postgres", argv=["true"])["error"]


def test_an_orphan_of_a_killed_watchdog_is_replaced(new_shared_home: SharedHome) -> None:
    first = new_shared_home.start_client(**NO_SERVERS)
    first.urls()
    orphan = int(first.ensure(**simulator())["answer"]["pid"])
    first.freeze()
    new_shared_home.kill("watchdog")
    second = new_shared_home.start_client(**NO_SERVERS)
    second.urls()
    successor = int(second.ensure(**simulator(timeout_seconds=20.0))["answer"]["pid"])
    assert successor != orphan
    assert not is_alive(orphan)
