"""Times that have no year 1 to 9999 in UTC are refused with that, wherever a time is given."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from producer import Producer
from shared.errors import InvalidRequest
from tests.acceptance.cli.cli_program import Darkroom
from tests.support.deployment import Deployment, environment, text_to_image

TIMES = ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:00-14:00"]
YEARS = "must be of the years 1 to 9999 in UTC"
REQUEST = {
    "model": "gpt-4o-image",
    "task": "text-to-image",
    "prompt": "a lighthouse",
    "aspect_ratio": "3:2",
}


@pytest.mark.parametrize("time", TIMES)
async def test_over_http_the_fault_names_field_value_and_years(
    deployment: Deployment, time: str
) -> None:
    bodies: dict[str, tuple[str, dict[str, Any]]] = {
        "/v1/jobs": ("run_at", {**REQUEST, "account_id": "acme", "run_at": time}),
        "/v1/pauses": ("until", {"scope": "everything", "reason": "x", "until": time}),
        "/v1/scheduled-prices": (
            "takes_effect_at",
            {
                "model": "gpt-4o-image",
                "task": "text-to-image",
                "quantity": 2,
                "credits": 8,
                "reason": "x",
                "takes_effect_at": time,
            },
        ),
    }
    async with deployment.api() as api:
        for path, (field, body) in bodies.items():
            sentence = (await api.post(path, body)).faults()[field]
            assert sentence.startswith(f"{time!r} {YEARS}"), sentence
        answer = await api.get("/v1/accounts/acme/statement", **{"from": time})
        assert "of the years 2 to 9998" in answer.faults()["from"]


@pytest.mark.parametrize("time", TIMES)
async def test_in_python_it_is_an_invalid_request(producer: Producer, time: str) -> None:
    at = datetime.fromisoformat(time)
    with pytest.raises(InvalidRequest, match=f"run_at: '{time[:10]}.*{YEARS}"):
        await producer.enqueue(text_to_image(), account_id="acme", run_at=at)
    with pytest.raises(InvalidRequest, match=f"run_at: '{time[:10]}.*{YEARS}"):
        await producer.quote(text_to_image(), account_id="acme", run_at=at)
    with pytest.raises(InvalidRequest, match=f"until: {time[:10]}.*{YEARS}"):
        await producer.pauses.pause("everything", reason="x", until=at)
    with pytest.raises(InvalidRequest, match=f"at: {time[:10]}.*{YEARS}"):
        await producer.billing.price_changes.schedule(
            ("gpt-4o-image", "text-to-image", 1), Decimal(9), at=at, reason="x"
        )


@pytest.mark.parametrize("time", TIMES)
async def test_on_the_command_line_it_is_a_usage_error(
    deployment: Deployment, tmp_path: Path, time: str
) -> None:
    darkroom = Darkroom({**environment(deployment.settings), "COLUMNS": "200"}, tmp_path)
    enqueue = ("--account", "acme", "--prompt", "x", "--run-at", time)
    for words in (
        ("enqueue", *enqueue),
        ("quote", *enqueue),
        ("queue", "pause", "--everything", "--reason", "x", "--until", time),
        ("accounts", "statement", "acme", "--from", time),
    ):
        said = await darkroom.run(*words)
        assert said.code == 2
        assert f"'{time}' {YEARS}" in " ".join(said.err.split())
