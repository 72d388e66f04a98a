"""`python -m darkroom_client.testing`: a Darkroom in memory for clients in any language."""

from __future__ import annotations

import argparse
import sys
import threading
from contextlib import suppress

from darkroom_client.testing.memory_darkroom import InMemoryDarkroom


def main() -> None:
    """Print URL and key of a Darkroom in memory as export lines, and run it until Ctrl-C."""
    parser = argparse.ArgumentParser(
        prog="python -m darkroom_client.testing", description="Run a Darkroom in memory."
    )
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--account", default="test", help="the account that exists")
    parser.add_argument("--credits", type=int, default=1_000, help="what the account has")
    given = parser.parse_args()
    with InMemoryDarkroom(
        account_id=given.account, credits=given.credits, port=given.port
    ) as darkroom:
        lines = f"export DARKROOM_URL={darkroom.url}\nexport DARKROOM_API_KEY={darkroom.key}\n"
        sys.stdout.write(lines)
        sys.stdout.flush()
        with suppress(KeyboardInterrupt):
            threading.Event().wait()


if __name__ == "__main__":
    main()
