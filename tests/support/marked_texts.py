"""Finds a text wherever it is stored: in every column of every table, and in every key of Redis."""

from __future__ import annotations

from redis.asyncio import Redis

from shared.adapters.postgres.database import Database

_COLUMNS = """
SELECT relname AS table, attname AS column
  FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid
 WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND attnum > 0 AND NOT attisdropped
"""


async def columns_with(database: Database, text: str) -> set[str]:
    """Return the columns that contain the text, as `table.column`."""
    found = set()
    for table, column in await database.pool.fetch(_COLUMNS):
        statement = f'SELECT EXISTS (SELECT FROM {table} WHERE "{column}"::text LIKE $1)'
        if await database.pool.fetchval(statement, f"%{text}%"):
            found.add(f"{table}.{column}")
    return found


async def redis_keys_with(redis: Redis, text: str) -> list[bytes]:
    """Return the keys that contain the text, in their names or their values."""
    found = []
    async for key in redis.scan_iter():
        stored = await redis.dump(key)
        if text.encode() in key or text.encode() in (stored or b""):
            found.append(key)
    return found
