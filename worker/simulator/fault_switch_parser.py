"""Reads values of fault switches, and describes the table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from difflib import get_close_matches
from functools import cache
from typing import Any, cast, get_args, get_type_hints

from .fault_switches import FaultSwitches
from .fault_values import FaultError, SwitchDescription, SwitchValue

Overrides = Mapping[str, SwitchValue]


@dataclass(frozen=True, slots=True)
class SwitchEntry:
    """One row of the table: a switch, its default and its description."""

    name: str
    default: SwitchValue
    description: SwitchDescription

    def read(self, given: object) -> SwitchValue:
        """The value for this text or JSON value; raises FaultError naming the switch."""
        try:
            return self.description.kind.read(given)
        except FaultError as error:
            raise FaultError(f"{self.name}: {error}") from None


@cache
def describe_switches() -> Mapping[str, SwitchEntry]:
    """The whole table by name, in its own order."""
    hints = get_type_hints(FaultSwitches, include_extras=True)
    return {
        entry.name: SwitchEntry(
            entry.name,
            cast("SwitchValue", entry.default),
            cast("SwitchDescription", get_args(hints[entry.name])[1]),
        )
        for entry in fields(FaultSwitches)
    }


def find_switch(name: str) -> SwitchEntry:
    """The switch of this name; raises FaultError naming the nearest ones."""
    table = describe_switches()
    if name in table:
        return table[name]
    near = get_close_matches(name, table, n=3, cutoff=0.4)
    hint = f"did you mean {', '.join(near)}?" if near else "GET /simulator/faults lists them"
    raise FaultError(f"there is no fault switch {name!r}; {hint}")


def read_switches(given: Mapping[str, object]) -> dict[str, SwitchValue]:
    """Values for these names, None meaning the default; raises FaultError on the first fault."""
    values: dict[str, SwitchValue] = {}
    for name, value in given.items():
        switch = find_switch(name)
        values[name] = switch.default if value is None else switch.read(value)
    return values


def read_assignments(assignments: Iterable[str]) -> dict[str, SwitchValue]:
    """Values for texts of the form NAME=VALUE, as the command line gives them."""
    given: dict[str, object] = {}
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if not equals:
            raise FaultError(f"{assignment!r} is not of the form NAME=VALUE")
        given[name.strip()] = value.strip()
    return read_switches(given)


def with_switches(faults: FaultSwitches, overrides: Overrides) -> FaultSwitches:
    """The same switches with these values; they must come from one of the readers above."""
    if not overrides:
        return faults
    # The readers have checked every value against its switch, which no type can express.
    return replace(faults, **cast("dict[str, Any]", overrides))


def as_values(faults: FaultSwitches) -> dict[str, SwitchValue]:
    """The switches as plain values by name."""
    return {name: cast("SwitchValue", getattr(faults, name)) for name in describe_switches()}
