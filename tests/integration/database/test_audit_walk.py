"""Every guarded act and every write to a table that roles may write has an audit entry."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from shared.domain import job_events
from shared.domain.lifecycle import JobState
from tests.integration.database.database_setup import DatabaseSetup
from tests.support.aged_jobs import age
from tests.support.example_jobs import polled
from tests.support.stored_images import add_failed_image, add_stored_image

BY = orjson.dumps({"actor": "maria", "via": "cli", "is_operator": True}).decode()
ADMIN_ROLES = ("darkroom_admin", "darkroom_pricing", "darkroom_billing")
HELD = job_events.HeldForReview("result_unreadable", "no image URL", "{}")
URL = "https://hooks.example/end"
CALLS: Mapping[str, tuple[str, str]] = {
    "grant_credits": ("'acme', 5, 'why', false", "credits_granted"),
    "darkroom_grant": ("'acme', 5, 'why', false", "credits_granted"),
    "darkroom_create_account": ("'shop', 0", "account_created"),
    "darkroom_set_account_limits": (
        """'acme', '{"weight": 2}', 'why'""",
        "account_limits_changed",
    ),
    "darkroom_set_price": ("'gpt-4o-image', 'text-to-image', 1, 9, 'why'", "price_changed"),
    "darkroom_change_price": (
        "'gpt-4o-image', 'text-to-image', 1, 10, NULL, 'why', false",
        "price_changed",
    ),
    "darkroom_schedule_price": (
        "'gpt-4o-image', 'text-to-image', 1, 11, NULL, now() + interval '1 day', 'why', false",
        "price_scheduled",
    ),
    "darkroom_unschedule_price": (
        "(SELECT max(id) FROM scheduled_prices), 'why'",
        "price_unscheduled",
    ),
    "darkroom_refund_job": (
        "(SELECT id FROM jobs WHERE state = 'succeeded'), 'why', NULL",
        "job_refunded",
    ),
    "darkroom_create_key": (
        "gen_random_uuid(), 'dk_AAAAAAAAAAAA', sha256('x'), 'admin', NULL, NULL",
        "key_created",
    ),
    "darkroom_open_session": (
        "gen_random_uuid(), sha256('t'), 'dk_AAAAAAAAAAAA', 60, '127.0.0.1', 'a browser'",
        "session_opened",
    ),
    "darkroom_record_login_failure": (
        "'127.0.0.1', '127.0.0.1', 'a browser', 'unknown', NULL",
        "login_failed",
    ),
    "darkroom_end_session": ("(SELECT id FROM console_sessions)", "session_ended"),
    "darkroom_revoke_key": ("'dk_AAAAAAAAAAAA', NULL", "key_revoked"),
    "darkroom_create_webhook_endpoint": (f"'acme', '{URL}?'", "webhook_endpoint_created"),
    "darkroom_rotate_webhook_secret": (f"'acme', '{URL}', 60", "webhook_secret_rotated"),
    "darkroom_create_account_secret": ("'acme'", "webhook_secret_created"),
    "darkroom_rotate_account_secret": ("'acme', 60", "webhook_secret_rotated"),
    "darkroom_revoke_account_secret": ("'acme'", "webhook_secret_revoked"),
    "darkroom_cancel_job": (
        "(SELECT id FROM jobs WHERE state = 'queued' LIMIT 1)",
        "job_cancelled",
    ),
    "darkroom_cancel_jobs": (
        "ARRAY(SELECT id FROM jobs WHERE state = 'queued')",
        "job_cancelled",
    ),
    "darkroom_replay_webhooks": (
        "(SELECT id FROM webhook_messages LIMIT 1), NULL, 1",
        "webhook_replayed",
    ),
    "darkroom_resolve_unknown": (
        "(SELECT id FROM jobs WHERE state = 'unknown'), 1, NULL, 60, 'why'",
        "job_resolved",
    ),
    "darkroom_settle_held": (
        "(SELECT id FROM jobs WHERE state = 'generating'), 1, '{}', 'current', 'why'",
        "job_resolved",
    ),
    "darkroom_settle_late": (
        "(SELECT job_id FROM late_tasks), 1, 'task-9', '{https://x.example/1.png}', 'why'",
        "job_resolved",
    ),
    "darkroom_pause": ("'everything', NULL, 'why', NULL", "queue_paused"),
    "darkroom_resume": ("(SELECT max(id) FROM pauses)", "queue_resumed"),
    "darkroom_record_brake_end": ("'default', '[]', 'why'", "queue_resumed"),
    "darkroom_record_acknowledgement": ("'writes_lost', '{}'", "alert_acknowledged"),
    "darkroom_resume_scope": ("'account', 'acme'", "queue_resumed"),
    "darkroom_route_model": ("'gpt-4o-image', '4o-image-api', 'why'", "model_routed"),
    "darkroom_prune_images": ("now(), 500", "images_pruned"),
    "darkroom_retry_images": ("NULL, NULL, now(), 500", "images_retried"),
    "darkroom_prune": ("""'{"events": 90}', 500""", "data_pruned"),
    "darkroom_erase_prompts": ("'acme', 'why'", "prompts_erased"),
}
"""The arguments and the audit entry of each guarded act, in an order in which all are possible."""
NO_ACTS = {"darkroom_enter_act", "darkroom_record_resolution"}
"""Functions that only pass the actor on to the functions above. They change nothing."""


async def newest(setup: DatabaseSetup) -> dict[str, Any]:
    return (await setup.billing.audit(limit=1))[0]


async def test_every_function_that_takes_who_acts_notes_the_act(setup: DatabaseSetup) -> None:
    rows = await setup.sql(
        "SELECT DISTINCT proname FROM pg_proc"
        " WHERE pronamespace = 'public'::regnamespace AND 'by' = ANY(proargnames)"
    )
    assert {row["proname"] for row in rows} == set(CALLS) | NO_ACTS
    await setup.enqueue(webhook_url=f"{URL}/other")
    await setup.enqueue(webhook_url=f"{URL}/other")
    await setup.job_in(JobState.UNKNOWN)
    succeeded = await setup.job_in(JobState.SUCCEEDED)
    await add_stored_image(setup, succeeded)
    await add_failed_image(setup, succeeded, position=2)
    await setup.store.hold_for_review(polled(await setup.job_in(JobState.GENERATING)), HELD)
    failed = await setup.job_in(JobState.FAILED)
    await setup.sql(
        "INSERT INTO late_tasks (job_id, attempt, provider_task_id, in_doubt_since)"
        " VALUES ($1, 1, 'task-9', now())",
        failed.id,
    )
    await age(setup, (await setup.job_in(JobState.CANCELLED)).id)
    await setup.sql("SELECT darkroom_pause('account', 'acme', 'why')")
    last = (await newest(setup))["id"]
    for name, (given, act) in CALLS.items():
        await setup.sql(f"SELECT count(*) FROM {name}({given}, $1::text::jsonb)", BY)
        entry = await newest(setup)
        assert (entry["act"], entry["actor"], entry["via"]) == (act, "maria", "cli"), name
        assert entry["id"] > last, name
        last = entry["id"]


async def test_every_table_that_an_admin_may_write_notes_who_did(setup: DatabaseSetup) -> None:
    rows = await setup.sql(
        """
        SELECT relname, pg_class.oid::regclass::text AS name,
               EXISTS (SELECT FROM pg_trigger JOIN pg_proc ON pg_proc.oid = tgfoid
                        WHERE tgrelid = pg_class.oid AND tgenabled = 'O'
                          AND prosrc LIKE '%darkroom_write_audit_entry(%') AS is_noted
          FROM pg_class, pg_roles
         WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND rolname = ANY($1)
           AND (has_any_column_privilege(rolname, pg_class.oid, 'INSERT, UPDATE')
                OR has_table_privilege(rolname, pg_class.oid, 'DELETE'))
        """,
        list(ADMIN_ROLES),
    )
    assert {row["name"] for row in rows if not row["is_noted"]} == set()


async def test_what_jobs_do_by_themselves_is_no_act(setup: DatabaseSetup) -> None:
    before = await setup.billing.audit()
    for state in JobState:
        await setup.job_in(state, webhook_url=URL)
    await setup.move(
        await setup.job_in(JobState.GENERATING), job_events.Progressed, job_events.DeadlineExceeded
    )
    assert await setup.billing.audit() == before
