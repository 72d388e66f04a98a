"""Finds the images of jobs, and reads their copies from the store of RESULTS_URL."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from uuid import UUID

from shared.adapters.postgres.database import Queries
from shared.adapters.results_store import ResultsStore, StoredObject, open_results_store
from shared.errors import ConfigurationError, NotFound, ResultsStoreDown
from shared.settings import Settings


@dataclass(frozen=True, slots=True)
class CopyOptions:
    """Where images are copied to, and how long the end of a job waits for it."""

    url: str | None = None
    """RESULTS_URL. None: this process has no store."""
    within_seconds: float | None = None
    """RESULTS_DEADLINE_SECONDS. None: images are not copied."""

    @classmethod
    def of(cls, settings: Settings) -> CopyOptions:
        """Return the options of these settings, or of the folder that `darkroom up` has made."""
        url, folder = settings.results_store_url, local_folder(settings)
        is_embedded = settings.database_url is None and settings.results_url is None
        if is_embedded and folder.is_dir():
            url = folder.as_uri()
        return cls(url, None if url is None else settings.results_deadline_seconds)

    def require_usable(self) -> CopyOptions:
        """Return these options. Raises `ConfigurationError` if there is a store, and not usable."""
        if self.url is not None:
            open_results_store(self.url)
        return self


def local_folder(settings: Settings) -> Path:
    """Return where `darkroom up` and `darkroom demo` have images copied to by default."""
    return settings.darkroom_home.resolve() / "images"


def prepare_local_folder(settings: Settings) -> str | None:
    """Return RESULTS_URL for `darkroom up`: by default a folder in DARKROOM_HOME, made here.

    None if RESULTS_URL says where to, or that nothing is copied, and where the extra `results` is
    not installed.
    """
    if settings.results_url is not None or find_spec("obstore") is None:
        return None
    folder = local_folder(settings)
    folder.mkdir(parents=True, exist_ok=True)
    return folder.as_uri()


@dataclass(frozen=True, slots=True)
class StoredImage:
    """An image of a job, and its copy if there is one."""

    job_id: UUID
    number: int
    """Counted from 1."""
    kie_url: str
    key: str | None
    """The key of the copy. None while there is no copy."""
    content_type: str
    sha256: str
    bytes: int

    @property
    def is_stored(self) -> bool:
        """Whether there is a copy."""
        return self.key is not None

    @property
    def file_name(self) -> str:
        """A name for a file of it."""
        return f"{self.job_id}-{self.number}.{(self.key or '').rpartition('.')[2]}"


class StoredImages:
    """The images of jobs. Every method may raise `PostgresDown`."""

    def __init__(self, queries: Queries, options: CopyOptions | None = None) -> None:
        self._queries = queries
        self.options = options or CopyOptions()
        """Where images are copied to. Without options they are not."""
        self._store: ResultsStore | None = None

    async def find(self, job_id: UUID, number: int) -> StoredImage:
        """Return an image of a job. Raises `NotFound`, for one that was pruned as well."""
        row = await self._queries.fetch_row("find_image", job_id, number)
        if row is None:
            raise NotFound(f"no image {number} of job {job_id} is kept")
        if row["pruned_at"] is not None:
            when = f"{row['pruned_at']:%Y-%m-%d}"
            raise NotFound(f"image {number} of job {job_id} was deleted on {when}")
        return StoredImage(
            job_id,
            number,
            row["kie_url"],
            row["key"],
            row["content_type"] or "",
            row["sha256"] or "",
            row["bytes"] or 0,
        )

    async def open(self, image: StoredImage) -> StoredObject:
        """Open the copy. Raises `NotFound` if the store lacks it, and `ResultsStoreDown`."""
        found = await self._usable_store().open(image.key) if image.key is not None else None
        if found is None:
            raise NotFound(f"image {image.number} of job {image.job_id} is not in the store")
        return found

    async def sign(self, image: StoredImage, *, valid_seconds: float) -> str | None:
        """Return a link to the copy that anybody can use for that long, if its store has such."""
        return (
            None
            if image.key is None
            else await self._usable_store().sign(image.key, valid_seconds=valid_seconds)
        )

    @property
    def store(self) -> ResultsStore:
        """The store. Raises `ConfigurationError` if this process has no usable RESULTS_URL."""
        if self._store is None:
            self._store = open_results_store(self.options.url, makes_folder=False)
        return self._store

    def _usable_store(self) -> ResultsStore:
        try:
            return self.store
        except ConfigurationError as error:
            # The image is there, and this process cannot reach it as it is set up now.
            raise ResultsStoreDown(str(error)) from error
