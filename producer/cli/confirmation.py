"""Asks on a terminal for a confirmation of a change that looks like a typing error."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import typer

from shared.errors import ConfirmationNeeded


def confirm_doubts(doubts: Sequence[str], *, yes: bool) -> bool:
    """Return whether there were doubts that the caller has dispelled.

    Asks on a terminal, and exits if the answer is no. Raises `ConfirmationNeeded` off a terminal
    without `--yes`.
    """
    if not doubts or yes:
        return yes
    if not sys.stdin.isatty():
        raise ConfirmationNeeded("; ".join(doubts))
    typer.confirm(f"{'; '.join(doubts)}. Is this intended?", abort=True, err=True)
    return True
