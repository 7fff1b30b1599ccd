"""Pieces that files of several kinds are made of."""

import io
import struct
import zipfile
import zlib
from dataclasses import replace

from PIL import Image

from tests.documents.build import (
    AWAITED,
    form,
    saved,
    written,
)


def zipped(comment: bytes = b"") -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("hidden.txt", "hidden")
        archive.comment = comment
    return file.getvalue()


def chunk(name: bytes, content: bytes) -> bytes:
    check = zlib.crc32(name + content)
    return struct.pack(">L", len(content)) + name + content + struct.pack(">L", check)


def png(width: int, height: int, pixels: bytes, *extra: bytes) -> bytes:
    header = struct.pack(">LLBBBBB", width, height, 1, 0, 0, 0, 0)
    parts = [chunk(b"IHDR", header), *extra, chunk(b"IDAT", pixels), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :]


def tiny_jpeg(width: int, height: int) -> bytes:
    data = saved(Image.new("L", (8, 8)))
    at = data.index(b"\xff\xc0") + 5
    return data[:at] + struct.pack(">HH", height, width) + data[at + 4 :]


def page_of(entries: bytes) -> bytes:
    return written(
        {
            1: b"<</Type /Catalog /Pages 2 0 R>>",
            2: b"<</Type /Pages /Kids [3 0 R] /Count 1>>",
            3: b"<</Type /Page /Parent 2 0 R %b>>" % entries,
        }
    )


def unpacking_to(size: int, part: bytes) -> bytes:
    """Return a few packed kilobytes that unpack to ``part`` again and again."""
    packer = zlib.compressobj(9)
    block = part * (2**20 // len(part))
    first, again = (packer.compress(block) + packer.flush(zlib.Z_FULL_FLUSH) for _ in range(2))
    return first + again * (size // len(block) - 1) + packer.flush()


def other(**changes: object) -> bytes:
    return form(replace(AWAITED, **changes))  # type: ignore[arg-type]
