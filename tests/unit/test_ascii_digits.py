"""Digits are ASCII wherever a text is judged: Python takes those of every script for digits.

`"\u0663".isdigit()`, `int("\u0663")` and `\\d` all say yes, and a database, a resolver or another
program reads something else.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
JUDGES = frozenset({"isdigit", "isdecimal", "isnumeric", "isalnum"})


def our_files() -> list[Path]:
    return [
        file
        for folder in ("shared", "producer", "worker")
        for file in sorted((ROOT / folder).rglob("*.py"))
    ]


def unsafe_digit_checks(text: str) -> Iterator[int]:
    """Yield the lines that ask whether a text has digits without asking for ASCII."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            line = text.splitlines()[node.lineno - 1]
            if node.func.attr in JUDGES and "isascii()" not in line:
                yield node.lineno
            if node.func.attr == "compile" and ast.unparse(node.func.value) == "re":
                call = ast.unparse(node)
                if re.search(r"\\d", call) and "re.ASCII" not in call and "b'" not in call:
                    yield node.lineno


def test_no_text_is_judged_by_digits_of_other_scripts() -> None:
    found = [
        f"{file.relative_to(ROOT)}:{line}"
        for file in our_files()
        for line in unsafe_digit_checks(file.read_text(encoding="utf-8"))
    ]
    assert not found


def test_the_check_finds_what_it_checks_for() -> None:
    assert list(unsafe_digit_checks('x = "1".isdigit()\n')) == [1]
    assert list(unsafe_digit_checks('import re\ny = re.compile(r"\\d+")\n')) == [2]
    assert not list(unsafe_digit_checks("x = a.isascii() and a.isdigit()\n"))
    assert not list(unsafe_digit_checks('import re\ny = re.compile(r"\\d+", re.ASCII)\n'))
