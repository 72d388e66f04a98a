"""Runs the examples as people run them: as programs, against a real API and a real worker."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
from standardwebhooks import Webhook

from examples.webhook_receiver import BODY_BYTES
from producer.api import serving_api
from producer.api.openapi.document import build_document
from producer.api.routes import ENDPOINTS
from producer.keys.key_store import KeyStore
from producer.keys.roles import Role
from shared.job_json import job_to_json
from tests.fakes.lossy_proxy import open_lossy_proxy
from tests.support.deployment import Deployment, eventually
from tests.support.node_client import install_client
from tests.support.ports import free_port

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
RUN_SECONDS = 60.0
ASKING = ("--account", "acme", "--prompt", "a lighthouse at dusk", "--quantity", "2")

# Each places one job of two images. Those whose program is not on this machine are left out.
CLIENTS = {
    "python": (sys.executable, str(EXAMPLES / "python_client.py"), *ASKING),
    "node": ("node", str(EXAMPLES / "node" / "place_job.mjs"), *ASKING),
}
PROGRAMS = {**CLIENTS, "curl": ("sh", str(EXAMPLES / "curl.sh"))}
CLIENTS_HERE = [name for name in CLIENTS if name == "python" or shutil.which(name)]
PROGRAMS_HERE = [name for name in PROGRAMS if name == "python" or shutil.which(name)]


@dataclass(frozen=True)
class ProgramOutput:
    """The exit code and the output of a program."""

    code: int
    out: str
    err: str

    @property
    def job(self) -> dict[str, Any]:
        """The job object on stdout."""
        job: dict[str, Any] = json.loads(self.out)
        return job


def environ_of(**changes: str) -> dict[str, str]:
    """Return an environment without variables of Darkroom or of proxies, except the given ones."""
    ours = re.compile(r"DARKROOM_|ACCOUNT$|\w+_proxy$", re.IGNORECASE)
    kept = {name: value for name, value in os.environ.items() if not ours.match(name)}
    return {**kept, "PYTHONPATH": str(ROOT / "clients" / "python"), **changes}


@contextmanager
def runnable(command: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Yield the command, with a program for Node where it finds the client."""
    program, script, *arguments = command
    if program != "node":
        yield command
        return
    with tempfile.TemporaryDirectory() as folder:
        install_client(Path(folder))
        yield (program, shutil.copy(script, folder), *arguments)


async def run(command: tuple[str, ...], **environ: str) -> ProgramOutput:
    with runnable(command) as here:
        return await run_here(here, **environ)


async def run_here(command: tuple[str, ...], **environ: str) -> ProgramOutput:
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environ_of(**environ),
        cwd=ROOT,
    )
    try:
        async with asyncio.timeout(RUN_SECONDS):
            out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode is not None
    said = ProgramOutput(process.returncode, out.decode(), err.decode())
    assert "Traceback" not in said.err, said.err
    return said


@asynccontextmanager
async def serving(deployment: Deployment, **changes: Any) -> AsyncIterator[str]:
    """Run the API and yield its URL."""
    async with serving_api(deployment.settings.model_copy(update=changes)) as addresses:
        yield f"http://{addresses[0]}"


async def the_job(deployment: Deployment) -> dict[str, Any]:
    """Return the one job that there is, as its JSON object."""
    [row] = await deployment.run_sql("SELECT id FROM jobs")
    return job_to_json(await deployment.producer.get(str(row["id"])))


def shown(job: dict[str, Any]) -> dict[str, Any]:
    """Return what the examples print of a job."""
    names = ("id", "state", "reason", "result_urls", "credits_charged")
    return {name: job[name] for name in names}


async def events_of(deployment: Deployment) -> list[str]:
    rows = await deployment.run_sql("SELECT event FROM job_events ORDER BY id")
    return [row["event"] for row in rows]


# --- the three clients ----------------------------------------------------------------------


@pytest.mark.parametrize("with_key", [False, True], ids=["without a key", "with a key"])
@pytest.mark.parametrize("name", PROGRAMS_HERE)
async def test_the_example_places_one_job_and_sees_it_succeed(
    deployment: Deployment, name: str, with_key: bool
) -> None:
    environ = {}
    if with_key:
        _, environ["DARKROOM_API_KEY"] = await KeyStore(deployment.database).create(
            Role.SERVICE, "acme"
        )
    async with serving(deployment) as url, deployment.worker():
        said = await run(PROGRAMS[name], DARKROOM_URL=url, **environ)
    assert said.code == 0, said.err + said.out
    job = await the_job(deployment)
    assert (job["state"], job["credits_charged"]) == ("succeeded", 7)
    assert job["result_urls"][1] in said.out
    await deployment.check_account(balance=9_993)


@pytest.mark.promise("with the same rules and the same refusals")
@pytest.mark.parametrize("name", PROGRAMS_HERE)
async def test_the_example_shows_a_refusal_and_fails(deployment: Deployment, name: str) -> None:
    await KeyStore(deployment.database).create(Role.ADMIN)
    async with serving(deployment) as url:
        said = await run(PROGRAMS[name], DARKROOM_URL=url)
    assert said.code == 1
    assert "401" in said.err + said.out
    assert "an API key is needed" in said.err + said.out


