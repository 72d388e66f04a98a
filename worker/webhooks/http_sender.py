"""Sends one webhook over HTTP, to public addresses only. Redirects are not followed."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic
from types import TracebackType
from urllib.parse import urljoin, urlsplit

import aiohttp
from aiohttp import ClientResponse
from aiohttp.abc import AbstractResolver
from yarl import URL

from shared.adapters.http.dns_resolver import ThreadedResolver
from shared.adapters.http.public_session import ForbiddenAddress, PublicSession
from shared.domain.allowed_receivers import NO_RECEIVERS, AllowedReceivers
from shared.domain.outbound_proxies import NO_PROXIES, OutboundProxies
from shared.domain.public_addresses import find_url_fault

TIMEOUT_SECONDS = 15.0
"""For a whole try, from the name look-up to the headers of the response."""
ANSWER_BYTES_READ = 4_096
_ANSWER_SECONDS = 1.0
MAX_SENDS_AT_ONCE = 128
"""The most tries that a worker has in flight."""
_ERROR_LENGTH = 200
_LOCATION_LENGTH = 150
_PERMANENT = frozenset({301, 308})


@dataclass(frozen=True, slots=True)
class SendResult:
    """The result of one try."""

    status: int | None
    """The HTTP status; None where no response came."""
    error: str | None
    """Why the message was not accepted, for people; None where it was."""
    seconds: float
    retry_after: str | None = None
    """The `Retry-After` header of the receiver, as it came."""

    @property
    def is_accepted(self) -> bool:
        """Whether the receiver has accepted the message."""
        return self.error is None


class WebhookSender:
    """The HTTP client for webhooks. Use it as an async context manager."""

    def __init__(
        self,
        *,
        allow_loopback: bool = False,
        receivers: AllowedReceivers = NO_RECEIVERS,
        proxies: OutboundProxies = NO_PROXIES,
        timeout_seconds: float = TIMEOUT_SECONDS,
        resolver: AbstractResolver | None = None,
    ) -> None:
        self._allow_loopback, self._receivers = allow_loopback, receivers
        self._timeout_seconds = timeout_seconds
        self._resolver = resolver or ThreadedResolver(MAX_SENDS_AT_ONCE)
        self._session = PublicSession(
            resolver=self._resolver,
            timeout_seconds=timeout_seconds,
            allow_loopback=allow_loopback,
            receivers=receivers,
            proxies=proxies,
            headers={"Content-Type": "application/json"},
        )

    async def __aenter__(self) -> WebhookSender:
        await self._session.__aenter__()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._session.__aexit__(exc_type, exc, traceback)
        await self._resolver.close()

    async def send(self, url: str, headers: Mapping[str, str], body: bytes) -> SendResult:
        """Send once. Never raises for an error of the receiver or of the network."""
        fault = find_url_fault(url, allow_loopback=self._allow_loopback, receivers=self._receivers)
        if fault is not None:
            return SendResult(None, f"not sent: the URL {fault}", 0.0)
        began = monotonic()
        try:
            response = await self._post(url, headers, body)
        except TimeoutError:
            seconds = monotonic() - began
            return SendResult(None, f"no answer within {seconds:.1f} s", seconds)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return SendResult(None, _describe_error(error), monotonic() - began)
        retry_after = response.headers.get("Retry-After")
        return SendResult(
            response.status, _status_fault(response, url), monotonic() - began, retry_after
        )

    async def _post(self, url: str, headers: Mapping[str, str], body: bytes) -> ClientResponse:
        # The URL is sent as it was given: a signature in its query must not be encoded again.
        target = URL(url, encoded=url.isascii()).with_fragment(None)
        async with await self._session.request(
            "POST", target, headers=headers, data=body
        ) as response:
            # The status is the result. A little of the body is read so that the connection can be
            # used again.
            with suppress(aiohttp.ClientError, TimeoutError, OSError):
                async with asyncio.timeout(_ANSWER_SECONDS):
                    await response.content.read(ANSWER_BYTES_READ)
            return response


def _status_fault(response: ClientResponse, url: str) -> str | None:
    status = response.status
    if 200 <= status < 300:
        return None
    if 300 <= status < 400:
        return f"answered {status}{_redirect_text(response.headers.get('Location'), url, status)}"
    return f"answered {status}"


def _redirect_text(location: str | None, url: str, status: int) -> str:
    """Return where a redirect leads, without what may be a secret, and what to do about it."""
    unfollowed = ": redirects are not followed"
    if location is None:
        return unfollowed
    try:
        target = urlsplit(urljoin(url, location))
        host = target.netloc.rpartition("@")[2]
    except ValueError:
        return unfollowed
    if target.scheme not in {"http", "https"} or not host or not location.isprintable():
        return unfollowed
    path = target.path.partition(";")[0]
    shown = f"{target.scheme}://{host}{path}"[:_LOCATION_LENGTH]
    advice = "; change the URL" if status in _PERMANENT else ""
    return f" to {shown}: redirects are not followed{advice}"


def _describe_error(error: BaseException) -> str:
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    if isinstance(cause, ForbiddenAddress):
        return f"not sent: the host {cause}"
    text = str(cause) or type(cause).__name__
    return f"no answer: {text}"[:_ERROR_LENGTH]
