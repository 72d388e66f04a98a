"""The class of commands that take an image request. Their help has what the catalog says."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand


class RequestCommand(TyperCommand):
    """A command that loads the catalog for its help only."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help, with the values and the models of the catalog."""
        from producer.cli.request.request_options import (
            list_models,
            list_other_fields,
            values_of_default,
        )

        options: list[Any] = list(self.params)
        for option in options:
            if option.name in {"aspect_ratio", "quantity", "fallback_model"}:
                option.metavar = values_of_default(option.name)
            elif option.name == "model":
                option.help = f"One of {list_models()}."
            elif option.name == "fields":
                option.help = f"A field that some models have ({list_other_fields()}); repeatable."
        super().format_help(ctx, formatter)
