"""Every right on every table, column and function. A right that is not listed is refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tests.integration.database.database_setup import DatabaseSetup

PARTS = ("api", "worker", "pricing", "billing", "readonly")
WHOLES = {"service": ("api", "worker"), "admin": ("pricing", "billing", "readonly")}
ALL = "*"
_KEY_COLUMNS = "id prefix role account_id name created_at created_by last_used_at revoked_at"
_OWN_PROCESS = {
    "INSERT": "id kind name version redis limits detail clock_skew_seconds redis_seen_at"
    " key_fingerprints",
    "UPDATE": "seen_at limits detail clock_skew_seconds redis_seen_at stopped_at key_fingerprints",
    "DELETE": ALL,
}

_TOLD_BY_KIE = {
    "SELECT": dict.fromkeys(("api", "worker", "readonly"), ALL),
    **{verb: {"worker": ALL} for verb in ("INSERT", "UPDATE", "DELETE")},
}
RIGHTS: Mapping[str, Mapping[str, Mapping[str, str]]] = {
    # Money: no role writes these tables except through a function.
    "accounts": {
        "SELECT": dict.fromkeys(("api", "worker", "billing", "readonly"), ALL),
        "UPDATE": {
            "billing": "weight max_open_jobs max_queued_jobs max_credits_per_day max_priority"
        },
    },
    "jobs": {
        "SELECT": {
            "api": ALL,
            "worker": ALL,
            "pricing": "model task quantity variant state credits_quoted credits_charged price_id"
            " finished_at",
            "readonly": "-request metadata result_urls late_result_urls images webhook_url"
            " idempotency_key",
        }
    },
    "job_attempts": {"SELECT": {"worker": ALL, "api": "-token", "readonly": "-token"}},
    # Pauses are started and ended through functions.
    "pauses": {"SELECT": dict.fromkeys(("api", "worker", "readonly"), ALL)},
    "active_pauses": {"SELECT": dict.fromkeys(("api", "worker", "readonly"), ALL)},
    "model_routes": {"SELECT": dict.fromkeys(("api", "worker", "readonly"), ALL)},
    "active_routes": {"SELECT": dict.fromkeys(("api", "worker", "readonly"), ALL)},
    # Turns are moved, and jobs chosen, through functions.
    "priority_turns": {"SELECT": dict.fromkeys(("api", "worker", "readonly"), ALL)},
    "account_turns": {"SELECT": dict.fromkeys(("api", "worker", "readonly"), ALL)},
    "chosen_jobs": {"SELECT": dict.fromkeys(("api", "worker", "readonly"), ALL)},
    # Data is pruned and prompts are erased through functions.
    "retention_progress": {"SELECT": dict.fromkeys(("api", "worker", "readonly"), ALL)},
    "prompt_erasures": {"SELECT": dict.fromkeys(("api", "readonly"), ALL)},
    "job_events": {"SELECT": dict.fromkeys(("api", "worker", "readonly"), ALL)},
    "audit_entries": {
        "SELECT": {
            **dict.fromkeys(("api", "billing", "readonly"), ALL),
            "worker": "act account_id subject after",
        }
    },
    "ledger_entries": {"SELECT": dict.fromkeys(("api", "worker", "billing", "readonly"), ALL)},
    "pricing_history": {"SELECT": dict.fromkeys(PARTS, ALL)},
    "late_tasks": {"SELECT": {"api": ALL, "worker": ALL, "readonly": "-result_urls"}},
    "job_images": {"SELECT": {"api": ALL, "worker": ALL, "readonly": "-kie_url url key sha256"}},
    # Prices: the triggers on this table guard each change and write the history.
    "pricing": {
        "SELECT": dict.fromkeys(("api", "worker", "pricing", "readonly"), ALL),
        **{verb: {"pricing": ALL} for verb in ("INSERT", "UPDATE", "DELETE")},
    },
    "scheduled_prices": {
        "SELECT": dict.fromkeys(("api", "worker", "pricing", "readonly"), ALL),
        "INSERT": {
            "pricing": "model task quantity variant credits provider_credits takes_effect_at reason"
        },
        "UPDATE": {"pricing": "is_revoked"},
    },
    "api_keys": {
        "SELECT": {"api": ALL, "billing": _KEY_COLUMNS, "readonly": _KEY_COLUMNS},
        "UPDATE": {"api": "last_used_at"},
    },
    "console_sessions": {
        "SELECT": {"api": ALL, "billing": "-token_sha256", "readonly": "-token_sha256"},
        "UPDATE": {"api": "last_seen_at"},
    },
    "login_failures": {"SELECT": dict.fromkeys(("api", "readonly"), ALL)},
    "webhook_endpoints": {
        "SELECT": {"api": ALL, "worker": ALL, "readonly": "-secret previous_secret"},
    },
    "webhook_account_secrets": {
        "SELECT": {"api": ALL, "worker": ALL, "readonly": "-secret previous_secret"},
    },
    "webhook_tries": {
        "SELECT": {"api": ALL, "worker": "message_id", "readonly": ALL},
        "INSERT": {"worker": "message_id status error seconds"},
    },
    "webhook_messages": {
        "SELECT": {"api": ALL, "worker": ALL, "readonly": "-url"},
        "UPDATE": {
            "worker": "state tries next_try_at last_try_at last_status last_error delivered_at",
        },
    },
    # Data that can be lost without harm.
    "callback_inbox": {
        "SELECT": {"worker": ALL},
        "INSERT": {"worker": "token provider_task_id"},
        "UPDATE": {"worker": "times verdict handled_at"},
    },
    "completion_times": {
        "SELECT": dict.fromkeys(("api", "worker", "readonly"), ALL),
        "INSERT": {"worker": "model task quantity variant seconds"},
        "UPDATE": {"worker": "keep_rank"},
        "DELETE": {"worker": ALL},
    },
    "provider_balance_checks": {
        "SELECT": dict.fromkeys(("api", "worker", "readonly"), ALL),
        "INSERT": {"worker": "-id"},
    },
    # Only who may see the images sees their URLs.
    "files": {
        "SELECT": {"api": ALL, "worker": ALL, "readonly": "-url former_urls"},
        "INSERT": {"api": "id account_id sha256 bytes content_type width height url expires_at"},
        "UPDATE": dict.fromkeys(("api", "worker"), "url former_urls expires_at"),
        "DELETE": {"worker": ALL},
    },
    # Who sets prices compares them with Kie's.
    "kie_models": {**_TOLD_BY_KIE, "SELECT": {**_TOLD_BY_KIE["SELECT"], "pricing": ALL}},
    "kie_surprises": _TOLD_BY_KIE,
    "history_samples": {"SELECT": dict.fromkeys(("api", "worker", "readonly"), ALL)},
    # Sums of other tables.
    "hourly_totals": {"SELECT": dict.fromkeys(("api", "worker", "pricing", "readonly"), ALL)},
    "daily_account_totals": {"SELECT": dict.fromkeys(("api", "worker", "readonly"), ALL)},
    "totals_progress": {"SELECT": dict.fromkeys(("api", "worker", "pricing", "readonly"), ALL)},
    "processes": {
        "SELECT": dict.fromkeys(("api", "worker", "readonly"), ALL),
        **{verb: dict.fromkeys(("api", "worker"), what) for verb, what in _OWN_PROCESS.items()},
    },
    # The identity of this database.
    "installation": {"SELECT": {"api": ALL, "worker": ALL}},
    "darkroom_migrations": {"SELECT": dict.fromkeys(PARTS, ALL)},
    "darkroom_definitions": {"SELECT": dict.fromkeys(PARTS, ALL)},
    "jobs_masked": {"SELECT": dict.fromkeys(("api", "worker", "readonly"), ALL)},
}

FUNCTIONS: Mapping[str, tuple[str, ...]] = {
    "darkroom_enqueue_job": ("api",),
    "darkroom_enqueue_jobs": ("api",),
    "darkroom_create_account": ("api", "billing"),
    "darkroom_set_account_limits": ("api", "billing"),
    "grant_credits": ("api", "billing"),
    "darkroom_grant": ("api", "billing"),
    "darkroom_refund_job": ("api", "billing"),
    "darkroom_set_price": ("api", "pricing"),
    "darkroom_change_price": ("api", "pricing"),
    "darkroom_schedule_price": ("api", "pricing"),
    "darkroom_unschedule_price": ("api", "pricing"),
    "darkroom_price_doubts": ("api", "pricing", "readonly"),
    "darkroom_first_entry_at": ("api", "billing", "readonly"),
    "darkroom_apply_scheduled_prices": ("worker",),
    "darkroom_create_key": ("billing",),
    "darkroom_revoke_key": ("billing",),
    "darkroom_cancel_job": ("api",),
    "darkroom_cancel_jobs": ("api",),
    "darkroom_resolve_unknown": ("api",),
    "darkroom_settle_held": ("api",),
    "darkroom_settle_late": ("api",),
    "darkroom_create_webhook_endpoint": ("api",),
    "darkroom_rotate_webhook_secret": ("api",),
    "darkroom_create_account_secret": ("api",),
    "darkroom_rotate_account_secret": ("api",),
    "darkroom_revoke_account_secret": ("api",),
    "darkroom_replay_webhooks": ("api",),
    "darkroom_pause": ("api",),
    "darkroom_resume": ("api",),
    "darkroom_resume_scope": ("api",),
    "darkroom_record_brake_end": ("api",),
    "darkroom_record_acknowledgement": ("api",),
    "darkroom_route_model": ("api",),
    "darkroom_prune_images": ("api",),
    "darkroom_record_images_deleted": ("api",),
    "darkroom_retry_images": ("api",),
    "darkroom_prune": ("api",),
    "darkroom_prune_at_interval": ("worker",),
    "darkroom_count_prunable": ("api",),
    "darkroom_erase_prompts": ("api",),
    "darkroom_continue_erasures": ("api",),
    "darkroom_record_route_unfit": ("worker",),
    "darkroom_end_route_waits": ("worker",),
    "darkroom_open_session": ("api",),
    "darkroom_record_login_failure": ("api",),
    "darkroom_end_session": ("api", "billing"),
    "darkroom_choose_jobs": ("worker",),
    "darkroom_take_back_jobs": ("worker",),
    "darkroom_waits": ("worker",),
    "darkroom_claim_jobs": ("worker",),
    "darkroom_record_submitted": ("worker",),
    "darkroom_record_stray_task": ("worker",),
    "darkroom_record_deferred": ("worker",),
    "darkroom_record_unknown": ("worker",),
    "darkroom_record_progress": ("worker",),
    "darkroom_hold_for_review": ("worker",),
    "darkroom_settle_jobs": ("worker",),
    "darkroom_release_job": ("worker",),
    "darkroom_held_rows": ("worker",),
    "darkroom_note_late_task": ("worker",),
    "darkroom_claim_late_tasks": ("worker",),
    "darkroom_record_delivered_late": ("worker",),
    "darkroom_claim_images": ("worker",),
    "darkroom_record_image_stored": ("worker",),
    "darkroom_record_image_failed": ("worker",),
    "darkroom_announce_overdue_images": ("worker",),
    "darkroom_record_failed_late": ("worker",),
    "darkroom_end_late_task": ("worker",),
    "darkroom_record_late_check": ("worker",),
    "darkroom_sample_history": ("worker",),
    "darkroom_sum_settlements": ("worker",),
    "darkroom_settlements": ("api", "worker", "readonly"),
    "darkroom_corrections": ("api", "worker", "readonly"),
    "darkroom_covered_period": ("api", "worker", "pricing", "readonly"),
    # These read with the rights of their caller.
    "darkroom_find_masked_jobs": ("api", "readonly"),
    "darkroom_count_masked_jobs": ("api", "readonly"),
    "darkroom_find_jobs": ("api",),
    "darkroom_find_jobs_between": ("api",),
    "darkroom_find_jobs_of_distant_clocks": ("api",),
    "darkroom_find_unretried_jobs": ("api",),
    "darkroom_id_range": ("api",),
    "darkroom_sample_metadata": ("api",),
    "darkroom_count_jobs": ("api",),
    "darkroom_job_matches": ("api",),
    "darkroom_is_retried": ("api",),
    "darkroom_check_filter": ("api",),
    "darkroom_first_id_since": ("api", "worker", "readonly"),
    "darkroom_measure_queue": ("api", "worker", "readonly"),
    "darkroom_waiting_since": ("api", "worker", "readonly"),
    "darkroom_count_scheduled": ("api", "worker", "readonly"),
    "darkroom_places_in_turn": ("api", "readonly"),
    "darkroom_waiting_accounts": ("api", "readonly"),
    "darkroom_pending_work": ("api", "worker"),
    # Depends only on its argument.
    "darkroom_text_hash": ("api",),
    "darkroom_webhook_endpoint": ("api", "worker"),
    "darkroom_clock_distance": ("api",),
}
"""No role may call any other function of ours. Trigger functions need no such right."""

_OF_COLUMNS = """
SELECT relname, verb, role, array_agg(attname::text ORDER BY attnum) AS columns
  FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid,
       unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'REFERENCES']) AS verb, unnest($1::text[]) AS role
 WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v', 'm', 'f')
   AND attnum > 0 AND NOT attisdropped AND has_column_privilege(role, attrelid, attnum, verb)
 GROUP BY relname, verb, role
