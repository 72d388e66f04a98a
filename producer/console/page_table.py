"""The table of all pages and actions of the console.

Routes, navigation, roles, and the tests that try every page and action follow from it.
"""

from __future__ import annotations

from producer.console.page import VIEWERS, Action, Page
from producer.console.pages import change_stream, overview_page, sessions_page

PAGES: tuple[Page, ...] = (
    Page(
        name="overview",
        path="",
        title="Overview",
        nav="Overview",
        icon="overview",
        handler=overview_page.show_overview,
    ),
    Page(
        name="sessions",
        path="/sessions",
        title="Sessions",
        nav="Sessions",
        icon="settings",
        handler=sessions_page.show_sessions,
    ),
    Page(
        name="changes",
        path="/changes",
        title="Changes",
        handler=change_stream.stream_changes,
        is_stream=True,
    ),
)
"""The order is that of the navigation."""

ACTIONS: tuple[Action, ...] = (
    Action(
        name="end_session",
        path="/sessions/{id}/end",
        title="End a session",
        # A viewer ends sessions of the same key; the handler refuses others.
        roles=VIEWERS,
        handler=sessions_page.end_session,
        section="sessions",
    ),
)
