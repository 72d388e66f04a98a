"""What a proxy in front of a listener changes: the client's address, its scheme, and the path.

`X-Forwarded-For` and `X-Forwarded-Proto` are read from trusted proxies alone: any client can send
them. The header `Forwarded` is never read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from ipaddress import ip_address, ip_network
from typing import Any

from aiohttp import web
from yarl import URL

from shared.adapters.http.http_connection import network_of
from shared.setting_checks.proxy_settings import Network

_CLIENT_ADDRESS = web.RequestKey("client_address", str)
_IS_ENCRYPTED = web.RequestKey("is_encrypted", bool)
_ROOT_PATH = web.RequestKey("root_path", str)
_PATH_HEADERS = ("Location", "HX-Redirect")
_HOST_COOKIE = "__Host-"

RequestFactory = Callable[..., web.BaseRequest]


class Forwarding:
    """The trusted proxies of a listener, and the path below which callers reach it.

    A proxy may strip `root_path` from the path of requests or pass it on: both are served alike.
    """

    def __init__(self, root_path: str = "", proxies: Sequence[Network] = ()) -> None:
        self.root_path = root_path
        self._proxies = tuple(proxies)

    def is_trusted(self, address: str) -> bool:
        """Return whether an address, or a whole network, is one of a trusted proxy."""
        try:
            given = ip_network(address.partition("%")[0])
        except ValueError:
            return False
        mapped = getattr(given.network_address, "ipv4_mapped", None)
        if mapped is not None:
            given = ip_network(mapped)
        return any(
            given.version == one.version and given.subnet_of(one)  # type: ignore[arg-type]
            for one in self._proxies
        )

    def strip_paths(self, make_request: RequestFactory) -> RequestFactory:
        """Return a request factory that removes the root path from the paths of requests."""
        root = self.root_path

        def make(message: Any, *rest: Any) -> web.BaseRequest:
            # A request may name its whole URL: `GET http://host/darkroom/v1/jobs`.
            path = message.path if message.path.startswith("/") else message.url.raw_path_qs
            if path.startswith(root) and path[len(root) : len(root) + 1] in {"", "/", "?"}:
                own = path[len(root) :]
                own = own if own.startswith("/") else f"/{own}"
                raw_path, _, query = own.partition("?")
                url = URL.build(path=raw_path, query_string=query, encoded=True)
                message = message._replace(path=own, url=url)
            return make_request(message, *rest)

        return make if root else make_request

    def read(self, request: web.BaseRequest) -> None:
        """Store what is known of the client, for the functions of this module."""
        if self.root_path:
            request[_ROOT_PATH] = self.root_path
        if not self._proxies or not self.is_trusted(request.remote or ""):
            return
        client = self._find_client(_values_of(request, "X-Forwarded-For"))
        if client is not None:
            request[_CLIENT_ADDRESS] = client
        protocols = _values_of(request, "X-Forwarded-Proto")
        if protocols:
            request[_IS_ENCRYPTED] = protocols[-1].lower() == "https"

    def add_root_path(self, response: web.StreamResponse) -> None:
        """Add the root path to the links and cookies of a response that is not sent yet."""
        root = self.root_path
        if not root:
            return
        for name in _PATH_HEADERS:
            path = response.headers.get(name, "")
            if path.startswith("/") and not path.startswith("//"):
                response.headers[name] = root + path
        for name, morsel in response.cookies.items():
            # Browsers refuse such a cookie with a path.
            if not name.startswith(_HOST_COOKIE) and not morsel["path"].startswith(root):
                morsel["path"] = root + morsel["path"].rstrip("/")

    def _find_client(self, addresses: Sequence[str]) -> str | None:
        """Return the last address that is no trusted proxy: clients write what comes before it."""
        found = None
        for text in reversed(addresses):
            address = _without_port(text)
            if address is None:
                break
            found = address
            if not self.is_trusted(address):
                break
        return found


def client_address(request: web.BaseRequest) -> str | None:
    """Return the address of the client: the peer, or what a trusted proxy says."""
    address: str | None = request.get(_CLIENT_ADDRESS, request.remote)
    return address


def client_network(request: web.BaseRequest) -> str:
    """Return what limits count as one client: an address of IPv4, or the /64 of one of IPv6.

    Empty if the address is not known.
    """
    address = client_address(request)
    return network_of(address) if address else ""


def is_https(request: web.BaseRequest) -> bool:
    """Return whether the client uses https, here or at a trusted proxy."""
    encrypted: bool = request.get(_IS_ENCRYPTED, request.secure)
    return encrypted


def root_path_of(request: web.BaseRequest) -> str:
    """Return the path below which callers reach the API. Empty means none."""
    path: str = request.get(_ROOT_PATH, "")
    return path


def _values_of(request: web.BaseRequest, name: str) -> list[str]:
    lines = request.headers.getall(name, [])
    return [value.strip() for line in lines for value in line.split(",") if value.strip()]


def _without_port(text: str) -> str | None:
    host = text
    if text.startswith("["):
        host = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        host = text.partition(":")[0]
    try:
        return str(ip_address(host))
    except ValueError:
        return None
