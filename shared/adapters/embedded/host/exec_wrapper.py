"""Runs a program without root rights that ends when its parent ends.

Executed by path with `python -I -S`, so it imports nothing of Darkroom. It is a separate program,
because the kernel clears the parent-death signal when the user id changes. The order must be user,
signal, exec, and a forked process should not run Python code before exec.
"""

from __future__ import annotations

import ctypes
import os
import sys

_PR_SET_PDEATHSIG = 1
_USAGE_FAULT = 64


def drop_rights(parent_pid: int, death_signal: int, user_id: int, group_id: int) -> None:
    """Change the user unless it is -1, and set the parent-death signal (Linux)."""
    if user_id >= 0:
        os.setgroups([])
        os.setgid(group_id)
        os.setuid(user_id)
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(_PR_SET_PDEATHSIG, death_signal, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != parent_pid:
        # The parent died before the signal was set, so it will never be sent.
        raise SystemExit(f"the parent process {parent_pid} is gone")


def main(arguments: list[str]) -> None:
    """Parse PARENT_PID SIGNAL USER GROUP PROGRAM ARGUMENT... and execute the program."""
    if len(arguments) < 5:
        raise SystemExit(_USAGE_FAULT)
    parent_pid, death_signal, user_id, group_id = (int(text) for text in arguments[:4])
    program = arguments[4:]
    drop_rights(parent_pid, death_signal, user_id, group_id)
    try:
        os.execvp(program[0], program)  # noqa: S606 - replacing ourselves is the purpose
    except OSError as error:
        raise SystemExit(f"cannot run {program[0]}: {error.strerror}") from None


if __name__ == "__main__":
    main(sys.argv[1:])
