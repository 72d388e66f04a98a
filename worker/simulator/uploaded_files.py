"""The files that clients have uploaded: on disk, for as long as Kie keeps them."""

from __future__ import annotations

import mimetypes
import re
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote, unquote

from .simulator_config import SimulatorClocks

FILES = "/files/"
"""Where the addresses of all files begin."""
FILE_HOST = "https://files.kie-simulator.example"
"""The host of download URLs. Jobs take public URLs alone, so it is a name that stands for the
simulator, which serves the paths itself."""
UNKNOWN_TYPE = "application/octet-stream"

_PATH_PART = re.compile(r"[^/\0]+")


@dataclass(frozen=True, slots=True)
class UploadedFile:
    """One file. ``path`` is Kie's ``filePath``; ``uploaded_at`` is monotonic."""

    path: str
    content_type: str
    byte_count: int
    on_disk: Path
    uploaded_at: float
    uploaded_epoch: float

    def describe(self) -> dict[str, object]:
        """The ``data`` of the response to its upload."""
        uploaded = datetime.fromtimestamp(self.uploaded_epoch, UTC)
        return {
            "success": True,
            "fileName": self.path.rpartition("/")[2],
            "filePath": self.path,
            "downloadUrl": f"{FILE_HOST}{FILES}{quote(self.path)}",
            "fileSize": self.byte_count,
            "mimeType": self.content_type,
            "uploadedAt": uploaded.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        }


class UploadedFiles:
    """The files of all accounts. The folder is made with the first file and removed by `close`."""

    def __init__(self, clocks: SimulatorClocks, lifetime_seconds: Callable[[], float]) -> None:
        self._clocks = clocks
        self._lifetime_seconds = lifetime_seconds
        self._files: dict[str, UploadedFile] = {}
        self._folder: Path | None = None
        self._drafts = 0

    def open_draft(self) -> Path:
        """Return a path to which the content of a file can be written before `keep`."""
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="kie-simulator-"))
        self._drafts += 1
        return self._folder / str(self._drafts)

    def keep(self, draft: Path, path: str, content_type: str) -> UploadedFile:
        """Keep the file under this path. One of the same path is overwritten, as at Kie."""
        before = self._files.get(path)
        if before is not None:
            before.on_disk.unlink(missing_ok=True)
        kept = UploadedFile(
            path,
            content_type or guess_type(path),
            draft.stat().st_size,
            draft,
            self._clocks.monotonic(),
            self._clocks.epoch(),
        )
        self._files[path] = kept
        return kept

    def find(self, url_path: str) -> UploadedFile | None:
        """Return the file at the path of a URL, or None where there is none or no more."""
        kept = self._files.get(unquote(url_path.removeprefix(FILES)))
        if kept is None:
            return None
        if self._clocks.monotonic() - kept.uploaded_at >= self._lifetime_seconds():
            kept.on_disk.unlink(missing_ok=True)
            del self._files[kept.path]
            return None
        return kept

    def describe(self) -> list[dict[str, object]]:
        """The files of the record, in the order of their uploads."""
        return [kept.describe() for kept in self._files.values()]

    def close(self) -> None:
        """Remove every file."""
        self._files.clear()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None


def guess_type(name: str) -> str:
    """Return the media type by the ending of a name."""
    return mimetypes.guess_type(name)[0] or UNKNOWN_TYPE


def is_upload_path(path: str) -> bool:
    """Whether Kie takes this ``uploadPath``: parts with slashes between, none at either end."""
    parts = path.split("/")
    return all(_PATH_PART.fullmatch(part) and part != ".." for part in parts)
