"""A client of Darkroom's HTTP API on nothing but Python's standard library: copy it and go.

Run it beside `darkroom up`, after `darkroom accounts create acme --credits 100`:

    python examples/python_client.py --account acme --prompt "a lighthouse at dusk"

DARKROOM_URL says where the API is, DARKROOM_API_KEY holds the key, where one is needed.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import random
import sys
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import HTTPRedirectHandler, Request, build_opener

Job = dict[str, Any]
"""The job object: `id`, `state`, `progress`, `result_urls`, `credits_charged` and more."""

ENDED = frozenset({"succeeded", "failed", "cancelled"})
LONGEST_WAIT_SECONDS = 60
"""The most that `?wait=` takes."""
SILENCE_SECONDS = 45.0
"""A stream says something every 15 s; after this long without a word the connection is dead."""
TRY_AGAIN = frozenset({408, 429, 502, 503, 504})


class Problem(Exception):
    """The API's answer was an error: RFC 9457 `application/problem+json`."""

    def __init__(self, status: int, body: Mapping[str, Any]) -> None:
        self.status = status
        self.code = str(body.get("type", "about:blank")).rpartition(":")[2]
        """Stable, to decide by: `invalid_request`, `insufficient_credits` and so on."""
        self.detail = str(body.get("detail") or body.get("title") or f"status {status}")
        self.faults = {one["field"]: one["message"] for one in body.get("errors", [])}
        """Everything wrong with the request, by field."""
        self.body = body
        self.retry_after_seconds = 0.0
        """How long the API asks to be left alone."""
        listed = "".join(f"\n  {field}: {message}" for field, message in self.faults.items())
        super().__init__(f"{status} {self.code}: {listed or self.detail}")


@dataclass(frozen=True)
class Event:
    """One step in a job's life."""

    id: str
    """Where to go on after this event."""
    name: str
    data: dict[str, Any]
    """`at`, `event`, `state`, `detail` and whose it is."""


class Darkroom:
    """One API and one key. Every method raises `Problem`, and `OSError` for want of an answer."""

    def __init__(
        self,
        url: str = "http://127.0.0.1:8080",
        key: str | None = None,
        *,
        tries: int = 6,
        timeout_seconds: float = 35.0,
    ) -> None:
        self._url = url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._tries = tries
        self._timeout_seconds = timeout_seconds
        self._opener = build_opener(_NoRedirects)

    def enqueue(self, order: Mapping[str, Any], idempotency_key: str | None = None) -> Job:
        """Place a job and return it as it was accepted.

        Lost answers and short outages are tried again; the key makes sure that one job comes of
        it. Give one that you keep (an order number), and the same holds over a restart of yours.
        """
        headers = {"Idempotency-Key": idempotency_key or str(uuid.uuid4())}
        return self._ask("POST", "/v1/jobs", order, headers)

    def job(self, job_id: str) -> Job:
        """Return the job as it is now."""
        return self._ask("GET", f"/v1/jobs/{quote(job_id, safe='')}")

    def account(self, account_id: str) -> dict[str, Any]:
        """Return the account's credits: `balance`, `held`, `available`."""
        return self._ask("GET", f"/v1/accounts/{quote(account_id, safe='')}")

    def wait(self, job_id: str, timeout_seconds: float = 600.0) -> Job:
        """Return the job once it has ended; raises `TimeoutError`, and the job goes on."""
        deadline = time.monotonic() + timeout_seconds
        while True:
            seconds = min(max(deadline - time.monotonic(), 0.0), LONGEST_WAIT_SECONDS)
            path = f"/v1/jobs/{quote(job_id, safe='')}?wait={seconds:.3f}"
            job = self._ask("GET", path, timeout_seconds=seconds + self._timeout_seconds)
            if job["state"] in ENDED:
                return job
            if time.monotonic() >= deadline:
                raise TimeoutError(f"job {job_id} is still {job['state']}; it goes on")

    def events(self, job_id: str, last_event_id: str = "") -> Iterator[Event]:
        """Yield the job's events from the start, or after that one, until the job has ended.

        A broken connection is taken up again where it broke: no event is missed or repeated.
        """
        path = f"/v1/jobs/{quote(job_id, safe='')}/events"
        pause_seconds, failures = 2.0, 0
        while True:
            headers = {"Last-Event-ID": last_event_id} if last_event_id else {}
            try:
                with self._open("GET", path, None, headers, SILENCE_SECONDS) as stream:
                    if stream.status == http.HTTPStatus.NO_CONTENT:
                        return  # the job has ended, and its last event was seen
                    for fields in read_frames(stream):
                        failures = 0
                        pause_seconds = int(fields.get("retry", pause_seconds * 1000)) / 1000
                        last_event_id = fields.get("id", last_event_id)
                        if "data" not in fields:
                            continue
                        data = json.loads(fields["data"])
                        yield Event(last_event_id, data["event"], data)
                        if data["state"] in ENDED:
                            return
            except Exception as error:
                failures += 1
                if failures >= self._tries or not _may_pass(error):
                    raise
            time.sleep(pause_seconds)

    def _ask(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_seconds: float | None = None,
    ) -> dict[str, Any]:
        timeout, failures = timeout_seconds or self._timeout_seconds, 0
        while True:
            try:
                with self._open(method, path, body, headers or {}, timeout) as response:
                    answer: dict[str, Any] = json.load(response)
                    return answer
            except Exception as error:
                failures += 1
                if failures >= self._tries or not _may_pass(error):
                    raise
                time.sleep(_pause_seconds(error, failures))

    def _open(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None,
        headers: Mapping[str, str],
        timeout_seconds: float,
    ) -> http.client.HTTPResponse:
        data = None if body is None else json.dumps(body).encode()
        sent = {**self._headers, **headers}
        if data is not None:
            sent["Content-Type"] = "application/json"
        request = Request(self._url + path, data, sent, method=method)  # noqa: S310 - our own URL
        try:
            response: http.client.HTTPResponse = self._opener.open(request, timeout=timeout_seconds)
        except HTTPError as error:
            with error:
                raise _problem_of(error) from None
        return response


