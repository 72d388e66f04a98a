"""Receives Darkroom's webhooks on nothing but Python's standard library.

It verifies each message, drops repeats, answers at once, and acts afterwards:

    export WEBHOOKS_ALLOW_LOOPBACK=true  # for `darkroom up` as well: webhooks may go to 127.0.0.1
    secret=$(darkroom webhooks secret acme http://127.0.0.1:9000/ --create)
    DARKROOM_WEBHOOK_SECRET=$secret python examples/webhook_receiver.py --port 9000

After a rotation the variable may hold both secrets, parted by a blank. Messages are signed by the
Standard Webhooks specification, so its libraries do what `verify` does.
"""

from __future__ import annotations

import argparse
import base64
import binascii
import hashlib
import hmac
import json
import os
import queue
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOLERANCE_SECONDS = 5 * 60
"""How old a message may be, or how far ahead: a recorded one cannot be played back later."""
BODY_BYTES = 1024 * 1024
REMEMBERED = 10_000


class NotGenuine(Exception):
    """The message is not from Darkroom, or not from just now."""


def verify(
    secrets: Sequence[str], headers: Mapping[str, str], body: bytes, now: float | None = None
) -> str:
    """Return the message's id, the same for every try of one message; raises `NotGenuine`.

    Header names are in lower case. The body must be the bytes as they came: JSON that was read
    and written again has another signature.
    """
    try:
        message_id, sent_at = headers["webhook-id"], headers["webhook-timestamp"]
        given = headers["webhook-signature"].split()
    except KeyError as missing:
        raise NotGenuine(f"the header {missing} is missing") from None
    if not (sent_at.isascii() and sent_at.isdigit() and len(sent_at) <= 12):
        raise NotGenuine("webhook-timestamp is no number of seconds")
    if abs((time.time() if now is None else now) - int(sent_at)) > TOLERANCE_SECONDS:
        raise NotGenuine("it is too old, or a clock is wrong")
    signed = f"{message_id}.{sent_at}.".encode() + body
    for secret in secrets:
        expected = b"v1," + base64.b64encode(hmac.digest(_key(secret), signed, hashlib.sha256))
        # Around a rotation there are several; comparing in constant time tells nobody how close
        # a guess came.
        if any(hmac.compare_digest(expected, one.encode()) for one in given):
            return message_id
    raise NotGenuine("no signature fits")


def _key(secret: str) -> bytes:
    return base64.b64decode(secret.removeprefix("whsec_"), validate=True)


class Inbox:
    """Messages that were taken, to be acted on after the answer; each once."""

    def __init__(self) -> None:
        # A service of its own keeps both in its database, in one transaction, with the id as a
        # unique key: what was answered with 2xx is not sent again.
        self._seen: OrderedDict[str, None] = OrderedDict()
        self._lock = threading.Lock()
        self.messages: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()

    def take(self, message_id: str, message: dict[str, Any]) -> bool:
        """Return whether the message is new; a repeat is dropped."""
        with self._lock:
            if message_id in self._seen:
                return False
            self._seen[message_id] = None
            if len(self._seen) > REMEMBERED:
                self._seen.popitem(last=False)
        self.messages.put(message)
        return True


class Receiver(BaseHTTPRequestHandler):
    """Answers one connection; 2xx means taken, and anything else is tried again for a day."""

    timeout = 10
    secrets: Sequence[str] = ()
    inbox = Inbox()

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit()) or int(length) > BODY_BYTES:
            self._answer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
            return
        body = self.rfile.read(int(length))
        headers = {name.lower(): value for name, value in self.headers.items()}
        try:
            message_id = verify(self.secrets, headers, body)
            message = json.loads(body)
        except (NotGenuine, ValueError) as error:
            self.log_error("refused: %s", error)
            self._answer(HTTPStatus.UNAUTHORIZED)
            return
        if not self.inbox.take(message_id, message):
            self.log_message("dropped a repeat of %s", message_id)
        # At once: Darkroom waits 15 s, and whatever takes longer would be sent again.
        self._answer(HTTPStatus.NO_CONTENT)

    def _answer(self, status: HTTPStatus) -> None:
        self.send_response(status)
        self.end_headers()


def act(messages: queue.SimpleQueue[dict[str, Any]]) -> None:
    """Do what the messages are for, one after the other; here they are printed."""
    while True:
        message = messages.get()
        job = message["data"]
        what = {
            "type": message["type"],
            "timestamp": message["timestamp"],
            "job": job["id"],
            "result_urls": job["result_urls"],
            "credits_charged": job["credits_charged"],
        }
        print(json.dumps(what), flush=True)


def main() -> None:
    """Receive until Ctrl-C."""
    parser = argparse.ArgumentParser(description="Receive, verify and print webhooks.")
    parser.add_argument("--port", type=int, default=9000, help="0 takes a free one")
    given = parser.parse_args()
    Receiver.secrets = os.environ.get("DARKROOM_WEBHOOK_SECRET", "").split()
    try:
        if not all(map(_key, Receiver.secrets)) or not Receiver.secrets:
            raise ValueError("it is empty")
    except (binascii.Error, ValueError) as error:
        sys.exit(f"DARKROOM_WEBHOOK_SECRET must be whsec_ and Base64: {error}")
    server = ThreadingHTTPServer(("127.0.0.1", given.port), Receiver)
    threading.Thread(target=act, args=[Receiver.inbox.messages], daemon=True).start()
    print(f"listening on http://127.0.0.1:{server.server_port}/", file=sys.stderr, flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        server.server_close()


if __name__ == "__main__":
    main()
