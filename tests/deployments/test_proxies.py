"""Two APIs behind nginx, Caddy and HAProxy, with the configurations of docs/deployment.md."""

from __future__ import annotations

import asyncio
import os
import pwd
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from io import BytesIO
from pathlib import Path
from time import monotonic
from typing import Any

import aiohttp
import orjson
import pytest

from producer.api import serving_api
from producer.keys.roles import Role
from shared.settings import Settings
from tests.acceptance.test_http_access import key_of
from tests.acceptance.test_http_jobs import order
from tests.acceptance.test_rolling_restart import CALLERS, restart_under_load
from tests.deployments.programs import require_program, running_program
from tests.support.api_client import ApiClient
from tests.support.deployment import Deployment, eventually
from tests.support.ports import free_port

PAGE = (Path(__file__).parents[2] / "docs" / "deployment.md").read_text("utf-8")
ROOT_PATH = "/darkroom"
FIRST_EVENT_SECONDS = 2.0
IDLE_SECONDS = 65.0
"""More than nginx's `proxy_read_timeout`."""
NGINX_DELAY_SECONDS = 2.0
CADDY_DELAY_SECONDS = 4.0
HAPROXY_DELAY_SECONDS = 4.0
"""Two probes a second apart, and two seconds."""


def config_of_the_page(language: str, ports: list[int]) -> str:
    """Return the configuration of the page, with other ports of the APIs."""
    text: str
    (text,) = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    for documented, port in zip((8080, 8090), ports, strict=True):
        assert f"127.0.0.1:{documented}" in text
        text = text.replace(f"127.0.0.1:{documented}", f"127.0.0.1:{port}")
    return text


