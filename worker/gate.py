"""What holds a lane back: Kie's limit on new generations, and the brake."""

from __future__ import annotations

from dataclasses import dataclass

from worker.brake import Brake


@dataclass(frozen=True, slots=True)
class Gate:
    """A throttle log ('' means no limit) with its limit, and a brake; the claim looks at both."""

    throttle_key: str = ""
    throttle_limit: int = 0
    brake: Brake | None = None

    @property
    def brake_key(self) -> str:
        """The brake's key, or '' where there is none."""
        return self.brake.key if self.brake else ""

    @property
    def is_braked(self) -> bool:
        """Whether the brake was on when it was last seen."""
        return self.brake is not None and self.brake.level > 0
