"""The simulator as an HTTP server: one socket, the API's routes, and broken connections."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

from aiohttp import HttpVersion11, web

from shared.adapters.http.http_connection import ConnectionLimits
from shared.adapters.http.http_server import LimitedServer, listen

from .callback_sender import CallbackSender
from .catalogue_routes import MODELS, answer_catalogue, is_catalogue_path
from .control_routes import ControlRoutes
from .credit_route import answer_credit
from .endpoints import DEDICATED_ENDPOINT, MARKET_ENDPOINT, Endpoint
from .fault_switch_parser import read_switches, with_switches
from .fault_switches import FaultSwitches
from .generate_route import answer_create
from .image_links import FRESH_IMAGES, IMAGES
from .image_routes import answer_common_download_url, answer_download_url, answer_image
from .provider_state import Caller, SimulatedProvider
from .record_info_route import answer_record_info
from .request_record import RequestRecord, SeenRequest
from .responses import JSON_TYPE, TOO_LARGE, SimulatedResponse, gzip_body, no_route
from .simulator_config import SimulatorClocks, SimulatorConfig
from .upload_routes import (
    BASE64_UPLOAD,
    STREAM_UPLOAD,
    URL_UPLOAD,
    UploadRoutes,
    no_upload_route,
)
from .uploaded_files import FILES

_CREDIT = "/api/v1/chat/credit"
_DOWNLOAD_URL = "/api/v1/gpt4o-image/download-url"
_COMMON_DOWNLOAD_URL = "/api/v1/common/download-url"
_CONTROL = "/simulator"

_ANY_ADDRESS = ("", "0.0.0.0", "::")  # noqa: S104
_SHUTDOWN_SECONDS = 0.2
# A file of 100 MB may come slowly.
_LIMITS = ConnectionLimits(body_seconds=120.0)
# Closing a socket with lingering on and no time to linger sends RST instead of FIN.
_LINGER_NOT_AT_ALL = struct.pack("ii", 1, 0)

# A route answers with its reply and the id of the task concerned, empty when there is none.
Route = Callable[[web.BaseRequest], Awaitable[tuple[SimulatedResponse, str]]]


class Simulator:
    """A simulator that listens. Use :func:`running_simulator` to have it closed again."""

    def __init__(self, kie: SimulatedProvider) -> None:
        self._kie = kie
        self._listening_url = ""
        self._callback_sender = CallbackSender(kie)
        self._uploads = UploadRoutes(kie)
        self._routes: dict[tuple[str, str], tuple[str, Route]] = {
            ("GET", _CREDIT): ("credit", self._credit),
            ("POST", _DOWNLOAD_URL): ("download_url", self._download_url),
            ("POST", _COMMON_DOWNLOAD_URL): ("download_url", self._common_download_url),
            ("POST", BASE64_UPLOAD): ("upload", self._upload),
            ("POST", STREAM_UPLOAD): ("upload", self._upload),
            ("POST", URL_UPLOAD): ("upload", self._upload),
        }
        for endpoint in (DEDICATED_ENDPOINT, MARKET_ENDPOINT):
            self._routes["POST", endpoint.create_path] = (
                "create",
                partial(self._create, endpoint=endpoint),
            )
            self._routes["GET", endpoint.poll_path] = "poll", partial(self._poll, endpoint=endpoint)
        self._control = ControlRoutes(kie, self._list_api_routes())
        # The low-level server: one dictionary look-up instead of a router and middlewares.
        self._runner = web.ServerRunner(
            LimitedServer(self._handle, name="simulator", limits=_LIMITS),
            shutdown_timeout=_SHUTDOWN_SECONDS,
        )

    @property
    def base_url(self) -> str:
        """Where it listens, without a trailing slash or /api/v1."""
        return self._listening_url

    @property
    def api_key(self) -> str:
        """The Bearer token that it accepts."""
        return self._kie.config.api_key

    @property
    def record(self) -> RequestRecord:
        """The record as of now; a reset replaces it."""
        self._kie.finish_due_tasks()
        return self._kie.record

    @property
    def faults(self) -> FaultSwitches:
        """The switches in force; assign others to change them."""
        return self._kie.faults

    @faults.setter
    def faults(self, faults: FaultSwitches) -> None:
        self._kie.faults = faults

    def set_faults(self, **switches: object) -> None:
        """Change these switches only; raises FaultError when a name or value is not allowed."""
        self._kie.faults = with_switches(self._kie.faults, read_switches(switches))

    def set_account_faults(self, number: int, **switches: object) -> None:
        """Change these switches for one account only, numbered from 1."""
        account = self._kie.accounts[number - 1]
        account.overrides = {**account.overrides, **read_switches(switches)}

    def reset(self) -> None:
        """Forget every task and start over, faults included."""
        self._kie.reset()

    async def start(self) -> None:
        """Listen; raises `ConfigurationError` when the address is taken."""
        config = self._kie.config
        await self._runner.setup()
        await listen(self._runner, config.host, config.port)
        port = self._runner.addresses[0][1]
        # Nobody can connect to "any address", so the URL names one that it includes.
        host = "127.0.0.1" if config.host in _ANY_ADDRESS else config.host
        self._listening_url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
        self._kie.base_url = config.public_url.rstrip("/") or self._listening_url

    async def stop(self) -> None:
        """Stop listening, cut off what hangs, and send no more callbacks."""
        await self._runner.cleanup()
        await self._callback_sender.close()
        self._kie.files.close()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        path = request.path
        if path == _CONTROL or path.startswith(_CONTROL + "/"):
            return await self._control.answer(request)
        record = self._kie.record
        arrived_epoch = self._kie.clocks.epoch()
        name, route = self._find_route(request.method, path)
        try:
            reply, task_id = await route(request)
        except web.HTTPRequestEntityTooLarge:
            reply, task_id = TOO_LARGE, ""
        record.note_request(
            name, SeenRequest(arrived_epoch, request.method, path, task_id, reply.record_code)
        )
        await self._wait(name, reply)
        return _send(request, reply, may_compress=self._kie.config.compress_bodies)

    def _find_route(self, method: str, path: str) -> tuple[str, Route]:
        found = self._routes.get((method, path))
        if found is not None:
            return found
        if method in ("GET", "HEAD"):
            if path.startswith((IMAGES, FRESH_IMAGES)):
                return "image", self._image
            if path.startswith(FILES):
                return "file", self._file
        if method == "GET" and is_catalogue_path(path):
            return "catalogue", self._catalogue
        return "unknown", self._unknown

    def _list_api_routes(self) -> list[str]:
        """Return the routes that a client of Kie uses, for the page of the simulator."""
        routes = [f"{method:<6} {path}" for method, path in self._routes]
        parts = ("", "/<model>/schema", "/<model>/price", "/<model>/success-rate")
        return [*routes, *(f"{'GET':<6} {MODELS}{part}" for part in parts)]

    async def _wait(self, name: str, reply: SimulatedResponse) -> None:
        config = self._kie.config
        if name == "create":
            latency = self._kie.draw_latency(config.create_latency_seconds)
        elif name in ("image", "file", "unknown"):
            latency = 0.0
        else:
            latency = self._kie.draw_latency(config.poll_latency_seconds)
        seconds = latency + reply.extra_delay_seconds
        if seconds > 0.0:
            await asyncio.sleep(seconds)

    async def _create(
        self, request: web.BaseRequest, *, endpoint: Endpoint
    ) -> tuple[SimulatedResponse, str]:
        raw = await request.read()
        creation = answer_create(self._kie, _caller(request), raw, endpoint)
        if creation.task is None:
            return creation.reply, ""
        self._callback_sender.schedule_callbacks(creation.task)
        return creation.reply, creation.task.id

    async def _poll(
        self, request: web.BaseRequest, *, endpoint: Endpoint
    ) -> tuple[SimulatedResponse, str]:
        task_id = request.query.get("taskId", "")
        return answer_record_info(self._kie, _caller(request), task_id, endpoint), task_id

    async def _credit(self, request: web.BaseRequest) -> tuple[SimulatedResponse, str]:
        return answer_credit(self._kie, _caller(request)), ""

    async def _catalogue(self, request: web.BaseRequest) -> tuple[SimulatedResponse, str]:
        reply = answer_catalogue(self._kie, _caller(request), request.path, request.query)
        return reply, ""

    async def _image(self, request: web.BaseRequest) -> tuple[SimulatedResponse, str]:
        return answer_image(self._kie, request.path, request.query), ""

    async def _file(self, request: web.BaseRequest) -> tuple[SimulatedResponse, str]:
        return self._uploads.answer_file(request.rel_url.raw_path), ""

    async def _upload(self, request: web.BaseRequest) -> tuple[SimulatedResponse, str]:
        return await self._uploads.answer(request, _caller(request)), ""

    async def _download_url(self, request: web.BaseRequest) -> tuple[SimulatedResponse, str]:
        return answer_download_url(self._kie, _caller(request), await request.read()), ""

    async def _common_download_url(self, request: web.BaseRequest) -> tuple[SimulatedResponse, str]:
        return answer_common_download_url(self._kie, _caller(request), await request.read()), ""

    async def _unknown(self, request: web.BaseRequest) -> tuple[SimulatedResponse, str]:
        if request.path.startswith("/api/file-"):
            return no_upload_route(), ""
        return no_route(request.path, self._kie.clocks.epoch()), ""


@asynccontextmanager
async def running_simulator(
    config: SimulatorConfig | None = None, *, clocks: SimulatorClocks | None = None
) -> AsyncIterator[Simulator]:
    """A simulator listening on a real socket of this process until the block is left."""
    simulator = Simulator(SimulatedProvider(config or SimulatorConfig(), clocks=clocks))
    try:
        await simulator.start()
        yield simulator
    finally:
        await simulator.stop()


def _caller(request: web.BaseRequest) -> Caller:
    headers = request.headers
    return Caller(headers.get("Authorization", ""), headers.get("User-Agent", ""))


def _send(
    request: web.BaseRequest, reply: SimulatedResponse, *, may_compress: bool
) -> web.StreamResponse:
    transport = request.transport
    if reply.ending != "send" and transport is not None:
        connection: socket.socket | None = transport.get_extra_info("socket")
        if reply.ending == "reset" and connection is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT_AT_ALL)
        transport.abort()
    headers = {"Content-Type": reply.content_type, "Server": "cloudflare"}
    if reply.location:
        headers["Location"] = reply.location
    if reply.file is not None:
        return web.FileResponse(reply.file, headers=headers)
    body = reply.body
    compressed = may_compress and reply.content_type == JSON_TYPE and _accepts_gzip(request)
    if compressed:
        headers["Content-Encoding"] = "gzip"
        body = gzip_body(body)
    # After an abort no response is sent, but the server requires one from every handler.
    response = web.Response(body=body, status=reply.http_status, headers=headers)
    if compressed:
        response.enable_chunked_encoding()
    return response


def _accepts_gzip(request: web.BaseRequest) -> bool:
    return "gzip" in request.headers.get("Accept-Encoding", "") and request.version >= HttpVersion11
