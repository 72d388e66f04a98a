"""The command line of the simulator, read into its configuration."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation

from .durations import DISTRIBUTIONS, Durations
from .fault_switch_parser import describe_switches, read_assignments, with_switches
from .fault_switches import FaultSwitches
from .fault_values import FaultError
from .model_list import describe_models
from .simulator_config import SimulatorConfig

_DEFAULTS = SimulatorConfig()


def read_command_line(arguments: Sequence[str]) -> SimulatorConfig:
    """The configuration that the arguments ask for.

    Leaves through SystemExit: 2 with a sentence when something is not allowed, 0 after
    ``--help``, ``--list-faults`` or ``--list-models``.
    """
    parser = _build_parser()
    given = parser.parse_args(arguments)
    if given.list_faults:
        sys.stdout.write(list_faults())
        parser.exit(0)
    if given.list_models:
        sys.stdout.write(list_models())
        parser.exit(0)
    try:
        return _to_config(given)
    except ValueError as error:
        parser.error(str(error))


def list_faults() -> str:
    """The table of fault switches as text, one per paragraph."""
    lines = []
    for switch in describe_switches().values():
        where = "" if not switch.description.account_wide else "; not in a prompt"
        default = "unset" if switch.default is None else switch.default
        lines.append(f"{switch.name} = {default}")
        lines.append(f"    {switch.description.meaning}")
        lines.append(f"    ({switch.description.kind.allowed}{where})")
    return "\n".join(lines) + "\n"


def list_models() -> str:
    """The models of both endpoints as text, one per line, with their prices in credits."""
    return "".join(f"{one.format_line()}\n" for one in describe_models(FaultSwitches()))


def _build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="darkroom simulate-kie",
        description="A simulator of the Kie API; GET /simulator tells what it can be asked.",
        allow_abbrev=False,
    )
    _add_network(parser)
    _add_durations(parser)
    _add_limits(parser)
    _add_callbacks(parser)
    parser.add_argument(
        "--fault", action="append", default=[], metavar="NAME=VALUE", help="set a fault switch"
    )
    parser.add_argument("--list-models", action="store_true", help="print the models and leave")
    parser.add_argument("--list-faults", action="store_true", help="print the switches and leave")
    return parser


def _add_network(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("address")
    group.add_argument("--host", default=_DEFAULTS.host)
    group.add_argument("--port", type=int, default=0, help="0 takes any free port (default)")
    group.add_argument("--public-url", default="", help="address written into image URLs")
    group.add_argument(
        "--api-key",
        action="append",
        metavar="KEY",
        help=f"default {_DEFAULTS.api_key}; each further one is an account of its own",
    )
    group.add_argument(
        "--plain-bodies",
        action="store_true",
        help="no gzip and no chunks, whatever the client accepts",
    )
    group.add_argument(
        "--real-http-status",
        action="store_true",
        help="errors as HTTP statuses, not as HTTP 200 with a code; same as error_form=status",
    )


def _add_durations(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("time")
    shape = _DEFAULTS.durations
    group.add_argument(
        "--duration",
        type=float,
        default=shape.median_seconds,
        metavar="SECONDS",
        help="median of the lognormal (default %(default)s)",
    )
    group.add_argument(
        "--sigma",
        type=float,
        default=shape.sigma,
        help="spread of the lognormal; 0 = constant (default %(default)s)",
    )
    group.add_argument("--distribution", choices=DISTRIBUTIONS, default=shape.distribution)
    group.add_argument(
        "--duration-scale", type=float, default=shape.scale, help="multiplies every duration"
    )
    group.add_argument("--seed", type=int, help="repeat durations, latencies and faults")
    for call in ("create", "poll"):
        group.add_argument(
            f"--{call}-latency",
            type=float,
            default=getattr(_DEFAULTS, f"{call}_latency_seconds"),
            metavar="SECONDS",
            help="around which a reply comes; 0 = at once (default %(default)s)",
        )
    group.add_argument(
        "--latency-jitter", type=float, default=_DEFAULTS.latency_jitter, metavar="SHARE"
    )


def _add_limits(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("account")
    group.add_argument("--credits", default=str(_DEFAULTS.starting_credits))
    group.add_argument(
        "--creates-per-10-seconds",
        type=int,
        default=_DEFAULTS.creates_per_10_seconds,
        help="0 = no limit (default %(default)s)",
    )
    group.add_argument(
        "--polls-per-second-per-task",
        type=int,
        default=_DEFAULTS.polls_per_second_per_task,
        help="0 = no limit (default %(default)s)",
    )
    group.add_argument(
        "--market-polls-per-second-per-task",
        type=int,
        default=_DEFAULTS.market_polls_per_second_per_task,
        help="of tasks of the Market; 0 = no limit (default %(default)s)",
    )
    group.add_argument("--request-log", type=int, default=_DEFAULTS.request_log_size)


def _add_callbacks(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("callbacks")
    group.add_argument("--hmac-key", default="", help="sign callbacks with this key")
    group.add_argument(
        "--callback-timeout",
        type=float,
        default=_DEFAULTS.callback_timeout_seconds,
        metavar="SECONDS",
    )
    group.add_argument("--callback-retries", type=int, default=_DEFAULTS.callback_retries)
    group.add_argument(
        "--callback-retry-interval",
        type=float,
        default=_DEFAULTS.callback_retry_seconds,
        metavar="SECONDS",
    )


def _to_config(given: argparse.Namespace) -> SimulatorConfig:
    keys: list[str] = given.api_key or [_DEFAULTS.api_key]
    return SimulatorConfig(
        host=given.host,
        port=given.port,
        public_url=given.public_url,
        api_key=keys[0],
        further_api_keys=tuple(keys[1:]),
        starting_credits=_read_credits(given.credits),
        creates_per_10_seconds=given.creates_per_10_seconds,
        polls_per_second_per_task=given.polls_per_second_per_task,
        market_polls_per_second_per_task=given.market_polls_per_second_per_task,
        create_latency_seconds=given.create_latency,
        poll_latency_seconds=given.poll_latency,
        latency_jitter=given.latency_jitter,
        compress_bodies=not given.plain_bodies,
        durations=Durations(given.distribution, given.duration, given.sigma, given.duration_scale),
        seed=given.seed,
        webhook_hmac_key=given.hmac_key,
        callback_timeout_seconds=given.callback_timeout,
        callback_retries=given.callback_retries,
        callback_retry_seconds=given.callback_retry_interval,
        request_log_size=given.request_log,
        faults=_read_faults(given),
    )


def _read_faults(given: argparse.Namespace) -> FaultSwitches:
    form = "status" if given.real_http_status else "body"
    return with_switches(FaultSwitches(error_form=form), read_assignments(given.fault))


def _read_credits(text: str) -> Decimal:
    try:
        credits = Decimal(text)
    except InvalidOperation:
        credits = Decimal("NaN")
    if not credits.is_finite():
        raise FaultError(f"--credits is {text!r}; give a number, 0 or more")
    return credits
