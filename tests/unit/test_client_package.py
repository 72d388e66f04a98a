"""The wheel of the Python client, installed beside a service that has folders named like ours."""

from __future__ import annotations

import ast
import subprocess
import sys
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

CLIENT = Path(__file__).parents[2] / "clients" / "python"

PLUGINS_OF_OURS = ("asyncio", "anyio", "hypothesispytest", "schemathesis", "xdist", "valkey")
"""What our own environment would add to the tests of the service."""

SERVICE = """
from darkroom_client import Darkroom
from shared.names import prompt_of


def draw(thing: str) -> list[str]:
    with Darkroom() as darkroom:
        job = darkroom.enqueue(model="gpt-4o-image", prompt=prompt_of(thing), aspect_ratio="1:1")
        return list(job.wait().raise_for_failure().result_urls)
"""
SERVICE_TESTS = """
import time

import pytest
from darkroom_client import JobFailed, problems
from worker.drawing import draw


def test_a_job_succeeds(darkroom):
    started = time.monotonic()
    assert len(draw("cat")) == 1
    assert darkroom.client().account().balance == 994
    print(f"answered after {time.monotonic() - started:.3f} s")


def test_a_job_fails(darkroom, darkroom_kie):
    darkroom_kie.fail("content_policy")
    with pytest.raises(JobFailed) as failed:
        draw("cat")
    assert failed.value.reason == "content_policy"


def test_darkroom_is_down_for_a_moment(darkroom):
    darkroom.refuse(times=2)
    assert len(draw("cat")) == 1


def test_there_are_too_few_credits(darkroom):
    darkroom.set_price("gpt-4o-image", "text-to-image", 2_000)
    with pytest.raises(problems.InsufficientCredits):
        draw("cat")
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel, as `pip install --target` leaves it."""
    folder = tmp_path_factory.mktemp("client")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", folder],
        cwd=CLIENT,
        check=True,
        capture_output=True,
        timeout=100,
    )
    (wheel,) = folder.glob("darkroom_client-*.whl")
    target = folder / "site"
    zipfile.ZipFile(wheel).extractall(target)
    return target


def test_the_wheel_has_one_import_name_and_needs_httpx_alone(installed: Path) -> None:
    names = {one.name for one in installed.iterdir()}
    (info,) = {name for name in names if name.endswith(".dist-info")}
    assert names == {"darkroom_client", info}
    ours = {
        file.relative_to(CLIENT).as_posix()
        for file in (CLIENT / "darkroom_client").rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    assert ours <= {
        file.relative_to(installed).as_posix() for file in installed.rglob("*") if file.is_file()
    }
    metadata = Parser().parsestr((installed / info / "METADATA").read_text("utf-8"))
    needed = metadata.get_all("Requires-Dist", [])
    assert [one[:7] for one in needed if "extra ==" not in one] == ["httpx2<"]
    assert (installed / info / "licenses" / "LICENSE").exists()


def test_the_client_imports_nothing_of_darkroom() -> None:
    files = [*(CLIENT / "darkroom_client").rglob("*.py")]
    trees = [ast.parse(file.read_text("utf-8")) for file in files]
    imported = {
        name.partition(".")[0]
        for tree in trees
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    others = imported - set(sys.stdlib_module_names) - {"__future__"}
    assert others == {"darkroom_client", "httpx2", "pytest"}


def test_a_service_with_its_own_shared_and_worker_folders_tests_against_it(
    installed: Path, tmp_path: Path
) -> None:
    """The fixtures come by the entry point alone: the service has no conftest."""
    files = {
        # Without these, the `shared` and `worker` of this checkout would win.
        "shared/__init__.py": "",
        "worker/__init__.py": "",
        "shared/names.py": "def prompt_of(thing: str) -> str:\n    return f'a {thing}'\n",
        "worker/drawing.py": SERVICE,
        "tests/test_drawing.py": SERVICE_TESTS,
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-s", "-W", "error", "--rootdir", "."),
            *(f"-pno:{name}" for name in ("cacheprovider", *PLUGINS_OF_OURS)),
            "tests",
        ],
        cwd=tmp_path,
        env={"PYTHONPATH": f"{tmp_path}:{installed}"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 passed" in done.stdout
