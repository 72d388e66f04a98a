"""Log lines of child processes as text and as JSON."""

from __future__ import annotations

import json

from producer.cli.processes.log_lines import format_json, format_text, read_line

STARTED = (
    '{"event": "worker_started", "level": "info", "logger": "worker.service",'
    ' "timestamp": "2030-01-31T18:00:01.5Z", "http": "127.0.0.1:8081", "name": "a:1"}'
)


def test_a_json_line_becomes_a_line_with_its_process_in_front() -> None:
    line = read_line("worker", STARTED)
    assert line.started_at == "127.0.0.1:8081"
    shown = format_text(line).plain
    assert shown == "worker    18:00:01 worker_started  http=127.0.0.1:8081 name=a:1"


def test_a_traceback_keeps_its_lines_and_loses_what_steers_a_terminal() -> None:
    text = json.dumps({"event": "oops", "exception": "Traceback\n  boom\x1b[2J"})
    shown = format_text(read_line("api", text)).plain.splitlines()
    assert shown == ["api        oops", "api         Traceback", "api           boom\ufffd[2J"]


def test_any_other_line_is_shown_as_it_is() -> None:
    for text in ("not json", "[1]", '{"no": "event"}'):
        line = read_line("api", text)
        assert line.started_at is None
        assert format_text(line).plain == f"api       {text}"
        assert json.loads(format_json(line)) == {"process": "api", "event": text}


def test_for_programs_a_line_stays_json_and_names_its_process() -> None:
    told = json.loads(format_json(read_line("worker-2", STARTED)))
    assert told["process"] == "worker-2"
    assert told["event"] == "worker_started"
