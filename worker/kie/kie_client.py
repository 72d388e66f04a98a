"""Kie's API as methods. Each call is one HTTP exchange and returns an outcome, never an error.

The API key is only in the Authorization header. Kie's messages are put on one line and shortened,
and the key is removed should a response echo it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal, InvalidOperation
from types import TracebackType
from typing import Protocol

from pydantic import SecretStr

from shared.catalog import ImageRequest, KieRequest, KieResponse, ModelFamily
from shared.catalog.kie_response_codes import SUCCESS_CODE, parse_envelope
from shared.domain.kie_outcomes import (
    Accepted,
    Ambiguous,
    Delivered,
    NoVerdict,
    Pending,
    PollOutcome,
    SubmitOutcome,
    TaskLookup,
    TryLater,
    Unreadable,
    WrongEndpoint,
)
from shared.domain.lifecycle import Reason
from shared.domain.outbound_proxies import NO_PROXIES, OutboundProxies
from worker.kie.http_exchange import KieHttp, NeverSent, ReplyLost

MESSAGE_LENGTH_MAX = 500
ANSWER_LENGTH_MAX = 4_000
_CREDIT = KieRequest("GET", "/api/v1/chat/credit")

ResponseHook = Callable[[str, str, float], None]
"""Called once per exchange with 'submit', 'poll', 'link', 'credit' or 'catalogue', the outcome, and
the seconds it took.

The outcome is Kie's code as text ('200', '429', 'other' outside of 100 to 599), or 'unreadable',
'timeout', 'unreachable' or 'reply_lost'."""

ContentHook = Callable[[str, str, KieResponse], None]
"""Called with the family's name, 'submit' or 'poll', and each response to it."""


def _ignore_content(_family: str, _endpoint: str, _response: KieResponse) -> None:
    pass


class KieApi(Protocol):
    """The calls to Kie that the worker makes. None raises for an error of Kie or of the network."""

    async def submit(
        self, family: ModelFamily, request: ImageRequest, *, callback_url: str | None
    ) -> SubmitOutcome:
        """Send the one paid POST of an attempt."""
        ...

    async def poll(self, family: ModelFamily, task_id: str) -> PollOutcome:
        """Query a task once."""
        ...

    async def examine(self, family: ModelFamily, task_id: str) -> TaskLookup:
        """Query a task once, and return its callback URL as well."""
        ...

    async def download_link(self, family: ModelFamily, task_id: str, url: str) -> str | None:
        """Return another link to an image of a task; None where Kie gives none."""
        ...

    async def credit(self) -> Decimal | None:
        """Return the credits left on the Kie account; None where they are not known."""
        ...

    async def query_catalogue(self, request: KieRequest) -> KieResponse | None:
        """Query Kie's catalogue API once. Returns None without a response."""
        ...


