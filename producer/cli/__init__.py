"""The `darkroom` command: everything that people type."""

from __future__ import annotations

import io
import sys

from producer.cli.exit_codes import ExitCode


def main() -> int:
    """Run the command line on `sys.argv` and return the exit code."""
    # Imported here so that Ctrl-C while a slow disk is loading ends as quietly as later on.
    try:
        from producer.cli.command_tree import build_app  # noqa: PLC0415

        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                # A terminal that cannot show a character gets a question mark, not a traceback.
                stream.reconfigure(errors="replace")
        build_app()(prog_name="darkroom")
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else ExitCode.ERROR
    return ExitCode.DONE


__all__ = ["main"]
