"""Reads Postgres URLs as providers and other programs write them."""

from __future__ import annotations

from shared.postgres_url.postgres_url import (
    PostgresUrl as PostgresUrl,
)
from shared.postgres_url.postgres_url import (
    UrlFault as UrlFault,
)
from shared.postgres_url.postgres_url import (
    database_address as database_address,
)
from shared.postgres_url.postgres_url import (
    read_postgres_url as read_postgres_url,
)
