"""Pauses over HTTP: started, listed, ended, refused, and repeated without harm."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from producer.keys.roles import Role
from tests.acceptance.test_http_access import key_of
from tests.acceptance.test_http_jobs import order
from tests.support.deployment import Deployment

PATH = "/v1/pauses"
OF_ACME = {"scope": "account", "value": "acme", "reason": "they asked"}


async def test_a_paused_account_may_order_and_is_served_after_the_resume(
    deployment: Deployment,
) -> None:
    async with deployment.api() as api, deployment.worker():
        pause = (await api.post(PATH, {**OF_ACME, "for_seconds": 7200})).expect(200)
        left = datetime.fromisoformat(pause["until"]) - datetime.fromisoformat(pause["paused_at"])
        assert left == pytest.approx(timedelta(hours=2), abs=timedelta(seconds=5))
        made = (await api.post("/v1/jobs", order())).expect(202)
        shown = (await api.get("/v1/overview")).expect(200)
        assert [one["id"] for one in shown["pauses"]] == [pause["id"]]
        assert (await api.get(f"/v1/jobs/{made['id']}", wait=1)).expect(200)["attempt"] == 0
        resume = f"{PATH}/{pause['id']}/resume"
        ended = (await api.post(resume)).expect(200)
        assert (ended["is_active"], ended["resumed_by"]) == (False, "api:loopback")
        assert (await api.post(resume)).expect(200) == ended
        done = (await api.get(f"/v1/jobs/{made['id']}", wait=20)).expect(200)
        assert done["state"] == "succeeded"
    deployment.check_paid_once()


async def test_a_repeated_request_starts_one_pause_and_the_list_has_pages(
    deployment: Deployment,
) -> None:
    async with deployment.api() as api:
        first = (await api.post(PATH, OF_ACME)).expect(200)
        assert (await api.post(PATH, OF_ACME)).expect(200) == first
        others = [
            (await api.post(PATH, {"scope": "everything", "reason": f"{number}"})).expect(200)
            for number in range(3)
        ]
        (await api.post(f"{PATH}/{first['id']}/resume")).expect(200)
        page = (await api.get(PATH, limit=2)).expect(200)
        rest = (await api.get(PATH, cursor=page["next_cursor"])).expect(200)
        ids = [one["id"] for one in [*page["pauses"], *rest["pauses"]]]
        assert ids == [*(one["id"] for one in others[::-1]), first["id"]]
        active = (await api.get(PATH, active="true")).expect(200)["pauses"]
        over = (await api.get(PATH, active="false")).expect(200)["pauses"]
        assert [one["id"] for one in active] == ids[:3]
        assert [one["id"] for one in over] == [first["id"]]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"scope": "all"}, "scope"),
        ({"scope": "model", "value": "gpt-4o-imag"}, "value"),
        ({"scope": "kie_account", "value": "studio"}, "value"),
        ({"scope": "everything"}, "value"),
        ({"value": None}, "value"),
        ({"reason": " "}, "reason"),
        ({"until": "2020-01-31T18:00:00Z"}, "until"),
        ({"until": "2030-01-31T18:00:00"}, "until"),
        ({"until": "2030-01-31T18:00:00Z", "for_seconds": 5}, "for_seconds"),
        ({"for_seconds": 5e-324}, "for_seconds"),
        ({"for_seconds": True}, "for_seconds"),
        ({"unitl": "2030-01-31T18:00:00Z"}, "unitl"),
    ],
)
async def test_a_fault_is_reported_with_its_field_and_nothing_is_paused(
    deployment: Deployment, changes: dict[str, object], field: str
) -> None:
    async with deployment.api() as api:
        assert set((await api.post(PATH, {**OF_ACME, **changes})).faults()) == {field}
        (await api.post(PATH, {**OF_ACME, "value": "amce"})).expect(404)
        assert (await api.get(PATH)).expect(200)["pauses"] == []


async def test_viewers_read_pauses_and_services_do_not(deployment: Deployment) -> None:
    viewer = await key_of(deployment, Role.VIEWER)
    service = await key_of(deployment, Role.SERVICE, "acme")
    async with deployment.api() as nobody:
        (await nobody.with_key(viewer).get(PATH)).expect(200)
        (await nobody.with_key(service).get(PATH)).expect(403)
        for key in (viewer, service):
            (await nobody.with_key(key).post(PATH, OF_ACME)).expect(403)
