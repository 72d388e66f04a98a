"""Requirements m1 to m11 that no other acceptance test names, and responses to bad input."""

from __future__ import annotations

import tomllib
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from producer import (
    IdempotencyConflict,
    InsufficientCredits,
    InvalidRequest,
    JobState,
    PriceMissing,
    TextToImage,
)
from shared.catalog import get_family
from tests.support.deployment import Deployment, text_to_image

ROOT = Path(__file__).parents[2]
DROP_PRICE = (
    "DELETE FROM pricing WHERE model = 'gpt-4o-image' AND task = 'text-to-image' AND quantity = 1"
)


def _refusals(**fields: Any) -> dict[str, str]:
    """Return the message of each refused field of a request."""
    with pytest.raises(InvalidRequest) as refused:
        get_family("gpt-4o-image").validate("text-to-image", {"prompt": "x", **fields})
    return {fault.field: fault.message for fault in refused.value.faults}


async def _count(deployment: Deployment, table: str) -> int:
    rows = await deployment.run_sql(f"SELECT count(*) AS rows FROM {table}")
    return int(rows[0]["rows"])


@pytest.mark.parametrize("ratio", ["1:1", "3:2", "2:3"])
def test_m2_the_three_aspect_ratios_are_taken(ratio: str) -> None:
    request = get_family("gpt-4o-image").validate(
        "text-to-image", {"prompt": "x", "aspect_ratio": ratio}
    )
    submit = get_family("gpt-4o-image").build_submit(request, callback_url=None)
    assert submit.body is not None
    assert submit.body["size"] == ratio


@pytest.mark.parametrize("ratio", ["16:9", "4:3", "1024x1024", "auto", "", None, 1])
def test_m2_any_other_aspect_ratio_is_refused_naming_the_three(ratio: object) -> None:
    message = _refusals(aspect_ratio=ratio)["aspect_ratio"]
    assert all(allowed in message for allowed in ("1:1", "3:2", "2:3"))


@pytest.mark.parametrize("option", ["output_format", "quality", "style"])
def test_m3_format_quality_and_style_are_refused_with_a_sentence_of_their_own(option: str) -> None:
    message = _refusals(aspect_ratio="1:1", **{option: "high"})[option]
    assert "4o" in message


@pytest.mark.parametrize("quantity", [0, 3, 5, -1, "2", True, 2.0, None])
def test_m4_any_other_quantity_is_refused_naming_1_2_and_4(quantity: object) -> None:
    message = _refusals(aspect_ratio="1:1", quantity=quantity)["quantity"]
    assert all(allowed in message for allowed in ("1", "2", "4"))


def test_m11_the_stack_and_the_top_level_are_the_owners() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    runtime = " ".join(project["project"]["dependencies"])
    tests = " ".join(project["dependency-groups"]["dev"])
    assert all(name in runtime for name in ("arq", "redis", "aiohttp", "pydantic-settings"))
    assert "asyncpg" in runtime
    assert all(name in tests for name in ("pytest-asyncio", "aioresponses"))
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert packages == {"worker", "producer", "shared"}
    named = ("sql", "tests", "docker-compose.yml", "pyproject.toml")
    assert all((ROOT / name).exists() for name in named)


async def test_an_invalid_request_is_refused_whole_before_anything_is_stored(
    deployment: Deployment,
) -> None:
    with pytest.raises(InvalidRequest) as refused:
        await deployment.enqueue(
            TextToImage(prompt=" ", aspect_ratio="4:3", quantity=3)  # type: ignore[arg-type]
        )
    assert {fault.field for fault in refused.value.faults} == {
        "prompt",
        "aspect_ratio",
        "quantity",
    }
    assert await _count(deployment, "jobs") == 0


async def test_not_enough_credits_is_refused_with_needed_available_and_held(
    deployment: Deployment,
) -> None:
    await deployment.open_account("poor", 10)
    await deployment.producer.enqueue(text_to_image("first"), account_id="poor")
    with pytest.raises(InsufficientCredits) as refused:
        await deployment.producer.enqueue(text_to_image("second"), account_id="poor")
    error = refused.value
    assert (error.needed, error.available, error.held) == (Decimal(6), Decimal(4), Decimal(6))
    assert await _count(deployment, "jobs") == 1
    await deployment.check_invariants_hold()


async def test_the_same_idempotency_key_gives_the_first_job_again_or_names_what_differs(
    deployment: Deployment,
) -> None:
    request = text_to_image("once")
    first = await deployment.enqueue(request, idempotency_key="order-1")
    assert (await deployment.enqueue(request, idempotency_key="order-1")).id == first.id
    with pytest.raises(IdempotencyConflict, match="quantity"):
        await deployment.enqueue(text_to_image("once", quantity=2), idempotency_key="order-1")
    await deployment.check_account(balance=10_000, held=6)


async def test_without_a_price_row_nothing_is_sold(deployment: Deployment) -> None:
    await deployment.run_sql(DROP_PRICE)
    with pytest.raises(PriceMissing, match="quantity 1"):
        await deployment.enqueue()
    assert await _count(deployment, "jobs") == 0


async def test_without_a_price_row_at_settlement_the_price_of_the_hold_stands(
    deployment: Deployment,
) -> None:
    job = await deployment.enqueue()
    # The row of a job that is open cannot be deleted by hand; a restored backup may lack it.
    await deployment.run_sql("ALTER TABLE pricing DISABLE TRIGGER pricing_keeps_what_is_in_use")
    await deployment.run_sql(DROP_PRICE)
    async with deployment.worker():
        ended = await deployment.ended(job)
    assert ended.state is JobState.SUCCEEDED
    assert ended.credits_charged == ended.credits_quoted == 6
