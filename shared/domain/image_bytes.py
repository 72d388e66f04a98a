"""Reads the type and the dimensions of an image from its bytes, as they arrive. Pure.

The bytes alone decide: a file name or a Content-Type is never consulted. Nothing is decoded, so an
image that claims a billion pixels costs no memory. At most 32 bytes are kept.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Generator
from dataclasses import dataclass
from enum import Enum

PIXELS_MAX = 100_000_000
"""The most pixels that an image may claim."""
_STEPS_MAX = 50_000
"""The most chunks or markers of an image. Each costs some time, and may be a few bytes long."""
_HEAD_BYTES = 12
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_JPEG_SIGNATURE = b"\xff\xd8\xff"
_JPEG_END = b"\xff\xd9"
_JPEG_FRAMES = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})
_JPEG_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xD9)})
_JPEG_SCAN = 0xDA
_OTHER_TYPES = (
    (b"GIF8", "a GIF"),
    (b"BM", "a BMP"),
    (b"II*\0", "a TIFF"),
    (b"MM\0*", "a TIFF"),
    (b"%PDF", "a PDF"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"\x1f\x8b", "compressed with gzip"),
    (b"\0\0\x01\0", "an icon"),
)


class ImageType(Enum):
    """The types that Kie takes."""

    PNG = "image/png"
    JPEG = "image/jpeg"
    WEBP = "image/webp"

    @property
    def extension(self) -> str:
        """The ending of a file name, without the dot."""
        return {"image/jpeg": "jpg"}.get(self.value, self.value.partition("/")[2])


class NotAnImage(ValueError):
    """The bytes are no image that is taken. The text completes a sentence that begins with it."""


@dataclass(frozen=True, slots=True)
class ImageHead:
    """The type and the dimensions of an image."""

    type: ImageType
    width: int
    """In pixels."""
    height: int
    """In pixels."""


@dataclass(frozen=True, slots=True)
class _Skip:
    """So many bytes that are not read."""

    count: int


class _End(Enum):
    """What may follow the part of an image that is read."""

    NOTHING = "nothing"
    JPEG_SCANS = "scans"


_Wanted = int | _Skip | ImageType | ImageHead
_Parser = Generator[_Wanted, bytes, _End]
"""Yields how many bytes it needs or skips, and once the type and the head. Is sent the bytes."""


class ImageReader:
    """Reads one image. Call `feed` with each part of it, then `finish`."""

    def __init__(self) -> None:
        self._parser = _parse_image()
        self._wanted: _Wanted = next(self._parser)
        self._kept = bytearray()
        self._skipped = 0
        self._steps = 0
        self._end: _End | None = None
        self._found_end = False
        self.length = 0
        """How many bytes were fed."""
        self.type: ImageType | None = None
        """The type, once the first 12 bytes have told it."""
        self.head: ImageHead | None = None
        """The type and the dimensions, once they are known."""

    def feed(self, data: bytes) -> None:
        """Read the next part of the image. Raises `NotAnImage`."""
        self.length += len(data)
        position = 0
        while position < len(data):
            if self._end is not None:
                self._read_rest(data[position:])
                return
            position += self._take(data, position)

    def finish(self) -> ImageHead:
        """Return what the image is. Raises `NotAnImage` for one that is cut off."""
        if self.length < _HEAD_BYTES:
            raise NotAnImage(_describe_short(bytes(self._kept), self.length))
        if self.head is None or not self._found_end:
            raise NotAnImage(f"is cut off: its {self.length:,} bytes have no end of an image")
        return self.head

    def _take(self, data: bytes, position: int) -> int:
        """Give the parser what it wants of the data. Returns how many bytes were used."""
        wanted, available = self._wanted, len(data) - position
        if isinstance(wanted, _Skip):
            used = min(wanted.count - self._skipped, available)
            self._skipped += used
            if self._skipped == wanted.count:
                self._skipped = 0
                self._advance(b"")
            return used
        assert isinstance(wanted, int)  # noqa: S101
        used = min(wanted - len(self._kept), available)
        self._kept += data[position : position + used]
        if len(self._kept) == wanted:
            given = bytes(self._kept)
            self._kept.clear()
            self._advance(given)
        return used

    def _advance(self, given: bytes) -> None:
        self._steps += 1
        if self._steps > _STEPS_MAX:
            raise NotAnImage(f"has more than {_STEPS_MAX:,} parts")
        try:
            self._wanted = self._parser.send(given)
            while isinstance(self._wanted, ImageHead | ImageType) or self._wanted == _Skip(0):
                if isinstance(self._wanted, ImageHead):
                    self.head = _checked(self._wanted)
                elif isinstance(self._wanted, ImageType):
                    self.type = self._wanted
                self._wanted = self._parser.send(b"")
        except StopIteration as stopped:
            self._end = stopped.value
            self._found_end = self._end is _End.NOTHING

    def _read_rest(self, data: bytes) -> None:
        if self._end is _End.NOTHING:
            raise NotAnImage("has more bytes after its end: send the image alone")
        # Cameras write previews and other data after the end of a JPEG.
        if not self._found_end:
            self._found_end = _JPEG_END in bytes(self._kept) + data
            self._kept[:] = data[-1:]


def _parse_image() -> _Parser:
    head = yield _HEAD_BYTES
    if head.startswith(_PNG_SIGNATURE):
        yield ImageType.PNG
        return (yield from _parse_png(head[8:]))
    if head.startswith(_JPEG_SIGNATURE):
        yield ImageType.JPEG
        return (yield from _parse_jpeg(head))
    if head.startswith(b"RIFF") and head[8:] == b"WEBP":
        yield ImageType.WEBP
        return (yield from _parse_webp(int.from_bytes(head[4:8], "little")))
    raise NotAnImage(_describe_other(head))


def _parse_png(length: bytes) -> _Parser:
    first = yield 21
    checksum = int.from_bytes(first[17:], "big")
    if length != b"\0\0\0\r" or not first.startswith(b"IHDR") or zlib.crc32(first[:17]) != checksum:
        raise NotAnImage("begins like a PNG, but its header is damaged")
    yield ImageHead(ImageType.PNG, *struct.unpack(">II", first[4:12]))
    has_pixels = False
    while True:
        chunk = yield 8
        size = int.from_bytes(chunk[:4], "big")
        if size >= 1 << 31 or not chunk[4:].isalpha():
            raise NotAnImage("begins like a PNG, but a later part of it is damaged")
        yield _Skip(size)
        yield _Skip(4)
        has_pixels |= chunk[4:] == b"IDAT"
        if chunk[4:] == b"IEND":
            break
    if not has_pixels:
        raise NotAnImage("is a PNG without pixels")
    return _End.NOTHING


def _parse_jpeg(head: bytes) -> _Parser:
    # The markers begin after the two bytes of SOI. The head holds ten bytes of them.
    pending = bytearray(head[2:])

    def read(count: int) -> Generator[_Wanted, bytes, bytes]:
        taken = bytes(pending[:count])
        del pending[:count]
        return taken + (yield count - len(taken)) if len(taken) < count else taken

    has_frame = False
    while True:
        marker = yield from read(2)
        while marker == b"\xff\xff":
            marker = b"\xff" + (yield from read(1))
        if marker[0] != 0xFF or marker[1] in {0x00, 0xD9}:
            raise NotAnImage("begins like a JPEG, but its header is damaged")
        if marker[1] in _JPEG_WITHOUT_LENGTH:
            continue
        length = int.from_bytes((yield from read(2)), "big") - 2
        if length < 0:
            raise NotAnImage("begins like a JPEG, but its header is damaged")
        if marker[1] == _JPEG_SCAN:
            break
        if marker[1] in _JPEG_FRAMES and not has_frame and length >= 5:
            frame = yield from read(5)
            length, has_frame = length - 5, True
            height, width = struct.unpack(">HH", frame[1:5])
            yield ImageHead(ImageType.JPEG, width, height)
        unread = min(length, len(pending))
        del pending[:unread]
        yield _Skip(length - unread)
    if not has_frame:
        raise NotAnImage("begins like a JPEG, but has no dimensions")
    return _End.JPEG_SCANS


def _parse_webp(riff_size: int) -> _Parser:
    chunk = yield 8
    size = int.from_bytes(chunk[4:], "little")
    if chunk[:4] not in {b"VP8 ", b"VP8L", b"VP8X"} or size < 10 or riff_size < 12 + size:
        raise NotAnImage("begins like a WebP, but its header is damaged")
    start = yield 10
    yield ImageHead(ImageType.WEBP, *_webp_dimensions(chunk[:4], start))
    yield _Skip(riff_size - 4 - 8 - 10)
    return _End.NOTHING


def _webp_dimensions(kind: bytes, start: bytes) -> tuple[int, int]:
    if kind == b"VP8X":
        width, height = start[4:7], start[7:10]
        return int.from_bytes(width, "little") + 1, int.from_bytes(height, "little") + 1
    if kind == b"VP8L" and start[0] == 0x2F:
        packed = int.from_bytes(start[1:5], "little")
        return (packed & 0x3FFF) + 1, (packed >> 14 & 0x3FFF) + 1
    if kind == b"VP8 " and start[3:6] == b"\x9d\x01\x2a":
        width, height = struct.unpack("<HH", start[6:10])
        return width & 0x3FFF, height & 0x3FFF
    raise NotAnImage("begins like a WebP, but its header is damaged")


def _checked(head: ImageHead) -> ImageHead:
    if not head.width or not head.height:
        raise NotAnImage(f"claims to be {head.width} by {head.height} pixels large")
    if head.width * head.height > PIXELS_MAX:
        raise NotAnImage(
            f"claims to be {head.width:,} by {head.height:,} pixels large;"
            f" at most {PIXELS_MAX:,} pixels are allowed"
        )
    return head


def _describe_short(start: bytes, length: int) -> str:
    if not length:
        return "is empty; allowed: a PNG, a JPEG or a WebP"
    return f"is only {length} bytes long; allowed: a PNG, a JPEG or a WebP"


def _describe_other(start: bytes) -> str:
    found = next((name for sign, name in _OTHER_TYPES if start.startswith(sign)), None)
    if start[4:8] == b"ftyp":
        found = "an HEIC, an AVIF or a video"
    elif found is None and start.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
        found = "text such as SVG or HTML"
    return f"is {found or 'no image that is known here'}; allowed: a PNG, a JPEG or a WebP"
