"""Checks of REDIS_URL and REDIS_PREFIX."""

from __future__ import annotations

from pydantic import SecretStr, ValidationInfo

from shared.redis_url.redis_url import find_prefix_fault, read_redis_url, with_prefix
from shared.redis_url.url_options import PREFIX


def check_redis_url(value: SecretStr, info: ValidationInfo) -> SecretStr:
    """Return the URL. Raises `ValueError` without its password.

    The prefix is checked before: only one with a hash tag allows several nodes of a cluster. Files
    that the URL names are read.
    """
    given = value.get_secret_value()
    if PREFIX in given:
        raise ValueError("the prefix of keys is no part of the URL: set REDIS_PREFIX")
    url = read_redis_url(with_prefix(given, info.data.get("redis_prefix")))
    if url.tls is not None:
        url.tls.open_context()
    return value


def check_redis_prefix(value: str) -> str:
    """Return the prefix. Raises `ValueError` for one that is not allowed."""
    fault = find_prefix_fault(value)
    if fault is not None:
        raise ValueError(fault)
    return value
