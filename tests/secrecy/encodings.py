"""How a secret may look where it must not be: one table, each way under its own name."""

import base64
import codecs
import hashlib
import math
from collections.abc import Callable, Iterator
from urllib.parse import quote

Encode = Callable[[str], bytes | None]


def _each(form: str, between: str = "") -> Encode:
    """Return what writes each byte in a form of its own."""
    return lambda text: between.join(form.format(byte) for byte in text.encode()).encode()


def _inner(encode: Callable[[bytes], bytes], bits: int, shift: int) -> Encode:
    """Return what stands inside a longer text, whose secret begins ``shift`` bytes in."""

    def inside(text: str) -> bytes:
        raw = text.encode()
        start, end = math.ceil(shift * 8 / bits), (shift + len(raw)) * 8 // bits
        return encode(bytes(shift) + raw + bytes(8))[start:end]

    return inside


def _digested(name: str) -> Encode:
    return lambda text: hashlib.new(name, text.encode(), usedforsecurity=False).hexdigest().encode()


def _bcd(text: str) -> bytes | None:
    return bytes.fromhex(text) if text.isdecimal() and len(text) % 2 == 0 else None


def _pin_block(text: str) -> bytes | None:
    """Return the format 2 block of ISO 9564-1, as cards take it."""
    if not text.isdecimal() or not 4 <= len(text) <= 12:
        return None
    return bytes.fromhex(f"2{len(text):X}{text}".ljust(16, "F"))


ENCODINGS: dict[str, Encode] = {
    "UTF-8": lambda text: text.encode(),
    "UTF-16 little-endian": lambda text: text.encode("utf-16-le"),
    "UTF-16 big-endian": lambda text: text.encode("utf-16-be"),
    "UTF-32": lambda text: text.encode("utf-32-le"),
    "reversed": lambda text: text[::-1].encode(),
    "rot13": lambda text: codecs.encode(text, "rot13").encode() if text.isalpha() else None,
    "spaced out": _each("{:c}", " "),
    "base64, at offset 0": _inner(base64.b64encode, 6, 0),
    "base64, at offset 1": _inner(base64.b64encode, 6, 1),
    "base64, at offset 2": _inner(base64.b64encode, 6, 2),
    "base64url": _inner(base64.urlsafe_b64encode, 6, 0),
    "base64url, at offset 1": _inner(base64.urlsafe_b64encode, 6, 1),
    "base64url, at offset 2": _inner(base64.urlsafe_b64encode, 6, 2),
    "base32": _inner(base64.b32encode, 5, 0),
    "base85": lambda text: base64.b85encode(text.encode()),
    "Ascii85": lambda text: base64.a85encode(text.encode()),
    "hex, lower case": _each("{:02x}"),
    "hex, upper case": _each("{:02X}"),
    "hex, with colons": _each("{:02x}", ":"),
    "hex, with spaces": _each("{:02x}", " "),
    "URL and Assuan escapes": _each("%{:02X}"),
    "URL escapes, lower case": _each("%{:02x}"),
    "JSON escapes": _each("\\u{:04x}"),
    "C escapes": _each("\\x{:02x}"),
    "octal escapes": _each("\\{:03o}"),
    "XML references": _each("&#{};"),
    "XML references, hex": _each("&#x{:x};"),
    "quoted-printable": _each("={:02X}"),
    "numbers in JSON": _each("{}", ", "),
    "numbers in JSON, close": _each("{}", ","),
    "BCD": _bcd,
    "ISO 9564 block": _pin_block,
    "PIV padding": lambda text: text.encode().ljust(8, b"\xff"),
    "MD5": _digested("md5"),
    "SHA-1": _digested("sha1"),
    "SHA-256": _digested("sha256"),
    "percent-encoded text": lambda text: quote(text, safe="").encode(),
}


def forms_of(secret: str) -> Iterator[tuple[str, bytes]]:
    """Yield every form of the secret with its name."""
    for name, encode in ENCODINGS.items():
        if form := encode(secret):
            yield name, form
