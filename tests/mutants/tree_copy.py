"""A copy of the tree in a temporary directory, the only place where mutants are written."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from xml.etree import ElementTree

from tests.mutants.mutant_list import Mutant

ROOT = Path(__file__).resolve().parents[2]
_PARTS = ("shared", "producer", "worker", "sql", "tests", "docs", "pyproject.toml")
_PREFIX = "darkroom-mutants-"
_MARK = ".a-copy-for-mutants"
_TEST_TIMEOUT_SECONDS = 60


class NotACopy(Exception):
    """The directory is not a temporary copy, so nothing is changed in it."""


@dataclass(frozen=True, slots=True)
class Failure:
    """The first test that did not pass."""

    test: str
    is_error: bool
    """It could not run, as opposed to: it ran and found something wrong."""
    message: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one run of pytest."""

    exit_code: int | None
    """None: it was ended because it took too long."""
    failures: tuple[Failure, ...]
    tests: int
    seconds: float
    output: str


class TreeCopy:
    """The copy: mutants are written into it, and its own tests run over it."""

    def __init__(self, root: Path) -> None:
        self.root = require_copy(root)

    @contextmanager
    def without_guard(self, mutant: Mutant) -> Iterator[None]:
        """Apply the mutant for the length of the block, then put the file back."""
        file = require_copy(self.root) / mutant.file
        original = file.read_text(encoding="utf-8")
        file.write_text(mutant.applied_to(original), encoding="utf-8")
        try:
            yield
        finally:
            file.write_text(original, encoding="utf-8")

    def run_module(
        self, arguments: Sequence[str], *, timeout_seconds: float
    ) -> tuple[int | None, str]:
        """Run a module of the copy; return its exit code, None where it took too long, and words.

        Without byte code: see `_run`.
        """
        command = [sys.executable, "-m", *arguments]
        return _run(command, require_copy(self.root), timeout_seconds)

    def run(self, tests: Sequence[str], *, timeout_seconds: float, stop_early: bool) -> Outcome:
        """Run these tests over the copy, in this order."""
        report = self.root / "junit.xml"
        report.unlink(missing_ok=True)
        command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.mutants.import_check"]
        command += ["-p", "no:cacheprovider", "-p", "no:randomly", "--tb=short"]
        command += [f"--timeout={_TEST_TIMEOUT_SECONDS}", f"--junit-xml={report}"]
        command += [f"--basetemp={self.root / 't'}", *(["-x"] if stop_early else []), *tests]
        started_at = monotonic()
        exit_code, output = _run(command, require_copy(self.root), timeout_seconds)
        failures, count = _read_report(report)
        return Outcome(exit_code, failures, count, monotonic() - started_at, output)


@contextmanager
def temporary_copy() -> Iterator[TreeCopy]:
    """Copy the tree into a new temporary directory, and remove it afterwards."""
    with tempfile.TemporaryDirectory(prefix=_PREFIX, ignore_cleanup_errors=True) as folder:
        root = Path(folder).resolve()
        for part in _PARTS:
            source = ROOT / part
            if source.is_dir():
                shutil.copytree(
                    source, root / part, ignore=shutil.ignore_patterns("__pycache__", ".*_cache")
                )
            else:
                shutil.copy2(source, root / part)
        (root / _MARK).touch()
        yield TreeCopy(root)


def require_copy(root: Path) -> Path:
    """Return the directory if it is a temporary copy, or raise `NotACopy`."""
    resolved = root.resolve()
    is_temporary = resolved.parent == Path(tempfile.gettempdir()).resolve()
    is_marked = (resolved / _MARK).is_file() and resolved.name.startswith(_PREFIX)
    if not (is_temporary and is_marked) or resolved == ROOT:
        raise NotACopy(f"{root} is not a temporary copy made by this command; nothing was changed")
    return resolved


def _run(command: list[str], root: Path, timeout_seconds: float) -> tuple[int | None, str]:
    # No byte code: a file put back within the same second would look unchanged to Python.
    environment = {**os.environ, "PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"}
    process = subprocess.Popen(
        command,
        cwd=root,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=timeout_seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output, _ = process.communicate()
        return None, output
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise
    return process.returncode, output


def _read_report(report: Path) -> tuple[tuple[Failure, ...], int]:
    if not report.is_file():
        return (), 0
    cases = list(ElementTree.parse(report).getroot().iter("testcase"))  # noqa: S314  # our own
    failures = []
    for case in cases:
        for kind in ("failure", "error"):
            found = case.find(kind)
            if found is not None:
                lines = (found.get("message") or "").strip().splitlines()
                name = case.get("name") or "?"
                failures.append(Failure(name, kind == "error", lines[0] if lines else ""))
    return tuple(failures), len(cases)
