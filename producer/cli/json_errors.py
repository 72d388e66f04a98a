"""Errors as JSON under `--json`: one object on the last line of stderr, as a problem over HTTP."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from producer.cli.display.error_output import next_command, print_error
from producer.cli.exit_codes import ExitCode, code_of
from shared.errors import DarkroomError

_IS_JSON: ContextVar[bool] = ContextVar("errors are JSON", default=False)

_STOPS = {
    ExitCode.INTERRUPTED: ("interrupted", "interrupted by Ctrl-C; what was stored stays"),
    ExitCode.TERMINATED: ("terminated", "ended by SIGTERM; what was stored stays"),
}


def is_json_asked(words: Sequence[str]) -> bool:
    """Return whether the words of a command line have the option `--json`."""
    return "--json" in (words[: words.index("--")] if "--" in words else words)


@contextmanager
def errors_as_json() -> Iterator[None]:
    """Write the errors of this block as JSON."""
    token = _IS_JSON.set(True)
    try:
        yield
    finally:
        _IS_JSON.reset(token)


def report_error(error: DarkroomError, command: str) -> None:
    """Write an error to stderr. `command` is the typed command without its arguments."""
    if not _IS_JSON.get():
        print_error(error, command)
        return
    from producer.orders.error_json import error_members

    _write(
        error.code,
        str(error) or type(error).__name__,
        code_of(error),
        **error_members(error),
        next=next_command(error, command),
    )


def report_usage_error(error: Any) -> None:
    """Write what the parser of the command line refuses. `error` is Typer's `UsageError`."""
    option = getattr(error, "param_hint", None)
    if option is None and getattr(error, "param", None) is not None:
        option = error.param.opts[0] if error.param.opts else error.param.name
    field = option if isinstance(option, str) else " ".join(option or ())
    command = error.ctx.command_path if error.ctx is not None else "darkroom"
    detail = error.format_message()
    fault = {
        "field": field or getattr(error, "option_name", ""),
        "message": error.message.removeprefix("Value error, ") or detail,
    }
    _write("usage", detail, ExitCode.USAGE, errors=[fault], next=f"{command} --help")


def report_stop(code: int) -> None:
    """Write that the command was stopped by a signal, if `code` says so."""
    stop = _STOPS.get(ExitCode(code)) if code in _STOPS else None
    if stop is not None:
        _write(*stop, ExitCode(code))


def report_refusal() -> None:
    """Write that a question was answered with no."""
    _write(
        "not_confirmed", "the question was answered with no; nothing was changed", ExitCode.ERROR
    )


def _write(code: str, detail: str, exit_code: ExitCode, **members: Any) -> None:
    import orjson

    from producer.orders.error_json import TYPE_PREFIX

    told = {name: value for name, value in members.items() if value is not None}
    problem = {"type": TYPE_PREFIX + code, "detail": detail, "exit_code": int(exit_code), **told}
    sys.stderr.write(orjson.dumps(problem).decode() + "\n")
    sys.stderr.flush()
