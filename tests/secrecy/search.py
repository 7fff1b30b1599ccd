"""Searches data for secrets in all their forms at once, inside whatever wraps them."""

import base64
import io
import os
import quopri
import re
import subprocess
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Self

import pypdfium2
import zxingcpp
from PIL import Image, UnidentifiedImageError

from tests.secrecy.encodings import forms_of

DEEPEST = 3
GZIP = 0x1F
LARGEST_UNWRAPPED = 50 * 1024 * 1024
SEPARATOR = b"\n\n"
TASTE = 256
SHORTEST = 9  # shorter streams are chance, and hold no secret
LINE_BREAKS = re.compile(rb"=?[\r\n]+[ \t>]*")
COMPRESSED = re.compile(rb"\x1f\x8b\x08|[\x08\x18\x28\x38\x48\x58\x68\x78][\x01-\xff]")
ARMOURED = re.compile(rb"[A-Za-z0-9+/_-]{24,}={0,2}")
_STANDARD = bytes.maketrans(b"-_", b"+/")
PICTURES = (b"\x89PNG", b"\xff\xd8\xff")


class Search:
    """Secrets by name, in every encoding; grep looks for all of them in one pass."""

    def __init__(self, secrets: Mapping[str, str]) -> None:
        self._forms = [
            (f"{name} as {way}", form)
            for name, text in secrets.items()
            for way, form in forms_of(text)
        ]
        assert not any(b"\n" in form for _, form in self._forms)
        self._memory = os.memfd_create("forms")  # in no directory that is searched
        os.write(self._memory, b"\n".join(form for _, form in self._forms))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Leave no list of secrets behind."""
        os.close(self._memory)

    def found_in(self, data: bytes) -> list[str]:
        """Return which secrets the data holds, and in which form."""
        return sorted(n for n, form in self._forms if form in data) if self.is_in(data) else []

    def is_in(self, data: bytes) -> bool:
        """Tell whether the data holds any of them in any form."""
        forms = f"/proc/{os.getpid()}/fd/{self._memory}"
        command = ("grep", "--text", "--quiet", "--fixed-strings", "--file", forms)
        looked = subprocess.run(command, input=data, env={"LC_ALL": "C"}, check=False)
        assert looked.returncode in (0, 1)
        return looked.returncode == 0


def all_within(*parts: bytes) -> bytes:
    """Return files or messages, and everything that is wrapped in them, to be searched."""
    return SEPARATOR.join(inner for part in parts for inner in unwrapped(part))


def unwrapped(data: bytes, depth: int = DEEPEST) -> Iterator[bytes]:
    """Yield the data and what is wrapped in it, inside one another too."""
    yield data
    if depth and len(data) < LARGEST_UNWRAPPED:
        for unwrap in WRAPPINGS.values():
            for inner in unwrap(data):
                yield from unwrapped(inner, depth - 1)


def _close_up(data: bytes) -> Iterator[bytes]:
    """Yield armoured text without its line breaks."""
    if b"\0" not in data and (closed := LINE_BREAKS.sub(b"", data)) != data:
        yield closed


def _inflated(data: bytes) -> Iterator[bytes]:
    """Yield every zlib and gzip stream, wherever it begins: PDF streams too."""
    view = memoryview(data)
    for start in COMPRESSED.finditer(data):
        head = start.group()
        if head[0] != GZIP and int.from_bytes(head) % 31:  # RFC 1950 2.2: FCHECK
            continue
        if inner := _stream(view[start.start() :], 31 if head[0] == GZIP else 15):
            yield inner


def _stream(view: memoryview, wbits: int) -> bytes:
    """Return what the stream at the beginning holds; nothing, where none begins."""
    with suppress(zlib.error):
        zlib.decompressobj(wbits).decompress(view[:TASTE])  # most are chance, and fail at once
        inner = zlib.decompressobj(wbits).decompress(view, LARGEST_UNWRAPPED)
        return inner if len(inner) >= SHORTEST else b""
    return b""


def _unzipped(data: bytes) -> Iterator[bytes]:
    if not data.startswith(b"PK\x03\x04"):
        return
    with (
        suppress(zipfile.BadZipFile, zlib.error, ValueError),
        zipfile.ZipFile(io.BytesIO(data)) as pack,
    ):
        for name in pack.namelist():
            yield pack.read(name)


def _bared(data: bytes) -> Iterator[bytes]:
    """Yield what stands in base64 and base64url: mails, tokens, PEM."""
    found = []
    for run in ARMOURED.finditer(data):
        text = run.group().rstrip(b"=").translate(_STANDARD)
        found.append(base64.b64decode(text[: len(text) // 4 * 4]))
    if found:
        yield SEPARATOR.join(found)


def _printable(data: bytes) -> Iterator[bytes]:
    if b"quoted-printable" in data.lower():
        yield quopri.decodestring(data)


def _codes(data: bytes) -> Iterator[bytes]:
    """Yield what the QR codes of a page or a picture say."""
    with suppress(pypdfium2.PdfiumError, UnidentifiedImageError, OSError):
        for picture in _pictures(data):
            yield b"\n".join(code.text.encode() for code in zxingcpp.read_barcodes(picture))


def _pictures(data: bytes) -> Iterator[Image.Image]:
    if data.startswith(b"%PDF"):
        with pypdfium2.PdfDocument(data) as pages:
            for page in pages:
                yield page.render(scale=2).to_pil()
    elif data.startswith(PICTURES):
        yield Image.open(io.BytesIO(data))


WRAPPINGS: dict[str, Callable[[bytes], Iterator[bytes]]] = {
    "line breaks": _close_up,
    "zlib and gzip": _inflated,
    "ZIP": _unzipped,
    "base64": _bared,
    "quoted-printable": _printable,
    "QR code": _codes,
}
