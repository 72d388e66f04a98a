"""The `darkroom` command line."""

from __future__ import annotations

import gc
import io
import sys

from producer.cli.exit_codes import ExitCode


def main() -> int:
    """Run the command line on `sys.argv` and return the exit code."""
    # Imported here so that Ctrl-C during a slow import ends without a traceback.
    try:
        # What is loaded stays, so it is not searched for garbage. A command that runs turns it on.
        gc.disable()
        from producer.cli.command_tree import build_app

        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                # Replace characters that the terminal cannot show by question marks.
                stream.reconfigure(errors="replace")
        build_app()(prog_name="darkroom")
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else ExitCode.ERROR
    finally:
        # A search at the end takes longer than most commands.
        gc.freeze()
    return ExitCode.DONE


__all__ = ["main"]
