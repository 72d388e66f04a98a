"""The interface of a model family, and HTTP requests and responses of Kie."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, ClassVar, Protocol

from pydantic import BaseModel, ConfigDict, ValidationError

from shared.domain.kie_outcomes import PollOutcome, SubmitOutcome
from shared.errors import Fault, InvalidRequest
from shared.field_faults import FieldRules, format_field_name, format_value, list_field_faults


@dataclass(frozen=True, slots=True)
class KieRequest:
    """An HTTP request to Kie. The client adds host and key."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class KieResponse:
    """An HTTP response of Kie. A JSON body is parsed.

    Kie sends errors as an HTTP status, as `code` in the body, or as both. A family must check
    both.
    """

    status: int
    body: Any
    """The parsed JSON, or None if the body is not JSON."""
    text: str
    """The start of the body as text, for messages. May be empty if the body is an object."""
    location: str = ""
    """The target of a redirect, without its query."""


@dataclass(frozen=True, slots=True)
class KieModel:
    """A model of Kie's Market, as Kie documents it."""

    name: str
    """`model` of the submit and of Kie's catalogue."""
    title: str
    provider: str
    task_types: tuple[str, ...]
    """Kie's words, such as `Text to Image`."""
    input_schema: Mapping[str, Any]
    """JSON Schema of `input`. Rules that Kie documents as text are `if` and `then`."""
    price_text: str
    """`pricingDesc` of Kie's catalogue."""
    credits: Mapping[str, Decimal]
    """What Kie charges for one task, by the variant of the price. The first is Kie's default."""
    variant_field: str = ""
    """The field of `input` whose value is the variant. Empty if the price has no variants."""

    def credits_for(self, task_input: Mapping[str, Any]) -> Decimal:
        """Return what Kie charges for a task with this valid `input`."""
        default = next(iter(self.credits))
        return self.credits[task_input.get(self.variant_field) or default]


class ImageRequest(BaseModel):
    """The base class of all request models. Immutable. Unknown fields are refused.

    The constructor raises `shared.errors.InvalidRequest` with all faults at once. Each field needs
    a description, a phrase that says which values it takes: faults quote it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    model: ClassVar[str]
    """The family's name, as in `pricing.model` and `jobs.model`."""
    task: ClassVar[str]
    """The task, as in `pricing.task` and `jobs.task`."""
    unsupported_fields: ClassVar[Mapping[str, str]] = {}
    """Fields that callers expect but Kie does not have, each with its own sentence."""
    field_aliases: ClassVar[Mapping[str, str]] = {}
    """Kie's names of our fields, for "did you mean"."""

    def __init__(self, /, **fields: Any) -> None:
        faults: list[Fault] = []
        try:
            super().__init__(**fields)
        except ValidationError as error:
            faults += list_field_faults(error, self._field_rules())
        # Rules between fields get the raw values. Pydantic would check such rules only after all
        # fields are valid, but one error must list all faults.
        faults += self.find_cross_field_faults(fields)
        if faults:
            raise InvalidRequest(faults)

    @classmethod
    def find_cross_field_faults(cls, fields: Mapping[str, Any]) -> list[Fault]:
        """Return the faults between fields. The values are raw and may be invalid themselves."""
        del fields
        return []

    @classmethod
    def _field_rules(cls) -> FieldRules:
        allowed = {name: info.description or "" for name, info in cls.model_fields.items()}
        return FieldRules(cls.task, allowed, cls.unsupported_fields, cls.field_aliases)

    @property
    @abstractmethod
    def price_quantity(self) -> int:
        """The quantity of the row in `pricing`."""

    @property
    def price_variant(self) -> str:
        """The variant of the row in `pricing`, such as `2K`. Empty if the price has no variants."""
        return ""


CarryRequest = Callable[[ImageRequest], ImageRequest]
"""Returns the request of this family that makes the images of a request of another family.

Raises `InvalidRequest` with every field that this family cannot carry.
"""


class ModelFamily(Protocol):
    """One model of Kie. Pure: builds requests and reads responses, but sends nothing."""

    name: str
    """As in `pricing.model` and `jobs.model`."""
    tasks: Mapping[str, type[ImageRequest]]
    """The request model of each task."""
    price_keys: frozenset[tuple[str, int, str]]
    """The task, quantity and variant of each row in `pricing` that a request can need."""
    kie_models: tuple[KieModel, ...]
    """Kie's Market models that the requests are sent to. Empty for an endpoint of its own."""
    carries: Mapping[str, CarryRequest]
    """Other families, by name, whose jobs can be sent by this family."""

    def validate(self, task: object, fields: object) -> ImageRequest:
        """Return the request. Raises `shared.errors.InvalidRequest` with all faults at once."""
        ...

    def build_submit(self, request: ImageRequest, *, callback_url: str | None) -> KieRequest:
        """Return the paid POST of an attempt."""
        ...

    def build_poll(self, task_id: str) -> KieRequest:
        """Return the request that queries a task."""
        ...

    def build_download_link(self, task_id: str, url: str) -> KieRequest:
        """Return the request for another link to an image of a task."""
        ...

    def read_submit(self, response: KieResponse) -> SubmitOutcome:
        """Return the outcome of a response to a submit. Unclear responses are `Ambiguous`."""
        ...

    def read_poll(self, response: KieResponse) -> PollOutcome:
        """Return the outcome of a response to a poll. Unclear responses are `NoVerdict`."""
        ...

    def read_callback_url(self, response: KieResponse) -> str | None:
        """Return the callback URL of the task if the response echoes it."""
        ...


def validate_task(
    tasks: Mapping[str, type[ImageRequest]], task: object, fields: object
) -> ImageRequest:
    """Return the request of that task. Raises `InvalidRequest` with all faults at once.

    Implements `ModelFamily.validate`. Both arguments are untrusted and may have any type.
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
