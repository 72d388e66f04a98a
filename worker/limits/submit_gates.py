"""Computes how many deliveries a lane may claim for each Kie account, from its submit limit, its
brakes and its share of the lane's slots.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from worker.limits.account_brake import AccountBrake
from worker.limits.family_brake import FamilyBrake

_HAS_LOG, _HAS_BRAKE = 1, 2


def never_paused() -> bool:
    """Return False."""
    return False


@dataclass(frozen=True, slots=True)
class SubmitGate:
    """The submit limit and the brakes of one Kie account, as a claim reads them."""

    throttle_key: str = ""
    throttle_limit: int = 0
    brake: AccountBrake | None = None
    families: tuple[FamilyBrake, ...] = ()
    """The brakes of the model families. While all of them are active, nothing is claimed."""
    is_paused: Callable[[], bool] = never_paused
    """Returns whether a person has paused the submits of this account."""

    @property
    def brake_key(self) -> str:
        """The brake's key, or an empty string where there is none."""
        return self.brake.key if self.brake else ""

    @property
    def keys(self) -> list[str]:
        """The Redis keys that a claim reads: log, brake, and the brakes of the families."""
        own = [key for key in (self.throttle_key, self.brake_key) if key]
        return own + [family.key for family in self.families]

    @property
    def is_braked(self) -> bool:
        """Whether one submit at a time was allowed when the brake was last read."""
        return self.brake is not None and self.brake.is_probing


def ignore_claim(taken: int, free: int, ready: int) -> None:
    """Do nothing. The default where nothing follows from a claim."""


def slots_per_account(accounts: int, slots: int) -> int | None:
    """Return the most slots that one Kie account may use; None where there is one account."""
    return max(slots // accounts, 1) if accounts > 1 else None


class SubmitGates:
    """The gates of one lane. Each delivery is claimed through the gate with the most free slots.

    All gates have the same limit, each with its own throttle log. Each gate has an equal share of
    the lane's `slots`, so that an account that answers slowly does not use the slots of the others.
    """

    def __init__(
        self,
        gates: Sequence[SubmitGate] = (),
        may_claim: Callable[[], bool] = lambda: True,
        *,
        slots: int | None = None,
        on_claim: Callable[[int, int, int], None] = ignore_claim,
    ) -> None:
        self._may_claim = may_claim
        self.on_claim = on_claim
        """Called after each claim: how many it took, how many more it could have taken, and how
        many other deliveries are due."""
        self._gates = tuple(gates) or (SubmitGate(),)
        self.has_gates = bool(gates)
        self.gate_by_delivery: dict[str, int] = {}
        """By running delivery: the index of the gate through which it was claimed."""
        self._share = None if slots is None else slots_per_account(len(self._gates), slots)
        self._without_slot: set[str] = set()
        self._next_index = 0
        self.limit = self._gates[0].throttle_limit
        self.throttle_keys = [gate.throttle_key for gate in self._gates if gate.throttle_key]
        """The throttle logs in which claims reserve."""
        self.families_per_gate = len(self._gates[0].families)
        self.keys = [key for gate in self._gates for key in gate.keys]
        """The Redis keys that a claim reads, of all gates."""
        # By gate: whether it has a log, and whether it has a brake.
        self._key_kinds = [
            _HAS_LOG * bool(gate.throttle_key) + _HAS_BRAKE * bool(gate.brake_key)
            for gate in self._gates
        ]

    def __len__(self) -> int:
        return len(self._gates)

    @property
    def limits_claims(self) -> bool:
        """Whether the end of a run may allow a claim although the lane had free slots."""
        return self.is_any_braked or (
            self._share is not None and 0 in self._free_slots(self._share)
        )

    @property
    def is_any_braked(self) -> bool:
        """Whether the end of a run may allow a probe."""
        return self.has_gates and any(gate.is_braked for gate in self._gates)

    def claim_limits(self, free_slots: int) -> list[int]:
        """Return how many deliveries a claim may take through each gate."""
        if not self._may_claim():
            return [0] * len(self._gates)
        # While a brake is active, one submit at a time is allowed as a probe.
        busy = set(self.gate_by_delivery.values()) if self.is_any_braked else ()
        return [
            0 if gate.is_paused() or (gate.is_braked and place in busy) else free
            for place, (gate, free) in enumerate(
                zip(self._gates, self._free_slots(free_slots), strict=True)
            )
        ]

    def _free_slots(self, free_slots: int) -> list[int]:
        """Return the free slots of the lane for each gate, or what is left of the share of the
        gate.
        """
        if self._share is None:
            return [free_slots] * len(self._gates)
        used = Counter(
            place for name, place in self.gate_by_delivery.items() if name not in self._without_slot
        )
        return [
            min(free_slots, max(self._share - used[place], 0)) for place in range(len(self._gates))
        ]

    def claim_arguments(self, claim_limits: Sequence[int]) -> list[int]:
        """Return the arguments of the claim: the gate to prefer, the number of families of each
        gate, then for each gate which keys it has and the most to claim through it.
        """
        pairs = zip(self._key_kinds, claim_limits, strict=True)
        return [
            self._next_index,
            self.families_per_gate,
            *(number for pair in pairs for number in pair),
        ]

    @property
    def level_count(self) -> int:
        """How many levels a claim returns: one for each gate and each of its families."""
        return len(self._gates) * (1 + self.families_per_gate)

    def set_levels(self, levels: Sequence[int]) -> None:
        """Store the level of each brake that a claim has read."""
        of_gates, of_families = levels[: len(self)], iter(levels[len(self) :])
        for gate, level in zip(self._gates, of_gates, strict=True):
            if gate.brake is not None:
                gate.brake.set_level(int(level))
            for family in gate.families:
                family.set_level(int(next(of_families)))

    def record_claim(self, delivery: str, place: int) -> None:
        """Record through which gate a delivery was claimed."""
        if self.has_gates:
            self.gate_by_delivery[delivery] = place
            self._next_index = (place + 1) % len(self._gates)

    def record_run_end(self, delivery: str) -> None:
        """Forget a delivery whose run has ended."""
        self.gate_by_delivery.pop(delivery, None)
        self._without_slot.discard(delivery)

    def record_slot_use(self, delivery: str, *, is_used: bool) -> None:
        """Record whether a running delivery uses its slot, or waits without one."""
        if is_used:
            self._without_slot.discard(delivery)
        else:
            self._without_slot.add(delivery)