if shutil.which("curl"):

    async def test_the_curl_example_runs_in_order(deployment: Deployment) -> None:
        async with serving(deployment) as url, deployment.worker():
            said = await run(PROGRAMS["curl"], DARKROOM_URL=url)
        path = f"/v1/jobs/{(await the_job(deployment))['id']}"
        rest = said.out
        for line in (
            *("> POST /v1/jobs", "< 202", '"state":"queued"'),
            *("> POST /v1/jobs", "< 202", "byte for byte", "Idempotent-Replayed: true"),
            *(f"> GET {path}/events", "event: enqueued", "event: completed"),
            *(f"> GET {path}?wait=30", "< 200", '"state":"succeeded"'),
            *("> GET /v1/accounts/acme", '"balance":9993'),
        ):
            _, found, rest = rest.partition(line)
            assert found, f"{line!r} is not said after all before it:\n{said.out}"


@pytest.mark.parametrize("name", CLIENTS_HERE)
async def test_every_fault_is_shown(deployment: Deployment, name: str) -> None:
    async with serving(deployment) as url:
        command = (*CLIENTS[name], "--aspect-ratio", "16:9", "--quantity", "3")
        said = await run(command, DARKROOM_URL=url)
    assert said.code == 1
    assert "invalid_request" in said.err
    assert "aspect_ratio: " in said.err
    assert "quantity: " in said.err
    assert await deployment.run_sql("SELECT id FROM jobs") == []


@pytest.mark.promise("Try again for 408, 429 and 503")
@pytest.mark.parametrize("name", CLIENTS_HERE)
async def test_a_lost_answer_and_an_outage_place_no_second_job(
    deployment: Deployment, name: str
) -> None:
    async with serving(deployment) as url, deployment.worker(), open_lossy_proxy(url) as proxy:
        proxy.refusals, proxy.lost_answers = 1, 1
        said = await run(CLIENTS[name], DARKROOM_URL=proxy.url)
    assert said.code == 0, said.err
    keys = proxy.header_of("POST", "Idempotency-Key")
    assert len(keys) == 3
    assert len(set(keys)) == 1
    assert said.job == shown(await the_job(deployment))
    await deployment.check_account(balance=9_993)


@pytest.mark.parametrize("name", CLIENTS_HERE)
async def test_a_stream_that_breaks_off_is_resumed_where_it_broke(
    deployment: Deployment, name: str
) -> None:
    async with serving(deployment) as url, deployment.worker(), open_lossy_proxy(url) as proxy:
        proxy.cut_streams = 1
        said = await run(CLIENTS[name], DARKROOM_URL=proxy.url)
    assert said.code == 0, said.err
    assert re.findall(r"^  \S+  (\w+)$", said.err, re.MULTILINE) == await events_of(deployment)
    resumed = [one for one in proxy.header_of("GET", "Last-Event-ID") if one]
    assert len(resumed) == 1


@pytest.mark.parametrize("name", CLIENTS_HERE)
async def test_a_given_key_is_the_same_job_on_another_day(
    deployment: Deployment, name: str
) -> None:
    command = (*CLIENTS[name], "--idempotency-key", "order-1042")
    async with serving(deployment) as url, deployment.worker():
        first = await run(command, DARKROOM_URL=url)
        again = await run(command, DARKROOM_URL=url)
    assert (first.code, again.code) == (0, 0), first.err + again.err
    assert first.job == again.job == shown(await the_job(deployment))


async def test_the_types_for_typescript_name_what_the_api_gives(deployment: Deployment) -> None:
    types = (ROOT / "clients" / "node" / "src" / "models.ts").read_text(encoding="utf-8")
    async with deployment.api() as api, deployment.worker():
        order = {
            "account_id": "acme",
            "task": "text-to-image",
            "prompt": "a lighthouse",
            "aspect_ratio": "3:2",
        }
        job = (await api.post("/v1/jobs", order)).expect(202)
        account = (await api.get("/v1/accounts/acme")).expect(200)
    assert fields_of(types, "JobFields") == list(job)
    assert fields_of(types, "Account") == list(account)


def fields_of(types: str, interface: str) -> list[str]:
    body = types.partition(f"export interface {interface} {{")[2].partition("\n}")[0]
    return re.findall(r"^  readonly (\w+)\??:", body, re.MULTILINE)


# --- the receiver of webhooks ---------------------------------------------------------------

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER_SECRET = "whsec_" + "Zm9yZ2VkLWJ5LXNvbWVib2R5LWVsc2U="
JOB = {
    name: rule["examples"][0]
    for name, rule in build_document(ENDPOINTS)["components"]["schemas"]["Job"][
        "properties"
    ].items()
}
MESSAGE = {
    "type": "job.succeeded",
    "timestamp": "2031-01-01T00:00:00Z",
    "data": {**JOB, "id": "7f1c"},
}
BODY = orjson.dumps(MESSAGE)


