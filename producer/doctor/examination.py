"""Runs every check of `darkroom doctor`, on servers, processes and stored data."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any
from urllib.parse import urlsplit

from producer.doctor.alert_findings import check_alerts
from producer.doctor.callback_findings import check_callbacks
from producer.doctor.clock_findings import check_clocks
from producer.doctor.disk_findings import check_disks
from producer.doctor.finding import Finding
from producer.doctor.invariant_findings import check_invariants, connect_for_checks
from producer.doctor.lost_write_findings import FIX, describe_lost_writes
from producer.doctor.price_findings import check_prices
from producer.doctor.privilege_findings import check_privileges
from producer.doctor.process_findings import check_processes
from producer.doctor.redis_findings import check_redis
from producer.doctor.server_findings import check_notifications, describe_servers
from shared.adapters.embedded import find_running_servers
from shared.adapters.monitoring.incident_log import FIXES, POSTGRES
from shared.adapters.postgres.database import Queries
from shared.adapters.postgres.migrations import definition_status, migration_status
from shared.adapters.postgres.sql_definitions import SqlDefinition
from shared.adapters.servers import REDIS_NOT_GIVEN, Servers, open_servers
from shared.domain.counted import counted
from shared.errors import DarkroomError
from shared.settings import Settings

_MAX_NAMED = 5
_STUCK_SECONDS = 3600.0


async def examine(settings: Settings) -> AsyncIterator[Finding]:
    """Run every check and yield its findings. Errors of servers become findings."""
    for finding in check_disks(settings.darkroom_home):
        yield finding
    async with AsyncExitStack() as stack:
        try:
            # Before opening the servers, because that starts the embedded ones.
            running = await asyncio.to_thread(find_running_servers, settings.darkroom_home)
            opening = open_servers(
                settings,
                needs_redis=False,
                check_schema=settings.database_url is None,
                creates_database=False,
            )
            servers = await stack.enter_async_context(opening)
        except DarkroomError as error:
            yield Finding("servers", False, str(error), "see the sentence above")
            return
        yield describe_servers(servers, settings, running)
        if servers.redis_url:
            async for finding in check_redis(servers.redis_url):
                yield finding
        else:
            yield Finding("redis is given", False, REDIS_NOT_GIVEN, "set REDIS_URL")
        try:
            async for finding in _check_database(servers, stack, settings.kie_account_names):
                yield finding
        except DarkroomError as error:
            # Postgres answered the first query, and failed later.
            yield Finding("postgres", False, str(error), FIXES[POSTGRES])
        yield _check_kie_key(settings, servers)
        if settings.kie_callback_url is not None:
            yield await check_callbacks(settings.kie_callback_url, settings, servers.database_url)


async def _check_database(
    servers: Servers, stack: AsyncExitStack, account_names: Sequence[str]
) -> AsyncIterator[Finding]:
    try:
        database = await stack.enter_async_context(connect_for_checks(servers.database_url))
        status = await migration_status(servers.database_url)
        definitions = await definition_status(servers.database_url)
    except DarkroomError as error:
        yield Finding("postgres", False, str(error), FIXES[POSTGRES])
        return
    version = await database.pool.fetchval("SHOW server_version")
    yield Finding("postgres", True, f"PostgreSQL {version} answers")
    missing = [one for one in status if not one.applied_at]
    yield Finding(
        "schema",
        not missing,
        f"{len(missing)} of {len(status)} migrations missing"
        if missing
        else f"all {len(status)} migrations applied",
        "run `darkroom migrate`" if missing else None,
    )
    if missing:
        return
    yield _check_definitions(definitions)
    yield await check_notifications(servers, database)
    privileges = await check_privileges(database)
    yield privileges
    async for finding in check_invariants(database, has_its_rights=privileges.ok):
        yield finding
    yield await check_prices(database)
    rows = await database.fetch("stuck_jobs", _MAX_NAMED, _STUCK_SECONDS)
    named = "; ".join(f"{row['who']}: {row['what']}" for row in rows)
    yield Finding(
        "no job is stuck",
        not rows,
        named or "every open job moves",
        "is a worker running? `darkroom worker`" if rows else None,
    )
    async for finding in check_processes(database, servers.redis_url):
        yield finding
    yield await check_clocks(database, servers.redis_url)
    async for finding in _check_kie_accounts(database, account_names):
        yield finding
    if servers.redis_url:
        yield await _check_lost_writes(database, servers.redis_url)
    async for finding in check_alerts(database, servers.redis_url, account_names):
        yield finding


def _check_definitions(definitions: Sequence[SqlDefinition]) -> Finding:
    other = [one.name for one in definitions if not one.applied_at]
    return Finding(
        "functions and rights",
        not other,
        f"of another version of Darkroom: {', '.join(other)}"
        if other
        else "as this version of Darkroom has them",
        "run `darkroom migrate` of the newest version in use" if other else None,
    )


async def _check_lost_writes(queries: Queries, redis_url: str) -> Finding:
    try:
        lost = await describe_lost_writes(queries, redis_url)
    except DarkroomError as error:
        return Finding("no writes were lost", False, f"cannot be known: {error}", None)
    return Finding(
        "no writes were lost",
        lost is None,
        lost or "Postgres knows all that was delivered",
        None if lost is None else FIX,
    )


async def _check_kie_accounts(queries: Queries, names: Sequence[str]) -> AsyncIterator[Finding]:
    rows = await queries.fetch("jobs_by_provider_account")
    lost = [f"{row['name']} ({row['jobs']} open jobs)" for row in rows if row["name"] not in names]
    if lost:
        yield Finding(
            "kie accounts",
            False,
            f"no key is set here for {', '.join(lost)}",
            "put the key back, in KIE_API_KEYS: nothing else can ask about the tasks of these jobs",
        )
    for row in await queries.fetch("last_balance_checks", list(names)):
        last = dict(row)
        yield _check_kie_balance(
            last, "kie balance" if len(names) == 1 else f"kie balance of {last['name']}"
        )


def _check_kie_balance(last: Mapping[str, Any], name: str) -> Finding:
    if last["verdict"] is None:
        return Finding(name, True, "never checked: a worker does so once a minute")
    drifts = last["drifts"]
    return Finding(
        name,
        not drifts,
        f"last check {last['age_seconds']:.0f} s ago: {last['verdict']}, {last['balance']} credits"
        f" left; drift found {counted(drifts, 'time')} in the last day",
        "see `provider_balance_checks` and compare with Kie's log page" if drifts else None,
    )


def _way_to_kie(settings: Settings) -> str:
    """Return Kie's URL, with the proxy on the way to it."""
    url, proxies = settings.kie_base_url, settings.outbound.proxies
    proxy = proxies.for_url(url)
    if proxy is None:
        return url
    return f"{url} through the proxy {proxy.url} of {proxies.setting_for(urlsplit(url).scheme)}"


def _check_kie_key(settings: Settings, servers: Servers) -> Finding:
    if len(settings.kie_keys) == 1:
        return Finding("kie", True, f"a key is set, for {_way_to_kie(settings)}")
    if settings.kie_keys:
        names = ", ".join(settings.kie_account_names)
        return Finding("kie", True, f"keys are set of {names}, for {_way_to_kie(settings)}")
    if servers.has_given_database:
        return Finding(
            "kie",
            False,
            "KIE_API_KEY is not set: workers refuse to start over a given database",
            "set KIE_API_KEY",
        )
    return Finding("kie", True, "no key is set: the bundled simulator stands in for Kie")