@contextmanager
def running_nginx(folder: Path, ports: list[int], *, without: str | None = None) -> Iterator[str]:
    """Run nginx with the configuration of the page, less one line. Yields its URL."""
    program, port = require_program("nginx"), free_port()
    text = config_of_the_page("nginx", ports)
    assert "listen 80;" in text
    text = text.replace("listen 80;", f"listen 127.0.0.1:{port};")
    if without is not None:
        assert without in text
        text = text.replace(without, "")
    folders = "".join(
        f"{name}_temp_path {folder}/{name};\n"
        for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    user = pwd.getpwuid(os.geteuid()).pw_name
    config = folder / "nginx.conf"
    config.write_text(
        f"user {user};\ndaemon off;\npid {folder}/pid;\nerror_log stderr;\nevents {{}}\n"
        f"http {{\naccess_log off;\n{folders}{text}}}\n"
    )
    command = [program, "-p", str(folder), "-e", "stderr", "-c", str(config)]
    with running_program(command, folder / "nginx.log", port=port):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def running_caddy(folder: Path, ports: list[int]) -> Iterator[str]:
    """Run Caddy with the configuration of the page. Yields its URL."""
    program, port = require_program("caddy"), free_port()
    text = config_of_the_page("caddyfile", ports)
    assert "darkroom.example.com {" in text
    text = text.replace("darkroom.example.com {", f"http://127.0.0.1:{port} {{")
    config = folder / "Caddyfile"
    config.write_text(f"{{\n\tadmin off\n}}\n{text}")
    own_folders = [f"{name}={folder}" for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME")]
    command = [
        "env",
        *own_folders,
        program,
        "run",
        "--adapter",
        "caddyfile",
        "--config",
        str(config),
    ]
    with running_program(command, folder / "caddy.log", port=port):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def running_haproxy(folder: Path, ports: list[int]) -> Iterator[str]:
    """Run HAProxy with the configuration of the page. Yields its URL."""
    program, port = require_program("haproxy"), free_port()
    text = config_of_the_page("haproxy", ports)
    assert "bind :80\n" in text
    config = folder / "haproxy.cfg"
    config.write_text(text.replace("bind :80\n", f"bind 127.0.0.1:{port}\n"))
    command = [program, "-db", "-f", str(config)]
    with running_program(command, folder / "haproxy.log", port=port):
        yield f"http://127.0.0.1:{port}"


PROXIES = {
    "nginx": (running_nginx, NGINX_DELAY_SECONDS),
    "caddy": (running_caddy, CADDY_DELAY_SECONDS),
    "haproxy": (running_haproxy, HAPROXY_DELAY_SECONDS),
}


def settings_of_the_page(deployment: Deployment) -> Settings:
    """Return the settings that the page gives the APIs, over the servers of the test."""
    (block,) = re.findall(r"```sh\n(API_PUBLIC_URL=.*?)```", PAGE, re.DOTALL)
    values = dict(line.split("=", 1) for line in block.splitlines())
    given = Settings(**{name.lower(): value for name, value in values.items()})
    assert given.root_path == ROOT_PATH
    changes = {name.lower(): getattr(given, name.lower()) for name in values}
    return deployment.settings.model_copy(update=changes)


@asynccontextmanager
async def two_apis(settings: Settings, ports: list[int]) -> AsyncIterator[None]:
    """Run an API on each of two ports."""
    first, second = (settings.model_copy(update={"api_port": port}) for port in ports)
    async with serving_api(first), serving_api(second):
        yield


@pytest.fixture
def ports() -> list[int]:
    """Two free ports for the APIs."""
    return [free_port(), free_port()]


@pytest.mark.parametrize("proxy", PROXIES)
async def test_events_and_waits_pass_as_they_are(
    deployment: Deployment, tmp_path: Path, ports: list[int], proxy: str
) -> None:
    key = await key_of(deployment, Role.ADMIN)
    run, _ = PROXIES[proxy]
    async with (
        two_apis(settings_of_the_page(deployment), ports),
        aiohttp.ClientSession() as session,
    ):
        with run(tmp_path, ports) as url:
            api = ApiClient(session, key)
            await eventually(is_served(api, url), "the proxy serves")
            job = (await api.post(f"{url}{ROOT_PATH}/v1/jobs", order())).expect(202)
            path = f"{url}{ROOT_PATH}/v1/jobs/{job['id']}"
            began = monotonic()
            async with asyncio.TaskGroup() as tasks:
                for events in (f"{url}{ROOT_PATH}/v1/accounts/acme/events", f"{path}/events"):
                    tasks.create_task(read_stream(session, events, bearer=key))
                waited = await api.get(path, wait=60)
                assert waited.expect(200)["state"] == "queued"
                assert 45 < monotonic() - began < 60


async def read_stream(session: aiohttp.ClientSession, url: str, *, bearer: str) -> None:
    """Read a stream of events for longer than a proxy waits for a byte."""
    began = monotonic()
    headers = {"Authorization": f"Bearer {bearer}"}
    timeout = aiohttp.ClientTimeout(total=None, sock_read=20)
    async with session.get(url, headers=headers, timeout=timeout) as stream:
        assert stream.status == 200
        assert "no-transform" in stream.headers["Cache-Control"]
        await stream.content.readany()
        assert monotonic() - began < FIRST_EVENT_SECONDS
        while monotonic() - began < IDLE_SECONDS:
            assert await stream.content.readany(), "the proxy ended the stream"


@pytest.mark.parametrize("proxy", PROXIES)
async def test_the_sub_path_large_batches_and_the_address_of_the_client(
    deployment: Deployment, tmp_path: Path, ports: list[int], proxy: str
) -> None:
    key = await key_of(deployment, Role.ADMIN)
    run, _ = PROXIES[proxy]
    batch = orjson.dumps({"jobs": [order(prompt="x" * 1_550) for _ in range(1_000)]})
    assert len(batch) > 1_600_000
    connector = aiohttp.TCPConnector(local_addr=("127.0.0.9", 0))
    async with (
        two_apis(settings_of_the_page(deployment), ports),
        aiohttp.ClientSession(connector=connector) as session,
    ):
        with run(tmp_path, ports) as url:
            api = ApiClient(session, key)
            await eventually(is_served(api, url), "the proxy serves")
            answer = await api.post(f"{url}{ROOT_PATH}/v1/jobs", order())
            job = answer.expect(202)
            assert answer.headers["Location"] == f"{ROOT_PATH}/v1/jobs/{job['id']}"
            (await api.get(f"{url}{answer.headers['Location']}")).expect(200)
            status, jobs = await post_batch(session, url, key, batch)
            assert (status, len(jobs["jobs"])) == (202, 1_000)
            login = f"{url}{ROOT_PATH}/console/login"
            form = {"key": key, "next": "/console/jobs"}
            async with session.post(
                login, data=form, headers={"Origin": url}, allow_redirects=False
            ) as opened:
                assert opened.headers["Location"] == f"{ROOT_PATH}/console/jobs"
        if proxy == "nginx":
            line = "client_max_body_size 32m;"
            with running_nginx(tmp_path, ports, without=line) as url:
                assert (await post_batch(session, url, key, batch))[0] == 413
    sessions = await deployment.run_sql("SELECT address FROM console_sessions")
    assert [row["address"] for row in sessions] == ["127.0.0.9"]


@pytest.mark.parametrize("proxy", PROXIES)
async def test_a_rolling_restart_under_load_fails_no_request(
    deployment: Deployment, tmp_path: Path, ports: list[int], proxy: str
) -> None:
    key = await key_of(deployment, Role.ADMIN)
    run, delay_seconds = PROXIES[proxy]
    settings = settings_of_the_page(deployment)
    with run(tmp_path, ports) as url:

        async def is_in_use(_: int) -> bool:
            # A proxy takes a server back by itself, after its next probe or request.
            await asyncio.sleep(2)
            return True

        answered = await restart_under_load(
            settings,
            ports,
            delay_seconds,
            url=f"{url}{ROOT_PATH}",
            key=key,
            is_in_use=is_in_use,
        )
    assert set(answered) == {200, 202}
    jobs = await deployment.run_sql("SELECT count(*) AS n FROM jobs")
    assert jobs[0]["n"] == answered.count(202) > 20 * CALLERS


async def post_batch(
    session: aiohttp.ClientSession, url: str, key: str, batch: bytes
) -> tuple[int, Any]:
    """Place these jobs. Returns the status and the JSON of the response, if it is JSON."""
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    async with session.post(
        f"{url}{ROOT_PATH}/v1/jobs/batch", data=BytesIO(batch), headers=headers
    ) as answer:
        is_json = answer.content_type == "application/json"
        return answer.status, await answer.json() if is_json else None


def is_served(api: ApiClient, url: str) -> Any:
    """Return a question that is true once the proxy reaches an API."""

    async def ask() -> bool:
        return (await api.get(f"{url}{ROOT_PATH}/v1/jobs")).status == 200

    return ask
