"""Who asks, and what they may: the key of a request, and the account that it is bound to."""

from __future__ import annotations

from aiohttp import web

from producer.actor import Actor
from producer.api.direct_requests import explain_indirect
from producer.api.endpoint import Call, Endpoint
from producer.api.responses.http_errors import Forbidden, KeyNeeded
from producer.keys.key_store import LOCAL_ADMIN, Caller, KeyStore, Role
from shared.domain.job import Job
from shared.errors import JobNotFound, KeyRefused

_SCHEME = "bearer "


async def authenticate(keys: KeyStore, request: web.Request, endpoint: Endpoint) -> Caller:
    """Return who asks. Raises `KeyRefused` (401) and `Forbidden` (403), each with its reason.

    While no key was ever made, whoever reaches the loopback address directly may do everything;
    the server then listens nowhere else.
    """
    several = request.headers.getall("Authorization", [])
    if len(several) > 1:
        # Which of them counts is read in two ways by two programs: a proxy and this one.
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
    """Refuse what came through a proxy, from a web page, or under another name than localhost."""
    explanation = explain_indirect(request)
    if explanation is not None:
        raise KeyNeeded(explanation)


def caller_actor(call: Call) -> Actor:
    """Return who asks, as the audit entries name him."""
    caller = call.caller
    return Actor(
        f"api:{caller.key_prefix or 'loopback'}",
        via="api",
        # Without keys nobody has said that he is anything else than the caller.
        is_operator=caller.key_prefix is not None and caller.role is not Role.SERVICE,
        key_prefix=caller.key_prefix,
        key_role=caller.role.value if caller.key_prefix is not None else None,
        origin=call.request.remote,
    )


def caller_account(caller: Caller) -> str | None:
    """Return the account that a service key is bound to, or None for staff."""
    return caller.account_id if caller.role is Role.SERVICE else None


def require_account(caller: Caller, account_id: str) -> None:
    """Raise `Forbidden` where the key is bound to another account."""
    bound = caller_account(caller)
    if bound is not None and bound != account_id:
        raise Forbidden(f"this key is for the account {bound!r} alone")


def require_job(caller: Caller, job: Job) -> None:
    """Raise `JobNotFound` where the job is another account's: a key sees its own account only."""
    bound = caller_account(caller)
    if bound is not None and job.account_id != bound:
        raise JobNotFound(str(job.id))
