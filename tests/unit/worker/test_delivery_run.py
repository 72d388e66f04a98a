"""How late a run of a delivery is, and what it does without its slot."""

from __future__ import annotations

from worker.queue.delivery_run import UNCLAIMED, DeliveryRun, LaneSlots

DUE = 1_000.0
NOW = 1_002.5


def test_a_run_returns_how_late_its_own_delivery_is() -> None:
    first, second = DeliveryRun(due_at=DUE), DeliveryRun(due_at=DUE + 1.0)
    assert (first.lateness_seconds(NOW), second.lateness_seconds(NOW)) == (2.5, 1.5)


def test_a_delivery_that_no_lane_claimed_has_no_lateness_and_no_account() -> None:
    assert UNCLAIMED.lateness_seconds(NOW) is None
    assert UNCLAIMED.gate is None
    with UNCLAIMED.without_slot():
        pass


def test_a_delivery_that_is_run_before_its_time_is_not_late() -> None:
    assert DeliveryRun(due_at=DUE + 60.0).lateness_seconds(NOW) == 0.0


def test_no_more_runs_wait_without_a_slot_than_a_lane_has_slots() -> None:
    changes: list[tuple[str, int]] = []
    slots = LaneSlots(1, lambda arq_id, change: changes.append((arq_id, change)))
    with slots.without_slot("submit:1"):
        with slots.without_slot("submit:2"):
            assert changes == [("submit:1", -1)]
        assert changes == [("submit:1", -1)]
    assert changes == [("submit:1", -1), ("submit:1", 1)]
