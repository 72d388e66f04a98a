"""Compares docs/http.md with the API: runs its commands and compares its tables."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import sys
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path

import pytest

from producer import Producer
from producer.api import api_server, endpoint, serving_api
from producer.api.access import key_budgets, upload_slots
from producer.api.handlers import job_handlers
from producer.api.requests import order_body, upload_body
from producer.api.responses import http_errors, problems
from producer.api.routes import ENDPOINTS
from producer.bulk.job_selection import MAX_BULK_JOBS
from producer.files.checked_image import FILE_BYTES_MAX
from producer.keys.roles import Role
from producer.list_pages import MAX_LIST_LIMIT, PAGE_BYTES
from producer.live.event_reader import FeedIntervals
from producer.live.sse_response import WRITE_TIMEOUT_SECONDS
from producer.orders.field_limits import KEY_LENGTH
from producer.orders.order_fields import METADATA_BYTES, METADATA_STORED_BYTES
from shared.adapters.http import http_server
from shared.adapters.http.http_connection import (
    CONNECTIONS_MAX,
    LINE_BYTES_MAX,
    ConnectionLimits,
)
from shared.adapters.http.request_body import BODY_TIMEOUT_SECONDS
from shared.adapters.http.slow_readers import SLOW_READER_BYTES_MIN, SLOW_READER_SECONDS
from shared.adapters.postgres.database import Database
from shared.errors import DarkroomError
from shared.settings import Settings
from shared.stored_json import MAX_JSON_DEPTH
from shared.text_and_url_checks import URL_LENGTH_MAX
from tests.support.deployment import Deployment, environment
from tests.support.example_images import encoded_image
from worker.simulator import Simulator

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "http.md").read_text(encoding="utf-8")
OPENAI_PAGE = (ROOT / "docs" / "openai.md").read_text(encoding="utf-8")
API_FOLDER = ROOT / "producer" / "api"
RUN_SECONDS = 90.0


def table(heading: str) -> list[list[str]]:
    """Return the cells of the table under a heading, without its head."""
    section = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row.split("|")[1:-1]] for row in rows[2:]]


def kinds(root: type[DarkroomError]) -> Iterator[type[DarkroomError]]:
    for kind in root.__subclasses__():
        yield kind
        yield from kinds(kind)


# --- its tables -----------------------------------------------------------------------------


def test_every_route_is_listed_with_its_roles_and_no_other() -> None:
    listed = [(row[0].strip("`"), row[1]) for row in table("Routes")]
    assert sorted(listed) == sorted(
        (f"{one.method} {one.path}", roles_text(one.roles)) for one in ENDPOINTS
    )


def roles_text(roles: frozenset[Role]) -> str:
    return "all" if roles == frozenset(Role) else ", ".join(one for one in Role if one in roles)


def statuses() -> dict[str, int]:
    """Return every code that a problem can have, with its status, as the code has it."""
    found: dict[str, int] = {"internal_error": problems.internal_problem().status}
    for kind in kinds(DarkroomError):
        if issubclass(kind, http_errors.HttpRefusal):
            found[kind.code] = kind.status
            continue
        for mapped, status in problems._STATUS_BY_ERROR:
            if issubclass(kind, mapped):
                found[kind.code] = status
                break
    for status_text, code in re.findall(_LITERAL, source_of_the_api()):
        found[code] = int(status_text)
    return found


_LITERAL = r'(?:(?:problem|refuse|refuse_request)\((?:\w+, )?|_Reason = \()(\d+), "(\w+)"'


def source_of_the_api() -> str:
    files = [*API_FOLDER.rglob("*.py"), Path(http_server.__file__)]
    return "\n".join(file.read_text(encoding="utf-8") for file in files)


@pytest.mark.promise("a word that never changes its meaning or its status")
def test_problems_are_listed_with_their_statuses() -> None:
    rows = {row[0].strip("`"): int(row[1]) for row in table("Errors")}
    known = statuses()
    assert rows == {code: known[code] for code in rows if code in known} | {"bad_request": 400}
    assert list(rows.values()) == sorted(rows.values())


def test_no_problem_is_left_out() -> None:
    source = source_of_the_api()
    raised = {
        kind.code
        for kind in kinds(http_errors.HttpRefusal)
        if re.search(rf"raise {kind.__name__}\(", source)
    }
    literal = {code for _, code in re.findall(_LITERAL, source)}
    listed = {row[0].strip("`") for row in table("Errors")}
    # The codes in OpenAI's form are on a page of their own.
    listed |= set(re.findall(r"`([a-z_]+)`", OPENAI_PAGE))
    assert raised
    assert literal
    assert not (set(problems._TITLES) | raised | literal) - listed


def test_the_limits_are_those_of_the_code() -> None:
    limits = {row[0]: row[1] for row in table("Limits")}
    intervals, connection = FeedIntervals(), ConnectionLimits()
    assert limits == {
        "body of a request": f"{kib(endpoint.JOB_BODY_BYTES)}, with `data:` URLs"
        f" {endpoint.DATA_URL_BODY_BYTES // 1024**2} MiB and a Content-Length; of a batch"
        f" {endpoint.BATCH_BODY_BYTES // 1024**2} MiB; of an upload {FILE_BYTES_MAX // 2**20} MiB",
        "URL of an image, a mask or a webhook": f"{URL_LENGTH_MAX:,} characters",
        "request line, and each header": f"{LINE_BYTES_MAX:,} bytes",
        "jobs that one call cancels or retries": f"{MAX_BULK_JOBS:,}",
        "jobs in a batch": f"{order_body.MAX_BATCH_JOBS:,}",
        "time for the head of a request to arrive": f"{connection.head_seconds:g} s, from the"
        " connection or from its first byte",
        "time for a body to arrive": f"{BODY_TIMEOUT_SECONDS:g} s; for an upload"
        f" {upload_body.UPLOAD_SECONDS:g} s, with {upload_body.SILENCE_SECONDS:g} s between two"
        " parts",
        "uploads at once": f"{upload_slots.MAX_UPLOADS} in a process; each counts as"
        f" {endpoint.UPLOAD_HELD_BYTES // 2**20} MiB of its key",
        "time between two requests on one connection": f"{connection.idle_seconds:g} s",
        "connections": f"{CONNECTIONS_MAX:,}, and {a_part(connection.peer_share_max)} of them from"
        " one address, or from one /64 of IPv6",
        "time for an answer": f"{endpoint.RESPONSE_TIMEOUT_SECONDS:g} s, beside `wait`",
        "`wait`": f"{job_handlers.WAIT_SECONDS_MAX:g} s; answered after"
        f" {job_handlers.WAIT_ENDS_SECONDS:g} s at most",
        "`limit`": f"{MAX_LIST_LIMIT:,}",
        "a page of a list": f"{PAGE_BYTES // 2**20} MiB of jobs or entries, one at least",
        "requests of a key at once": f"{key_budgets.MAX_REQUESTS_PER_KEY}, and"
        f" {key_budgets.MAX_WAITS_PER_KEY:,} that wait or follow events",
        "requests and unread answers of a key": f"{key_budgets.MAX_BYTES_PER_KEY // 2**20} MiB",
        "an answer that its reader does not read": f"{kib(SLOW_READER_BYTES_MIN)} in"
        f" {SLOW_READER_SECONDS:g} s at least",
        "`Idempotency-Key`": f"{KEY_LENGTH} characters; of a batch {job_handlers.BATCH_KEY_LENGTH}",
        "`metadata`": f"{kib(METADATA_BYTES)} of JSON, nested {MAX_JSON_DEPTH} levels at most;"
        f" {kib(METADATA_STORED_BYTES)} with its numbers written digit by digit, as they are stored"
        " (`1e308` has 309)",
        "heartbeat of a stream": f"{intervals.heartbeat_seconds:g} s",
        "a stream that its reader does not read": f"{WRITE_TIMEOUT_SECONDS:g} s or"
        f" {intervals.buffer_length} events",
        "time for requests in progress when the API stops": f"{api_server.DRAIN_SECONDS:g}"
        " s; requests that wait or listen are answered at once",
    }


def a_part(part: float) -> str:
    return {0.5: "half"}[part]


def kib(count: int) -> str:
    return f"{count // 1024} KiB"


# --- its commands ---------------------------------------------------------------------------

# As people type it, but what fails ends the script.
PRELUDE = 'set -eu\ncurl() { command curl --silent --show-error --fail-with-body "$@"; echo; }\n'


async def run_script(script: str, directory: Path, **environ: str) -> str:
    """Run a script of the shell; return what it says, or fail with it."""
    process = await asyncio.create_subprocess_exec(
        *("sh", "-c", script),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=environ,
        cwd=directory,
    )
    try:
        async with asyncio.timeout(RUN_SECONDS):
            out, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode == 0, out.decode()
    return out.decode()


if shutil.which("curl"):

    async def test_every_command_of_the_page_works_in_its_order(
        settings: Settings,
        database: Database,
        simulator: Simulator,
        producer: Producer,
        tmp_path: Path,
    ) -> None:
        deployment = Deployment(settings, producer, database, simulator)
        blocks = re.findall(r"^```sh\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
        assert len(blocks) > 5
        (tmp_path / "cat.png").write_bytes(encoded_image("PNG"))
        async with serving_api(settings) as addresses, deployment.worker():
            script = PRELUDE + "\n".join(blocks).replace("127.0.0.1:8080", addresses[0])
            environ = {
                name: value
                for name, value in environment(settings).items()
                if not name.lower().endswith("_proxy")
            }
            path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
            said = await run_script(script, tmp_path, **{**environ, "PATH": path})
        rest = said
        for line in (
            *('"prices":', '"available":100', "service", f" {HTTPStatus.ACCEPTED} "),
            *('"state":"queued"', '"sha256":', "/v1/jobs/", '"state":"succeeded"'),
            *('"state":"cancelled"', "event: enqueued"),
            *("event: completed", '"next_cursor":', '"kind":"capture"', '"credits":9'),
            *('"balance":1', '"id":"msg_', '"replayed_at":"2'),
        ):
            _, found, rest = rest.partition(line)
            assert found, f"{line!r} is not said after all before it:\n{said}"
        replayed = (tmp_path / "answer.json").read_text(encoding="utf-8")
        assert '"state":"queued"' in replayed
        first, mistake, retry = await deployment.run_sql("SELECT * FROM jobs ORDER BY id")
        assert (first["idempotency_key"], first["state"]) == ("order-1042", "succeeded")
        assert (mistake["state"], mistake["reason"]) == ("cancelled", "cancelled_by_caller")
        # It may still run.
        assert retry["retry_of"] == first["id"]
        await deployment.check_invariants_hold()
