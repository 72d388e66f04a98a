"""An auxiliary process: reports its PID and arguments, and waits for a signal."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path


def main() -> None:
    manner = sys.argv[1]
    if manner == "fail":
        raise SystemExit("the port is taken")
    if manner == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if manner != "silent":
        ready_file = Path(os.environ["DARKROOM_READY_FILE"])
        answer = {"pid": str(os.getpid()), "greeting": os.environ.get("GREETING", "")}
        draft = ready_file.with_suffix(".draft")
        draft.write_text(json.dumps(answer), encoding="utf-8")
        draft.replace(ready_file)
    while True:
        signal.pause()


main()
