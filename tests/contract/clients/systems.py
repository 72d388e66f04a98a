"""The systems that the clients are tested against: a real deployment, and the one in memory.

The same tests run against both, which holds the one in memory to what the real one does.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from darkroom_client.testing import InMemoryDarkroom, Outcome

from producer.api import serving_api
from producer.keys.key_store import KeyStore
from producer.keys.roles import Role
from tests.fakes.fake_uploads import receiving_uploads
from tests.support.deployment import Deployment


class System(Protocol):
    """A Darkroom with an account `acme` of 10,000 credits."""

    @property
    def url(self) -> str:
        """Where the API is."""
        ...

    async def key(self, account_id: str = "acme") -> str:
        """Return a new service key."""
        ...

    async def open_account(self, name: str, credits: int) -> None:
        """Create an account."""
        ...

    async def webhook_secret(self, url: str) -> str:
        """Return the secret of an endpoint of `acme`."""
        ...

    def prompt(self, outcome: str) -> str:
        """Return the prompt of a job that Kie will let come to this outcome."""
        ...

    def slow_prompt(self, seconds: float) -> str:
        """Return the prompt of a job that Kie will let succeed after this time."""
        ...


@dataclass
class RealSystem:
    """The HTTP API, a worker, Postgres, Redis and the simulator."""

    url: str
    deployment: Deployment

    async def key(self, account_id: str = "acme") -> str:
        _, key = await KeyStore(self.deployment.database).create(Role.SERVICE, account_id)
        return key

    async def open_account(self, name: str, credits: int) -> None:
        await self.deployment.open_account(name, credits)

    async def webhook_secret(self, url: str) -> str:
        webhooks = self.deployment.producer.webhooks
        endpoint = await webhooks.secret("acme", url, allow_loopback=True)
        return str(endpoint["secret"])

    def prompt(self, outcome: str) -> str:
        return f"a lighthouse [[sim: outcome={outcome}]]"

    def slow_prompt(self, seconds: float) -> str:
        return f"a lighthouse [[sim: duration={seconds:g}]]"


@asynccontextmanager
async def real_system(deployment: Deployment) -> AsyncIterator[System]:
    """Run the API and a worker over the servers of the test."""
    async with receiving_uploads() as uploads:
        settings = deployment.settings.model_copy(
            update={
                "webhooks_allow_loopback": True,
                "kie_upload_url": uploads.url,
                "kie_upload_key": uploads.access.key,
            }
        )
        async with (
            serving_api(settings) as addresses,
            deployment.worker(webhooks_allow_loopback=True),
        ):
            yield RealSystem(f"http://{addresses[0]}", deployment)


_REASONS = {"content_policy": "content_policy", "generate_failed": "provider_failed"}
"""The outcomes of the simulator with the reason of the job."""


@dataclass
class MemorySystem:
    """The Darkroom in memory that the client brings for the tests of services."""

    darkroom: InMemoryDarkroom

    @property
    def url(self) -> str:
        return self.darkroom.url

    async def key(self, account_id: str = "acme") -> str:
        return self.darkroom.create_key(account_id)

    async def open_account(self, name: str, credits: int) -> None:
        self.darkroom.create_account(name, credits)

    async def webhook_secret(self, url: str) -> str:
        return self.darkroom.webhook_secret(url)

    def prompt(self, outcome: str) -> str:
        return f"a lighthouse [[{outcome}]]"

    def slow_prompt(self, seconds: float) -> str:
        return f"a lighthouse [[seconds={seconds:g}]]"


def outcome_of(job: Mapping[str, Any]) -> Outcome | None:
    """Return what the prompt of a job asks for."""
    slow = re.search(r"\[\[seconds=([0-9.]+)\]\]", prompt_of(job))
    if slow is not None:
        return Outcome(seconds=float(slow[1]))
    [*asked] = (reason for name, reason in _REASONS.items() if f"[[{name}]]" in prompt_of(job))
    return Outcome(reason=asked[0]) if asked else None


def prompt_of(job: Mapping[str, Any]) -> str:
    """Return the prompt of a job, or an empty text."""
    return job["request"].get("prompt") or ""


@contextmanager
def memory_system() -> Iterator[System]:
    """Run the one in memory."""
    with InMemoryDarkroom(account_id="acme", credits=10_000) as darkroom:
        darkroom.kie.decide = outcome_of
        yield MemorySystem(darkroom)
