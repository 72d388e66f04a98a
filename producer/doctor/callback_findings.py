"""Calls the callback receiver at its public URL, as Kie does, and names the worker that answers."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Sequence
from urllib.parse import urlsplit

import aiohttp
import orjson

from producer.doctor.finding import Finding
from producer.doctor.invariant_findings import connect_for_checks
from shared.adapters.http.proxy_options import ProxyOptions, find_proxy_fault, proxy_options
from shared.adapters.processes.process_records import ProcessRow, list_processes
from shared.domain.callback_url import callback_url, is_unencrypted, probe_answer
from shared.domain.outbound_proxies import OutboundProxies
from shared.errors import DarkroomError
from shared.installed_version import user_agent
from shared.settings import Settings

TIMEOUT_SECONDS = 10.0
_NAME = "callbacks"
_ANSWER_BYTES = 4_096
_FIX = (
    "have the proxy forward POST {path} to WORKER_HTTP_PORT or CALLBACK_HTTP_PORT of the workers;"
    " if only this machine cannot reach its public address, run the doctor elsewhere"
)


async def check_callbacks(base: str, settings: Settings, database_url: str) -> Finding:
    """Return whether a callback to `KIE_CALLBACK_URL` reaches a worker of this database.

    Sends one POST, which is no callback. It takes up to `TIMEOUT_SECONDS`.
    """
    try:
        async with connect_for_checks(database_url) as database:
            workers = [
                row
                for row in await list_processes(database)
                if row.is_alive and row.kind == "worker"
            ]
    except DarkroomError as error:
        return Finding(_NAME, False, f"not called: {error}", "see the sentence above")
    if not workers:
        return Finding(_NAME, True, "not called: no worker is alive that could answer")
    url = callback_url(base, "probe") or ""
    parts = urlsplit(url)
    shown = f"{parts.scheme}://{parts.netloc}{parts.path}"
    fault, detail = await _probe(url, workers, settings.outbound.proxies)
    if fault is not None:
        return Finding(_NAME, False, f"POST {shown} {fault}", _FIX.format(path=parts.path))
    if is_unencrypted(base, settings.kie_base_url):
        detail += "; plain HTTP: everybody on the way can read and send callbacks"
    return Finding(_NAME, True, f"POST {shown} {detail}")


async def _probe(
    url: str, workers: Sequence[ProcessRow], proxies: OutboundProxies
) -> tuple[str | None, str]:
    """Return why the probe did not come back, or None, and which worker answered it."""
    nonce = secrets.token_urlsafe(16)
    try:
        body = orjson.dumps({"probe": nonce})
        status, content = await _post(url, body, proxy_options(proxies, url))
    except TimeoutError:
        return f"got no answer within {TIMEOUT_SECONDS:g} s", ""
    except (aiohttp.ClientError, OSError, ValueError) as error:
        fault = find_proxy_fault(error, proxies.setting_for(urlsplit(url).scheme))
        return f"got no answer: {fault or str(error) or type(error).__name__}"[:300], ""
    if status != 200:
        return f"was answered with HTTP {status}", ""
    try:
        answer = orjson.loads(content)["worker"]
    except (orjson.JSONDecodeError, LookupError, TypeError):
        return "was answered by a server that is no worker of Darkroom", ""
    for row in workers:
        if hmac.compare_digest(str(answer).encode(), probe_answer(row.id, nonce).encode()):
            return None, f"reaches the worker {row.name}"
    return "was answered by a worker that does not belong to this database", ""


async def _post(url: str, body: bytes, options: ProxyOptions) -> tuple[int, bytes]:
    async with (
        aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=TIMEOUT_SECONDS),
            headers={"User-Agent": user_agent(), "Content-Type": "application/json"},
        ) as session,
        session.post(url, data=body, allow_redirects=False, **options) as response,
    ):
        return response.status, await response.content.read(_ANSWER_BYTES)
