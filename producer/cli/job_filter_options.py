"""The filters of jobs as options of commands, one for each filter of `JobFilter`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from functools import wraps
from typing import Annotated, Any

import typer

from producer.cli.command_runner import exit_on_error
from producer.cli.options import parse_time
from producer.jobs.job_filter import FILTER_RULES, FilterRule, JobFilter


def with_job_filters(command: Callable[..., None]) -> Callable[..., None]:
    """Add an option for each filter of jobs. The command gets their values as `where`."""
    own = inspect.signature(command, eval_str=True)

    @wraps(command)
    def with_filter(**given: Any) -> None:
        texts = {name: given.pop(name) for name in FILTER_RULES}
        with exit_on_error():
            where = JobFilter.from_texts({n: text for n, text in texts.items() if text is not None})
        command(where=where, **given)

    keyword = inspect.Parameter.KEYWORD_ONLY
    parameters = [
        one.replace(kind=keyword) for one in own.parameters.values() if one.name != "where"
    ]
    options = [_option(name, rule) for name, rule in FILTER_RULES.items()]
    with_filter.__signature__ = own.replace(parameters=[*options, *parameters])  # type: ignore[attr-defined]
    with_filter.__annotations__ = {one.name: one.annotation for one in (*options, *parameters)}
    return with_filter


def list_filter_options(where: JobFilter) -> Iterator[tuple[str, str]]:
    """Yield the option and the text of each filter that is given."""
    for name, text in where.to_texts().items():
        yield _option_name(name, FILTER_RULES[name]), text


def _option_name(name: str, rule: FilterRule) -> str:
    return rule.option or f"--{name.replace('_', '-')}"


def _option(name: str, rule: FilterRule) -> inspect.Parameter:
    sentence = f"{rule.description[0].upper()}{rule.description[1:]}."
    option = typer.Option(
        _option_name(name, rule),
        metavar=rule.metavar,
        help=sentence,
        # On the command line a time without a timezone is in the zone of this machine.
        parser=_read_moment if rule.metavar == "ISO" else None,
    )
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[str | None, option],
    )


def _read_moment(text: str) -> str:
    return parse_time(text).isoformat()
