"""Why an API key is refused, as a word and as a sentence."""

from __future__ import annotations

from typing import Literal

KeyRefusal = Literal["missing", "malformed", "unknown", "revoked"]
"""Why an API key is refused. `revoked` is returned only for a complete, correct key."""
KEY_REFUSAL_MESSAGES: dict[KeyRefusal, str] = {
    "missing": "an API key is needed; send it in the header `Authorization: Bearer dk_...`",
    "malformed": (
        "this is no API key: one is dk_, 12 letters or digits, _, and 43 letters or digits,"
        " as `darkroom keys create` printed it"
    ),
    "unknown": "this API key is not known here; ask an operator for one",
    "revoked": "this API key was revoked; ask an operator for another",
}
