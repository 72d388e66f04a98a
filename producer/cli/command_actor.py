"""Who types a command: the actor that is noted with what operators do."""

from __future__ import annotations

import getpass
import os
import socket

from producer.actor import Actor


def command_actor() -> Actor:
    """Return the user of the operating system, on this machine, as an operator."""
    user = _user()
    return Actor(user, via="cli", is_operator=True, os_user=user, origin=socket.gethostname())


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user often has no name
        return f"uid {os.getuid()}"
