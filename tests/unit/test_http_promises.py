"""Every promise of docs/http.md about refusing, revoking and limiting has a test that names it.

A test names what it holds by `@pytest.mark.promise("...")`: a part of the sentence, or the first
cell of a row of the tables of errors and limits. A sentence that promises something of this kind
and is named by none fails here, and so does a name that the page does not have.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "http.md").read_text(encoding="utf-8")
TABLES = ("Errors", "Limits")
PROMISING = re.compile(
    r"\b(refus\w+|revok\w+|at most|up to|within|cut off|alone|never|ends|for good|seconds)\b"
    r"|\b[45]\d\d\b|1,000|\b251\b|\b255\b|without a key|all or none"
)


def sentences() -> list[str]:
    """Return every sentence of the prose, each on one line."""
    prose = re.sub(r"^```.*?^```$", "", PAGE, flags=re.MULTILINE | re.DOTALL)
    found = []
    for block in re.split(r"\n\s*\n|\n(?=- )", prose):
        lines = [line.strip() for line in block.splitlines() if not line.startswith(("|", "#"))]
        found += re.split(r"(?<=[.:])\s+(?=[A-Z`*?])", " ".join(lines))
    return [one.strip() for one in found if one.strip()]


def rows_of(heading: str) -> list[str]:
    """Return the first cell of each row of the table under a heading."""
    section = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("|")][2:]
    return [row.split("|")[1].strip().strip("`") for row in rows]


def named() -> Iterator[tuple[str, str]]:
    """Yield every promise that a test names, with the test."""
    for file in sorted((ROOT / "tests").rglob("test_*.py")):
        text = file.read_text(encoding="utf-8")
        if "mark.promise" not in text:
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                for words in _named_by(node):
                    yield words, f"{file.relative_to(ROOT)}::{node.name}"


def _named_by(node: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[str]:
    for decorator in node.decorator_list:
        if isinstance(decorator, ast.Call) and ast.unparse(decorator.func).endswith("mark.promise"):
            for part in ast.walk(decorator):
                if isinstance(part, ast.Constant) and isinstance(part.value, str):
                    assert node.name.startswith("test_"), node.name
                    yield part.value


def test_every_promise_is_named_by_a_test() -> None:
    words = {one for one, _ in named()}
    promised = [one for one in sentences() if PROMISING.search(one)]
    assert len(promised) > 15
    assert not [one for one in promised if not any(word in one for word in words)]


def test_every_error_and_every_limit_is_named_by_a_test() -> None:
    words = {one for one, _ in named()}
    promised = {row for heading in TABLES for row in rows_of(heading)}
    assert len(promised) > 35
    assert not promised - words


def test_no_test_names_what_the_page_does_not_promise() -> None:
    page = {row for heading in TABLES for row in rows_of(heading)}
    prose = sentences()
    strays = {
        test: word
        for word, test in named()
        if word not in page and not any(word in one for one in prose)
    }
    assert not strays
