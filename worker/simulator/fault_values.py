"""The kinds of value that a fault switch can hold, and how text and JSON become them."""

from __future__ import annotations

import math
from dataclasses import dataclass

SwitchValue = bool | int | float | str | None

_TRUE = frozenset({"true", "yes", "on", "1"})
_FALSE = frozenset({"false", "no", "off", "0"})


class FaultError(ValueError):
    """A fault switch was named or set wrongly; the message says what is allowed."""


@dataclass(frozen=True, slots=True)
class ValueKind:
    """One kind of value: its name, its limits, and whether it may be unset."""

    name: str
    maximum: float = math.inf
    choices: tuple[str, ...] = ()
    may_be_unset: bool = False

    @property
    def allowed(self) -> str:
        """Return what a value of this kind may be, for people."""
        if self.choices:
            return "one of " + ", ".join(self.choices)
        return _ALLOWED[self.name]

    def read(self, given: object) -> SwitchValue:
        """The value for this text or JSON value; raises FaultError when it is not allowed."""
        if self.may_be_unset and (given is None or given == ""):
            return None
        if self.choices:
            return self._read_choice(given)
        if self.name == "text":
            return self._read_text(given)
        if self.name == "yes_or_no":
            return self._read_truth(given)
        number = self._read_number(given)
        if self.name in ("code", "count"):
            if number != int(number):
                raise FaultError(f"{given!r} is not {self.allowed}")
            return int(number)
        return number

    def _read_choice(self, given: object) -> str:
        if isinstance(given, str | int) and str(given) in self.choices:
            return str(given)
        raise FaultError(f"{given!r} is not {self.allowed}")

    def _read_text(self, given: object) -> str:
        if isinstance(given, str):
            return given
        raise FaultError(f"{given!r} is not {self.allowed}")

    def _read_truth(self, given: object) -> bool:
        if isinstance(given, bool):
            return given
        word = str(given).strip().lower()
        if word in _TRUE:
            return True
        if word in _FALSE:
            return False
        raise FaultError(f"{given!r} is not {self.allowed}")

    def _read_number(self, given: object) -> float:
        try:
            if isinstance(given, bool) or not isinstance(given, str | int | float):
                raise ValueError
            number = float(given)
        except (ValueError, OverflowError):
            raise FaultError(f"{given!r} is not {self.allowed}") from None
        if not 0 <= number <= self.maximum or math.isinf(number):
            raise FaultError(f"{given!r} is not {self.allowed}")
        return number


_ALLOWED = {
    "rate": "a probability from 0 to 1",
    "seconds": "a number of seconds, 0 or more",
    "count": "a whole number, 0 or more",
    "code": "a response code from 0 (off) to 999",
    "yes_or_no": "true or false",
    "factor": "a number, 0 or more",
    "text": "text; empty = off",
}

RATE = ValueKind("rate", maximum=1.0)
SECONDS = ValueKind("seconds")
OPTIONAL_SECONDS = ValueKind("seconds", may_be_unset=True)
COUNT = ValueKind("count")
CODE = ValueKind("code", maximum=999)
FACTOR = ValueKind("factor")
TEXT = ValueKind("text")
YES_OR_NO = ValueKind("yes_or_no")


def choice_of(*choices: str, may_be_unset: bool = False) -> ValueKind:
    """A kind whose values are exactly these words."""
    return ValueKind("choice", choices=choices, may_be_unset=may_be_unset)


@dataclass(frozen=True, slots=True)
class SwitchDescription:
    """The description of one switch. One that is `account_wide` cannot be set in a prompt."""

    kind: ValueKind
    meaning: str
    account_wide: bool = False
