"""Sentences about arguments of a wrong type, for callers of the Python client."""

from __future__ import annotations

from shared.errors import Fault, InvalidRequest

REQUEST_ADVICE = (
    "give a request, such as `TextToImage(prompt=..., aspect_ratio=...)`, or"
    " `build_request(model, task, **fields)` of any model"
)


def describe_type(value: object) -> str:
    """Return what a value is: `None`, `the class TextToImage`, `a dict`, `an int`."""
    if value is None:
        return "None"
    if isinstance(value, type):
        return f"the class {value.__name__}"
    name = type(value).__name__
    return f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}"


def require_type(field: str, value: object, kind: type, advice: str) -> None:
    """Raise `InvalidRequest` if the value is not of this type. `advice` says what to give."""
    if not isinstance(value, kind):
        raise InvalidRequest([Fault(field, f"is {describe_type(value)}; {advice}")])
