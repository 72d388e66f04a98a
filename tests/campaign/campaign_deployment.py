"""The deployment of a campaign: its own Postgres and Valkey, and the simulated Kie."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from arq.connections import ArqRedis

from producer import Producer
from shared.adapters.embedded import EmbeddedServers, acquire_servers
from shared.adapters.embedded.host.file_lock import read_holder
from shared.adapters.embedded.host.process_info import is_alive
from shared.adapters.postgres.migrations import migrate
from shared.adapters.redis.deliveries import connect_redis
from shared.adapters.servers import Servers
from tests.campaign.campaign_options import CampaignOptions
from tests.campaign.campaign_orders import grants
from tests.campaign.fair_shares import record_choices
from tests.campaign.simulator_faults import simulator_arguments
from tests.campaign.webhook_recorder import WebhookRecorder, open_webhook_recorder
from tests.support.ports import port_for_restarts
from tests.support.simulated_kie import clean_environment, simulated_kie
from tests.support.skewed_clock import SkewedClock
from tests.support.tcp_relay import TcpRelay, relay_to

ROOT = Path(__file__).parents[2]
HMAC_KEY = "the-campaign's-webhook-key"
_SERVER_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class CampaignDeployment:
    """The servers, the simulated Kie and the environments of the processes."""

    folder: Path
    servers: Servers
    embedded: EmbeddedServers | None
    """None if the servers are not managed by the campaign."""
    redis: ArqRedis
    kie_url: str
    environ: dict[str, str]
    """The environment of a process that connects to the servers directly."""
    cut_environ: dict[str, str]
    """The environment of a process that connects through the relays."""
    relays: tuple[TcpRelay, TcpRelay]
    webhook_recorder: WebhookRecorder
    clock: SkewedClock
    """The clock of one worker. It is right until it is set."""

    @property
    def refused(self) -> Path:
        """The file with the keys of the orders that were refused because credits were missing."""
        return self.folder / "refused"

    def server_pid(self, name: str) -> int | None:
        """Return the process id of `postgres` or `valkey`, or None while it is down."""
        assert self.embedded is not None
        pid = read_holder(self.embedded.home / "run" / f"{name}.lock")
        return pid if pid is not None and is_alive(pid) else None

    async def kill_server(self, name: str) -> float | None:
        """Kill a server with SIGKILL. Return the time (epoch), or None if it was down."""
        pid = await self.wait_for_server(name)
        if pid is None:
            return None
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        return time.time()

    async def wait_for_server(self, name: str) -> int | None:
        """Wait for the process. Return its id, or None after the timeout."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_SERVER_SECONDS):
                while True:
                    pid = self.server_pid(name)
                    if pid is not None:
                        return pid
                    await asyncio.sleep(0.05)
        return None


@asynccontextmanager
async def open_campaign_deployment(
    folder: Path, options: CampaignOptions
) -> AsyncIterator[CampaignDeployment]:
    """Start the servers and the simulated Kie, create accounts, and stop all at the end."""
    async with AsyncExitStack() as stack:
        embedded = await asyncio.to_thread(
            acquire_servers, folder / "home", linger_seconds=0, fsync=options.fsync
        )
        stack.push_async_callback(asyncio.to_thread, embedded.release)
        assert embedded.database_url is not None
        assert embedded.redis_url is not None
        await migrate(embedded.database_url)
        servers = Servers(
            embedded.database_url, embedded.redis_url, embedded, has_given_database=True
        )
        await _open_accounts(servers, options)
        kie = await stack.enter_async_context(_simulator(folder, options))
        environ = _environment(servers, kie, options)
        relays, cut_urls = await _open_relays(servers, stack)
        redis = await stack.enter_async_context(connect_redis(servers.redis_url, connections=5))
        cut_environ = {**environ, **cut_urls}
        yield CampaignDeployment(
            folder=folder,
            servers=servers,
            embedded=embedded,
            redis=redis,
            kie_url=kie["base_url"],
            environ=environ,
            cut_environ=cut_environ,
            relays=relays,
            webhook_recorder=await stack.enter_async_context(open_webhook_recorder()),
            clock=SkewedClock(folder, 0),
        )


@asynccontextmanager
async def open_deployment_over(
    folder: Path, options: CampaignOptions, servers: Servers
) -> AsyncIterator[CampaignDeployment]:
    """Start the simulated Kie over given servers. There are no relays."""
    async with AsyncExitStack() as stack:
        await migrate(servers.database_url)
        await _open_accounts(servers, options)
        kie = await stack.enter_async_context(_simulator(folder, options))
        environ = _environment(servers, kie, options)
        yield CampaignDeployment(
            folder=folder,
            servers=servers,
            embedded=None,
            redis=await stack.enter_async_context(connect_redis(servers.redis_url, connections=5)),
            kie_url=kie["base_url"],
            environ=environ,
            cut_environ=environ,
            relays=(TcpRelay(""), TcpRelay("")),
            webhook_recorder=await stack.enter_async_context(open_webhook_recorder()),
            clock=SkewedClock(folder, 0),
        )


async def _open_accounts(servers: Servers, options: CampaignOptions) -> None:
    async with Producer.connect_to(servers) as producer:
        for account, credits in grants(options.jobs).items():
            await producer.billing.create_account(account)
            await producer.billing.grant(account, credits, "for the campaign")
    await record_choices(servers.database_url)


def _simulator(
    folder: Path, options: CampaignOptions
) -> AbstractAsyncContextManager[dict[str, str]]:
    arguments = [*simulator_arguments(options), "--hmac-key", HMAC_KEY]
    return simulated_kie(folder, arguments)


def _environment(servers: Servers, kie: dict[str, str], options: CampaignOptions) -> dict[str, str]:
    called_back = {"KIE_CALLBACK_URL": f"http://127.0.0.1:{port_for_restarts()}"}
    return {
        **clean_environment(),
        "DATABASE_URL": servers.database_url,
        "REDIS_URL": servers.redis_url,
        "KIE_BASE_URL": kie["base_url"],
        "KIE_API_KEY": kie["api_key"],
        "KIE_WEBHOOK_HMAC_KEY": HMAC_KEY,
        "KIE_SUBMITS_PER_10_SECONDS": str(options.submits_per_10_seconds),
        "UNKNOWN_LIMIT_SECONDS": f"{options.unknown_limit_seconds:g}",
        **(called_back if options.callbacks else {}),
        "WORKER_HTTP_PORT": "0",
        "API_PORT": str(port_for_restarts()),
        "WEBHOOKS_ALLOW_LOOPBACK": "true",
        "LOG_FORMAT": "json",
    }


async def _open_relays(
    servers: Servers, stack: AsyncExitStack
) -> tuple[tuple[TcpRelay, TcpRelay], dict[str, str]]:
    """Open a relay before each server. Return the relays and the URLs that use them."""
    parts = urlsplit(servers.database_url)
    directory = unquote(parts.netloc.partition("@")[2].partition(":")[0])
    to_postgres = await stack.enter_async_context(relay_to(f"{directory}/.s.PGSQL.5432"))
    to_valkey = await stack.enter_async_context(relay_to(urlsplit(servers.redis_url).path))
    urls = {
        "DATABASE_URL": f"postgresql://darkroom@127.0.0.1:{to_postgres.port}{parts.path}",
        "REDIS_URL": f"redis://127.0.0.1:{to_valkey.port}",
    }
    return (to_postgres, to_valkey), urls
