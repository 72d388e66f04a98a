"""Decides from which hosts the browser of the console loads images.

Result URLs come from Kie's answers. An image of an unknown host would tell that host the address of
the operator and when a job is looked at. URLs of callers are never loaded.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from producer.api.access.direct_requests import is_loopback_host
from producer.console.text_filters import safe_link

LOOPBACK_IMAGES = "127.0.0.1:*"
"""The simulator of Kie on this machine, at any port."""


@dataclass(frozen=True, slots=True)
class ImageSources:
    """The hosts of `CONSOLE_IMAGE_HOSTS`. Others are reached by https alone."""

    hosts: frozenset[str]

    @property
    def policy(self) -> str:
        """The sources of `img-src` in the Content-Security-Policy."""
        return " ".join(["'self'", *sorted(f"{_scheme_of(host)}://{host}" for host in self.hosts)])

    def allows(self, url: str) -> bool:
        """Return whether a page may show the image of this URL."""
        if safe_link(url) is None:
            return False
        parts = urlsplit(url)
        host = parts.netloc.lower()
        if "@" in host or parts.scheme != _scheme_of(host):
            return False
        return host in self.hosts or f"{parts.hostname}:*" in self.hosts


def _scheme_of(host: str) -> str:
    return "http" if is_loopback_host(host.partition(":")[0]) else "https"
