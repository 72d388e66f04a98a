"""Reads Postgres URLs as providers and other programs write them."""

from __future__ import annotations

from shared.postgres_url.passwords import find_password_file
from shared.postgres_url.postgres_url import PostgresUrl as PostgresUrl
from shared.postgres_url.postgres_url import UrlFault as UrlFault
from shared.postgres_url.postgres_url import database_address as database_address
from shared.postgres_url.postgres_url import read_postgres_url as read_postgres_url
from shared.postgres_url.postgres_url import set_parameter as set_parameter
from shared.postgres_url.schema import find_schema_fault as find_schema_fault
from shared.postgres_url.schema import with_search_path as with_search_path
from shared.postgres_url.tls import make_tls


def require_usable(text: str) -> None:
    """Raise `UrlFault` for a URL by which no connection can be made, or with unusable files."""
    url = read_postgres_url(text)
    if len(url.hosts) > 1 and url.parameters.get("target_session_attrs") == "any":
        raise UrlFault("target_session_attrs=any leads to standbys: say read-write")
    make_tls(url.parameters)
    find_password_file(url)
