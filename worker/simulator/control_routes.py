"""The /simulator routes: reading the record, setting faults, starting over. No key is needed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from decimal import Decimal, InvalidOperation
from itertools import islice

import orjson
from aiohttp import web

from .fault_switch_parser import as_values, describe_switches, read_switches, with_switches
from .fault_switches import FaultSwitches
from .fault_values import FaultError
from .model_list import describe_models
from .provider_state import SimulatedProvider
from .simulated_account import SimulatedAccount

_ROWS_PER_CHUNK = 500
_DEFAULT_LIMIT = 100

_HELP = """Kie simulator. These need the key, as at Kie:

{routes}

Models: GET /simulator/models tells what each costs and what it takes.

{models}

These need no key:

GET    /simulator/record                     every figure, as one JSON object
GET    /simulator/record/tasks               one JSON object per line for each task
GET    /simulator/record/requests?limit=N    the latest requests, newest first
GET    /simulator/record/callbacks?limit=N   the latest callbacks, newest first
GET    /simulator/record/files               the uploaded files that are still there
GET    /simulator/models                     every model: endpoint, prices, fields
GET    /simulator/faults                     every switch: value, default, allowed, meaning
PUT    /simulator/faults                     {"name": value, ...} sets these; null = default
DELETE /simulator/faults                     back to the switches of the start
POST   /simulator/credits                    {"credits": n} adds credits
POST   /simulator/reset                      forget every task and start over

