"""Every alert has a button that leads to a page, or a command to copy."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, urlsplit
from uuid import uuid4

import pytest

from producer.console.alert_actions import ACTION_BY_ALERT, show_alert, show_alerts
from producer.console.page import CONSOLE
from producer.console.page_table import ACTIONS, PAGES
from producer.jobs.job_filter import JobFilter
from shared.domain.alerts.alert import ALERT_NAMES, Alert


def test_every_alert_has_an_action() -> None:
    assert set(ACTION_BY_ALERT) == set(ALERT_NAMES)


@pytest.mark.parametrize("name", ALERT_NAMES)
def test_an_action_leads_to_a_page_or_is_a_command(name: str) -> None:
    action = show_alert(Alert(name, "something is wrong", "mend it", subject="17")).action
    assert bool(action.href) != bool(action.command)
    if action.href:
        path, query = urlsplit(action.href)[2:4]
        # A button without a page posts at once: its action asks nothing.
        forms = [one.path for one in ACTIONS if (one.form is None) == action.posts]
        paths = forms if action.posts else [*(page.path for page in PAGES), *forms]
        patterns = (re.sub(r"\{\w+\}", "[^/]+", one) for one in paths)
        assert any(re.fullmatch(CONSOLE + pattern, path) for pattern in patterns)
        assert action.label
        assert not action.needs or action.needs in {one.name for one in ACTIONS}
        JobFilter.from_texts(dict(parse_qsl(query)))


def test_an_alert_of_a_kie_account_leads_to_its_brake() -> None:
    for subject, part in (("studio", "studio"), ("a/b gpt-4o-image", "a%2Fb")):
        action = show_alert(Alert("submits_paused", "paused", "mend it", subject=subject)).action
        assert action.href == f"{CONSOLE}/brakes/{part}/end"


def test_an_alert_of_jobs_that_a_route_cannot_carry_leads_to_those_of_its_model() -> None:
    for model in ("gpt-4o-image", "a model&reason=x"):
        action = show_alert(Alert("route_unfit", "they wait", "mend it", subject=model)).action
        wanted = {"model": model, "reason": "route_unfit"}
        assert dict(parse_qsl(urlsplit(action.href).query)) == wanted


def test_an_alert_of_late_tasks_in_doubt_leads_to_the_job_to_resolve_first() -> None:
    job_id = uuid4()
    alert = Alert("late_tasks_in_doubt", "in doubt", "resolve it", job_id=job_id)
    assert show_alert(alert).action.href == f"{CONSOLE}/jobs/{job_id}"


@pytest.mark.parametrize(
    ("subject", "values"),
    [
        ("gpt-4o-image text-to-image 1", "('gpt-4o-image', 'text-to-image', '1', '', "),
        ("gpt-image-2 text-to-image 1 4K", "('gpt-image-2', 'text-to-image', '1', '4K', "),
        ("m t 1 ');--", "('m', 't', '1', ''');--', "),
    ],
)
def test_an_alert_of_a_missing_price_has_the_statement_that_puts_it_back(
    subject: str, values: str
) -> None:
    alert = Alert("price_missing", "it is missing", "put it back", subject=subject)
    assert f" VALUES {values}CREDITS" in show_alert(alert).action.command


def test_the_number_of_a_session_is_all_that_a_statement_takes_from_an_alert() -> None:
    alert = Alert("rows_locked", "locked", "end it", subject="41; DROP TABLE jobs")
    assert show_alert(alert).action.command == "SELECT pg_terminate_backend(41);"


def test_alerts_of_jobs_that_stand_still_come_first_and_keep_their_order() -> None:
    names = ("clock_skew", "no_worker", "webhooks_dead", "jobs_fail")
    shown = show_alerts(Alert(name, "wrong", "mend it") for name in names)
    assert [one.alert.name for one in shown] == [
        *("no_worker", "jobs_fail", "clock_skew", "webhooks_dead")
    ]


@pytest.mark.parametrize(
    ("fix", "parts"),
    [
        ("start one: `darkroom worker`", ("Start one: ", "darkroom worker", "")),
        ("look at the log", ("Look at the log",)),
        ("`a` or `b`", ("", "a", " or ", "b", "")),
    ],
)
def test_every_second_part_of_the_advice_is_a_command(fix: str, parts: tuple[str, ...]) -> None:
    assert show_alert(Alert("no_worker", "wrong", fix)).fix == parts


@pytest.mark.parametrize(
    ("detail", "title"), [("no worker", "No worker"), ("5 of 9 failed", "5 of 9 failed"), ("", "")]
)
def test_the_sentence_of_an_alert_begins_with_a_capital_letter(detail: str, title: str) -> None:
    assert show_alert(Alert("no_worker", detail, "start one")).title == title
