"""Filters of jobs: one list for Python, HTTP, the command line and the console.

Every filter has a text form. It is the same in a query parameter, in the `where` of a body and in
an option of the command line.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from math import isfinite
from typing import Any, get_args
from uuid import UUID

import orjson

from producer.job_ids import read_uuid
from producer.orders.argument_types import describe_type, require_type
from producer.orders.field_limits import ACCOUNT_LENGTH, KEY_LENGTH
from shared.domain.job import Priority
from shared.domain.lifecycle import JobState, Reason
from shared.errors import Fault, InvalidRequest
from shared.field_faults import format_field_name, format_value
from shared.text_and_url_checks import has_lone_surrogate

NAME_LENGTH = 100
"""The longest name of a model or a task, in characters."""
TASK_ID_LENGTH = 200
METADATA_TEXT_LENGTH = 400
"""The longest `key=value`."""
_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]{1,3})?")


@dataclass(frozen=True, slots=True)
class FilterRule:
    """How the text of one filter is read and written, and how interfaces describe it."""

    description: str
    schema: Mapping[str, Any]
    """The JSON schema of the text."""
    parse: Callable[[str], Any]
    """Returns the value of a text, or raises `ValueError` with a sentence."""
    metavar: str
    """What stands for the value in the help of the command line."""
    write: Callable[[Any], str] = str
    """Returns the text of a value."""
    option: str | None = None
    """The option of the command line, if it is not the name of the filter."""


def _read_text(text: str, longest: int) -> str:
    if 1 <= len(text) <= longest and "\0" not in text and not has_lone_surrogate(text):
        return text
    raise ValueError(f"{format_value(text)} must be 1 to {longest} characters")


def _read_choice(text: str, allowed: Sequence[str]) -> str:
    if text in allowed:
        return text
    raise ValueError(f"{format_value(text)} must be one of {', '.join(allowed)}")


def _read_states(text: str) -> tuple[JobState, ...]:
    words = [_read_choice(word, tuple(JobState)) for word in text.split(",")]
    return tuple(state for state in JobState if state in words)


def _read_moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise ValueError(
            f"{format_value(text)} must be a time with its timezone, such as 2030-01-31T18:00:00Z"
        )
    try:
        return moment.astimezone(UTC)
    except OverflowError:  # in the first or the last year
        return moment.replace(tzinfo=UTC)


def _read_metadata(text: str) -> tuple[str, str]:
    key, equals, value = _read_text(text, METADATA_TEXT_LENGTH).partition("=")
    if key and equals:
        return key, value
    raise ValueError(f"{format_value(text)} must be a key, = and its value, such as order=1042")


def _read_id(text: str) -> UUID:
    found = read_uuid(text)
    if found is None:
        raise ValueError(f"{format_value(text)} must be the id of a job")
    return found


def _text_schema(longest: int) -> dict[str, Any]:
    return {"type": "string", "minLength": 1, "maxLength": longest, "pattern": r"^[^\x00]+$"}


def _text(description: str, longest: int, metavar: str, option: str | None = None) -> FilterRule:
    return FilterRule(
        description,
        _text_schema(longest),
        lambda text: _read_text(text, longest),
        metavar,
        option=option,
    )


def _choice(description: str, allowed: Sequence[str], metavar: str) -> FilterRule:
    schema = {"type": "string", "enum": list(allowed)}
    return FilterRule(description, schema, lambda text: _read_choice(text, allowed), metavar)


def _moment(description: str) -> FilterRule:
    schema = {"type": "string", "format": "date-time"}
    return FilterRule(description, schema, _read_moment, "ISO", _write_moment)


def _write_moment(value: datetime | str) -> str:
    return value if isinstance(value, str) else value.isoformat()


_STATE_WORDS = "|".join(JobState)
FILTER_RULES: dict[str, FilterRule] = {
    "account_id": _text("only this account's", ACCOUNT_LENGTH, "A", "--account"),
    "state": FilterRule(
        "only those in this state, or in one of several, separated by commas",
        {
            "type": "string",
            "pattern": f"^({_STATE_WORDS})(,({_STATE_WORDS}))*$",
            "examples": ["failed", "failed,cancelled"],
        },
        _read_states,
        "S[,S]",
        lambda states: states if isinstance(states, str) else ",".join(states),
    ),
    "reason": _choice("only those in their state for this reason", tuple(map(str, Reason)), "R"),
    "model": _text("only of this model", NAME_LENGTH, "NAME"),
    "task": _text("only of this task", NAME_LENGTH, "NAME"),
    "priority": _choice("only of this priority", get_args(Priority), "P"),
    "created_from": _moment("only those created at this time or later"),
    "created_to": _moment("only those created before this time"),
    "provider_task_id": _text(
        "only the job of this task at Kie, late tasks included", TASK_ID_LENGTH, "TASK_ID"
    ),
    "idempotency_key": _text("only those with this idempotency key", KEY_LENGTH, "K"),
    "metadata": FilterRule(
        "only those whose metadata has this value under this key: `key=value`",
        {
            **_text_schema(METADATA_TEXT_LENGTH),
            "pattern": r"^[^=\x00]+=[^\x00]*$",
            "examples": ["order=1042"],
        },
        _read_metadata,
        "KEY=VALUE",
        lambda pair: pair if isinstance(pair, str) else "=".join(pair),
    ),
    "retried": FilterRule(
        "only those that were retried as another job, or that were not",
        {"type": "string", "enum": ["true", "false"]},
        lambda text: _read_choice(text, ("true", "false")) == "true",
        "true|false",
        lambda value: value if isinstance(value, str) else str(value).lower(),
    ),
    "scheduled": FilterRule(
        "only those that are scheduled, which is queued and before their `run_at`, or all others",
        {"type": "string", "enum": ["true", "false"]},
        lambda text: _read_choice(text, ("true", "false")) == "true",
        "true|false",
        lambda value: value if isinstance(value, str) else str(value).lower(),
    ),
    "id": FilterRule("only this job", {"type": "string", "format": "uuid"}, _read_id, "ID"),
}
"""The rule of each field of `JobFilter`, in the order in which interfaces list them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFilter:
    """Which jobs are meant: those that match every filter. Without filters, all jobs.

    Each filter may be given as its text. Raises `InvalidRequest` with every fault.
    """

    account_id: str | None = None
    state: Sequence[str] = ()
    """One state or several. Stored as a tuple of `JobState`. Empty: every state."""
    reason: str | None = None
    model: str | None = None
    task: str | None = None
    priority: str | None = None
    created_from: datetime | str | None = None
    created_to: datetime | str | None = None
    """The first time that does not match."""
    provider_task_id: str | None = None
    idempotency_key: str | None = None
    metadata: tuple[str, str] | str | None = None
    """A top-level key and its value. The value matches texts, and numbers, `true`, `false` and
    `null` that are written like it."""
    retried: bool | str | None = None
    scheduled: bool | str | None = None
    """Whether the job is queued and its `run_at` has not come, by Postgres's clock."""
    id: UUID | str | None = None

    def __post_init__(self) -> None:
        faults: list[Fault] = []
        for name, text in self._read_texts(faults).items():
            try:
                object.__setattr__(self, name, FILTER_RULES[name].parse(text))
            except ValueError as error:
                faults.append(Fault(name, str(error)))
        if faults:
            raise InvalidRequest(faults)

    @classmethod
    def from_texts(cls, texts: Mapping[str, object]) -> JobFilter:
        """Return the filter of these texts, by name. Raises `InvalidRequest` with every fault."""
        allowed = ", ".join(FILTER_RULES)
        faults = [
            Fault(format_field_name(name), f"is no filter; allowed: {allowed}")
            for name in texts
            if name not in FILTER_RULES
        ]
        faults += [
            Fault(name, f"must be text that is not empty, not {format_value(text)}")
            for name, text in texts.items()
            if name in FILTER_RULES and not (isinstance(text, str) and text)
        ]
        refused = {fault.field for fault in faults}
        given: dict[str, Any] = {
            name: text
            for name, text in texts.items()
            if name in FILTER_RULES and name not in refused
        }
        try:
            found = cls(**given)
        except InvalidRequest as error:
            raise InvalidRequest([*faults, *error.faults]) from None
        if faults:
            raise InvalidRequest(faults)
        return found

    def to_texts(self) -> dict[str, str]:
        """Return the text of each filter that is given, by name."""
        values = {name: getattr(self, name) for name in FILTER_RULES}
        return {
            name: FILTER_RULES[name].write(value)
            for name, value in values.items()
            if value is not None and value != ()
        }

    def _read_texts(self, faults: list[Fault]) -> dict[str, str]:
        """Return the texts, and add a fault for each filter whose value is of a wrong type."""
        texts = {}
        for name, rule in FILTER_RULES.items():
            value = getattr(self, name)
            if value is not None and value != ():
                try:
                    texts[name] = rule.write(value)
                except (TypeError, AttributeError):
                    faults.append(Fault(name, f"is {describe_type(value)}: {format_value(value)}"))
        return texts

    def to_json(self, below: UUID | None = None) -> str:
        """Return the filter as JSON text for the functions of `sql/functions/filtered_jobs.sql`.

        With `below`, only jobs with ids below it match.
        """
        wanted: dict[str, Any] = {**self.to_texts()}
        if below is not None:
            wanted["below"] = str(below)
        if self.state:
            wanted["state"] = list(self.state)
        if self.metadata is not None:
            wanted["metadata"] = _metadata_objects(*self.metadata)
        return orjson.dumps(wanted).decode()


def _metadata_objects(key: str, text: str) -> list[dict[str, Any]]:
    """Return the metadata that the text may mean: as text, and as a number or literal of JSON."""
    objects: list[dict[str, Any]] = [{key: text}]
    if text in {"true", "false", "null"} or (_NUMBER.fullmatch(text) and isfinite(float(text))):
        objects.append({key: orjson.Fragment(text)})
    return objects


def filter_to_json(where: JobFilter) -> str:
    """Return the filter as the JSON that queries take. Raises `InvalidRequest` for other types."""
    require_type(
        "where", where, JobFilter, "give a `JobFilter`, such as `JobFilter(state='queued')`"
    )
    return where.to_json()
