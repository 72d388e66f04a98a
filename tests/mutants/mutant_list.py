"""The list of mutants: which text of which file is replaced by what, and which test must notice."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

LISTING = Path(__file__).with_name("mutants.toml")


class StaleMutant(Exception):
    """The text that a mutant replaces does not occur exactly once any more."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """One removed guard."""

    name: str
    guard: str
    why: str
    file: str
    find: str
    replace: str
    caught_by: tuple[str, ...]
    sound: str
    """A test of the same file that must still pass: what broke the file as such proves nothing."""
    statement: str | None = None
    """The named statement of an SQL file in which `find` occurs once; None: the whole file."""

    def applied_to(self, text: str) -> str:
        """Return the file's text without the guard. Raises `StaleMutant`."""
        before, place, after = self._cut_out(text)
        if place.count(self.find) != 1:
            raise StaleMutant(
                f"mutant {self.name!r}: its text occurs {place.count(self.find)} times in"
                f" {self.statement or self.file}, not once; correct it in {LISTING.name}"
            )
        return before + place.replace(self.find, self.replace) + after

    def _cut_out(self, text: str) -> tuple[str, str, str]:
        if self.statement is None:
            return "", text, ""
        header = re.search(rf"^-- name: {re.escape(self.statement)}$", text, re.MULTILINE)
        if header is None:
            raise StaleMutant(
                f"mutant {self.name!r}: {self.file} has no statement {self.statement!r};"
                f" correct it in {LISTING.name}"
            )
        following = re.compile(r"^-- name: ", re.MULTILINE).search(text, header.end())
        end = following.start() if following else len(text)
        return text[: header.start()], text[header.start() : end], text[end:]


def read_mutants(listing: Path = LISTING) -> list[Mutant]:
    """Return every mutant in the order of the list. Raises `KeyError`: its file has no test."""
    table = tomllib.loads(listing.read_text(encoding="utf-8"))
    return [
        Mutant(
            **{"sound": table["sound"][row["file"]], **row} | {"caught_by": tuple(row["caught_by"])}
        )
        for row in table["mutant"]
    ]


def chosen(mutants: list[Mutant], names: list[str]) -> list[Mutant]:
    """Return the mutants of these names, or all where none is given. Raises `ValueError`."""
    known = {mutant.name for mutant in mutants}
    if strange := sorted(set(names) - known):
        raise ValueError(
            f"no mutant is called {', '.join(strange)};"
            " `python -m tests.mutants --list` names all of them"
        )
    return [mutant for mutant in mutants if not names or mutant.name in names]
