"""Runs the `darkroom` command for `python -m producer`."""

from __future__ import annotations

import sys

from producer.cli import main

if __name__ == "__main__":
    sys.exit(main())
