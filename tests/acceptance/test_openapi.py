"""The API is what its document says, by schemathesis; `pytest -s` shows its summary.

Every operation is asked with valid and with invalid data: as an admin, and as two services that
must not see each other's jobs. All checks are on. `make fuzz` sends every case, and `make test` a
part of them.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import pytest

from producer import Job, Producer
from producer.api import serving_api
from producer.keys.key_store import KeyStore
from producer.keys.roles import Role
from shared.catalog import list_families
from tests.fakes.fake_webhook_receiver import receiving
from tests.support.api_client import ApiClient
from tests.support.deployment import Deployment, eventually, text_to_image

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "tests/schemathesis.toml"
ACCOUNTS = ("acme", "other")
CREDITS = Decimal(999_999_999)
"""More than all negative grants and prices of the test can use."""
SLOW = pytest.mark.timeout(400)
"""Hundreds of requests: 30 s on two quiet cores, minutes on busy ones."""


Known = dict[str, Any]


@pytest.fixture
def sends_every_case(pytestconfig: pytest.Config) -> bool:
    """Whether all cases of the document are sent, or a part of them."""
    return bool(pytestconfig.getoption("--every-case"))


@asynccontextmanager
async def api_in_use(deployment: Deployment, images: Path) -> AsyncIterator[tuple[str, Known]]:
    """Run the API, a worker, Kie and a receiver of webhooks; yields the document's URL."""
    options: dict[str, Any] = {"webhooks_allow_loopback": True, "results_url": f"file://{images}"}
    settings = deployment.settings.model_copy(update=options)
    async with (
        receiving() as receiver,
        deployment.worker(**options),
        serving_api(settings) as addresses,
        Producer.connect(settings) as producer,
    ):
        known = await prepare(deployment, producer, f"{receiver.url}/ended")
        yield f"http://{addresses[0]}/openapi.json", known


async def end_jobs(deployment: Deployment, producer: Producer, webhook_url: str) -> list[Job]:
    """Return three jobs that succeeded and whose images are stored."""
    jobs = [
        await producer.enqueue(text_to_image(), account_id="acme", webhook_url=webhook_url)
        for _ in range(3)
    ]
    for job in jobs:
        await deployment.ended(job)

    async def are_stored() -> bool:
        shown = [await producer.get(job.id) for job in jobs]
        return all(image.is_stored for job in shown for image in job.images)

    await eventually(are_stored, "the images are stored")
    return jobs


def _webhook_paths(
    messages: list[dict[str, Any]], account: dict[str, list[str]], webhook_url: str
) -> dict[str, dict[str, list[str]]]:
    """Return the ids in the paths of webhook messages and of secrets, and the URL of those."""
    ids = {"id": [str(message["id"]) for message in messages]}
    secrets = ("getWebhookSecret", "createWebhookSecret", "rotateWebhookSecret")
    return {
        **dict.fromkeys(("getWebhook", "replayWebhook"), ids),
        **{name: {**account, "url": [webhook_url]} for name in secrets},
    }


async def prepare(deployment: Deployment, producer: Producer, webhook_url: str) -> Known:
    """Make what well-formed requests are about; see `tests/schemathesis_hooks.py`."""
    for account_id in ("other", "erased"):
        await deployment.producer.billing.create_account(account_id)
    for account_id in ACCOUNTS:
        await deployment.producer.billing.grant(account_id, CREDITS, "for the test")
    async with deployment.database.transaction() as queries:
        await queries.connection.execute("SET LOCAL darkroom.confirm = 'yes'")
        await queries.connection.execute(
            "INSERT INTO pricing (model, task, quantity, variant, credits, provider_credits)"
            " SELECT 'test-model', 'text-to-image', 1, variant, 1, 1"
            "   FROM unnest('{\"\",2K}'::text[]) AS variant"
        )
    jobs = await end_jobs(deployment, producer, webhook_url)
    messages = await producer.webhooks.list()
    ended = {"id": [str(job.id) for job in jobs]}
    account = {"id": list(ACCOUNTS)}
    price = {"model": ["test-model"], "task": ["text-to-image"], "variant": ["", "2K"]}
    price_path = {**price, "quantity": ["1"]}
    days = [datetime.now(UTC) + timedelta(days=count) for count in range(2, 300)]
    await deployment.producer.billing.price_changes.schedule(
        ("test-model", "text-to-image", 1), Decimal(2), at=days[0], reason="for the test"
    )
    return {
        "accounts": ACCOUNTS,
        "webhook_url": webhook_url,
        "run_at": [f"{day:%Y-%m-%dT00:00:00Z}" for day in days],
        "paths": {
            **dict.fromkeys(("getJob", "cancelJob", "streamJob"), ended),
            **dict.fromkeys(("getJobDetails", "retryJob", "resolveJob"), ended),
            **_webhook_paths(messages, account, webhook_url),
            **dict.fromkeys(("getAccount", "listLedger", "grantCredits"), account),
            **dict.fromkeys(("getStatement", "downloadStatement"), account),
            **dict.fromkeys(("changePrice", "previewPrice"), price_path),
            "refundJob": ended,
            # A job without its prompt is not retried.
            "erasePrompts": {"id": ["erased"]},
            "listErasures": {"id": ["erased"]},
            "revokeScheduledPrice": {"id": ["1"]},
            "routeModel": {"model": [*list_families()]},
            "getJobImage": {**ended, "number": ["1"]},
        },
        "scheduled_price": {
            **{name: {"enum": values} for name, values in price.items()},
            "quantity": {"const": 1},
            "takes_effect_at": {"enum": [f"{day:%Y-%m-%dT00:00:00Z}" for day in days]},
        },
    }


