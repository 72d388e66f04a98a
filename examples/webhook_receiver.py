"""Receives Darkroom's webhooks with Python's own HTTP server and the package darkroom-client.

It verifies each message, drops repeats, answers at once, and acts afterwards. Once, in a checkout
of Darkroom: `pip install ./clients/python`. Then:

    export WEBHOOKS_ALLOW_LOOPBACK=true  # for `darkroom up` as well: webhooks may go to 127.0.0.1
    secret=$(darkroom webhooks secret acme http://127.0.0.1:9000/ --create)
    DARKROOM_WEBHOOK_SECRET=$secret python examples/webhook_receiver.py --port 9000

After a rotation the variable may hold both secrets, parted by a blank. Messages are signed by the
Standard Webhooks specification, so its libraries do what `verify_webhook` does.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import sys
import threading
from collections import OrderedDict
from collections.abc import Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from darkroom_client import DarkroomError, Webhook, verify_webhook
from darkroom_client.webhooks import sign_webhook

BODY_BYTES = 1024 * 1024
REMEMBERED = 10_000


class Inbox:
    """Messages that were taken, to be acted on after the answer; each once."""

    def __init__(self) -> None:
        # A service of its own keeps both in its database, in one transaction, with the id as a
        # unique key: what was answered with 2xx is not sent again.
        self._seen: OrderedDict[str, None] = OrderedDict()
        self._lock = threading.Lock()
        self.messages: queue.SimpleQueue[Webhook] = queue.SimpleQueue()

    def take(self, message: Webhook) -> bool:
        """Return whether the message is new; a repeat is dropped."""
        with self._lock:
            if message.id in self._seen:
                return False
            self._seen[message.id] = None
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
        try:
            message = verify_webhook(self.secrets, self.headers, body)
        except DarkroomError as error:
            self.log_error("refused: %s", error)
            self._answer(HTTPStatus.UNAUTHORIZED)
            return
        if not self.inbox.take(message):
            self.log_message("dropped a repeat of %s", message.id)
        # At once: Darkroom waits 15 s, and whatever takes longer would be sent again.
        self._answer(HTTPStatus.NO_CONTENT)

    def _answer(self, status: HTTPStatus) -> None:
        self.send_response(status)
        self.end_headers()


def act(messages: queue.SimpleQueue[Webhook]) -> None:
    """Do what the messages are for, one after the other; here they are printed."""
    while True:
        message = messages.get()
        job = message.data
        charged = job.credits_charged
        what = {
            "type": message.type,
            "timestamp": message.timestamp.isoformat(),
            "job": job.id,
            "result_urls": job.result_urls,
            "credits_charged": None if charged is None else float(charged),
        }
        print(json.dumps(what), flush=True)


def main() -> None:
    """Receive until Ctrl-C."""
    parser = argparse.ArgumentParser(description="Receive, verify and print webhooks.")
    parser.add_argument("--port", type=int, default=9000, help="0 takes a free one")
    given = parser.parse_args()
    Receiver.secrets = os.environ.get("DARKROOM_WEBHOOK_SECRET", "").split()
    try:
        for secret in Receiver.secrets or [""]:
            sign_webhook(secret, "msg", 0, b"")
    except ValueError as error:
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
