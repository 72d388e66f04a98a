"""Formats the JSON log lines of child processes as text, each with the name of its process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson
from rich.text import Text

from producer.cli.display.text_format import printable

_LEVEL_STYLES = {
    "debug": "dim",
    "info": "",
    "warning": "yellow",
    "error": "red",
    "critical": "bold red",
}
_SHOWN_FIELDS = frozenset({"event", "level", "logger", "timestamp", "exception"})
_STARTED = frozenset({"worker_started", "api_started"})


@dataclass(frozen=True, slots=True)
class LogLine:
    """One output line of a child process."""

    process: str
    text: str
    fields: dict[str, Any]
    """The fields of a JSON log line. Empty for other lines."""

    @property
    def started_at(self) -> str | None:
        """The HTTP address, if the line reports that the process is ready."""
        if self.fields.get("event") in _STARTED:
            return str(self.fields.get("http"))
        return None


def read_line(process: str, text: str) -> LogLine:
    """Return the log line of a text, which need not be JSON."""
    try:
        fields = orjson.loads(text)
    except orjson.JSONDecodeError:
        fields = None
    is_log = isinstance(fields, dict) and "event" in fields
    return LogLine(process, text, fields if is_log else {})


def format_text(line: LogLine) -> Text:
    """Return the line with the name of its process, in the style of its level."""
    shown = Text(f"{line.process:<9} ", style="dim cyan")
    if not line.fields:
        return shown.append(printable(line.text), style="not dim default")
    level = str(line.fields.get("level", "info"))
    time = str(line.fields.get("timestamp", ""))[11:19]
    shown.append(f"{time} ", style="dim default")
    style = f"not dim {_LEVEL_STYLES.get(level, '') or 'default'}"
    shown.append(printable(f"{line.fields['event']}"), style=style)
    rest = " ".join(
        f"{name}={value}"
        for name, value in line.fields.items()
        if name not in _SHOWN_FIELDS and value is not None
    )
    if rest:
        shown.append(f"  {printable(rest)}", style="dim default")
    for trace in str(line.fields.get("exception", "")).splitlines():
        shown.append(f"\n{line.process:<9}   {printable(trace)}", style="dim default")
    return shown


def format_json(line: LogLine) -> str:
    """Return the line as JSON with the name of its process."""
    fields = line.fields or {"event": line.text}
    return orjson.dumps({"process": line.process, **fields}).decode()
