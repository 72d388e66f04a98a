"""What a model family must say about itself: the contract of every file in this folder."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

from pydantic import BaseModel, ConfigDict

from shared.domain.verdicts import PollVerdict, SubmitVerdict


@dataclass(frozen=True, slots=True)
class ProviderRequest:
    """An HTTP request for Kie, without host and key: the client adds those."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class ProviderAnswer:
    """An HTTP answer of Kie, with the body parsed where it is JSON.

    Kie sends errors as an HTTP status, as `code` in the body, or both (recorded traffic), so a
    family must look at either.
    """

    status: int
    body: Any
    """The parsed JSON, or None where the body was not JSON."""
    text: str
    """The start of the body as text, for messages."""


class ImageRequest(BaseModel):
    """The base of every family's request models: frozen, and strict about unknown fields."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    model: ClassVar[str]
    """The family's name, as in `pricing.model` and `jobs.model`."""
    task: ClassVar[str]
    """The task, as in `pricing.task` and `jobs.task`."""

    @property
    @abstractmethod
    def price_quantity(self) -> int:
        """The quantity under which `pricing` has its row."""


class ModelFamily(Protocol):
    """One model as Kie offers it. Pure: builds requests and reads answers, sends nothing."""

    name: str
    """As in `pricing.model` and `jobs.model`."""
    tasks: Mapping[str, type[ImageRequest]]
    """Each task's request model."""

    def validate(self, task: str, fields: Mapping[str, Any]) -> ImageRequest:
        """Return the request, or raise `shared.errors.InvalidRequest` with every fault at once."""
        ...

    def build_submit(self, request: ImageRequest, *, callback_url: str | None) -> ProviderRequest:
        """Build the one paid POST of an attempt."""
        ...

    def build_poll(self, task_id: str) -> ProviderRequest:
        """Build the question whether the task has ended."""
        ...

    def read_submit(self, answer: ProviderAnswer) -> SubmitVerdict:
        """Say what the answer to a submit means; whatever is unclear is `Ambiguous`."""
        ...

    def read_poll(self, answer: ProviderAnswer) -> PollVerdict:
        """Say what the answer to a poll means; whatever is unclear is `NoVerdict`."""
        ...
