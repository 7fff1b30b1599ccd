"""The code on every form: which document it is, in which version, and a proof that we made it."""

import base64
import hmac
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import zxingcpp

from cardflow.errors import Refused

_CONTENT = re.compile(r"https?://\S+/d/([0-9A-Za-z-]{1,64})\.([1-9][0-9]{0,5})\.([A-Z2-7]{16})")
_FORMATS = zxingcpp.BarcodeFormats([zxingcpp.BarcodeFormat.QRCode])
_MAC_BYTES = 10  # 80 bits: enough against guessing at the upload, short enough for a coarse code


@dataclass(frozen=True)
class DocumentIdentity:
    """Which form it is; each new printing for changed facts is a new version."""

    document_id: str
    version: int


def make(base_url: str, identity: DocumentIdentity, *, key: bytes) -> str:
    """Return what the code on the form says: an address that only a holder of ``key`` can make."""
    content = f"{base_url.rstrip('/')}/d/{_name(identity)}.{_mac(identity, key)}"
    if not _CONTENT.fullmatch(content):
        msg = f"{content!r} is not an address that a form's code can carry"
        raise ValueError(msg)
    return content


def looks_like_ours(text: str) -> bool:
    """Tell whether a code has the form of ours, whoever made it."""
    return _CONTENT.fullmatch(text) is not None


def verify(text: str, *, keys: Iterable[bytes]) -> DocumentIdentity:
    """Return which document the code names; refuse a code that none of ``keys`` made."""
    found = _CONTENT.fullmatch(text)
    if found is None:
        raise Refused("the code is not the code of a form; upload the form that was printed here")
    identity = DocumentIdentity(found[1], int(found[2]))
    if not any(hmac.compare_digest(_mac(identity, key), found[3]) for key in keys):
        raise Refused(
            "the code on this form was not made by this service; print the form again and sign that"
        )
    return identity


def read_from_image(image: Any) -> list[str]:
    """Return the texts of all QR codes in a Pillow image, at any angle."""
    found = zxingcpp.read_barcodes(image, formats=_FORMATS)
    return [code.text for code in found]


def svg(content: str) -> str:
    """Return the code as a drawing; level Q survives a quarter of it being lost."""
    code = zxingcpp.create_barcode(content, zxingcpp.BarcodeFormat.QRCode, ec_level="Q")
    return str(zxingcpp.write_barcode_to_svg(code, scale=4, add_quiet_zones=True))


def _name(identity: DocumentIdentity) -> str:
    return f"{identity.document_id}.{identity.version}"


def _mac(identity: DocumentIdentity, key: bytes) -> str:
    message = b"cardflow-qr-v1|" + _name(identity).encode()
    digest = hmac.digest(key, message, "sha256")[:_MAC_BYTES]
    return base64.b32encode(digest).decode()
