"""What holds a lane back: Kie's limit on new generations and the brake, of each Kie account."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from worker.limits.account_brake import AccountBrake
from worker.limits.family_brake import FamilyBrake

_HAS_LOG, _HAS_BRAKE = 1, 2


@dataclass(frozen=True, slots=True)
class SubmitGate:
    """A throttle log ('' means no limit) with its limit, and a brake; the claim looks at both."""

    throttle_key: str = ""
    throttle_limit: int = 0
    brake: AccountBrake | None = None
    families: tuple[FamilyBrake, ...] = ()
    """The brakes of the model families: while each is on, nothing is claimed through this gate."""

    @property
    def brake_key(self) -> str:
        """The brake's key, or '' where there is none."""
        return self.brake.key if self.brake else ""

    @property
    def keys(self) -> list[str]:
        """What a claim looks at: log, brake, and the brakes of the families."""
        own = [key for key in (self.throttle_key, self.brake_key) if key]
        return own + [family.key for family in self.families]

    @property
    def is_braked(self) -> bool:
        """Whether the brake was on when it was last seen."""
        return self.brake is not None and self.brake.level > 0


def slots_per_account(accounts: int, slots: int) -> int | None:
    """Return how many slots each Kie account has at most; None where one account has them all."""
    return max(slots // accounts, 1) if accounts > 1 else None


class SubmitGates:
    """The gates of one lane: each delivery is claimed through one of them, whichever has free_slots.

    Their limits are the same; each has a throttle log of its own. `given` says by delivery, for as
    long as it runs, through which gate it came. Of the lane's `slots` each gate has an equal share,
    so that an account that answers slowly leaves the others theirs.
    """

    def __init__(
        self,
        gates: Sequence[SubmitGate] = (),
        given: dict[str, int] | None = None,
        may_claim: Callable[[], bool] = lambda: True,
        *,
        slots: int | None = None,
    ) -> None:
        self._may_claim = may_claim
        self._gates = tuple(gates) or (SubmitGate(),)
        self._holds = bool(gates)
        self.given = {} if given is None else given
        self._share = None if slots is None else slots_per_account(len(self._gates), slots)
        self._without_slot: set[str] = set()
        self._next_index = 0
        self.limit = self._gates[0].throttle_limit
        self.throttle_keys = [gate.throttle_key for gate in self._gates if gate.throttle_key]
        """The throttle throttle_keys in which claims reserve."""
        self.families_per_gate = len(self._gates[0].families)
        self.keys = [key for gate in self._gates for key in gate.keys]
        """What a claim looks at: log and brake of each gate that has one, and its families'."""
        # For each gate, which of the two are among the keys.
        self._key_kinds = [
            _HAS_LOG * bool(gate.throttle_key) + _HAS_BRAKE * bool(gate.brake_key)
            for gate in self._gates
        ]

    def __len__(self) -> int:
        return len(self._gates)

    @property
    def limits_claims(self) -> bool:
        """Whether a delivery that ends may let another through, though the lane had free_slots."""
        return self.is_any_braked or (
            self._share is not None and 0 in self._free_slots(self._share)
        )

    @property
    def is_any_braked(self) -> bool:
        """Whether a delivery that ends may let another through."""
        return self._holds and any(gate.is_braked for gate in self._gates)

    def limit_per_name(self, free_slots: int) -> list[int]:
        """Return how many a claim may take through each gate."""
        if not self._may_claim():
            return [0] * len(self._gates)
        free_slots_of_gates = self._free_slots(free_slots)
        if not self.is_any_braked:
            return free_slots_of_gates
        # While a brake is on, one job at a time feels the way.
        busy = set(self.given.values())
        return [
            0 if gate.is_braked and place in busy else free_slots_of_gates[place]
            for place, gate in enumerate(self._gates)
        ]

    def _free_slots(self, free_slots: int) -> list[int]:
        """Return the free_slots of the lane for each gate, or less where its share is nearly used up."""
        if self._share is None:
            return [free_slots] * len(self._gates)
        used = Counter(
            place for name, place in self.given.items() if name not in self._without_slot
        )
        return [
            min(free_slots, max(self._share - used[place], 0)) for place in range(len(self._gates))
        ]

    def claim_arguments(self, limit_per_name: Sequence[int]) -> list[int]:
        """Return whose turn it is, how many families each gate has, then for each gate its keys and
        the most to claim through it.
        """
        pairs = zip(self._key_kinds, limit_per_name, strict=True)
        return [
            self._next_index,
            self.families_per_gate,
            *(number for pair in pairs for number in pair),
        ]

    @property
    def level_count(self) -> int:
        """How many levels a claim tells: one for each gate and each of its families."""
        return len(self._gates) * (1 + self.families_per_gate)

    def set_levels(self, levels: Sequence[int]) -> None:
        """Note how hard each brake was applied when a claim looked."""
        of_gates, of_families = levels[: len(self)], iter(levels[len(self) :])
        for gate, level in zip(self._gates, of_gates, strict=True):
            if gate.brake is not None:
                gate.brake.set_level(int(level))
            for family in gate.families:
                family.set_level(int(next(of_families)))

    def record_claim(self, delivery: str, place: int) -> None:
        """Note through which gate a delivery came."""
        if self._holds:
            self.given[delivery] = place
            self._next_index = (place + 1) % len(self._gates)

    def record_run_end(self, delivery: str) -> None:
        """Forget a delivery that runs no more."""
        self.given.pop(delivery, None)
        self._without_slot.discard(delivery)

    def record_slot_use(self, delivery: str, *, is_used: bool) -> None:
        """Note whether a running delivery uses its slot, or waits without one."""
        if is_used:
            self._without_slot.discard(delivery)
        else:
            self._without_slot.add(delivery)
