"""Prints, after the tests of `make test-deployments`, which deployments were tried."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import pytest

from tests.deployments.programs import NOT_INSTALLED

TIMEOUT_SECONDS = 600
"""A test may install packages, or wait longer than a proxy does."""
_PASSED, _FAILED = "tried", "FAILED"
_reports: defaultdict[str, list[pytest.TestReport]] = defaultdict(list)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give these tests more time than those of the suite have."""
    for item in items:
        if Path(__file__).parent in item.path.parents and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(TIMEOUT_SECONDS))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Keep the report of each test, and of each phase that skipped or failed."""
    if report.when == "call" or report.skipped or report.failed:
        _reports[report.nodeid.partition("::")[0]].append(report)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print a line for each file: the outcome of its tests, and what is not installed."""
    if not _reports:
        return
    terminalreporter.section("deployments")
    for file, reports in sorted(_reports.items()):
        terminalreporter.write_line(f"{file.rpartition('/')[2]:<28} {describe_outcome(reports)}")


def describe_outcome(reports: list[pytest.TestReport]) -> str:
    """Return the outcome of the tests of one file in a few words."""
    passed = sum(report.passed for report in reports)
    failed = sum(report.failed for report in reports)
    missing = sorted({_reason(report) for report in reports if report.skipped})
    parts = [f"{_FAILED}: {failed}"] * bool(failed)
    parts += [f"{_PASSED}: {passed}"] * bool(passed)
    return ", ".join([*parts, *missing])


def _reason(report: pytest.TestReport) -> str:
    words = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    reason = words.removeprefix("Skipped: ")
    return reason if reason.startswith(NOT_INSTALLED) else f"skipped: {reason}"
