"""Options and arguments that several commands share, and the parsers of their values."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Annotated, Any

import orjson
import typer

from producer.actor import MAX_REASON_LENGTH
from producer.list_pages import MAX_LIST_LIMIT
from producer.plain_numbers import CREDITS_MAX, has_price_decimals, read_decimal
from shared.utc_times import UTC_YEARS


def parse_credits(text: str | Decimal) -> Decimal:
    """Return the credits of the text, or raise a usage error. A default is a number already."""
    credits = read_decimal(str(text))
    if credits is None:
        raise typer.BadParameter(f"{text!r} is not a number of credits, such as 7 or 7.5")
    return credits


def parse_price(text: str | Decimal) -> Decimal:
    """Return the credits of a price, or raise a usage error."""
    credits = parse_credits(text)
    if not (0 <= credits <= CREDITS_MAX and has_price_decimals(credits)):
        raise typer.BadParameter(
            f"{text!r} must be a number from 0 to {CREDITS_MAX:,} with at most 2 decimals"
        )
    return credits


def parse_time(text: str) -> datetime:
    """Return the time of an ISO text. Without a timezone, it is in the zone of this machine."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a time, such as 2030-01-31T18:00:00Z") from None
    try:
        return time.astimezone()
    except (ValueError, OverflowError, OSError):
        raise typer.BadParameter(f"{text!r} must be {UTC_YEARS}") from None


_SECONDS_PER_UNIT = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


def parse_duration(text: str) -> float:
    """Return the seconds of a text such as 90s, 30m, 2h or 1.5d."""
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)([smhd])", text)
    if match is None:
        raise typer.BadParameter(f"{text!r} is not a duration, such as 90s, 30m, 2h or 1.5d")
    return float(match[1]) * _SECONDS_PER_UNIT[match[2]]


def parse_json_object(text: str) -> dict[str, Any]:
    """Return the JSON object of the text, or raise a usage error."""
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise typer.BadParameter(f"is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise typer.BadParameter("must be a JSON object, such as '{\"order\": 1042}'")
    return value


def parse_reason(text: str) -> str:
    """Return the reason without surrounding blanks. An empty reason is a usage error."""
    if not text.strip():
        raise typer.BadParameter("say why, in a few words: it is recorded with the change")
    if len(text.strip()) > MAX_REASON_LENGTH:
        length = f"{len(text.strip()):,} characters; at most {MAX_REASON_LENGTH}"
        raise typer.BadParameter(f"the reason has {length}")
    return text.strip()


AsJson = Annotated[bool, typer.Option("--json", help="JSON on stdout, one object per line.")]
JobId = Annotated[str, typer.Argument(metavar="ID", help="The job's id.")]
AccountId = Annotated[str, typer.Argument(metavar="A", help="The account's id.")]
Credits = Annotated[
    Decimal, typer.Argument(metavar="CREDITS", parser=parse_credits, help="How many credits.")
]
PriceCredits = Annotated[
    Decimal, typer.Argument(metavar="CREDITS", parser=parse_price, help="How many credits.")
]
Reason = Annotated[
    str,
    typer.Option(
        "--reason", metavar="TEXT", callback=parse_reason, help="Why; recorded with the change."
    ),
]


def parse_day(text: str) -> datetime:
    """Return the start of a day in UTC, or the time of an ISO text, or raise a usage error."""
    try:
        return datetime.combine(date.fromisoformat(text), time(), UTC)
    except ValueError:
        return parse_time(text)


Since = Annotated[
    datetime | None,
    typer.Option("--from", metavar="DAY", parser=parse_day, help="The first day (UTC), or a time."),
]
Until = Annotated[
    datetime | None,
    typer.Option("--to", metavar="DAY", parser=parse_day, help="The day after the last one (UTC)."),
]
Timeout = Annotated[
    float, typer.Option("--timeout", metavar="SECONDS", min=0, help="How long to wait.")
]
Limit = Annotated[
    int, typer.Option("--limit", metavar="N", min=1, max=MAX_LIST_LIMIT, help="At most.")
]
OnlyAccount = Annotated[str | None, typer.Option(metavar="A", help="Only of this account.")]
BelowEntry = Annotated[
    int | None, typer.Option(metavar="ID", help="Only older than this entry: the next page.")
]
Wait = Annotated[bool, typer.Option("--wait", help="Wait for the end; 4 if it fails.")]
