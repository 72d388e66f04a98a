"""Runs the tests in several processes, which are forked when all tests are collected.

Processes that collect for themselves, such as those of pytest-xdist, each need 9 s of CPU before
their first test. These take the next file that nobody has taken, send their reports to the process
that forked them, and have fixtures, captured output and a folder for temporary files of their own.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import struct
import sys
import traceback
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pytest
from _pytest.runner import runtestprotocol

_NUMBER = struct.Struct("I")
"""The place of a file in the order, as it is written to the pipe from which processes take one."""
_CHUNK_BYTES = 1 << 16


@dataclass
class _Process:
    """One forked process, as the process that forked it sees it."""

    pid: int
    reports: int
    """Where its reports are read, each a line."""
    unread: bytes = b""

    def read_lines(self) -> Sequence[bytes] | None:
        """Return what has arrived, or None at the end. For a pipe that is readable."""
        chunk = os.read(self.reports, _CHUNK_BYTES)
        if not chunk:
            return None
        *lines, self.unread = (self.unread + chunk).split(b"\n")
        return lines


class ForkedRun:
    """The plugin, for a number of processes. `prepare` is called once, before they are forked."""

    def __init__(self, processes: int, prepare: Callable[[], object] = lambda: None) -> None:
        self._processes = processes
        self._prepare = prepare
        self._begun: set[str] = set()
        self._ended: set[str] = set()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool | None:
        """Run all tests; pytest itself does if it has only to list them or to refuse."""
        if session.config.option.collectonly or session.testsfailed or not session.items:
            return None
        files: defaultdict[str, list[pytest.Item]] = defaultdict(list)
        for item in session.items:
            files[item.location[0]].append(item)
        terminal = session.config.pluginmanager.get_plugin("terminalreporter")
        if terminal is not None:
            terminal.showfspath = False  # tests of several files end in between
        self._prepare()
        running = self._fork_all(session, list(files.values()))
        try:
            self._read_reports(session, running)
        except BaseException:
            for one in running:
                os.kill(one.pid, signal.SIGINT)
            raise
        finally:
            ends = [os.waitstatus_to_exitcode(os.waitpid(one.pid, 0)[1]) for one in running]
        self._report_what_was_not_run(session, ends)
        return True

    def _fork_all(
        self, session: pytest.Session, files: Sequence[Sequence[pytest.Item]]
    ) -> Sequence[_Process]:
        # Made here, so that the folders of all processes lie in one.
        session.config._tmp_path_factory.getbasetemp()  # type: ignore[attr-defined]
        queue = _queue_of(len(files))
        sys.stdout.flush()
        sys.stderr.flush()
        try:
            return [_fork(session, files, queue, number) for number in range(self._processes)]
        finally:
            os.close(queue)

    def _read_reports(self, session: pytest.Session, running: Sequence[_Process]) -> None:
        with selectors.DefaultSelector() as selector:
            for process in running:
                selector.register(process.reports, selectors.EVENT_READ, process)
            while selector.get_map():
                for key, _ in selector.select():
                    lines = key.data.read_lines()
                    if lines is None:
                        selector.unregister(key.fd)
                        os.close(key.fd)
                        continue
                    for line in lines:
                        self._pass_on(session, json.loads(line))

    def _pass_on(self, session: pytest.Session, data: dict[str, Any]) -> None:
        hook = session.config.hook
        report = hook.pytest_report_from_serializable(config=session.config, data=data)
        if report.nodeid not in self._begun:
            self._begun.add(report.nodeid)
            hook.pytest_runtest_logstart(nodeid=report.nodeid, location=report.location)
        hook.pytest_runtest_logreport(report=report)
        if report.when == "teardown":
            self._ended.add(report.nodeid)
            hook.pytest_runtest_logfinish(nodeid=report.nodeid, location=report.location)
        if session.shouldfail:
            raise session.Failed(session.shouldfail)

    def _report_what_was_not_run(self, session: pytest.Session, ends: Sequence[int]) -> None:
        """Let each test fail whose process did not live to its end."""
        for item in session.items:
            if item.nodeid not in self._ended:
                words = f"not run to its end: the processes of the tests ended with {ends}"
                lost = pytest.TestReport(
                    item.nodeid, item.location, {}, "failed", words, when="call"
                )
                session.config.hook.pytest_runtest_logreport(report=lost)
        if any(ends) and not session.testsfailed:
            raise session.Failed(f"the processes of the tests ended with {ends}")


class _Sending:
    """The plugin of a forked process: runs a test, and sends what would be logged."""

    def __init__(self, config: pytest.Config, reports: int) -> None:
        self._config = config
        self._reports = reports

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> bool:
        """Run the test."""
        for report in runtestprotocol(item, log=False, nextitem=nextitem):
            data = self._config.hook.pytest_report_to_serializable(
                config=self._config, report=report
            )
            unsent = memoryview(json.dumps(data).encode() + b"\n")
            while unsent:
                unsent = unsent[os.write(self._reports, unsent) :]
        return True


def _queue_of(files: int) -> int:
    """Return a pipe from which several processes may each take the numbers of files."""
    queue, end = os.pipe()
    os.write(end, b"".join(_NUMBER.pack(number) for number in range(files)))
    os.close(end)
    return queue


def _fork(
    session: pytest.Session, files: Sequence[Sequence[pytest.Item]], queue: int, number: int
) -> _Process:
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid:
        os.close(theirs)
        return _Process(pid, ours)
    code = 1
    try:
        os.close(ours)
        _run_files(session, files, queue, theirs, number)
        code = 0
    except KeyboardInterrupt:
        pass
    except BaseException:
        traceback.print_exc(file=sys.__stderr__)
    finally:
        # What is loaded is not taken apart: the system would copy each page of it first.
        os._exit(code)


def _run_files(
    session: pytest.Session,
    files: Sequence[Sequence[pytest.Item]],
    queue: int,
    reports: int,
    number: int,
) -> None:
    config = session.config
    capture: Any = config.pluginmanager.get_plugin("capturemanager")
    capture.stop_global_capturing()
    capture.start_global_capturing()
    factory = config._tmp_path_factory  # type: ignore[attr-defined]
    factory._basetemp = factory.mktemp(f"p{number}", numbered=False)
    config.pluginmanager.register(_Sending(config, reports))
    try:
        following = _take(files, queue)
        while following:
            items, following = following, []
            for item, following_item in pairwise(items):
                config.hook.pytest_runtest_protocol(item=item, nextitem=following_item)
            following = _take(files, queue)
            config.hook.pytest_runtest_protocol(
                item=items[-1], nextitem=following[0] if following else None
            )
    finally:
        capture.stop_global_capturing()


def _take(files: Sequence[Sequence[pytest.Item]], queue: int) -> Sequence[pytest.Item]:
    """Return the tests of a file that nobody has taken, or none."""
    number = os.read(queue, _NUMBER.size)
    return files[_NUMBER.unpack(number)[0]] if number else []
