"""Compares the rights of the database roles with sql/rights.sql."""

from __future__ import annotations

from collections.abc import Sequence

from producer.doctor.finding import Finding
from shared.adapters.postgres.database import Queries

_MAX_NAMED = 6


async def check_privileges(queries: Queries) -> Finding:
    """Find rights that were granted or revoked manually, and logins without their role.

    Raises `PostgresDown`.
    """
    (now,) = await queries.fetch("list_rights")
    (applied,) = await queries.fetch("rights_as_applied")
    found, wanted = set(now["rights"]), set(applied["rights"])
    logins = await queries.fetch("logins_without_their_role")
    faults = [
        *_named("lacks", sorted(wanted - found)),
        *_named("was given", sorted(found - wanted)),
        *(f"login {one['login']} is no member of {one['role']}" for one in logins),
    ]
    if not faults:
        return Finding("privileges", True, "the roles have the rights of sql/rights.sql, no others")
    fixes = [] if found == wanted else ["run `darkroom migrate`, which sets the rights again"]
    fixes += [
        f'GRANT {one["role"]} TO "{one["login"]}"'
        if one["is_there"]
        else f"CREATE ROLE {one['role']} NOLOGIN, then run `darkroom migrate`"
        for one in logins
    ]
    return Finding("privileges", False, "; ".join(faults), "; ".join(dict.fromkeys(fixes)))


def _named(verb: str, rights: Sequence[str]) -> list[str]:
    named = [
        f"role {role} {verb} {privilege}"
        for role, _, privilege in (right.partition(" ") for right in rights[:_MAX_NAMED])
    ]
    left = len(rights) - len(named)
    return [*named, f"{left} more rights"] if left else named
