"""The file that tells whoever started the process that it now listens."""

from __future__ import annotations

import os
from pathlib import Path


def write_ready_file(path: str, content: bytes) -> None:
    """Write the content so that a reader sees either nothing or all of it; raises OSError."""
    target = Path(path)
    draft = target.with_name(f".{target.name}.{os.getpid()}")
    draft.write_bytes(content)
    draft.replace(target)