With ?account=N, faults and credits are those of one account alone, numbered from 1 in the order of
the keys; without it, faults are everybody's and credits the first account's.
One request sets its own switches in its prompt: [[sim: outcome=generate_failed, duration=1.5]]
"""


Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class BadControlError(ValueError):
    """A control request is wrong; the message says what is allowed."""


class ControlRoutes:
    """Answers everything under /simulator with real HTTP statuses."""

    def __init__(self, kie: SimulatedProvider, api_routes: Iterable[str]) -> None:
        self._kie = kie
        self._api_routes = tuple(api_routes)
        self._handlers: dict[tuple[str, str], Handler] = {
            ("GET", "/simulator"): self._help,
            ("GET", "/simulator/models"): self._models,
            ("GET", "/simulator/record"): self._summary,
            ("GET", "/simulator/record/tasks"): self._tasks,
            ("GET", "/simulator/record/requests"): self._requests,
            ("GET", "/simulator/record/callbacks"): self._callbacks,
            ("GET", "/simulator/record/files"): self._files,
            ("GET", "/simulator/faults"): self._show_faults,
            ("PUT", "/simulator/faults"): self._set_faults,
            ("DELETE", "/simulator/faults"): self._clear_faults,
            ("POST", "/simulator/credits"): self._add_credits,
            ("POST", "/simulator/reset"): self._reset,
        }

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one control request; 400 and 404 say what is allowed."""
        handler = self._handlers.get((request.method, request.path.rstrip("/")))
        if handler is None:
            return _json({"error": "no such control route; GET /simulator lists them"}, 404)
        self._kie.finish_due_tasks()
        try:
            return await handler(request)
        except (BadControlError, FaultError) as error:
            return _json({"error": str(error)}, 400)

    async def _help(self, _request: web.BaseRequest) -> web.StreamResponse:
        models = [one.format_line() for one in describe_models(self._kie.faults)]
        routes, known = "\n".join(self._api_routes), "\n".join(models)
        return web.Response(text=_HELP.replace("{routes}", routes).replace("{models}", known))

    async def _models(self, _request: web.BaseRequest) -> web.StreamResponse:
        return _json([one.describe() for one in describe_models(self._kie.faults)])

    async def _summary(self, _request: web.BaseRequest) -> web.StreamResponse:
        return _json(self._kie.record.summary())

    async def _tasks(self, request: web.BaseRequest) -> web.StreamResponse:
        """Stream the rows in parts, so that a long record does not delay other requests."""
        now = self._kie.clocks.monotonic()
        rows = iter(tuple(self._kie.record.tasks.values()))
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        await response.prepare(request)
        while chunk := tuple(islice(rows, _ROWS_PER_CHUNK)):
            lines = (orjson.dumps(task.describe(now)) + b"\n" for task in chunk)
            await response.write(b"".join(lines))
            await asyncio.sleep(0)
        await response.write_eof()
        return response

    async def _requests(self, request: web.BaseRequest) -> web.StreamResponse:
        latest = islice(reversed(self._kie.record.requests), _read_limit(request))
        return _json([seen.describe() for seen in latest])

    async def _callbacks(self, request: web.BaseRequest) -> web.StreamResponse:
        latest = islice(reversed(self._kie.record.callbacks), _read_limit(request))
        return _json([sent.describe() for sent in latest])

    async def _files(self, _request: web.BaseRequest) -> web.StreamResponse:
        return _json(self._kie.files.describe())

    async def _show_faults(self, request: web.BaseRequest) -> web.StreamResponse:
        values = as_values(self._faults_in_force(self._read_account(request)))
        table = {
            name: {
                "value": values[name],
                "default": switch.default,
                "allowed": switch.description.kind.allowed,
                "meaning": switch.description.meaning,
                "in_prompt": not switch.description.account_wide,
            }
            for name, switch in describe_switches().items()
        }
        return _json(table)

    async def _set_faults(self, request: web.BaseRequest) -> web.StreamResponse:
        account = self._read_account(request)
        switches = read_switches(await _read_object(request))
        if account is None:
            self._kie.faults = with_switches(self._kie.faults, switches)
        else:
            account.overrides = {**account.overrides, **switches}
        return _json(as_values(self._faults_in_force(account)))

    async def _clear_faults(self, request: web.BaseRequest) -> web.StreamResponse:
        account = self._read_account(request)
        if account is None:
            self._kie.faults = self._kie.config.faults
        else:
            account.overrides = {}
        return _json(as_values(self._faults_in_force(account)))

    def _faults_in_force(self, account: SimulatedAccount | None) -> FaultSwitches:
        return self._kie.faults if account is None else self._kie.faults_of(account)

    def _read_account(self, request: web.BaseRequest) -> SimulatedAccount | None:
        given = request.query.get("account")
        if given is None:
            return None
        accounts = self._kie.accounts
        if not (given.isascii() and given.isdecimal()) or not 1 <= int(given) <= len(accounts):
            raise BadControlError(f"account is {given!r}; give a number from 1 to {len(accounts)}")
        return accounts[int(given) - 1]

    async def _add_credits(self, request: web.BaseRequest) -> web.StreamResponse:
        given = (await _read_object(request)).get("credits")
        try:
            amount = Decimal(str(given))
        except InvalidOperation:
            amount = Decimal("NaN")
        if not amount.is_finite() or amount <= 0:
            raise BadControlError(f"credits is {given!r}; give a number greater than 0")
        account = self._read_account(request) or self._kie.account
        account.top_up(amount)
        return _json(account.describe())

    async def _reset(self, _request: web.BaseRequest) -> web.StreamResponse:
        self._kie.reset()
        return _json(self._kie.record.summary())


def _json(data: object, status: int = 200) -> web.Response:
    return web.Response(
        body=orjson.dumps(data, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE),
        status=status,
        content_type="application/json",
    )


def _read_limit(request: web.BaseRequest) -> int:
    given = request.query.get("limit", str(_DEFAULT_LIMIT))
    if not (given.isascii() and given.isdecimal()):
        raise BadControlError(f"limit is {given!r}; give a whole number, 0 or more")
    return int(given)


async def _read_object(request: web.BaseRequest) -> dict[str, object]:
    try:
        given = orjson.loads(await request.read())
    except orjson.JSONDecodeError as error:
        raise BadControlError(f"the body is not JSON: {error}") from error
    if not isinstance(given, dict):
        raise BadControlError("the body must be a JSON object")
    return given
