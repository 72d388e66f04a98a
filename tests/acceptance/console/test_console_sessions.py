"""The sessions in Postgres: with which keys they are opened, and how long their rows stay."""

from __future__ import annotations

import pytest

from producer.actor import Actor
from producer.keys.key_store import Caller, KeyStore
from producer.keys.roles import Role
from producer.keys.session_store import SessionStore
from shared.errors import KeyRefused, NotFound
from tests.support.deployment import Deployment

ACTOR = Actor("console:test", via="console")


@pytest.mark.parametrize("kind", ["revoked", "service", "unknown"])
async def test_a_session_is_opened_only_with_a_key_that_holds_and_is_for_people(
    deployment: Deployment, kind: str
) -> None:
    key_store = KeyStore(deployment.database)
    role = Role.SERVICE if kind == "service" else Role.ADMIN
    key, _ = await key_store.create(role, "acme" if kind == "service" else None)
    if kind == "revoked":
        await key_store.revoke(key.prefix)
    caller = Caller(role, key.account_id, "dk_000000000000" if kind == "unknown" else key.prefix)
    sessions = SessionStore(deployment.database)
    with pytest.raises(KeyRefused):
        await sessions.open(caller, actor=ACTOR, address="127.0.0.1", user_agent=None)
    assert await sessions.list(with_ended=True) == []
    acts = await deployment.run_sql("SELECT act FROM audit_entries WHERE act = 'session_opened'")
    assert acts == []


async def test_ended_sessions_are_listed_for_30_days_and_a_session_ends_once(
    deployment: Deployment,
) -> None:
    key, _ = await KeyStore(deployment.database).create(Role.VIEWER)
    caller = Caller(Role.VIEWER, None, key.prefix)
    sessions = SessionStore(deployment.database)
    tokens = [
        await sessions.open(caller, actor=ACTOR, address="127.0.0.1", user_agent="a" * 900)
        for _ in range(3)
    ]
    old, ended, _ = [await sessions.find(token) for token in tokens]
    assert old is not None
    assert ended is not None
    for one in (old, ended):
        await sessions.end(one.id, actor=ACTOR)
        assert await sessions.find(tokens[0]) is None
        with pytest.raises(NotFound):
            await sessions.end(one.id, actor=ACTOR)
    await deployment.run_sql(
        "UPDATE console_sessions SET ended_at = now() - interval '31 days' WHERE id = $1", old.id
    )
    await sessions.open(caller, actor=ACTOR, address=None, user_agent=None)
    listed = await sessions.list(with_ended=True)
    assert old.id not in {row["id"] for row in listed}
    assert [row["is_open"] for row in listed] == [True, True, False]
    assert len(listed[-1]["user_agent"]) == 300
    assert listed[-1]["ended_by"] == "console:test"
    assert len(await sessions.list()) == 2


async def test_a_token_of_another_form_opens_nothing(deployment: Deployment) -> None:
    sessions = SessionStore(deployment.database)
    for token in ("", "x", "a" * 42, "a" * 43, "a" * 44, "\u00e4" * 43, "a" * 42 + "\n"):
        assert await sessions.find(token) is None


@pytest.mark.promise("session_not_found")
async def test_sessions_are_listed_and_ended_over_http_by_their_own_key_and_by_admins(
    deployment: Deployment,
) -> None:
    keys, sessions = KeyStore(deployment.database), SessionStore(deployment.database)
    texts, tokens = {}, {}
    for name in ("viewer", "operator", "admin"):
        key, texts[name] = await keys.create(Role(name))
        caller = Caller(key.role, None, key.prefix)
        tokens[name] = await sessions.open(
            caller, actor=ACTOR, address="10.0.0.7", user_agent="<b>"
        )
    found = {name: await sessions.find(token) for name, token in tokens.items()}
    ids = {name: str(one.id) for name, one in found.items() if one is not None}
    async with deployment.api() as api:
        viewer, admin = api.with_key(texts["viewer"]), api.with_key(texts["admin"])
        (own,) = (await viewer.get("/v1/sessions")).expect(200)["sessions"]
        assert (own["id"], own["address"], own["is_open"]) == (ids["viewer"], "10.0.0.7", True)
        assert "token" not in str(own)
        listed = (await admin.get("/v1/sessions")).expect(200)["sessions"]
        assert {one["id"] for one in listed} == set(ids.values())
        problem = (await viewer.post(f"/v1/sessions/{ids['operator']}/end")).expect(404)
        assert problem["type"] == "urn:darkroom:problem:session_not_found"
        assert await sessions.find(tokens["operator"]) is not None
        ended = (await admin.post(f"/v1/sessions/{ids['operator']}/end")).expect(200)
        assert (ended["is_open"], ended["ended_by"]) == (False, f"api:{texts['admin'][:15]}")
        assert await sessions.find(tokens["operator"]) is None
        (await admin.post(f"/v1/sessions/{ids['operator']}/end")).expect(404)
        (await viewer.post(f"/v1/sessions/{ids['viewer']}/end")).expect(200)
        (await viewer.post("/v1/sessions/zzz/end")).expect(404)
        assert (await viewer.get("/v1/sessions", ended="yes")).faults().keys() == {"ended"}
        with_ended = (await admin.get("/v1/sessions", ended="true")).expect(200)["sessions"]
        assert [one["is_open"] for one in with_ended] == [True, False, False]
    entry = (await deployment.producer.billing.audit(act="session_ended", limit=1))[0]
    assert (entry["via"], entry["key_role"]) == ("api", "viewer")
