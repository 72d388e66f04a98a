"""`make types`: writes the typed parts of the clients from the OpenAPI document."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from clients.generator.openapi_schemas import read_document
from clients.generator.order_rules import order_rules_text
from clients.generator.python_models import (
    models_text,
    orders_text,
    problems_text,
    webhook_models_text,
)
from clients.generator.sync_client import sync_text
from clients.generator.typescript_types import types_text
from tests.support.node_client import compiler

CLIENTS = Path(__file__).parents[1]


def generated_files() -> dict[Path, str]:
    """Return every generated file with its text."""
    document = read_document()
    python = CLIENTS / "python" / "darkroom_client"
    generated = {
        python / "generated" / "models.py": models_text(document),
        python / "generated" / "webhook_models.py": webhook_models_text(document),
        python / "generated" / "orders.py": orders_text(document),
        python / "generated" / "problems.py": problems_text(document),
    }
    for source in (
        python / "async_client.py",
        python / "async_job.py",
        python / "http" / "async_connection.py",
        python / "http" / "async_transport.py",
        python / "http" / "async_wait.py",
    ):
        target = source.with_name(source.name.removeprefix("async_"))
        generated[target] = sync_text(source.read_text(encoding="utf-8"), source.name)
    files = {file: _formatted(text) for file, text in generated.items()}
    files[python / "testing" / "checks" / "order_rules.json"] = order_rules_text(document)
    files[CLIENTS / "node" / "src" / "models.ts"] = types_text(document)
    return files


def _formatted(text: str) -> str:
    """Return Python source as `make check` wants it."""
    ruff = shutil.which("ruff", path=Path(sys.executable).parent) or "ruff"
    fixes = ["check", "--select", "F401,I,UP028", "--fix", "--unsafe-fixes", "--quiet"]
    for command in (fixes, ["format", "--quiet"]):
        text = subprocess.run(
            [ruff, *command, "--stdin-filename", "clients/python/darkroom_client/any.py", "-"],
            input=text,
            capture_output=True,
            text=True,
            check=True,
            cwd=CLIENTS.parent,
        ).stdout
    return text


def main() -> None:
    """Write the files, and build the client for Node."""
    for file, text in generated_files().items():
        file.write_text(text, encoding="utf-8")
    if shutil.which("node"):
        subprocess.run(["node", compiler()], cwd=CLIENTS / "node", check=True)


if __name__ == "__main__":
    main()
