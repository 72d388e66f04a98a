"""A table that fits the terminal: columns are left out by importance before a word is broken."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import replace
from typing import Any

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Column, Table
from rich.text import Text

_LONGEST_WORD = 36
"""The length of a job's id. Longer words, such as URLs, are folded where they do not fit."""
_NARROWEST = 6
_GAP = 2


class FittingTable(Table):
    """A table with columns that can be left out, and columns of sentences, whose words fold.

    `drop` are the columns that can be left out, the least important one first. They are named below
    the table. `sentences` are the columns whose long words may be folded.
    """

    drop: Sequence[str] = ()
    sentences: Sequence[str] = ()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Render the columns that fit, each as wide as its words."""
        shown, left_out = self._choose(options.max_width)
        bounds = [self._bounds(one) for one in shown]
        shrinking = [index for index, one in enumerate(shown) if not one.no_wrap]
        widths = _share(bounds, shrinking, _room(shown, options.max_width))
        fitted = copy(self)
        fitted.columns = [
            replace(column, width=width, _index=index)
            for index, (column, width) in enumerate(zip(shown, widths, strict=True))
        ]
        if left_out:
            fitted.caption = f"not shown: {', '.join(left_out)}; see --json"
        yield from Table.__rich_console__(fitted, console, options)

    def _choose(self, width: int) -> tuple[list[Column], list[str]]:
        """Return the columns that fit, and the headers of those that are left out."""
        left_out = {str(one.header) for one in self.columns} & {*self.drop}
        for name in reversed(self.drop):
            wanted = [one for one in self.columns if one.header not in left_out - {name}]
            if sum(self._bounds(one)[0] for one in wanted) <= _room(wanted, width):
                left_out -= {name}
        shown = [one for one in self.columns if one.header not in left_out]
        return shown, [name for name in self.drop if name in left_out]

    def _bounds(self, column: Column) -> tuple[int, int]:
        """Return the length of the longest word of a column, and of its longest line."""
        header, cells = _plain(column.header), [_plain(cell) for cell in column.cells]
        head = max(map(cell_len, header.split()), default=0)
        longest = max((cell_len(line) for text in cells for line in text.splitlines()), default=0)
        natural = max(longest, cell_len(header))
        if column.no_wrap:
            return natural, natural
        if column.justify == "right":
            return max(head, longest), natural
        limit = _LONGEST_WORD // 2 if column.header in self.sentences else _LONGEST_WORD
        words = (cell_len(word) for text in cells for word in text.split())
        return max(head, min(max(words, default=0), limit)), natural


def _plain(cell: Any) -> str:
    return cell.plain if isinstance(cell, Text) else str(cell)


def _room(columns: Sequence[Column], width: int) -> int:
    """Return the width for the texts of so many columns."""
    return width - _GAP * len(columns)


def _share(bounds: Sequence[tuple[int, int]], shrinking: Sequence[int], room: int) -> list[int]:
    """Return the width of each column: its longest word, and a part of the room that is left.

    Where even the words do not fit, the widest of the columns in `shrinking` become narrower.
    """
    widths = [least for least, _ in bounds]
    while sum(widths) > room and any(widths[index] > _NARROWEST for index in shrinking):
        widths[max(shrinking, key=widths.__getitem__)] -= 1
    left = room - sum(widths)
    wanting = sorted(range(len(bounds)), key=lambda index: bounds[index][1] - widths[index])
    for number, index in enumerate(wanting):
        part = min(bounds[index][1] - widths[index], left // (len(wanting) - number))
        widths[index] += max(part, 0)
        left -= max(part, 0)
    return widths
