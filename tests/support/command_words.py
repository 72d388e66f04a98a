"""Every command that can be typed."""

from __future__ import annotations

from typing import Any

from producer.cli.command_tree import COMMANDS, load_command


def list_commands() -> set[str]:
    """Return the words of every command."""
    return set().union(*(_leaves(load_command(one.name), one.name) for one in COMMANDS))


def _leaves(command: Any, words: str) -> set[str]:
    below = getattr(command, "commands", None)
    if below is None:
        return {words}
    own = {words} if command.invoke_without_command else set()
    return own.union(*(_leaves(one, f"{words} {name}") for name, one in below.items()))
