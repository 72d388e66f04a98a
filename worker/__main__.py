"""Starts a worker: `python -m worker`. Any number may run at once."""

from __future__ import annotations

import gc
import sys

try:
    from shared.errors import DarkroomError, DependencyDown, names_wrong_setting
    from shared.package_guard import require_own_packages
except ImportError as error:
    import shared

    # The module of our errors is missing, so this `shared` is another package.
    sys.exit(
        f"darkroom worker: the package 'shared' at {shared.__file__} is not Darkroom's ({error}):"
        " install darkroom-queue in an environment of its own"
    )


def main() -> int:
    """Run until SIGTERM or SIGINT. Returns the exit code, and prints an error to stderr.

    It is 0, or as that of a command 2 (a setting is wrong), 6 (a server is down) or 1.
    """
    try:
        require_own_packages()
        # Imported after the guard, so that a foreign package causes its own error and no traceback.
        from shared.settings import load_settings  # noqa: PLC0415
        from worker.service import run_service  # noqa: PLC0415

        # What is loaded stays to the end: the garbage collector need not go through it.
        gc.freeze()
        run_service(load_settings())
    except DarkroomError as error:
        sys.stderr.write(f"darkroom worker: {error}\n")
        if names_wrong_setting(error):
            return 2
        return 6 if isinstance(error, DependencyDown) else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
