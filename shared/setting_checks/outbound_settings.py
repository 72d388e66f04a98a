"""Checks and reads the settings about where requests of ours go, and where Kie calls back."""

from __future__ import annotations

from urllib.parse import urlsplit

from pydantic import SecretStr, ValidationInfo

from shared.domain.allowed_receivers import parse_allowed_receivers
from shared.domain.outbound_proxies import (
    OutboundProxies,
    OutboundRules,
    ProxyServer,
    parse_exceptions,
    parse_proxy,
)


def check_receivers(value: str) -> str:
    """Return the value of `WEBHOOKS_ALLOW`. Raises `ValueError` with every wrong entry."""
    parse_allowed_receivers(value)
    return value


def check_proxy(value: SecretStr) -> SecretStr:
    """Return the URL of a proxy. Raises `ValueError`, which shows no part of it."""
    parse_proxy(value.get_secret_value())
    return value


def check_fallback_proxy(value: SecretStr, info: ValidationInfo) -> SecretStr | None:
    """Return the value of `ALL_PROXY`, or None where `HTTPS_PROXY` and `HTTP_PROXY` are both set.

    Raises `ValueError`, which shows no part of it.
    """
    unset = [name for name in ("https_proxy", "http_proxy") if info.data.get(name) is None]
    if not unset:
        return None
    try:
        return check_proxy(value)
    except ValueError as error:
        names = " and ".join(name.upper() for name in unset)
        verb = "is" if len(unset) == 1 else "are"
        raise ValueError(f"{error}; it is read because {names} {verb} not set") from None


def check_callback_base(value: str) -> str:
    """Return the value of `KIE_CALLBACK_URL` with its path and query, without a last slash."""
    base = value.partition("#")[0]
    parts = urlsplit(base)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("must be an http:// or https:// URL with a host")
    if "@" in parts.netloc:
        raise ValueError("must not contain a user name or password before the host")
    return base if parts.query else base.rstrip("/?")


def read_outbound(
    receivers: str | None,
    *,
    https: SecretStr | None,
    http: SecretStr | None,
    fallback: SecretStr | None,
    direct: str | None,
) -> OutboundRules:
    """Return what `WEBHOOKS_ALLOW` and the settings of proxies say."""
    proxies = OutboundProxies(
        _read_proxy(https),
        _read_proxy(http),
        parse_exceptions(direct or ""),
        fallback=_read_proxy(fallback),
    )
    return OutboundRules(parse_allowed_receivers(receivers or ""), proxies)


def _read_proxy(value: SecretStr | None) -> ProxyServer | None:
    return None if value is None else parse_proxy(value.get_secret_value())
