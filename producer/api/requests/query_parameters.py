"""Reads query parameters, and reports all faults of a request together."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from datetime import MAXYEAR, UTC, datetime
from decimal import Decimal
from uuid import UUID

from aiohttp import web

from producer.job_ids import read_uuid
from producer.jobs.job_filter import FILTER_RULES, JobFilter
from producer.webhooks.webhook_messages import parse_message_id
from shared.errors import Fault, InvalidRequest
from shared.field_faults import format_field_name, format_value
from shared.text_and_url_checks import has_lone_surrogate

_MAX_DIGITS = 19
_CREDITS = re.compile(r"[0-9]{1,7}(\.[0-9]{1,2})?", re.ASCII)
_TIME = "a date such as 2030-01-31, or a time with its timezone, of the years 2 to 9998"
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)


def is_storable_text(text: str) -> bool:
    """Return whether Postgres can store the text. It cannot store NUL and lone surrogates."""
    return "\0" not in text and (text.isascii() or not has_lone_surrogate(text))


def read_credits(text: str, highest: int) -> Decimal | None:
    """Return credits from 0 to `highest` with at most 2 decimals, or None for other texts."""
    if _CREDITS.fullmatch(text) and Decimal(text) <= highest:
        return Decimal(text)
    return None


class QueryParameters:
    """The query parameters of one request. Methods collect faults; `raise_faults` raises them."""

    def __init__(self, request: web.Request, allowed: Collection[str]) -> None:
        self._given: Mapping[str, str] = {
            name: value for name, value in request.query.items() if is_storable_text(value)
        }
        self._faults = [
            Fault(
                format_field_name(name), f"is not a parameter here; allowed: {_join_names(allowed)}"
            )
            for name in request.query
            if name not in allowed
        ]
        self._faults += [
            Fault(
                format_field_name(name),
                f"{format_value(value)} has a character that cannot be stored",
            )
            for name, value in request.query.items()
            if not is_storable_text(value)
        ]
        self._faults += [
            Fault(format_field_name(name), "is given more than once")
            for name in allowed
            if len(request.query.getall(name, [])) > 1
        ]

    def text(self, name: str, longest: int, shortest: int = 1) -> str | None:
        """Return the parameter, or None if it is missing. By default an empty one is a fault."""
        value = self._given.get(name)
        if value is not None and not shortest <= len(value) <= longest:
            sentence = f"{format_value(value)} must be {shortest} to {longest} characters"
            self._faults.append(Fault(name, sentence))
            return None
        return value

    def one_of(self, name: str, allowed: Collection[str]) -> str | None:
        """Return the parameter, or None if it is missing. It must be one of `allowed`."""
        value = self._given.get(name)
        if value is not None and value not in allowed:
            self._faults.append(
                Fault(name, f"{format_value(value)} must be one of {_join_names(allowed)}")
            )
            return None
        return value

    def names(self, name: str, allowed: Collection[str]) -> frozenset[str] | None:
        """Return the words of a comma-separated list, or None if it is missing."""
        value = self._given.get(name)
        if value is None:
            return None
        words = value.split(",")
        unknown = next((word for word in words if word not in allowed), None)
        if unknown is not None:
            self._faults.append(
                Fault(
                    name,
                    f"{format_value(unknown)} is none of them; allowed: {_join_names(allowed)}",
                )
            )
        return frozenset(words)

    def number(self, name: str, default: int, lowest: int, highest: int) -> int:
        """Return the parameter as a whole number, or the default if it is missing."""
        value = self._given.get(name)
        if value is None:
            return default
        digits = value.removeprefix("-")
        if digits.isascii() and digits.isdigit() and len(digits) <= _MAX_DIGITS:
            number = int(value)
            if lowest <= number <= highest:
                return number
        self._refuse_number(name, value, f"a whole number from {lowest} to {highest}")
        return default

    def seconds(self, name: str, highest: float) -> float | None:
        """Return the parameter as seconds, which may be a fraction, or None if it is missing."""
        value = self._given.get(name)
        if value is None:
            return None
        try:
            seconds = float(value) if value.isascii() and "_" not in value else -1.0
        except ValueError:
            seconds = -1.0
        if 0 <= seconds <= highest:
            return seconds
        self._refuse_number(name, value, f"seconds from 0 to {highest:g}")
        return None

    def credits(self, name: str, highest: int) -> Decimal | None:
        """Return the parameter as credits with at most 2 decimals, or None if it is missing."""
        value = self._given.get(name)
        if value is None:
            return None
        credits = read_credits(value, highest)
        if credits is None:
            wanted = f"a number from 0 to {highest:,}, with at most 2 decimals"
            self._refuse_number(name, value, wanted)
        return credits

    def time(self, name: str) -> datetime | None:
        """Return the parameter as a time, or None if it is missing. A date is its start in UTC."""
        value = self._given.get(name)
        if value is None:
            return None
        try:
            time = datetime.fromisoformat(value)
            if _DATE.fullmatch(value):
                time = time.replace(tzinfo=UTC)
            # A period that begins or ends there must have another end.
            if time.tzinfo is not None and 1 < time.year < MAXYEAR:
                return time.astimezone(UTC)
        except (ValueError, OverflowError):
            pass
        self._refuse_number(name, value, _TIME)
        return None

    def job_id(self, name: str, wanted: str = "the cursor of a page before") -> UUID | None:
        """Return the parameter as an id, or None if it is missing. A fault contains `wanted`."""
        value = self._given.get(name)
        if value is None:
            return None
        found = read_uuid(value)
        if found is None:
            self._faults.append(Fault(name, f"{format_value(value)} must be {wanted}"))
        return found

    def webhook_id(self, name: str) -> UUID | None:
        """Return the parameter as the id of a webhook message, or None if it is missing."""
        value = self._given.get(name)
        found = None if value is None else parse_message_id(value)
        if value is not None and found is None:
            self._faults.append(
                Fault(name, f"{format_value(value)} must be the cursor of a page before")
            )
        return found

    def job_filter(self) -> JobFilter:
        """Return the filter of the parameters that are filters of jobs."""
        texts = {name: self._given[name] for name in FILTER_RULES if name in self._given}
        try:
            return JobFilter.from_texts(texts)
        except InvalidRequest as refused:
            self._faults += refused.faults
            return JobFilter()

    def _refuse_number(self, name: str, value: str, wanted: str) -> None:
        self._faults.append(Fault(name, f"{format_value(value)} must be {wanted}"))

    def raise_faults(self) -> None:
        """Raise `InvalidRequest` with every fault, if there is one."""
        if self._faults:
            raise InvalidRequest(self._faults)


def _join_names(names: Collection[str]) -> str:
    return ", ".join(names) or "none"
