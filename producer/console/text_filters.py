"""Formats values for pages: credits, numbers, times and durations."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode, urlsplit

from shared.domain.counted import counted

NONE = "\u2013"
"""Shown for a value that does not exist."""
_MINUTE, _HOUR, _DAY = 60, 3600, 86_400
_STORED_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?([+-]\d\d:\d\d|Z)", re.ASCII)
"""How Postgres writes a `timestamptz` into JSON."""


def format_credits(credits: Decimal | int | None) -> str:
    """Return an amount with thousands separators and no more decimals than it has."""
    if credits is None:
        return NONE
    amount = Decimal(credits)
    if not amount.is_finite():
        return str(amount)
    whole = amount == amount.to_integral_value()
    return f"{amount:,.0f}" if whole else f"{amount.normalize():,f}"


def count_credits(credits: Decimal | int | None, one: str = "credit", many: str = "credits") -> str:
    """Return an amount with its words: `1 credit`, `6 credits`."""
    return f"{format_credits(credits)} {one if credits == 1 else many}"


def format_number(number: float | None, decimals: int = 0) -> str:
    """Return a number with thousands separators."""
    return NONE if number is None else f"{number:,.{decimals}f}"


def format_bytes(count: int | None) -> str:
    """Return a size as kilobytes or megabytes of 1,000."""
    if count is None:
        return NONE
    return f"{count / 1e6:.1f} MB" if count >= 1e6 else f"{max(1, round(count / 1e3))} kB"


def format_percent(part: float | Decimal | None, decimals: int = 1) -> str:
    """Return a share, such as 0.125, as a percentage."""
    return NONE if part is None else f"{part * 100:,.{decimals}f} %"


def format_duration(seconds: float | None) -> str:
    """Return a duration with at most two units: `450 ms`, `12.3 s`, `4 min 10 s`, `2 d 3 h`."""
    if seconds is None:
        return NONE
    if seconds < 0:
        return f"-{format_duration(-seconds)}"
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms" if seconds else "0 s"
    if seconds < 10:
        return f"{seconds:.1f} s" if seconds % 1 else f"{seconds:.0f} s"
    whole = round(seconds)
    for size, unit, part_size, part in (
        (_DAY, "d", _HOUR, "h"),
        (_HOUR, "h", _MINUTE, "min"),
        (_MINUTE, "min", 1, "s"),
    ):
        if whole >= size:
            rest = whole % size // part_size
            return f"{whole // size} {unit} {rest} {part}" if rest else f"{whole // size} {unit}"
    return f"{whole} s"


def format_time(time: datetime | None) -> str:
    """Return a time in UTC to the second: `2026-11-27 17:30:05`."""
    return NONE if time is None else f"{time.astimezone(UTC):%Y-%m-%d %H:%M:%S}"


def format_iso_time(time: datetime) -> str:
    """Return a time for the attribute `datetime`."""
    return time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def format_ago(time: datetime | None, now: datetime) -> str:
    """Return how long ago a time is, or in how long it will be."""
    if time is None:
        return NONE
    seconds = (now - time).total_seconds()
    if abs(seconds) < 1:
        return "now"
    text = format_duration(round(abs(seconds))).split(" ")
    short = " ".join(text[:2])
    return f"{short} ago" if seconds > 0 else f"in {short}"


def format_stored(value: object) -> str:
    """Return a value of a stored JSON object as text: times in UTC, amounts as credits."""
    if isinstance(value, str) and _STORED_TIME.fullmatch(value):
        try:
            return format_time(datetime.fromisoformat(value))
        except ValueError:
            return value
    return format_credits(Decimal(str(value))) if isinstance(value, float) else str(value)


def format_words(name: object) -> str:
    """Return a stored name as words: `cancelled_by_caller` as `cancelled by caller`."""
    return NONE if name is None else str(name).replace("_", " ")


def format_json(value: Any) -> str:
    """Return a value as indented JSON text."""
    return json.dumps(value, indent=2, ensure_ascii=False, default=str)


def format_attribute_json(value: Any) -> str:
    """Return a value as compact JSON text, for an attribute that a script reads."""
    return json.dumps(value, separators=(",", ":"), default=_number_or_text)


def _number_or_text(value: object) -> float | str:
    return float(value) if isinstance(value, Decimal) else str(value)


def safe_link(url: object) -> str | None:
    """Return a URL that a link may lead to: http or https with a host. None for all others.

    Texts of callers and of Kie may be `javascript:` URLs, which a link would run.
    """
    text = str(url)
    try:
        parts = urlsplit(text)
    except ValueError:
        return None
    is_plain = text == text.strip() and text.isprintable() and "\\" not in text
    return text if is_plain and parts.scheme in {"http", "https"} and parts.hostname else None


def make_query(values: Mapping[str, Any], **changes: Any) -> str:
    """Return `?name=value&...` of the values that are not empty, with changes."""
    given = {**values, **changes}
    text = urlencode({name: str(value) for name, value in given.items() if value not in (None, "")})
    return f"?{text}" if text else ""


FILTERS: Mapping[str, Callable[..., Any]] = {
    "credits": format_credits,
    "counted_credits": count_credits,
    "number": format_number,
    "counted": counted,
    "percent": format_percent,
    "duration": format_duration,
    "clock": format_time,
    "iso": format_iso_time,
    "ago": format_ago,
    "stored": format_stored,
    "words": format_words,
    "pretty_json": format_json,
    "attribute_json": format_attribute_json,
    "safe_link": safe_link,
    "query": make_query,
}
"""The filters of templates, by name."""
