"""Reads which bucket RESULTS_URL names, and checks the variables of its client before their use.

obstore reads the variables that the tools of each cloud have, such as AWS_ACCESS_KEY_ID. Some that
it cannot use it notices only when it is used, so these are checked here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

_PREFIXES = {"s3": "AWS_", "gs": "GOOGLE_", "az": "AZURE_"}
_ENDPOINTS = {
    "s3": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"),
    "gs": ("GOOGLE_BASE_URL",),
    "az": ("AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT"),
}
"""The variables that name another server than the cloud's own."""
_PAIRS = (("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),)
_TRUE = {"1", "true", "on", "yes", "y"}


@dataclass(frozen=True, slots=True)
class Bucket:
    """A bucket as obstore takes it."""

    url: str
    options: Mapping[str, str] = field(default_factory=dict)


def read_bucket(url: str, environ: Mapping[str, str]) -> Bucket:
    """Return the bucket of a URL `s3://`, `gs://` or `az://`.

    Raises `ValueError`, which names what is wrong: the URL, or a variable of `environ`.
    """
    parts = urlsplit(url)
    if not parts.netloc:
        raise ValueError("a bucket must follow, as in s3://bucket/path")
    _check_variables(parts.scheme, environ)
    if parts.scheme != "az":
        return Bucket(url)
    container, _, path = parts.path.strip("/").partition("/")
    if not container:
        raise ValueError("it must name account and container: az://account/container/path")
    named = environ.get("AZURE_STORAGE_ACCOUNT_NAME", parts.netloc)
    if named != parts.netloc:
        raise ValueError(
            f"it names the account {parts.netloc}, and AZURE_STORAGE_ACCOUNT_NAME is {named}"
        )
    return Bucket(f"az://{container}/{path}".rstrip("/"), {"account_name": parts.netloc})


def variables_of(scheme: str, environ: Mapping[str, str]) -> Sequence[str]:
    """Return the names of the variables that are set and that the client of a scheme reads."""
    prefix = _PREFIXES.get(scheme)
    return sorted(name for name in environ if prefix and name.startswith(prefix))


def _check_variables(scheme: str, environ: Mapping[str, str]) -> None:
    for name in _ENDPOINTS[scheme]:
        if name in environ:
            _check_endpoint(name, environ[name], scheme, environ)
    for one, other in _PAIRS:
        if scheme == "s3" and (one in environ) != (other in environ):
            is_set, is_missing = (one, other) if one in environ else (other, one)
            raise ValueError(f"{is_set} is set, and {is_missing} is not: set both or neither")


def _check_endpoint(name: str, value: str, scheme: str, environ: Mapping[str, str]) -> None:
    parts = urlsplit(value)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError(f"{name} must be a URL such as https://storage.example, not {value!r}")
    allow = f"{_PREFIXES[scheme]}ALLOW_HTTP"
    if parts.scheme == "http" and environ.get(allow, "").lower() not in _TRUE:
        raise ValueError(f"{name} is {value}: without encryption only with {allow}=true")
