"""A foreign package with the name of one of ours stops a process with an error that names
its file.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from shared.errors import ConfigurationError
from shared.package_guard import require_own_packages

ROOT = Path(__file__).parents[3]


def run(program: str, *path: Path) -> subprocess.CompletedProcess[str]:
    """Run a program with these folders first on the path."""
    return subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        cwd=path[0],
        env={"PYTHONPATH": ":".join(str(folder) for folder in path)},
    )


def test_our_own_packages_pass() -> None:
    require_own_packages()


def test_a_package_of_another_project_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"'shared' at .*__init__\.py is not Darkroom's"):
        require_own_packages(project="another-project")


@pytest.mark.parametrize("name", ["worker", "producer"])
def test_a_foreign_package_earlier_on_the_path_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / name / "__init__.py").write_text("")
    done = run(
        "from shared.package_guard import require_own_packages; require_own_packages()",
        tmp_path,
        ROOT,
    )
    assert done.returncode != 0
    assert f"the package '{name}' is imported from {tmp_path.resolve()}" in done.stderr
    assert "an environment of its own" in done.stderr


def test_a_wrong_setting_ends_the_worker_with_the_code_of_wrong_usage() -> None:
    setting = "import os; os.environ['DATABASE_URL'] = 'postgresql://h/d?sslmod=require'; "
    done = run(f"{setting}import sys; from worker.__main__ import main; sys.exit(main())", ROOT)
    assert done.returncode == 2
    assert "DATABASE_URL: sslmod is no parameter: sslmode is" in done.stderr


def test_a_package_installed_over_ours_stops_the_worker_with_a_sentence(tmp_path: Path) -> None:
    # As pip leaves it: their __init__ replaces ours, and the rest of ours lies around it.
    shutil.copytree(ROOT / "shared", tmp_path / "shared")
    shutil.copytree(ROOT / "worker", tmp_path / "worker")
    (tmp_path / "shared" / "__init__.py").write_text("PROJECT = 'somebody-elses'\n")
    done = run("import sys; from worker.__main__ import main; sys.exit(main())", tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("darkroom worker: the package 'shared' at ")
    assert str(tmp_path / "shared" / "__init__.py") in done.stderr
    assert "Traceback" not in done.stderr
