"""A client process of the embedded servers, driven over its standard input and output.

It prints one JSON object when it is attached or has failed, runs one JSON command per line, and
ends when its input ends.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from shared.adapters.embedded import acquire_servers
from shared.errors import EmbeddedServerError


def say(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def main() -> None:
    home, options = sys.argv[1], json.loads(sys.argv[2])
    started = time.monotonic()
    try:
        servers = acquire_servers(Path(home), **options)
    except EmbeddedServerError as error:
        say({"error": str(error)})
        return
    took_seconds = time.monotonic() - started
    urls = {"database_url": servers.database_url, "redis_url": servers.redis_url}
    say({**urls, "took_seconds": took_seconds})
    for line in sys.stdin:
        try:
            say({"answer": servers.ensure_process(**json.loads(line))})
        except EmbeddedServerError as error:
            say({"error": str(error)})
    servers.release()


main()