"""
_OF_TABLES = """
SELECT relname, verb, role, ARRAY['*'] AS columns
  FROM pg_class, unnest(ARRAY['DELETE', 'TRUNCATE', 'TRIGGER']) AS verb, unnest($1::text[]) AS role
 WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v', 'm', 'f')
   AND has_table_privilege(role, oid, verb)
"""
_OUR_FUNCTIONS = """
SELECT pg_proc.oid, proname FROM pg_proc
 WHERE pronamespace = 'public'::regnamespace
   AND NOT EXISTS (SELECT FROM pg_depend
                    WHERE classid = 'pg_proc'::regclass AND objid = pg_proc.oid AND deptype = 'e')
"""


@dataclass(frozen=True, slots=True, order=True)
class Right:
    """One role may do this with these columns of this table."""

    role: str
    verb: str
    table: str
    columns: tuple[str, ...]


def of_whole(rights: Mapping[str, frozenset[str]], role: str) -> frozenset[str]:
    """Return the rights of a role that consists of other roles."""
    return frozenset().union(*(rights.get(part, frozenset()) for part in WHOLES[role]))


def roles(*names: str) -> list[str]:
    return [f"darkroom_{name}" for name in names]


async def columns_of(setup: DatabaseSetup) -> dict[str, tuple[str, ...]]:
    rows = await setup.sql(
        "SELECT relname, array_agg(attname::text ORDER BY attnum) AS columns"
        "  FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid"
        " WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v', 'm', 'f')"
        "   AND attnum > 0 AND NOT attisdropped GROUP BY relname"
    )
    return {row["relname"]: tuple(row["columns"]) for row in rows}


def expected(what: str, columns: tuple[str, ...]) -> frozenset[str]:
    """Return the columns of the pattern: all, all except some, or those named."""
    if what == ALL:
        return frozenset(columns)
    named = frozenset(what.removeprefix("-").split())
    assert named <= set(columns), named
    return frozenset(columns) - named if what.startswith("-") else named


async def test_each_role_has_exactly_the_rights_of_the_list(setup: DatabaseSetup) -> None:
    columns = await columns_of(setup)
    listed: set[Right] = set()
    for table, verbs in RIGHTS.items():
        for verb, of_role in verbs.items():
            allowed = {
                role: frozenset({ALL}) if verb == "DELETE" else expected(what, columns[table])
                for role, what in of_role.items()
            }
            allowed |= {whole: of_whole(allowed, whole) for whole in WHOLES}
            listed |= {
                Right(f"darkroom_{role}", verb, table, tuple(sorted(which)))
                for role, which in allowed.items()
                if which
            }
    everybody = [*roles(*PARTS, *WHOLES), "public"]
    rows = [*await setup.sql(_OF_COLUMNS, everybody), *await setup.sql(_OF_TABLES, everybody)]
    granted = {
        Right(row["role"], row["verb"], row["relname"], tuple(sorted(row["columns"])))
        for row in rows
    }
    assert sorted(granted - listed) == []
    assert sorted(listed - granted) == []
    assert len(granted) > 50


async def test_every_table_is_in_the_list(setup: DatabaseSetup) -> None:
    assert set(RIGHTS) == set(await columns_of(setup))


async def test_each_function_is_for_the_roles_of_the_list_and_nobody_else(
    setup: DatabaseSetup,
) -> None:
    rows = await setup.sql(
        f"SELECT proname, role FROM ({_OUR_FUNCTIONS}) AS ours, unnest($1::text[]) AS role"
        " WHERE has_function_privilege(role, oid, 'EXECUTE')",
        [*roles(*PARTS, *WHOLES), "public"],
    )
    listed = {
        (function, f"darkroom_{role}")
        for function, parts in FUNCTIONS.items()
        for role in (*parts, *(w for w, its in WHOLES.items() if set(its) & set(parts)))
    }
    assert {(row["proname"], row["role"]) for row in rows} == listed


async def test_no_role_may_use_a_sequence(setup: DatabaseSetup) -> None:
    rows = await setup.sql(
        "SELECT relname, role FROM pg_class, unnest($1::text[]) AS role WHERE relkind = 'S'"
        " AND has_sequence_privilege(role, oid, 'USAGE, UPDATE')",
        [*roles(*PARTS, *WHOLES), "public"],
    )
    assert rows == []


async def test_no_role_of_ours_is_more_than_a_set_of_rights(setup: DatabaseSetup) -> None:
    rows = await setup.sql(
        "SELECT rolname FROM pg_roles WHERE rolname = ANY($1)"
        "   AND (rolsuper OR rolcreaterole OR rolcreatedb OR rolcanlogin OR rolreplication"
        "        OR rolbypassrls OR has_schema_privilege(rolname, 'public', 'CREATE')"
        "        OR has_database_privilege(rolname, current_database(), 'CREATE'))",
        roles(*PARTS, *WHOLES),
    )
    assert rows == []
    assert await setup.value(
        "SELECT count(*) FROM pg_roles WHERE rolname = ANY($1)", roles(*PARTS, *WHOLES)
    ) == len(PARTS) + len(WHOLES)
