"""The contract of Kie clients, tested with the scripted fake and the client over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import asdict
from decimal import Decimal
from typing import Any, Protocol

import pytest
from pydantic import SecretStr

from shared.catalog.families.gpt4o_image import FAMILY, TextToImage
from shared.domain.kie_outcomes import (
    Accepted,
    AccountBlocked,
    Ambiguous,
    Delivered,
    NoVerdict,
    Pending,
    PollOutcome,
    Refused,
    SubmitOutcome,
    TaskFailed,
    TryLater,
    Unreadable,
    WrongEndpoint,
)
from tests.fakes.fake_kie import FakeKie
from tests.fakes.kie_server import KieServer, kie_server
from worker.kie.kie_client import KieApi, KieClient

REQUEST = TextToImage(prompt="a lighthouse", aspect_ratio="3:2", quantity=2)
CALLBACK = "https://here.example/callbacks/kie/token"
PICTURE = "https://tempfile.aiquickdraw.com/s/one.png"

SUBMITS: list[SubmitOutcome] = [
    Accepted("ab12"),
    TryLater("rate_limited", "Kie answered 429: words"),
    TryLater("maintenance", "Kie answered 455: words"),
    TryLater("provider_full", "Kie answered 550: words"),
    AccountBlocked("Kie answered 402: words", 402),
    Refused("Kie answered 422: words", 422),
    Ambiguous("server_error", "Kie answered 500: words, without a usable task id"),
    WrongEndpoint("HTTP 404 without Kie's envelope: words"),
    Ambiguous("reply_lost", "a web page in place of JSON", wrong_endpoint=True),
]
POLLS: list[PollOutcome] = [
    Pending(0.25),
    Delivered((PICTURE,)),
    TaskFailed("provider_failed", "words", is_request_fault=True),
    TaskFailed("content_policy", "flagged words", is_request_fault=True),
    Unreadable("but no image URL", '{"successFlag":1}'),
    NoVerdict("Kie answered 500: words"),
    NoVerdict("Kie answered 429: words", slow_down=True),
    NoVerdict("Kie answered 401: words", account_blocked=True),
    NoVerdict("HTTP 404 without Kie's envelope: words", wrong_endpoint=True),
]


class Scripted(Protocol):
    """A Kie together with the script behind it."""

    @property
    def kie(self) -> KieApi: ...
    def will_submit(self, outcome: SubmitOutcome) -> None: ...
    def will_poll(self, outcome: PollOutcome) -> None: ...
    def will_credit(self, credits: Decimal | None) -> None: ...
    def callbacks(self) -> list[str | None]: ...
    def asked_about(self) -> list[str]: ...


class ScriptedFake:
    """The fake, scripted directly."""

    def __init__(self) -> None:
        self.kie = FakeKie()

    def will_submit(self, outcome: SubmitOutcome) -> None:
        self.kie.submits.append(outcome)

    def will_poll(self, outcome: PollOutcome) -> None:
        self.kie.polls.append(outcome)

    def will_credit(self, credits: Decimal | None) -> None:
        self.kie.credits.append(credits)

    def callbacks(self) -> list[str | None]:
        return [call.callback_url for call in self.kie.submit_calls]

    def asked_about(self) -> list[str]:
        return [call.task_id for call in self.kie.poll_calls]


class ScriptedServer:
    """The client over HTTP; the script says what Kie answers to cause each outcome."""

    def __init__(self, kie: KieClient, server: KieServer) -> None:
        self.kie, self._server = kie, server

    def will_submit(self, outcome: SubmitOutcome) -> None:
        match outcome:
            case Accepted(task_id):
                self._answer(200, {"taskId": task_id})
            case Refused(code=code) | AccountBlocked(code=code):
                self._answer(code)
            case TryLater(reason):
                codes = {"rate_limited": 429, "maintenance": 455, "provider_full": 550}
                self._answer(codes[reason])
            case WrongEndpoint():
                self._server.will_answer_text("words", status=404)
            case Ambiguous(wrong_endpoint=True):
                self._server.will_answer_text("<html>words</html>")
            case Ambiguous():
                self._answer(500)

    def will_poll(self, outcome: PollOutcome) -> None:
        match outcome:
            case Pending(progress):
                self._answer(200, {"successFlag": 0, "progress": f"{progress:.2f}"})
            case Delivered(urls):
                self._answer(200, {"successFlag": 1, "response": {"resultUrls": list(urls)}})
            case TaskFailed(_, message):
                self._answer(200, {"successFlag": 2, "errorCode": 400, "errorMessage": message})
            case Unreadable():
                self._answer(200, {"successFlag": 1})
            case NoVerdict(wrong_endpoint=True):
                self._server.will_answer_text("words", status=404)
            case NoVerdict(slow_down=slow_down, account_blocked=blocked):
                self._answer(429 if slow_down else 401 if blocked else 500)

    def will_credit(self, credits: Decimal | None) -> None:
        self._answer(200, None if credits is None else float(credits))

    def _answer(self, code: int, data: Any = None) -> None:
        self._server.will_answer({"code": code, "msg": "words", "data": data})

    def callbacks(self) -> list[str | None]:
        return [sent.body.get("callBackUrl") for sent in self._server.received]

    def asked_about(self) -> list[str]:
        return [sent.query["taskId"] for sent in self._server.received]


@asynccontextmanager
async def scripted_fake() -> AsyncIterator[Scripted]:
    yield ScriptedFake()


@asynccontextmanager
async def scripted_server() -> AsyncIterator[Scripted]:
    async with (
        kie_server() as server,
        KieClient(
            base_url=server.base_url, api_key=SecretStr("kie-key"), timeout_seconds=5
        ) as client,
    ):
        yield ScriptedServer(client, server)


Outcome = SubmitOutcome | PollOutcome
Opener = Callable[[], AbstractAsyncContextManager[Scripted]]


@pytest.fixture(params=[scripted_fake, scripted_server], ids=["fake", "client over HTTP"])
async def scripted(request: pytest.FixtureRequest) -> AsyncIterator[Scripted]:
    opener: Opener = request.param
    async with opener() as opened:
        yield opened


def same(found: Outcome, expected: Outcome) -> bool:
    """Compare two outcomes. Of the messages, only Kie's words must agree."""
    facts, wanted = asdict(found), asdict(expected)
    words, wanted_words = facts.pop("message", ""), wanted.pop("message", "")
    return facts == wanted and wanted_words in words


