"""Tests in forked processes are reported as in one, whatever becomes of a process."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from xml.etree import ElementTree

from tests.support.forked_programs import ROOT

PLUGINS = ("cacheprovider", "asyncio", "schemathesis", "hypothesispytest")
"""They take longer to load than the tests below."""
CONFTEST = """
import os, sys
sys.path.insert(0, {root!r})
from pathlib import Path
import pytest
from tests.support.forked_run import ForkedRun

def pytest_configure(config):
    config.pluginmanager.register(ForkedRun(2))

@pytest.fixture(scope="session", autouse=True)
def of_process():
    yield
    Path({root_of_tests!r}, f"done-{{os.getpid()}}").touch()
"""
FINE = """
import os, time
from pathlib import Path
import pytest
HERE = Path(__file__).parent

def test_another_file_runs_beside_this_one(tmp_path):
    (HERE / {own!r}).write_text(str(tmp_path))
    while not (HERE / {other!r}).exists():
        time.sleep(0.01)

@pytest.mark.parametrize("number", range(3))
def test_numbers(number):
    print("written by", os.getpid())
    assert number != {wrong}
"""
LOST = """
import os, signal

def test_kills_its_process():
    os.kill(os.getpid(), signal.SIGKILL)

def test_after():
    pass
"""


async def run_tests(folder: Path, *options: str) -> tuple[int | None, str]:
    values = {"root": str(ROOT), "root_of_tests": str(folder)}
    (folder / "pytest.ini").write_text("[pytest]\n")
    (folder / "conftest.py").write_text(CONFTEST.format(**values))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "pytest", "-c", str(folder / "pytest.ini")),
        *(f"-pno:{name}" for name in PLUGINS),
        *(f"--junitxml={folder / 'out.xml'}", *options, str(folder)),
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate()
    return process.returncode, out.decode()


def outcomes(folder: Path) -> dict[str, list[str]]:
    """Return what the report in XML says of each test: nothing, or what was wrong."""
    cases = ElementTree.parse(folder / "out.xml").getroot().iter("testcase")  # noqa: S314
    return {
        f"{case.get('classname')}::{case.get('name')}": [
            f"{part.tag}: {part.get('message')}" for part in case if part.tag != "system-out"
        ]
        for case in cases
    }


async def test_two_processes_run_files_side_by_side_and_each_test_is_reported_once(
    tmp_path: Path,
) -> None:
    (tmp_path / "test_a.py").write_text(FINE.format(own="a", other="b", wrong=1))
    (tmp_path / "test_b.py").write_text(FINE.format(own="b", other="a", wrong=None))
    code, out = await run_tests(tmp_path)
    found = outcomes(tmp_path)
    assert (code, len(found)) == (1, 8), out
    assert [name for name, wrong in found.items() if wrong] == ["test_a::test_numbers[1]"]
    assert out.count("Captured stdout call") == 1
    assert "1 failed, 7 passed" in out
    assert len(list(tmp_path.glob("done-*"))) == 2
    assert (tmp_path / "a").read_text() != (tmp_path / "b").read_text()


async def test_what_a_killed_process_has_not_run_fails_by_name(tmp_path: Path) -> None:
    (tmp_path / "test_a.py").write_text(LOST)
    (tmp_path / "test_b.py").write_text("def test_fine():\n    pass\n")
    code, out = await run_tests(tmp_path)
    found = outcomes(tmp_path)
    assert (code, found.pop("test_b::test_fine")) == (1, []), out
    assert found.keys() == {"test_a::test_kills_its_process", "test_a::test_after"}
    assert all("-9" in wrong for (wrong,) in found.values())


async def test_the_first_failure_stops_all_processes_where_that_is_asked(tmp_path: Path) -> None:
    (tmp_path / "test_a.py").write_text("def test_wrong():\n    assert False\n")
    (tmp_path / "test_b.py").write_text("import time\ndef test_long():\n    time.sleep(60)\n")
    async with asyncio.timeout(30):
        code, out = await run_tests(tmp_path, "-x")
    assert code == 1
    assert "stopping after 1 failures" in out
