"""Sends one webhook through a proxy, to an address that the test names.

    python proxied_webhook.py URL ADDRESS PROXY

Prints the status and the error. It is a program of its own because the authorities that are trusted
(SSL_CERT_FILE) are read once.
"""

from __future__ import annotations

import asyncio
import sys

from shared.domain.outbound_proxies import OutboundProxies, parse_proxy
from tests.integration.worker.test_webhook_sending import ScriptedNames
from worker.webhooks.http_sender import WebhookSender


async def main(url: str, address: str, proxy: str) -> None:
    """Send, and print what came of it."""
    async with WebhookSender(
        resolver=ScriptedNames([address]), proxies=OutboundProxies(https=parse_proxy(proxy))
    ) as sender:
        answer = await sender.send(url, {"webhook-id": "msg_1"}, b"{}")
    sys.stdout.write(f"{answer.status} {answer.error}\n")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
