"""What a model family must say about itself: the contract of every file in this folder."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

from pydantic import BaseModel, ConfigDict, ValidationError

from shared.domain.kie_outcomes import PollOutcome, SubmitOutcome
from shared.errors import Fault, InvalidRequest
from shared.field_faults import FieldRules, format_field_name, format_value, list_field_faults


@dataclass(frozen=True, slots=True)
class KieRequest:
    """An HTTP request for Kie, without host and key: the client adds those."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class KieResponse:
    """An HTTP answer of Kie, with the body parsed where it is JSON.

    Kie sends errors as an HTTP status, as `code` in the body, or both (recorded traffic), so a
    family must look at either.
    """

    status: int
    body: Any
    """The parsed JSON, or None where the body was not JSON."""
    text: str
    """The start of the body as text, for messages; may be empty where the body is an object."""
    location: str = ""
    """Where a redirect points, without its query."""


class ImageRequest(BaseModel):
    """The base of every family's request models: frozen, and strict about unknown fields.

    Building one, by hand or through `ModelFamily.validate`, gives a valid request or raises
    `shared.errors.InvalidRequest` with every fault at once. Each field needs a description: a
    phrase saying what it takes, which the refusals quote.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    model: ClassVar[str]
    """The family's name, as in `pricing.model` and `jobs.model`."""
    task: ClassVar[str]
    """The task, as in `pricing.task` and `jobs.task`."""
    unsupported_fields: ClassVar[Mapping[str, str]] = {}
    """Fields that people expect but Kie does not have, each with the sentence that says so."""
    field_aliases: ClassVar[Mapping[str, str]] = {}
    """Kie's own names of our fields, for "did you mean"."""

    def __init__(self, /, **fields: Any) -> None:
        faults: list[Fault] = []
        try:
            super().__init__(**fields)
        except ValidationError as error:
            faults += list_field_faults(error, self._field_rules())
        # Rules between fields look at what was given, because pydantic checks them only once
        # each field by itself is right, and the caller is to hear of everything at once.
        faults += self.find_cross_field_faults(fields)
        if faults:
            raise InvalidRequest(faults)

    @classmethod
    def find_cross_field_faults(cls, fields: Mapping[str, Any]) -> list[Fault]:
        """Return what is wrong between fields, as given; each by itself may be wrong, too."""
        del fields
        return []

    @classmethod
    def _field_rules(cls) -> FieldRules:
        allowed = {name: info.description or "" for name, info in cls.model_fields.items()}
        return FieldRules(cls.task, allowed, cls.unsupported_fields, cls.field_aliases)

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

    def validate(self, task: object, fields: object) -> ImageRequest:
        """Return the request, or raise `shared.errors.InvalidRequest` with every fault at once."""
        ...

    def build_submit(self, request: ImageRequest, *, callback_url: str | None) -> KieRequest:
        """Build the one paid POST of an attempt."""
        ...

    def build_poll(self, task_id: str) -> KieRequest:
        """Build the question whether the task has ended."""
        ...

    def read_submit(self, response: KieResponse) -> SubmitOutcome:
        """Say what the answer to a submit means; whatever is unclear is `Ambiguous`."""
        ...

    def read_poll(self, response: KieResponse) -> PollOutcome:
        """Say what the answer to a poll means; whatever is unclear is `NoVerdict`."""
        ...

    def read_callback_url(self, response: KieResponse) -> str | None:
        """Return the callback URL that the task was made with, where the answer echoes it."""
        ...


def validate_task(
    tasks: Mapping[str, type[ImageRequest]], task: object, fields: object
) -> ImageRequest:
    """Return the request of that task, or raise `InvalidRequest`: every family's `validate`.

    Takes anything, because both come from outside.
    """
    if not isinstance(task, str) or task not in tasks:
        known = ", ".join(repr(one) for one in sorted(tasks))
        raise InvalidRequest(
            [Fault("task", f"{format_value(task)} is not a task; allowed: {known}")]
        )
    if not isinstance(fields, Mapping):
        raise InvalidRequest([Fault("request", f"must be an object, not {format_value(fields)}")])
    nameless = [
        Fault(format_field_name(key), "is not a name") for key in fields if type(key) is not str
    ]
    if nameless:
        raise InvalidRequest(nameless)
    return tasks[task](**fields)
