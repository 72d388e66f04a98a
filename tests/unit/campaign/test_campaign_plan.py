"""The plan of a campaign, its orders, and the distinction of outages and recoveries."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest

from tests.campaign.campaign_options import CampaignOptions, FaultLevel
from tests.campaign.campaign_orders import (
    SHORT_ACCOUNT,
    OrderBook,
    comes_by_client,
    count_orders,
    is_short,
    is_taken_back,
    key_of,
    number_of,
    order_of,
)
from tests.campaign.fault_plan import FaultKind, draw_plan
from tests.campaign.outage_watch import OutageInterval, overlap_seconds

_DEATHS = {
    FaultKind.DRILL: 2,
    FaultKind.KILL_WORKER: 1,
    FaultKind.KILL_PRODUCER: 1,
    FaultKind.KILL_API: 1,
    FaultKind.KILL_VALKEY: 1,
    FaultKind.KILL_POSTGRES: 1,
}


@pytest.mark.parametrize("kills", [7, 40, 500])
@pytest.mark.parametrize("fault_level", ["usual", "harsh"])
def test_a_plan_kills_exactly_as_often_as_asked_and_every_kind_of_process(
    kills: int, fault_level: FaultLevel
) -> None:
    plan = draw_plan(CampaignOptions(kills=kills, seed=1, fault_level=fault_level), Random(1))
    times = Counter(fault.kind for fault in plan)
    assert sum(times[kind] * deaths for kind, deaths in _DEATHS.items()) == kills
    assert all(times[kind] for kind in _DEATHS)
    assert [fault.at_seconds for fault in plan] == sorted(fault.at_seconds for fault in plan)


def test_the_short_accounts_orders_come_beside_the_jobs_asked_for() -> None:
    numbers = range(count_orders(5_000))
    short = [number for number in numbers if is_short(number)]
    assert len(numbers) - len(short) == 5_000
    assert {order_of(1, number).account_id for number in short} == {SHORT_ACCOUNT}
    assert not any(comes_by_client(number) or is_taken_back(number) for number in short)
    assert OrderBook(1, 5_000, 0.0, 10.0).due(11.0) == len(numbers)


def test_a_third_of_the_orders_comes_by_the_client_and_some_are_taken_back() -> None:
    numbers = range(count_orders(5_000))
    assert 0.3 < sum(map(comes_by_client, numbers)) / len(numbers) < 0.34
    taken_back = [number for number in numbers if is_taken_back(number)]
    assert len(taken_back) > 80
    assert not any(comes_by_client(number) for number in taken_back)
    assert number_of(key_of(17)) == 17


def test_outages_that_overlap_each_other_count_once() -> None:
    outages = [
        OutageInterval("postgres", 14.0, 16.0),
        OutageInterval("valkey", 10.0, 15.0),
        OutageInterval("valkey", 11.0, 12.0),
        OutageInterval("postgres", 30.0, 40.0),
    ]
    assert overlap_seconds(12.0, 35.0, outages) == pytest.approx(4.0 + 5.0)
    assert overlap_seconds(17.0, 29.0, outages) == 0.0
    assert overlap_seconds(0.0, 50.0, []) == 0.0
