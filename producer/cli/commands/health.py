"""`darkroom health`: check whether a running process is ready, for container checks."""

from __future__ import annotations

import http.client
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

import orjson
import typer

from producer.cli.command_runner import exit_on_error
from producer.cli.display.console import print_data, print_json
from producer.cli.display.text_format import printable
from producer.cli.exit_codes import ExitCode
from producer.cli.options import AsJson
from shared.errors import ConfigurationError, DependencyDown

if TYPE_CHECKING:
    from shared.settings import Settings

# Less than the usual 5 s of container checks, and more than the 3 s of the readiness checks.
TIMEOUT_SECONDS = 4.5


def health(
    url: Annotated[
        str | None, typer.Option(metavar="URL", help="Whom to ask; default: the worker.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Ask a worker or an API whether it is ready: 0 it is, 6 it is not."""
    from shared.settings import load_settings

    with exit_on_error():
        target = url or _worker_url(load_settings())
        try:
            status, body = _ask(target)
        except (OSError, http.client.HTTPException) as error:
            why = str(error) or type(error).__name__
            raise DependencyDown(f"no answer from {target}: {why}") from None
    if as_json:
        print_json({"ready": status == http.client.OK, "url": target, **body})
    else:
        _report(target, status, body)
    raise typer.Exit(ExitCode.DONE if status == http.client.OK else ExitCode.DEPENDENCY_DOWN)


def _worker_url(settings: Settings) -> str:
    if settings.worker_http_port == 0:
        raise ConfigurationError(
            "WORKER_HTTP_PORT is 0, so the worker chose its port itself: name it with --url"
        )
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(  # noqa: S104 - recognised, not bound
        settings.worker_http_host, settings.worker_http_host
    )
    bracketed = f"[{host}]" if ":" in host else host
    return f"http://{bracketed}:{settings.worker_http_port}"


def _ask(url: str) -> tuple[int, dict[str, Any]]:
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        port = -1
    if parts.scheme not in {"http", "https"} or not parts.hostname or port == -1:
        raise typer.BadParameter(f"{url!r} is not an http:// or https:// URL")
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname, port, timeout=TIMEOUT_SECONDS)
    try:
        connection.request("GET", f"{parts.path.rstrip('/')}/readyz")
        response = connection.getresponse()
        return response.status, _read(response.read(64 * 1024))
    finally:
        connection.close()


def _read(body: bytes) -> dict[str, Any]:
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        value = None
    return value if isinstance(value, dict) else {}


def _report(url: str, status: int, body: dict[str, Any]) -> None:
    checks = body.get("checks")
    results = checks if isinstance(checks, dict) else {}
    line = ", ".join(f"{name} {printable(str(result))}" for name, result in results.items())
    word = "ready" if status == http.client.OK else f"not ready (HTTP {status})"
    if status == http.client.OK and body.get("status") == "degraded":
        word = "ready, but degraded"
    print_data(f"{printable(url)} is {word}" + (f": {line}" if line else ""))