class KieClient:
    """`KieApi` over HTTP. Use it as an async context manager; it owns one connection pool.

    The pool is as large as the number of requests that the lanes may run at once, because a poll
    that waits for a connection is late. Raises `ConfigurationError` where the base URL or the key
    is not usable.
    """

    def __init__(
        self,
        *,
        base_url: str,
        api_key: SecretStr,
        timeout_seconds: float,
        connections: int = 1_200,
        proxies: OutboundProxies = NO_PROXIES,
        on_response: ResponseHook | None = None,
        on_content: ContentHook = _ignore_content,
    ) -> None:
        self._http = KieHttp(
            base_url=base_url,
            api_key=api_key,
            timeout_seconds=timeout_seconds,
            connections=connections,
            proxies=proxies,
        )
        self._api_key = api_key
        self._on_answer = on_response
        self._on_content = on_content

    def __repr__(self) -> str:
        return f"KieClient({self._http.base_url})"

    async def __aenter__(self) -> KieClient:
        await self._http.__aenter__()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._http.__aexit__(exc_type, exc, traceback)

    async def submit(
        self, family: ModelFamily, request: ImageRequest, *, callback_url: str | None
    ) -> SubmitOutcome:
        """Send the one paid POST of an attempt. `Ambiguous` means that a task may exist."""
        outgoing = family.build_submit(request, callback_url=callback_url)
        match await self._exchange("submit", outgoing):
            case NeverSent(message, wrong_endpoint=True):
                return WrongEndpoint(self._sanitize(message))
            case NeverSent(message):
                return TryLater(Reason.UNREACHABLE, self._sanitize(message))
            case ReplyLost(message):
                return Ambiguous(Reason.REPLY_LOST, self._sanitize(message))
            case KieResponse() as answer:
                self._on_content(family.name, "submit", answer)
                outcome = family.read_submit(answer)
        if isinstance(outcome, Accepted):
            return outcome
        return replace(outcome, message=self._sanitize(outcome.message))

    async def poll(self, family: ModelFamily, task_id: str) -> PollOutcome:
        """Query a task once. `NoVerdict` means to query again later."""
        outcome, _ = await self._query(family, task_id)
        return outcome

    async def examine(self, family: ModelFamily, task_id: str) -> TaskLookup:
        """Query a task once, and return its callback URL as well."""
        outcome, answer = await self._query(family, task_id)
        return TaskLookup(outcome, None if answer is None else family.read_callback_url(answer))

    async def _query(
        self, family: ModelFamily, task_id: str
    ) -> tuple[PollOutcome, KieResponse | None]:
        """Query a task once. Returns the outcome, and the response if there was one."""
        answer = await self._exchange("poll", family.build_poll(task_id))
        if isinstance(answer, KieResponse):
            self._on_content(family.name, "poll", answer)
            return self._sanitize_outcome(family.read_poll(answer)), answer
        return self._sanitize_outcome(_undecided(answer)), None

    async def download_link(self, family: ModelFamily, task_id: str, url: str) -> str | None:
        """Return another link to an image of a task; None where Kie gives none.

        Kie's documentation says that it answers for 20 minutes.
        """
        answer = await self._exchange("link", family.build_download_link(task_id, url))
        if not isinstance(answer, KieResponse):
            return None
        envelope = parse_envelope(answer)
        is_success = envelope.is_http_success and envelope.code == SUCCESS_CODE
        return envelope.data if is_success and isinstance(envelope.data, str) else None

    async def credit(self) -> Decimal | None:
        """Return the credits left on the Kie account; None when they cannot be known."""
        answer = await self._exchange("credit", _CREDIT)
        if not isinstance(answer, KieResponse):
            return None
        envelope = parse_envelope(answer)
        if not envelope.is_http_success or envelope.code != SUCCESS_CODE:
            return None
        return _credits(envelope.data)

    async def query_catalogue(self, request: KieRequest) -> KieResponse | None:
        """Query Kie's catalogue API once. Returns None without a response."""
        answer = await self._exchange("catalogue", request)
        return answer if isinstance(answer, KieResponse) else None

    async def _exchange(
        self, endpoint: str, request: KieRequest
    ) -> KieResponse | NeverSent | ReplyLost:
        loop = asyncio.get_running_loop()
        started = loop.time()
        outcome = await self._http.exchange(request)
        if self._on_answer is not None:
            self._on_answer(endpoint, _metric_code(outcome), loop.time() - started)
        return outcome

    def _sanitize_outcome(self, outcome: PollOutcome) -> PollOutcome:
        if isinstance(outcome, Pending | Delivered):
            return outcome
        if isinstance(outcome, Unreadable):
            answer = self._sanitize(outcome.answer, ANSWER_LENGTH_MAX)
            return Unreadable(self._sanitize(outcome.message), answer)
        return replace(outcome, message=self._sanitize(outcome.message))

    def _sanitize(self, message: str, length_max: int = MESSAGE_LENGTH_MAX) -> str:
        # The order matters: a control character inside an echoed key would hide the key from the
        # search, and shortening first could leave half of it.
        spaced = " ".join(message.split())
        line = "".join(c for c in spaced if c.isprintable())
        line = line.replace(self._api_key.get_secret_value(), "[key]")
        return line if len(line) <= length_max else line[: length_max - 1] + "…"


def _undecided(failure: NeverSent | ReplyLost) -> NoVerdict:
    is_wrong = isinstance(failure, NeverSent) and failure.wrong_endpoint
    return NoVerdict(failure.message, wrong_endpoint=is_wrong)


def _metric_code(outcome: KieResponse | NeverSent | ReplyLost) -> str:
    match outcome:
        case NeverSent():
            return "unreachable"
        case ReplyLost(timed_out=timed_out):
            return "timeout" if timed_out else "reply_lost"
    if (
        outcome.status == SUCCESS_CODE
        and isinstance(outcome.body, dict)
        and outcome.body.get("code") == SUCCESS_CODE
    ):
        return "200"
    envelope = parse_envelope(outcome)
    number = envelope.code if envelope.is_http_success else envelope.status
    if number is None:
        return "unreadable"
    # Limits the number of metric series.
    return str(number) if 100 <= number < 600 else "other"


def _credits(data: object) -> Decimal | None:
    if isinstance(data, bool) or not isinstance(data, int | float | str):
        return None
    try:
        # Converts through text, so that a float has its shortest digits.
        left = Decimal(str(data))
    except InvalidOperation:
        return None
    return left if left.is_finite() else None
