"""Directives in a prompt: ``[[sim: name=value, name2=value2]]`` sets switches for one request."""

from __future__ import annotations

import re

from .fault_switch_parser import Overrides, find_switch
from .fault_values import FaultError, SwitchValue

_OPENING = "[[sim:"
_DIRECTIVE = re.compile(r"\[\[sim:([^\]]*)\]\]")


def read_directives(prompt: str) -> Overrides:
    """The switches that the prompt sets, usually none.

    Raises FaultError when a directive is malformed, unknown, or account-wide: a test that
    misspells its fault must not pass for want of it.
    """
    if _OPENING not in prompt:
        return {}
    found = _DIRECTIVE.findall(prompt)
    if len(found) != prompt.count(_OPENING):
        raise FaultError("a [[sim: …]] directive is not closed with ]]")
    values: dict[str, SwitchValue] = {}
    for body in found:
        for pair in body.split(","):
            name, equals, value = (part.strip() for part in pair.partition("="))
            if not equals:
                raise FaultError(f"{pair.strip()!r} in a directive is not of the form name=value")
            switch = find_switch(name)
            if switch.description.account_wide:
                raise FaultError(f"{name} concerns the whole account and cannot stand in a prompt")
            values[name] = switch.read(value)
    return values