async def inspect(url: str, config: Path, known: Known, *options: str) -> None:
    """Run schemathesis against the API. Fails if it finds anything."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(config)),
        *("run", url, "--checks", "all", *options),
        env={**os.environ, "DARKROOM_TEST_KNOWN": orjson.dumps(known).decode()},
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    text = output.decode(errors="replace")
    sys.stderr.write(text)
    assert process.returncode == 0, text[-20_000:]


@SLOW
@pytest.mark.parametrize("phases", ["examples,coverage", "fuzzing,stateful"])
async def test_to_an_admin_the_api_is_as_its_document_says(
    deployment: Deployment, tmp_path: Path, phases: str, sends_every_case: bool
) -> None:
    _, key = await KeyStore(deployment.database).create(Role.ADMIN, None)
    config = tmp_path / "schemathesis.toml"
    config.write_text(f"{CONFIG.read_text('utf-8')}\n[auth.openapi.key]\nbearer = '{key}'\n")
    async with api_in_use(deployment, tmp_path / "images") as (url, known):
        # A caller without an account must name one.
        known["must_name_account"] = True
        known["sends_every_case"] = sends_every_case
        examples = () if sends_every_case else ("--max-examples", "10")
        await inspect(url, config, known, "--phases", phases, *examples)


@SLOW
async def test_to_services_the_api_is_as_its_document_says_and_each_sees_its_own(
    deployment: Deployment, tmp_path: Path, sends_every_case: bool
) -> None:
    async with api_in_use(deployment, tmp_path / "images") as (url, known):
        known["sends_every_case"] = sends_every_case
        users = tmp_path / "users.json"
        users.write_bytes(orjson.dumps({"auth": [await user(deployment, one) for one in ACCOUNTS]}))
        config = tmp_path / "schemathesis.toml"
        config.write_text(
            f"{CONFIG.read_text('utf-8')}\n[auth.wfc]\npath = '{users}'\npeers = {list(ACCOUNTS)}\n"
        )
        # The cases of the coverage phase do not depend on the caller.
        examples = () if sends_every_case else ("--max-examples", "10")
        await inspect(url, config, known, "--phases", "examples,fuzzing,stateful", *examples)


async def user(deployment: Deployment, account_id: str) -> dict[str, Any]:
    """Return a service with its key, as schemathesis reads it."""
    _, key = await KeyStore(deployment.database).create(Role.SERVICE, account_id)
    header = {"name": "Authorization", "value": f"Bearer {key}"}
    return {"name": account_id, "fixedHeaders": [header]}


async def test_an_accounts_stream_answers_as_the_document_says(deployment: Deployment) -> None:
    """What schemathesis cannot read: it ends only when its listener leaves."""
    _, key = await KeyStore(deployment.database).create(Role.SERVICE, "acme")
    async with deployment.api() as nobody:
        api = nobody.with_key(key)
        path = "/v1/accounts/acme/events"
        (await nobody.get(path)).expect(401)
        (await api.get("/v1/accounts/other/events")).expect(403)
        (await api.get(path, limit=3)).expect(422)
        (await api.send("GET", path, headers={"Last-Event-ID": "soon"})).expect(422)
        (await api.send("POST", path)).expect(405)
        job = await deployment.enqueue()
        document = (await nobody.get("/openapi.json")).expect(200)
        event = await first_event(api, path, {"Last-Event-ID": "0.0"}, key)
    assert event["job_id"] == str(job.id)
    assert set(event) == set(document["components"]["schemas"]["Event"]["properties"])


async def first_event(api: ApiClient, path: str, headers: dict[str, str], key: str) -> Any:
    """Listen until there is an event, and return its data."""
    given = {**headers, "Authorization": f"Bearer {key}"}
    async with asyncio.timeout(20), api.session.get(path, headers=given) as response:
        assert response.status == 200
        assert response.content_type == "text/event-stream"
        async for line in response.content:
            if line.startswith(b"data: "):
                return orjson.loads(line.removeprefix(b"data: "))
    raise AssertionError("the stream ended without an event")


@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/jobs/batch"])
async def test_an_address_names_all_of_its_methods_and_no_other(
    deployment: Deployment, path: str
) -> None:
    async with deployment.api() as api:
        document = (await api.get("/openapi.json")).expect(200)
        answer = await api.send("OPTIONS", path)
    answer.expect(405)
    allowed = {method.strip().lower() for method in answer.headers["Allow"].split(",")}
    assert allowed - {"head"} == set(document["paths"][path])


async def test_answers_have_exactly_the_fields_that_the_document_lists(
    deployment: Deployment,
) -> None:
    """Schemathesis finds missing fields. This test finds fields that are not described."""
    body = {"account_id": "acme", "task": "text-to-image", "prompt": "a", "aspect_ratio": "1:1"}
    async with deployment.api() as api:
        schemas = (await api.get("/openapi.json")).expect(200)["components"]["schemas"]
        job = (await api.post("/v1/jobs", body)).expect(202)
        batch = (await api.post("/v1/jobs/batch", {"jobs": [body]})).expect(202)
        page = (await api.get("/v1/jobs")).expect(200)
        prices = (await api.get("/v1/prices")).expect(200)
        account = (await api.get("/v1/accounts/acme")).expect(200)
        ledger = (await api.get("/v1/accounts/acme/ledger")).expect(200)
    for name, answer in (
        *(("Job", job), ("Jobs", batch), ("JobPage", page), ("Job", page["jobs"][0])),
        *(("Prices", prices), ("Price", prices["prices"][0]), ("Account", account)),
        *(("LedgerPage", ledger), ("LedgerEntry", ledger["entries"][0])),
    ):
        assert set(answer) == set(schemas[name]["properties"]), name
