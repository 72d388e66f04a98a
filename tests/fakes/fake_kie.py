"""A Kie that answers from a script and records the calls."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import TypeVar

from shared.catalog import ImageRequest, KieRequest, KieResponse, ModelFamily
from shared.domain.kie_outcomes import PollOutcome, SubmitOutcome, TaskLookup

_Answer = TypeVar("_Answer")


@dataclass(frozen=True, slots=True)
class SubmitCall:
    """The arguments of a submit."""

    family: str
    request: ImageRequest
    callback_url: str | None


@dataclass(frozen=True, slots=True)
class PollCall:
    """Which task was asked about."""

    family: str
    task_id: str


class FakeKie:
    """`worker.kie.kie_client.Kie` without a network: each call takes the next outcome of its queue.

    Append to `submits`, `polls` and `credits` at any time; a call beyond the script raises
    `AssertionError`, which names the call.
    """

    def __init__(
        self,
        *,
        submits: Iterable[SubmitOutcome] = (),
        polls: Iterable[PollOutcome] = (),
        credits: Iterable[Decimal | None] = (),
        catalogue: Mapping[str, object] | None = None,
    ) -> None:
        self.submits = deque(submits)
        self.polls = deque(polls)
        self.credits = deque(credits)
        self.catalogue = dict(catalogue or {})
        """The `data` of each path of the catalogue API. Other paths have no answer."""
        self.catalogue_calls: list[str] = []
        self.submit_calls: list[SubmitCall] = []
        self.poll_calls: list[PollCall] = []
        self.links: dict[str, str] = {}
        """Other links to images, by their first links."""
        self.callback_urls: dict[str, str] = {}
        """What `examine` says a task was made with, by task id."""

    async def submit(
        self, family: ModelFamily, request: ImageRequest, *, callback_url: str | None
    ) -> SubmitOutcome:
        """Return the next scripted outcome."""
        call = SubmitCall(family.name, request, callback_url)
        self.submit_calls.append(call)
        return _next(self.submits, call)

    async def poll(self, family: ModelFamily, task_id: str) -> PollOutcome:
        """Return the next scripted outcome."""
        call = PollCall(family.name, task_id)
        self.poll_calls.append(call)
        return _next(self.polls, call)

    async def examine(self, family: ModelFamily, task_id: str) -> TaskLookup:
        """Return the next scripted outcome, and the callback URL set for the task."""
        outcome = await self.poll(family, task_id)
        return TaskLookup(outcome, self.callback_urls.get(task_id))

    async def download_link(self, family: ModelFamily, task_id: str, url: str) -> str | None:
        """Return the other link to an image, if `links` has one."""
        del family, task_id
        return self.links.get(url)

    async def credit(self) -> Decimal | None:
        """Return the next scripted number."""
        return _next(self.credits, "credit")

    async def query_catalogue(self, request: KieRequest) -> KieResponse | None:
        """Return the scripted data of the path in Kie's envelope."""
        self.catalogue_calls.append(request.path)
        if request.path not in self.catalogue:
            return None
        body = {"code": 200, "msg": "success", "data": self.catalogue[request.path]}
        return KieResponse(200, body, "")


def _next(script: deque[_Answer], call: object) -> _Answer:
    assert script, f"the script of this Kie has no answer left for {call}"
    return script.popleft()
