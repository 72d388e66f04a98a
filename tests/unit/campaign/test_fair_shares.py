"""The campaign finds an account that got more than its share."""

from __future__ import annotations

from uuid import UUID

import pytest

from tests.campaign.fair_shares import WEIGHTS, Choice, Choices, count_compared, find_unfair

EARLY = 0.0
ONE, TWO = "harbour", "anchor"
assert (WEIGHTS[ONE], WEIGHTS[TWO]) == (1.0, 2.0)


def choices(accounts: str, *pauses: float) -> Choices:
    """Return choices a second apart, all placed long before: `1` of the first account."""
    return Choices(
        [
            Choice(UUID(int=n), ONE if one == "1" else TWO, "normal", 100.0 + n, EARLY)
            for n, one in enumerate(accounts)
        ],
        pauses,
    )


@pytest.mark.parametrize("order", ["122122122122122122", "212212212212", "1" * 20 + "2", ""])
def test_shares_by_weight_and_a_rest_of_one_account_are_fair(order: str) -> None:
    if order.startswith("11"):
        # All of the second account came only at the end.
        record = choices(order)
        late = record.choices[-1]
        record = Choices([*record.choices[:-1], Choice(late.job_id, TWO, "normal", 120.0, 119.5)])
        assert find_unfair(record) == []
    else:
        assert find_unfair(choices(order)) == []


@pytest.mark.parametrize(
    "order",
    ["1" * 12 + "212", "2" * 18 + "121", "12" * 12 + "2", "2122" + "1" * 9 + "21"],
)
def test_more_than_the_share_is_found(order: str) -> None:
    assert find_unfair(choices(order))


def test_a_pause_ends_a_comparison() -> None:
    order = "1" * 12 + "212"
    assert not find_unfair(choices(order, *(100.5 + n for n in range(len(order)))))


def test_what_was_compared_is_counted() -> None:
    assert count_compared(choices("12212")) == 3
    assert count_compared(choices("1111")) == 0
