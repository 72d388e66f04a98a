"""What Kie says of its models is the same over HTTP, at the command line and in Python."""

from __future__ import annotations

import pytest

from producer.keys.key_store import KeyStore
from producer.keys.roles import Role
from tests.acceptance.cli.cli_program import Darkroom
from tests.support.deployment import Deployment

CHECKED = """
    INSERT INTO kie_models (kie_model, family, sold_as, tasks, checked_at, is_listed, missing_parts,
                            price_text, price_credits, rated_at, success_percent,
                            usual_success_percent, catalog_fingerprint)
    VALUES ('4o-image-api', '4o-image-api', '{gpt-4o-image}', '{text-to-image}', now(), true,
            '{size=3:2}', 'now 8 credits', '{8}', now(), 42.5, 99.1, 'x')
"""
SEEN = """
    INSERT INTO kie_surprises (day, family, kind, value, seen, example)
    VALUES ((now() AT TIME ZONE 'UTC')::date - $1::integer, 'gpt-4o-image', 'field', 'etaSeconds',
            7, '{}')
"""


async def test_http_and_the_command_line_show_the_same(
    deployment: Deployment, darkroom: Darkroom
) -> None:
    _, key = await KeyStore(deployment.database).create(Role.VIEWER, None)
    async with deployment.api() as nobody:
        api = nobody.with_key(key)
        assert (await api.get("/v1/kie/models")).expect(200) == {"models": []}
        compared = (await api.get("/v1/prices/comparison")).expect(200)["prices"]
        assert {one["verdict"] for one in compared} == {"not_asked"}
        await deployment.run_sql(CHECKED)
        for days in (0, 6, 7):
            await deployment.run_sql(SEEN, days)
        models = (await api.get("/v1/kie/models")).expect(200)["models"]
        surprises = (await api.get("/v1/kie/surprises")).expect(200)["surprises"]
        compared = (await api.get("/v1/prices/comparison")).expect(200)["prices"]
    assert [one["missing_parts"] for one in models] == [["size=3:2"]]
    assert [(one["value"], one["seen"]) for one in surprises] == [("etaSeconds", 7)] * 2
    moved = [one for one in compared if one["verdict"] == "moved"]
    assert [(one["task"], one["quantity"], one["kie_credits"]) for one in moved] == [
        ("text-to-image", 1, [8])
    ]
    told = await darkroom.run_all(
        ("kie", "models", "--json"),
        ("kie", "surprises", "--json"),
        ("prices", "compare", "--json"),
        ("kie", "models"),
        ("prices", "compare"),
    )
    assert [one.objects for one in told[:3]] == [models, surprises, compared]
    assert "differs: size=3:2" in told[3].out
    assert "moved" in told[4].out
    assert "now 8 credits" in told[4].err


@pytest.mark.parametrize("query", [{"days": 0}, {"days": 91}, {"days": "x"}, {"day": 3}])
async def test_a_wrong_period_of_surprises_is_refused(
    deployment: Deployment, query: dict[str, object]
) -> None:
    async with deployment.api() as api:
        faults = (await api.get("/v1/kie/surprises", **query)).faults()
    assert set(faults) == set(query)
