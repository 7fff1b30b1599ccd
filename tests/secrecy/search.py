"""Searches data for secrets in all their forms at once, inside whatever wraps them."""

import binascii
import io
import quopri
import string
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import cache

import pypdfium2
import zxingcpp
from ahocorasick_rs import BytesAhoCorasick, Implementation
from PIL import Image, UnidentifiedImageError

from tests.secrecy.encodings import forms_of

DEEPEST = 3
LARGEST_UNWRAPPED = 50 * 1024 * 1024
SEPARATOR = b"\n\n"
TASTE = 256
GZIP = b"\x1f\x8b\x08"
SHORTEST = 9  # shorter streams are chance, and hold no secret
SHORTEST_ARMOURED = 24
ALPHABET = string.ascii_letters.encode() + string.digits.encode() + b"+/"
URL_SAFE = bytes.maketrans(b"-_", b"+/")
ARMOUR = bytes(to if to in ALPHABET else ord(" ") for to in URL_SAFE)  # all else parts runs
PICTURES = (b"\x89PNG", b"\xff\xd8\xff")


class _Places:
    """Tells in one pass over data where any of many texts stands, even inside one another."""

    def __init__(self, texts: Iterable[bytes]) -> None:
        self._automaton = BytesAhoCorasick(texts, implementation=Implementation.DFA)

    def found_in(self, data: bytes) -> Iterator[tuple[int, int]]:
        """Yield which text it is, by number, and where it begins."""
        for number, start, _ in self._automaton.find_matches_as_indexes(data, overlapping=True):
            yield number, start


class Search:
    """Secrets by name, looked for in every encoding in one pass."""

    def __init__(self, secrets: Mapping[str, str]) -> None:
        forms = [
            (f"{n} as {way}", form) for n, text in secrets.items() for way, form in forms_of(text)
        ]
        self._names = [name for name, _ in forms]
        self._places = _Places(form for _, form in forms)

    def found_in(self, *parts: bytes) -> list[str]:
        """Return which secrets any of the parts holds, and in which form."""
        numbers = {number for part in parts for number, _ in self._places.found_in(part)}
        return sorted(self._names[number] for number in numbers)


def all_within(*parts: bytes) -> set[bytes]:
    """Return files or messages, and everything that is wrapped in them, inside one another too."""
    found, new = set[bytes](), set(parts)
    for _ in range(DEEPEST):
        found |= new
        new = {inner for outer in new for inner in unwrapped(outer)} - found
    return found | new


def unwrapped(data: bytes) -> Iterator[bytes]:
    """Yield what is wrapped in the data itself."""
    if len(data) < LARGEST_UNWRAPPED:
        for unwrap in WRAPPINGS.values():
            yield from unwrap(data)


def _close_up(data: bytes) -> Iterator[bytes]:
    """Yield armoured text without its line breaks."""
    if b"\0" not in data:
        lines = (line.lstrip(b" \t>").removesuffix(b"=") for line in data.splitlines())
        yield b"".join(lines)


def _heads() -> Iterator[bytes]:
    """Yield what a stream can begin with: RFC 1952 2.3.1, and RFC 1950 2.2 with its FCHECK."""
    yield GZIP
    for window in range(8):
        for flags in range(1, 256):
            head = bytes([window << 4 | 8, flags])
            if int.from_bytes(head) % 31 == 0:
                yield head


_STREAMS = _Places(_heads())


def _inflated(data: bytes) -> Iterator[bytes]:
    """Yield every zlib and gzip stream, wherever it begins: PDF streams too."""
    view = memoryview(data)
    for number, start in _STREAMS.found_in(data):
        if inner := _stream(view[start:], 15 if number else 31):
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
    runs = [run for run in data.translate(ARMOUR).split() if len(run) >= SHORTEST_ARMOURED]
    if runs:
        yield SEPARATOR.join(binascii.a2b_base64(run[: len(run) // 4 * 4]) for run in runs)


def _printable(data: bytes) -> Iterator[bytes]:
    if b"quoted-printable" in data.lower():
        yield quopri.decodestring(data)


def _codes(data: bytes) -> Iterator[bytes]:
    """Yield what the QR codes of a page or a picture say."""
    if data.startswith((b"%PDF", *PICTURES)):
        yield _said(data)


@cache  # the same documents are in several stores
def _said(data: bytes) -> bytes:
    found = []
    with suppress(pypdfium2.PdfiumError, UnidentifiedImageError, OSError):
        for picture in _pictures(data):
            found += zxingcpp.read_barcodes(picture, formats=zxingcpp.BarcodeFormat.QRCode)
    return b"\n".join(code.text.encode() for code in found)


def _pictures(data: bytes) -> Iterator[Image.Image]:
    if data.startswith(b"%PDF"):
        with pypdfium2.PdfDocument(data) as pages:
            for page in pages:
                yield page.render(scale=2).to_pil()
    else:
        yield Image.open(io.BytesIO(data))


WRAPPINGS: dict[str, Callable[[bytes], Iterator[bytes]]] = {
    "line breaks": _close_up,
    "zlib and gzip": _inflated,
    "ZIP": _unzipped,
    "base64": _bared,
    "quoted-printable": _printable,
    "QR code": _codes,
}
