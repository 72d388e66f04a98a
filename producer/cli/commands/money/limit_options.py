"""The options of `darkroom accounts limits`, and the limits that they set."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from producer.cli.options import parse_reason
from producer.plain_numbers import read_decimal
from shared.domain.job import Priority

if TYPE_CHECKING:
    from producer.accounts.account_limits import AccountLimits

NO_LIMIT = "none"


def parse_limit(text: str) -> Decimal | str:
    """Return the number of the text, or `none`. Raises a usage error for other text."""
    if text == NO_LIMIT:
        return NO_LIMIT
    number = read_decimal(text)
    if number is None:
        raise typer.BadParameter(f"{text!r} is neither a number nor `{NO_LIMIT}`")
    return number


def parse_weight(text: str) -> Decimal:
    """Return the weight of the text. Raises a usage error for other text."""
    number = parse_limit(text)
    if isinstance(number, str):
        raise typer.BadParameter("a weight is a number, such as 2; the default is 1")
    return number


Weight = Annotated[
    Decimal | None,
    typer.Option(
        "--weight", metavar="N", parser=parse_weight, help="Its share of the submits: 0.01 to 1000."
    ),
]
_LIMIT = "N|none"
MaxOpenJobs = Annotated[
    str | None,
    typer.Option(
        "--max-open-jobs",
        metavar=_LIMIT,
        parser=parse_limit,
        help="Jobs that are submitting, unknown or generating at once.",
    ),
]
MaxQueuedJobs = Annotated[
    str | None,
    typer.Option(
        "--max-queued-jobs",
        metavar=_LIMIT,
        parser=parse_limit,
        help="Queued jobs, scheduled ones included.",
    ),
]
MaxCreditsPerDay = Annotated[
    str | None,
    typer.Option(
        "--max-credits-per-day",
        metavar=_LIMIT,
        parser=parse_limit,
        help="Credits that the jobs of one day (UTC) hold and cost.",
    ),
]
MaxPriority = Annotated[
    str | None,
    typer.Option(
        "--max-priority",
        metavar="|".join(get_args(Priority)),
        help="The highest priority that its service keys may ask for.",
    ),
]


def _parse_optional_reason(text: str | None) -> str | None:
    return None if text is None else parse_reason(text)


OptionalReason = Annotated[
    str | None,
    typer.Option(
        "--reason",
        metavar="TEXT",
        callback=_parse_optional_reason,
        help="Why; recorded with the change.",
    ),
]


def read_limits(**options: Decimal | str | None) -> AccountLimits:
    """Return the limits of the options that are given. None stands for `none`."""
    named = {name: _read(value) for name, value in options.items() if value is not None}
    limits: AccountLimits = named  # type: ignore[assignment]
    return limits


def _read(value: Decimal | str) -> Decimal | int | str | None:
    if value == NO_LIMIT:
        return None
    if isinstance(value, Decimal) and value == value.to_integral_value():
        return int(value) if abs(value) < 10**12 else value
    return value
