"""The table of all pages and actions of the console.

Routes, navigation, roles, and the tests that try every page and action follow from it.
"""

from __future__ import annotations

from producer.console.page import OPERATORS, VIEWERS, Action, Page
from producer.console.pages import (
    change_stream,
    job_actions,
    job_page,
    jobs_page,
    overview_page,
    sessions_page,
)

PAGES: tuple[Page, ...] = (
    Page(
        name="overview",
        path="",
        title="Overview",
        nav="Overview",
        icon="overview",
        handler=overview_page.show_overview,
        uses_plots=True,
    ),
    Page(
        name="jobs",
        path="/jobs",
        title="Jobs",
        nav="Jobs",
        icon="jobs",
        handler=jobs_page.show_jobs,
    ),
    Page(
        name="job",
        path="/jobs/{id}",
        title="Job",
        handler=job_page.show_job,
        section="jobs",
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
        name="cancel_job",
        path="/jobs/{id}/cancel",
        title="Cancel a job",
        roles=OPERATORS,
        handler=job_actions.cancel_job,
        form=job_actions.confirm_cancel,
        section="jobs",
    ),
    Action(
        name="retry_job",
        path="/jobs/{id}/retry",
        title="Retry a job",
        roles=OPERATORS,
        handler=job_actions.retry_job,
        form=job_actions.confirm_retry,
        section="jobs",
    ),
    Action(
        name="resolve_job",
        path="/jobs/{id}/resolve",
        title="Resolve a doubt",
        roles=OPERATORS,
        handler=job_actions.resolve_job,
        form=job_actions.ask_verdict,
        section="jobs",
    ),
    Action(
        name="replay_webhook",
        path="/jobs/{id}/webhooks/{message}/replay",
        title="Send a webhook again",
        roles=OPERATORS,
        handler=job_actions.replay_webhook,
        section="jobs",
    ),
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
