"""The table of all pages and actions of the console.

Routes, navigation, roles, and the tests that try every page and action follow from it.
"""

from __future__ import annotations

from producer.console.page import ADMINS, OPERATORS, VIEWERS, Action, Page
from producer.console.pages import (
    change_stream,
    job_actions,
    job_page,
    jobs_page,
    overview_page,
    sessions_page,
)
from producer.console.pages.money import (
    account_actions,
    accounts_page,
    audit_page,
    margin_page,
    price_change,
    prices_page,
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
        name="prices",
        path="/prices",
        title="Prices",
        nav="Prices",
        icon="prices",
        handler=prices_page.show_prices,
    ),
    Page(
        name="price",
        path="/prices/{model}/{task}/{quantity}",
        title="Price",
        handler=prices_page.show_price,
        section="prices",
        uses_plots=True,
    ),
    Page(
        name="accounts",
        path="/accounts",
        title="Accounts",
        nav="Accounts",
        icon="accounts",
        handler=accounts_page.show_accounts,
    ),
    Page(
        name="account",
        path="/accounts/{id}",
        title="Account",
        handler=accounts_page.show_account,
        section="accounts",
    ),
    Page(
        name="statement",
        path="/accounts/{id}/statement.csv",
        title="Statement",
        handler=accounts_page.download_statement,
        section="accounts",
        is_file=True,
    ),
    Page(
        name="margin",
        path="/margin",
        title="Margin",
        nav="Margin",
        icon="margin",
        handler=margin_page.show_margin,
        uses_plots=True,
    ),
    Page(
        name="audit",
        path="/audit",
        title="Audit",
        nav="Audit",
        icon="audit",
        handler=audit_page.show_audit,
        roles=ADMINS,
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
        name="change_price",
        path="/prices/{model}/{task}/{quantity}/change",
        title="Change a price",
        roles=ADMINS,
        handler=price_change.change_price,
        form=price_change.ask_change,
        section="prices",
    ),
    Action(
        name="revoke_scheduled_price",
        path="/scheduled-prices/{id}/revoke",
        title="Revoke a scheduled change",
        roles=ADMINS,
        handler=prices_page.revoke_scheduled,
        section="prices",
    ),
    Action(
        name="grant_credits",
        path="/accounts/{id}/grant",
        title="Grant or adjust credits",
        roles=ADMINS,
        handler=account_actions.grant,
        form=account_actions.ask_grant,
        section="accounts",
    ),
    Action(
        name="refund_job",
        path="/jobs/{id}/refund",
        title="Refund a job",
        roles=ADMINS,
        handler=account_actions.refund,
        form=account_actions.ask_refund,
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
