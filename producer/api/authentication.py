"""Authenticates requests by their API key, and checks which accounts a key may use."""

from __future__ import annotations

from dataclasses import replace

from aiohttp import web

from producer.actor import Actor
from producer.api.access.direct_requests import explain_indirect
from producer.api.endpoint import Call, Endpoint
from producer.api.responses.http_errors import Forbidden, KeyNeeded
from producer.jobs.job_filter import JobFilter
from producer.jobs.job_mask import MASKED_FILTERS
from producer.keys.key_store import LOCAL_ADMIN, Caller, KeyStore
from producer.keys.roles import Role
from shared.adapters.http.forwarding import client_address
from shared.domain.job import Job
from shared.errors import JobNotFound, KeyRefused

_SCHEME = "bearer "


async def authenticate(keys: KeyStore, request: web.Request, endpoint: Endpoint) -> Caller:
    """Return the caller of a request. Raises `KeyRefused` (401) and `Forbidden` (403).

    While no key was ever created, every direct request to the loopback address is allowed. The
    server then listens on no other address.
    """
    several = request.headers.getall("Authorization", [])
    if len(several) > 1:
        # A proxy may use another one of them than this program.
        raise KeyRefused("malformed")
    given = several[0] if several else None
    if given is None:
        if await keys.has_any_key():
            raise KeyRefused("missing")
        _require_direct_request(request)
        return LOCAL_ADMIN
    if given[: len(_SCHEME)].lower() != _SCHEME:
        raise KeyRefused("malformed")
    caller = await keys.authenticate(given[len(_SCHEME) :].strip())
    if caller.role not in endpoint.roles:
        allowed = ", ".join(sorted(role.value for role in endpoint.roles))
        raise Forbidden(f"a key of the role {caller.role} may not do this; allowed: {allowed}")
    return caller


def _require_direct_request(request: web.Request) -> None:
    """Raise `KeyNeeded` for requests from proxies, from web pages, or to a name of another host."""
    explanation = explain_indirect(request)
    if explanation is not None:
        raise KeyNeeded(explanation)


def caller_actor(call: Call) -> Actor:
    """Return the caller as an actor for audit entries."""
    caller = call.caller
    return Actor(
        f"api:{caller.key_prefix or 'loopback'}",
        via="api",
        # Without a key the role of the caller is not known.
        is_operator=caller.key_prefix is not None and caller.role is not Role.SERVICE,
        key_prefix=caller.key_prefix,
        key_role=caller.role.value if caller.key_prefix is not None else None,
        origin=client_address(call.request),
    )


def caller_account(caller: Caller) -> str | None:
    """Return the account of a service key, or None for the other roles."""
    return caller.account_id if caller.role is Role.SERVICE else None


def require_account(caller: Caller, account_id: str) -> None:
    """Raise `Forbidden` if the key is for another account."""
    bound = caller_account(caller)
    if bound is not None and bound != account_id:
        raise Forbidden(f"this key is for the account {bound!r} alone")


def require_job(caller: Caller, job: Job) -> None:
    """Raise `JobNotFound` if the key is for another account than the job's."""
    bound = caller_account(caller)
    if bound is not None and job.account_id != bound:
        raise JobNotFound(str(job.id))


def restrict_filter(call: Call, where: JobFilter) -> JobFilter:
    """Return the filter for those jobs that the caller may see, or raise `Forbidden`."""
    caller = call.caller
    is_masked = caller.role is Role.VIEWER and not call.context.viewers_see_prompts
    masked = sorted(MASKED_FILTERS & where.to_texts().keys())
    if masked and is_masked:
        raise Forbidden(f"a viewer does not see {masked[0]}, and cannot filter by it")
    if where.account_id is not None:
        require_account(caller, where.account_id)
        return where
    return replace(where, account_id=caller_account(caller))
