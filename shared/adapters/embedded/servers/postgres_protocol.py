"""A minimal client of Postgres's protocol, which runs statements without results."""

from __future__ import annotations

import asyncio
import struct
from pathlib import Path

ROLE = "darkroom"
STARTING_UP = frozenset({"57P01", "57P02", "57P03"})
NO_SUCH_DATABASE = "3D000"
_PROTOCOL_VERSION = 3 << 16
_ANSWER_SECONDS = 30.0


class PostgresRefusal(Exception):
    """The server replied with an error. `code` is its SQLSTATE."""

    def __init__(self, code: str, message: str) -> None:
        self.code = code
        super().__init__(f"Postgres refused ({code}): {message}")


async def execute(socket: Path, database: str, *statements: str) -> None:
    """Connect, run the statements one by one, and disconnect.

    Raises PostgresRefusal for an error of the server, or OSError without a reply.
    """
    async with asyncio.timeout(_ANSWER_SECONDS):
        reader, writer = await asyncio.open_unix_connection(str(socket))
        try:
            writer.write(_startup(database))
            await _until_ready(reader)
            for statement in statements:
                writer.write(_message(b"Q", statement.encode() + b"\0"))
                await _until_ready(reader)
            writer.write(_message(b"X", b""))
            await writer.drain()
        except asyncio.IncompleteReadError as error:
            raise ConnectionResetError("Postgres closed the connection") from error
        finally:
            writer.close()


def _startup(database: str) -> bytes:
    pairs = f"user\0{ROLE}\0database\0{database}\0\0".encode()
    return struct.pack("!II", len(pairs) + 8, _PROTOCOL_VERSION) + pairs


def _message(kind: bytes, payload: bytes) -> bytes:
    return kind + struct.pack("!I", len(payload) + 4) + payload


async def _until_ready(reader: asyncio.StreamReader) -> None:
    refusal: PostgresRefusal | None = None
    while True:
        kind, length = struct.unpack("!cI", await reader.readexactly(5))
        payload = await reader.readexactly(length - 4)
        if kind == b"E":
            refusal = _read_refusal(payload)
            if refusal.code.startswith(("57", "3D", "28", "53")):
                # After these errors the server closes the connection.
                raise refusal
        elif kind == b"Z":
            if refusal is not None:
                raise refusal
            return


def _read_refusal(payload: bytes) -> PostgresRefusal:
    fields = {part[:1]: part[1:].decode(errors="replace") for part in payload.split(b"\0") if part}
    return PostgresRefusal(fields.get(b"C", ""), fields.get(b"M", ""))
