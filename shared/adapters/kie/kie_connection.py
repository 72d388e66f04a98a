"""Chooses the Kie to use, and its upload host: the real one, or the bundled simulator."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass

import structlog
from pydantic import SecretStr

from shared.adapters.embedded import EmbeddedServers
from shared.adapters.servers import Servers
from shared.domain.outbound_proxies import NO_PROXIES, OutboundProxies
from shared.errors import ConfigurationError, UploadsNotConfigured
from shared.kie_accounts import DEFAULT_ACCOUNT, KieKey
from shared.settings import Settings

log = structlog.get_logger(__name__)

SIMULATOR_NAME = "kie-simulator"


@dataclass(frozen=True, slots=True)
class KieConnection:
    """The base URL of Kie and our keys, one for each account."""

    base_url: str
    keys: tuple[KieKey, ...]


async def choose_kie(settings: Settings, servers: Servers) -> KieConnection:
    """Return the real Kie where keys are set, else start the simulator, which is logged as a
    warning.

    Raises `ConfigurationError` over a given database without a key: simulated images must never be
    charged to real accounts.
    """
    if settings.kie_keys:
        return KieConnection(settings.kie_base_url, settings.kie_keys)
    if servers.has_given_database or servers.embedded is None:
        raise ConfigurationError(
            "KIE_API_KEY is not set, and DATABASE_URL is: simulated images must never be charged"
            " to real accounts. Set KIE_API_KEY (or KIE_API_KEYS for several accounts), or unset"
            " DATABASE_URL to try Darkroom out"
        )
    address = await _run_simulator(servers.embedded)
    log.warning(
        "KIE IS SIMULATED",
        meaning="no KIE_API_KEY is set: images are drawn by the bundled simulator, no money moves",
        base_url=address["base_url"],
    )
    key = KieKey(DEFAULT_ACCOUNT, SecretStr(address["api_key"]))
    return KieConnection(address["base_url"], (key,))


@dataclass(frozen=True, slots=True)
class UploadAccess:
    """Kie's file upload host, and the key that it takes."""

    base_url: str
    key: SecretStr
    proxies: OutboundProxies = NO_PROXIES


NO_UPLOAD_ACCESS = UploadAccess("", SecretStr(""))
"""The access of a client that is not opened."""


async def choose_upload_access(settings: Settings, servers: Servers) -> UploadAccess:
    """Return where this process uploads files: with KIE_UPLOAD_KEY, or with its first Kie key.

    Without a key and with embedded servers it is the simulator, which is started. Raises
    `UploadsNotConfigured` over a given database without a key.
    """
    if settings.kie_upload_key is not None:
        return UploadAccess(
            settings.kie_upload_base_url, settings.kie_upload_key, settings.outbound.proxies
        )
    if settings.kie_keys:
        return UploadAccess(
            settings.kie_upload_base_url, settings.kie_keys[0].key, settings.outbound.proxies
        )
    if servers.has_given_database or servers.embedded is None:
        raise UploadsNotConfigured
    address = await _run_simulator(servers.embedded)
    return UploadAccess(address["base_url"], SecretStr(address["api_key"]))


async def _run_simulator(embedded: EmbeddedServers) -> dict[str, str]:
    return await asyncio.to_thread(
        embedded.ensure_process, SIMULATOR_NAME, [sys.executable, "-m", "worker.simulator"]
    )
