"""The messages between client and watchdog: one JSON object per line, on a private socket."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from shared.errors import EmbeddedServerError

LONGEST_LINE_BYTES = 8 * 1024 * 1024
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_TAKEN_NAMES = frozenset({"postgres", "valkey", "watchdog"})


@dataclass(frozen=True, slots=True)
class AttachRequest:
    """Requests servers for as long as the connection is open."""

    postgres: bool
    valkey: bool
    linger_seconds: float
    fsync: bool
    timeout_seconds: float


@dataclass(frozen=True, slots=True)
class EnsureRequest:
    """Requests a running auxiliary process."""

    name: str
    argv: tuple[str, ...]
    environ: dict[str, str]
    directory: str
    timeout_seconds: float

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name) or self.name in _TAKEN_NAMES:
            raise EmbeddedServerError(
                f"{self.name!r} cannot name a process: use a lower-case letter, then up to 31"
                f" letters, digits, - and _; not {', '.join(sorted(_TAKEN_NAMES))}"
            )
        if not self.argv:
            raise EmbeddedServerError(f"process {self.name!r} needs a program to run")


Request = AttachRequest | EnsureRequest
_KINDS: dict[str, type[AttachRequest] | type[EnsureRequest]] = {
    "attach": AttachRequest,
    "ensure": EnsureRequest,
}


def encode_request(request: Request) -> bytes:
    """Encode a request as a line."""
    kind = next(name for name, cls in _KINDS.items() if isinstance(request, cls))
    return _encode({"request": kind, **asdict(request)})


def decode_request(line: bytes) -> Request:
    """Decode a request. Raises EmbeddedServerError for an invalid line."""
    try:
        fields: dict[str, Any] = json.loads(line)
        kind = _KINDS[fields.pop("request")]
        if "argv" in fields:
            fields["argv"] = tuple(fields["argv"])
        return kind(**fields)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise EmbeddedServerError(
            "the watchdog does not understand this client: they are of different versions of"
            " Darkroom; end all processes of this DARKROOM_HOME and start again"
        ) from error


def encode_answer(values: Mapping[str, str]) -> bytes:
    """Encode a successful reply as a line."""
    return _encode({"values": dict(values)})


def encode_failure(message: str) -> bytes:
    """Encode a failure as a line."""
    return _encode({"failure": message})


def decode_answer(line: bytes) -> dict[str, str]:
    """Decode a reply. Raises EmbeddedServerError for a failure."""
    answer: dict[str, Any] = json.loads(line)
    if "failure" in answer:
        raise EmbeddedServerError(str(answer["failure"]))
    return {str(name): str(value) for name, value in answer["values"].items()}


def _encode(message: Mapping[str, object]) -> bytes:
    return json.dumps(message).encode() + b"\n"
