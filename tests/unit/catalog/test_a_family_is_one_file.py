"""A model is the files that docs/add_a_model.md names: no other file of the product knows it."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from fnmatch import fnmatch
from functools import cache
from pathlib import Path

import pytest

from producer.orders.field_limits import DEFAULT_MODEL
from shared.catalog import list_families

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "add_a_model.md").read_text(encoding="utf-8")
PATTERNS = re.findall(r"^\| `([^`]+)` \|", PAGE.partition("\n## ")[0], re.MULTILINE)
FAMILIES = "shared/catalog/families/"
ADDED = {name: family for name, family in list_families().items() if name != DEFAULT_MODEL}
DEFAULT_MODULE = "gpt4o_image"
NAMES_OF_OPENAI = "producer/api/openai_api/model_names.py"
"""Has names that OpenAI gives to its models. They do not grow with the catalog."""
ROUTES = "model_routes.sql"
"""Has the families that can send the jobs of others: `carries` of the catalog."""

each_family = pytest.mark.parametrize("name", ADDED)


def module_of(name: str) -> str:
    """Return the module of a family: the class of its requests is defined there."""
    request = next(iter(ADDED[name].tasks.values()))
    return request.__module__.rpartition(".")[2]


def names_of(name: str) -> set[str]:
    """Return the name of a family and Kie's names of its models."""
    return {name, *(model.name for model in ADDED[name].kie_models)}


@cache
def sources() -> list[tuple[str, ast.Module]]:
    """Return every file of the product outside the folder of the families."""
    files = [
        file for one in ("shared", "producer", "worker") for file in (ROOT / one).rglob("*.py")
    ]
    named = [(file.relative_to(ROOT).as_posix(), file) for file in files]
    return [
        (path, ast.parse(file.read_text(encoding="utf-8")))
        for path, file in named
        if not path.startswith(FAMILIES)
    ]


@cache
def examples_of(tree: ast.Module) -> frozenset[int]:
    """Return the ids of the nodes in examples, which the OpenAPI document shows."""
    keywords = [node for node in ast.walk(tree) if isinstance(node, ast.keyword)]
    examples = [one for one in keywords if one.arg in {"example", "examples", "json_schema_extra"}]
    return frozenset(id(node) for one in examples for node in ast.walk(one))


def imports_of(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module is not None:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def test_no_code_of_the_product_names_a_model_but_the_default_one() -> None:
    named = {one for name in ADDED for one in names_of(name)}
    found = [
        (path, node.value)
        for path, tree in sources()
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in named
        if path != NAMES_OF_OPENAI and id(node) not in examples_of(tree)
    ]
    assert not found


def test_no_code_of_the_product_imports_a_family_but_the_default_one() -> None:
    package = FAMILIES.replace("/", ".")
    found = [
        (path, imported)
        for path, tree in sources()
        for imported in imports_of(tree)
        if imported.startswith(package) and not imported.startswith(f"{package}{DEFAULT_MODULE}")
    ]
    assert not found


def test_no_statement_of_the_product_names_a_model_but_the_default_one() -> None:
    named = "|".join(re.escape(one) for name in ADDED for one in names_of(name))
    files = [*(ROOT / "sql" / "functions").glob("*.sql"), *(ROOT / "sql" / "queries").glob("*.sql")]
    files += [ROOT / "sql" / "rights.sql", ROOT / "sql" / "roles.sql"]
    assert len(files) > 20
    found = [
        file.name for file in files if re.search(f"'({named})'", file.read_text(encoding="utf-8"))
    ]
    assert [name for name in found if name != ROUTES] == []


def test_the_database_has_the_routes_of_the_catalog() -> None:
    text = (ROOT / "sql" / "functions" / ROUTES).read_text(encoding="utf-8")
    [values] = re.findall(r"VALUES (\('.*\)\)) AS endpoint \(model, via\)", text)
    routes = set(re.findall(r"\('([^']+)', '([^']+)'\)", values))
    assert routes == {(one, name) for name, family in ADDED.items() for one in family.carries}


@each_family
def test_a_family_is_in_each_place_that_the_page_names(name: str) -> None:
    places = {"<module>": module_of(name), "<model>": name, "<number>": "*", "<name>": "*"}
    assert len(PATTERNS) == 4
    for pattern in PATTERNS:
        for word, value in places.items():
            pattern = pattern.replace(word, value)
        found = [*ROOT.glob(pattern)]
        if pattern.startswith("sql/"):
            found = [file for file in found if f"'{name}'" in file.read_text(encoding="utf-8")]
        assert found, pattern


def test_every_file_of_the_families_belongs_to_one_that_the_page_describes() -> None:
    patterns = [re.sub(r"<\w+>", "*", pattern) for pattern in PATTERNS]
    fixtures = [file for file in (ROOT / "tests/fixtures/kie").rglob("*") if file.is_file()]
    files = [*fixtures, *(ROOT / FAMILIES).glob("*.py")]
    strange = [
        file
        for file in files
        if not any(fnmatch(file.relative_to(ROOT).as_posix(), pattern) for pattern in patterns)
    ]
    assert not strange


USE_IT = """
from producer.api.openapi.component_schemas import component_schemas
from producer.api.requests.order_body import parse_order
from producer.cli.request.request_options import list_models, list_other_fields
from shared.catalog import get_family

family = get_family("paper-boat-9")
body = {"account_id": "acme", "model": "paper-boat-9", "task": "text-to-image"}
body |= {"prompt": "a paper boat", "aspect_ratio": "3:2", "paper": "high"}
order = parse_order(body, None, None)
assert (order.request.model, order.request.price_variant) == ("paper-boat-9", "high")
assert family.build_submit(order.request, callback_url=None).body["input"]["paper"] == "high"
assert {"PaperBoat9TextToImage", "PaperBoat9ImageToImage"} <= component_schemas().keys()
assert "paper-boat-9" in list_models().split(", ")
assert "paper" in list_other_fields().split(", ")
print("served")
"""


def test_a_file_that_is_added_is_served_everywhere(tmp_path: Path) -> None:
    for package in ("shared", "producer", "worker"):
        without_caches = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / package, tmp_path / package, ignore=without_caches)
    source = (ROOT / FAMILIES / "gpt_image_1_5.py").read_text(encoding="utf-8")
    for old, new in (("gpt-image-1.5", "paper-boat-9"), ("quality", "paper")):
        source = source.replace(old, new)
    (tmp_path / FAMILIES / "paper_boat_9.py").write_text(source, encoding="utf-8")
    ran = subprocess.run(
        [sys.executable, "-c", USE_IT],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ran.returncode, ran.stdout) == (0, "served\n"), ran.stderr