class _NoRedirects(HTTPRedirectHandler):
    """The API redirects nowhere, and a key must not be carried elsewhere."""

    def redirect_request(self, *_: Any) -> None:
        return None


def read_frames(lines: Iterable[bytes]) -> Iterator[dict[str, str]]:
    """Yield the frames of a stream of Server-Sent Events as fields; comments are left out."""
    fields: dict[str, str] = {}
    for line in lines:
        text = line.decode().rstrip("\r\n")
        if not text:
            if fields:
                yield fields
            fields = {}
            continue
        name, _, value = text.partition(":")
        if name:
            value = value.removeprefix(" ")
            # Several lines of data are one value.
            is_more = name == "data" and name in fields
            fields[name] = f"{fields[name]}\n{value}" if is_more else value
    # What has no blank line behind it broke off, and does not count.


def _problem_of(error: HTTPError) -> Problem:
    try:
        body = json.load(error)
    except (ValueError, OSError, http.client.HTTPException):
        body = None  # not from Darkroom: a proxy in between
    problem = Problem(error.code, body if isinstance(body, dict) else {})
    problem.retry_after_seconds = _whole_seconds(error.headers.get("Retry-After"))
    return problem


def _whole_seconds(text: str | None) -> float:
    return float(text) if text and text.isascii() and text.isdigit() else 0.0


def _may_pass(error: Exception) -> bool:
    """Return whether the same request may be answered soon."""
    if isinstance(error, Problem):
        return error.status in TRY_AGAIN
    # No connection, a broken one, silence, or half an answer.
    return isinstance(error, OSError | http.client.HTTPException | json.JSONDecodeError)


def _pause_seconds(error: Exception, failures: int) -> float:
    """Return how long to wait: longer each time, and never all clients at the same time."""
    asked = error.retry_after_seconds if isinstance(error, Problem) else 0.0
    return asked + random.uniform(0.1, 0.5) * 2.0 ** min(failures, 5)  # noqa: S311 - no secret


def main() -> int:
    """Place a job, show its events on stderr as they come, and the job on stdout."""
    parser = argparse.ArgumentParser(description="Place a job and follow it to its end.")
    parser.add_argument("--account", required=True, help="who pays")
    parser.add_argument("--prompt", required=True)
    parser.add_argument("--aspect-ratio", default="3:2", help="1:1, 3:2 or 2:3")
    parser.add_argument("--quantity", type=int, default=1, help="1, 2 or 4")
    parser.add_argument("--idempotency-key", help="the same key is the same job, for ever")
    parser.add_argument("--webhook-url", help="receives a signed POST when the job ends")
    given = parser.parse_args()
    order = {
        "account_id": given.account,
        "task": "text-to-image",
        "prompt": given.prompt,
        "aspect_ratio": given.aspect_ratio,
        "quantity": given.quantity,
    }
    if given.webhook_url:
        order["webhook_url"] = given.webhook_url
    darkroom = Darkroom(
        os.environ.get("DARKROOM_URL") or "http://127.0.0.1:8080",
        os.environ.get("DARKROOM_API_KEY") or None,
    )
    try:
        job = darkroom.enqueue(order, given.idempotency_key)
        print(f"job {job['id']}: {job['credits_quoted']} credits held", file=sys.stderr)
        for event in darkroom.events(job["id"]):
            print(f"  {event.data['at']}  {event.name}", file=sys.stderr)
        job = darkroom.wait(job["id"])
    except (Problem, OSError) as error:
        print(f"refused: {error}" if isinstance(error, Problem) else error, file=sys.stderr)
        return 1
    print(json.dumps(job, indent=2))
    return 0 if job["state"] == "succeeded" else 4


if __name__ == "__main__":
    sys.exit(main())
