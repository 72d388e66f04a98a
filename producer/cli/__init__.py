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
        if sys.argv[1:2] in (["version"], ["--version"]):
            from producer.cli.version_command import build_version_app as build_app  # noqa: PLC0415
        else:
            from producer.cli.command_tree import build_app  # noqa: PLC0415

        # What is loaded stays to the end: the garbage collector need not go through it, above all
        # not at the end, where that takes longer than most commands.
        gc.freeze()
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                # Replace characters that the terminal cannot show by question marks.
                stream.reconfigure(errors="replace")
        build_app()(prog_name="darkroom")
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else ExitCode.ERROR
    return ExitCode.DONE


__all__ = ["main"]