@pytest.mark.parametrize("outcome", SUBMITS, ids=str)
async def test_a_submit_returns_the_outcome_that_kie_gives(
    scripted: Scripted, outcome: SubmitOutcome
) -> None:
    scripted.will_submit(outcome)
    found = await scripted.kie.submit(FAMILY, REQUEST, callback_url=CALLBACK)
    assert type(found) is type(outcome)
    assert same(found, outcome)


@pytest.mark.parametrize("outcome", POLLS, ids=str)
async def test_a_poll_returns_the_outcome_that_kie_gives(
    scripted: Scripted, outcome: PollOutcome
) -> None:
    scripted.will_poll(outcome)
    found = await scripted.kie.poll(FAMILY, "ab12")
    assert type(found) is type(outcome)
    assert same(found, outcome)


async def test_each_submit_carries_its_own_callback_or_none(scripted: Scripted) -> None:
    scripted.will_submit(Accepted("one"))
    scripted.will_submit(Accepted("two"))
    first = await scripted.kie.submit(FAMILY, REQUEST, callback_url=CALLBACK)
    second = await scripted.kie.submit(FAMILY, REQUEST, callback_url=None)
    assert (first, second) == (Accepted("one"), Accepted("two"))
    assert scripted.callbacks() == [CALLBACK, None]


async def test_each_poll_asks_about_its_own_task_in_order(scripted: Scripted) -> None:
    scripted.will_poll(Pending(0.0))
    scripted.will_poll(Delivered((PICTURE,)))
    assert await scripted.kie.poll(FAMILY, "one") == Pending(0.0)
    assert await scripted.kie.poll(FAMILY, "two") == Delivered((PICTURE,))
    assert scripted.asked_about() == ["one", "two"]


@pytest.mark.parametrize("credits", [Decimal("60.62"), Decimal(0), None])
async def test_the_credit_is_exact_or_unknown(scripted: Scripted, credits: Decimal | None) -> None:
    scripted.will_credit(credits)
    assert await scripted.kie.credit() == credits


async def test_a_fake_beyond_its_script_names_the_call() -> None:
    with pytest.raises(AssertionError, match=r"no answer left for PollCall.*ab12"):
        await FakeKie().poll(FAMILY, "ab12")
