"""The list of mutants does not rot: every text is still there, and so is every test."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.mutants.mutant_list import Mutant, StaleMutant, chosen, read_mutants
from tests.mutants.tree_copy import ROOT, NotACopy, TreeCopy, temporary_copy


def test_every_mutants_text_occurs_exactly_once_in_its_place() -> None:
    faults = []
    for mutant in read_mutants():
        text = (ROOT / mutant.file).read_text(encoding="utf-8")
        try:
            assert mutant.applied_to(text) != text, mutant.name
        except StaleMutant as error:
            faults.append(str(error))
    assert not faults, "\n".join(faults)


def test_every_mutant_has_its_own_name_and_tests_that_exist() -> None:
    mutants = read_mutants()
    assert len({mutant.name for mutant in mutants}) == len(mutants)
    named = {test for one in mutants for test in (one.sound, *one.caught_by)}
    assert [test for test in sorted(named) if not _exists(test)] == []
    assert [one.name for one in mutants if not one.caught_by or one.sound in one.caught_by] == []


def test_a_text_that_occurs_twice_or_never_is_refused() -> None:
    mutant = Mutant("m", "g", "w", "f.sql", "old", "new", (), "", statement="second")
    before = "-- name: first\nold\n-- name: second\n"
    assert mutant.applied_to(f"{before}an old one\n-- name: third\nold\n") == (
        f"{before}an new one\n-- name: third\nold\n"
    )
    for text in ("-- name: first\nold\n", before, f"{before}old old\n"):
        with pytest.raises(StaleMutant, match=r"correct it in mutants\.toml"):
            mutant.applied_to(text)


def test_an_unknown_name_is_refused_with_the_way_to_the_names() -> None:
    with pytest.raises(ValueError, match="no mutant is called fence"):
        chosen(read_mutants(), ["fence"])


def test_nothing_but_a_temporary_copy_is_ever_changed(tmp_path: Path) -> None:
    for place in (ROOT, tmp_path, ROOT / "tests"):
        with pytest.raises(NotACopy, match="nothing was changed"):
            TreeCopy(place)


def test_a_mutant_is_in_the_copy_only_and_is_gone_afterwards() -> None:
    mutant = read_mutants()[0]
    original = (ROOT / mutant.file).read_text(encoding="utf-8")
    with temporary_copy() as copy:
        file = copy.root / mutant.file
        with copy.without_guard(mutant):
            assert file.read_text(encoding="utf-8") == mutant.applied_to(original)
            assert (ROOT / mutant.file).read_text(encoding="utf-8") == original
        assert file.read_text(encoding="utf-8") == original
    assert not copy.root.exists()


def _exists(test: str) -> bool:
    path, _, name = test.partition("::")
    file = ROOT / path
    if not file.is_file():
        return False
    functions = ast.FunctionDef, ast.AsyncFunctionDef
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return name.partition("[")[0] in {
        node.name for node in ast.walk(tree) if isinstance(node, functions)
    }
