"""Draws a PNG image on a terminal, with two pixels in each character."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

from rich.color import Color
from rich.style import Style
from rich.text import Text

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_EIGHT_BIT_RGB = (8, 2, 0, 0, 0)
_PIXEL_BYTES = 3

Pixel = tuple[int, int, int]


class UnreadablePicture(ValueError):
    """The content is not an 8-bit RGB PNG without interlacing and row filters."""


@dataclass(frozen=True, slots=True)
class Picture:
    """Decoded pixels."""

    width: int
    height: int
    rows: tuple[bytes, ...]

    def pixel(self, x: int, y: int) -> Pixel:
        """Return one pixel as red, green, blue."""
        at = x * _PIXEL_BYTES
        red, green, blue = self.rows[y][at : at + _PIXEL_BYTES]
        return red, green, blue


def read_png(content: bytes) -> Picture:
    """Decode 8-bit RGB without interlacing or row filters; raises `UnreadablePicture`."""
    if not content.startswith(_SIGNATURE):
        raise UnreadablePicture("not a PNG")
    try:
        chunks = _chunks(content)
        width, height, *kind = struct.unpack(">IIBBBBB", chunks[b"IHDR"])
        data = zlib.decompress(chunks[b"IDAT"])
    except (KeyError, struct.error, zlib.error) as error:
        raise UnreadablePicture("a damaged PNG") from error
    stride = 1 + width * _PIXEL_BYTES
    if tuple(kind) != _EIGHT_BIT_RGB or len(data) != stride * height or any(data[::stride]):
        raise UnreadablePicture("a PNG of another kind")
    rows = tuple(data[y * stride + 1 : (y + 1) * stride] for y in range(height))
    return Picture(width, height, rows)


def _chunks(content: bytes) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = {}
    at = len(_SIGNATURE)
    while at < len(content):
        length, name = struct.unpack(">I4s", content[at : at + 8])
        found[name] = found.get(name, b"") + content[at + 8 : at + 8 + length]
        at += 12 + length
    return found


def miniature(picture: Picture, columns: int) -> Text:
    """Return the picture as text of `columns` characters. Each character shows two pixels."""
    lines = max(1, round(columns * picture.height / picture.width / 2))
    text = Text()
    for line in range(lines):
        for column in range(columns):
            x = column * picture.width // columns
            upper, lower = (
                picture.pixel(x, half * picture.height // (2 * lines))
                for half in (2 * line, 2 * line + 1)
            )
            style = Style(color=Color.from_rgb(*upper), bgcolor=Color.from_rgb(*lower))
            text.append("▀", style)
        text.append("\n")
    text.rstrip()
    return text
