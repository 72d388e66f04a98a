"""An error of Redis names the part of the URL that it is about, or the missing rule."""

from __future__ import annotations

import pytest
from redis.exceptions import (
    AuthenticationError,
    NoPermissionError,
    RedisError,
    ResponseError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from shared.adapters.redis.redis_errors import to_redis_down


@pytest.mark.parametrize(
    ("error", "part"),
    [
        (
            AuthenticationError("invalid username-password pair or user is disabled."),
            "(in REDIS_URL: the login)",
        ),
        (AuthenticationError("Authentication required."), "(in REDIS_URL: the login)"),
        (ResponseError("DB index is out of range"), "(in REDIS_URL: the database number)"),
        (
            RedisConnectionError("[SSL] certificate verify failed: Hostname mismatch"),
            "(in REDIS_URL: ssl_ca_certs, or the host)",
        ),
        (RedisTimeoutError("Timeout connecting to server"), "rediss:// is for a server with TLS"),
        (NoPermissionError("this user has no permissions"), "docs/deployment.md, The Redis user"),
    ],
)
def test_an_error_names_the_part_that_the_operator_must_change(
    error: RedisError, part: str
) -> None:
    assert part in str(to_redis_down(error))


def test_an_outage_blames_no_part_of_the_url() -> None:
    assert "REDIS_URL" not in str(to_redis_down(RedisConnectionError("Connection refused")))