def signed(
    body: bytes = BODY, *, secret: str = SECRET, message: str = "msg_1", age_seconds: float = 0
) -> dict[str, str]:
    """Return the headers of a message, signed by another hand than ours and the receiver's."""
    moment = datetime.now(UTC) - timedelta(seconds=age_seconds)
    return {
        "webhook-id": message,
        "webhook-timestamp": str(int(moment.timestamp())),
        "webhook-signature": Webhook(secret).sign(message, moment, body.decode()),
    }


class Receiving:
    """The example receiver as a running program."""

    def __init__(self, process: asyncio.subprocess.Process, url: str) -> None:
        self._process = process
        self.url = url

    async def next_line(self) -> dict[str, Any]:
        """Return the next message that it acts on."""
        assert self._process.stdout is not None
        async with asyncio.timeout(RUN_SECONDS):
            line: dict[str, Any] = json.loads(await self._process.stdout.readline())
            return line

    async def post(self, body: bytes, headers: dict[str, str]) -> int:
        """Send it something; return the status."""
        async with (
            aiohttp.ClientSession() as session,
            session.post(self.url, data=body, headers=headers) as answer,
        ):
            return answer.status


@asynccontextmanager
async def receiving(secrets: str = SECRET, port: int = 0) -> AsyncIterator[Receiving]:
    """Run the receiver for as long as the block lasts."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(EXAMPLES / "webhook_receiver.py"), "--port", str(port)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environ_of(DARKROOM_WEBHOOK_SECRET=secrets),
    )
    assert process.stderr is not None
    try:
        async with asyncio.timeout(RUN_SECONDS):
            said = (await process.stderr.readline()).decode()
        yield Receiving(process, said.removeprefix("listening on ").strip())
    finally:
        process.kill()
        await process.communicate()


async def test_real_messages_are_verified_and_acted_on(deployment: Deployment) -> None:
    port = free_port()
    hook = f"http://127.0.0.1:{port}/"
    webhooks = deployment.producer.webhooks
    endpoint = await webhooks.secret("acme", hook, allow_loopback=True)
    async with (
        receiving(endpoint["secret"], port) as receiver,
        serving(deployment, webhooks_allow_loopback=True) as url,
        deployment.worker(webhooks_allow_loopback=True),
    ):
        said = await run((*CLIENTS["python"], "--webhook-url", hook), DARKROOM_URL=url)
        assert said.code == 0, said.err
        line = await receiver.next_line()

        async def is_delivered() -> bool:
            [message] = await webhooks.list()
            return bool(message["state"] == "delivered")

        await eventually(is_delivered, "the message is delivered")
    assert line["type"] == "job.succeeded"
    assert line["job"] == said.job["id"]
    assert line["result_urls"] == said.job["result_urls"]
    assert line["credits_charged"] == 7


async def test_a_repeat_is_taken_but_acted_on_once() -> None:
    async with receiving() as receiver:
        assert await receiver.post(BODY, signed()) == 204
        assert await receiver.post(BODY, signed()) == 204
        other = orjson.dumps({**MESSAGE, "type": "job.failed"})
        assert await receiver.post(other, signed(other, message="msg_2")) == 204
        assert [(await receiver.next_line())["type"] for _ in range(2)] == [
            *("job.succeeded", "job.failed"),
        ]


async def test_nothing_forged_is_acted_on() -> None:
    forged = [
        (BODY, {}),
        (BODY, signed(secret=OTHER_SECRET)),
        (BODY, {**signed(), "webhook-id": "msg_2"}),
        (BODY, {**signed(), "webhook-timestamp": str(int(time.time()) - 60)}),
        (BODY, {**signed(), "webhook-timestamp": "soon"}),
        (BODY, {**signed(), "webhook-signature": ""}),
        (BODY, {**signed(), "webhook-signature": "v1,\xe9"}),
        (BODY.replace(b"7f1c", b"7f1d"), signed()),
        (BODY, signed(age_seconds=301)),
        (BODY, signed(age_seconds=-310)),
    ]
    async with receiving() as receiver:
        for body, headers in forged:
            assert await receiver.post(body, headers) == 401, headers
        assert await receiver.post(BODY, signed(message="msg_3", age_seconds=290)) == 204
        # The first message that is acted on is the genuine one.
        assert (await receiver.next_line())["job"] == "7f1c"


async def test_a_huge_body_is_refused_before_it_is_read() -> None:
    async with receiving() as receiver:
        port = int(receiver.url.rpartition(":")[2].rstrip("/"))
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"POST / HTTP/1.1\r\nContent-Length: {BODY_BYTES + 1}\r\n\r\n".encode())
        assert b" 413 " in await reader.readline()
        writer.close()
        await writer.wait_closed()


async def test_without_a_usable_secret_the_receiver_does_not_start() -> None:
    for secret in ("", "whsec_", "whsec_not base64", "whsec_???"):
        said = await run(
            (sys.executable, str(EXAMPLES / "webhook_receiver.py"), "--port", "0"),
            DARKROOM_WEBHOOK_SECRET=secret,
        )
        assert said.code == 1
        assert "DARKROOM_WEBHOOK_SECRET must be whsec_ and Base64" in said.err
