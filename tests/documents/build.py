"""Forms and files for the tests of this folder."""

import asyncio
import functools
import io
import random
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pikepdf
import pypdfium2
from PIL import Image

from cardflow.documents import qr
from cardflow.documents.forms import CertificateFacts, FormData, render_request_form
from cardflow.documents.qr import DocumentIdentity

BASE_URL = "https://cards.example.org"
KEY = bytes(range(32))
AWAITED = DocumentIdentity("019a1b2c-3d4e-7f50-8123-456789abcdef", 2)
CERTIFICATE = CertificateFacts(
    serial_number="5f3a9c0011223344556677889900aabbccddeeff",
    issuer="CN=Example Issuing CA 1,O=Example Organisation,C=DE",
    not_before=datetime(2026, 11, 24, 8, tzinfo=UTC),
    not_after=datetime(2029, 11, 23, 8, tzinfo=UTC),
)


def form_data(**changes: Any) -> FormData:
    """Return what a form says, and a code that fits its identity."""
    data = FormData(
        identity=AWAITED,
        code="",
        update_id="019a1b2c-0000-7000-8000-000000000001",
        organisation="Example Organisation",
        holder_name="Zoë Müller-Ångström",
        holder_email="zoe@example.org",
        card="4711 0815 0007",
        profile="Smart card logon",
        subject="CN=Zoë Müller-Ångström,OU=Research,O=Example Organisation,C=DE",
        key_type="RSA-2048",
        spki_sha256="0123456789abcdef" * 4,
        policy_name="staff",
        policy_version=3,
        requested_at=datetime(2026, 11, 23, 20, 50, tzinfo=UTC),
        contact="Card office, room 1.23, cards@example.org",
        portal="https://cards.example.org/",
    )
    changed = replace(data, **changes)
    return replace(changed, code=changed.code or qr.make(BASE_URL, changed.identity, key=KEY))


@functools.cache
def form(identity: DocumentIdentity = AWAITED, key: bytes = KEY) -> bytes:
    """Return a request form, as printed."""
    data = form_data(identity=identity, code=qr.make(BASE_URL, identity, key=key))
    with ThreadPoolExecutor(1) as pool:  # a table of cases is made without an event loop, or in one
        return pool.submit(asyncio.run, render_request_form(data)).result()


@functools.cache
def page(dpi: int = 200, pdf: bytes | None = None) -> Image.Image:
    """Return the form on paper."""
    document = pypdfium2.PdfDocument(pdf or form())
    image: Image.Image = document[0].render(scale=dpi / 72).to_pil().convert("L")
    return image


def saved(image: Image.Image, kind: str = "JPEG", **options: Any) -> bytes:
    """Return the bytes of an image file, or of a PDF around the image."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def noisy(image: Image.Image, share: float) -> Image.Image:
    """Return the image through a bad scanner."""
    grain = random.Random(1).randbytes(image.width * image.height)  # noqa: S311  # noqa: S311 noise
    return Image.blend(image, Image.frombytes("L", image.size, grain), share)


def changed(change: Callable[[pikepdf.Pdf], None], **options: Any) -> bytes:
    """Return the form after ``change`` was made to its PDF."""
    file = io.BytesIO()
    with pikepdf.open(io.BytesIO(form())) as pdf:
        change(pdf)
        pdf.save(file, **options)
    return file.getvalue()


def written(objects: dict[int, bytes], *, trailer: bytes = b"") -> bytes:
    """Return a PDF of exactly these objects; object 1 is the catalogue."""
    data, offsets = bytearray(b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n"), {}
    for number, body in objects.items():
        offsets[number] = len(data)
        data += b"%d 0 obj\n%b\nendobj\n" % (number, body)
    start, size = len(data), max(objects) + 1
    data += b"xref\n0 %d\n0000000000 65535 f \n" % size
    for number in range(1, size):
        data += b"%010d 00000 n \n" % offsets.get(number, 0)
    data += b"trailer\n<</Size %d /Root 1 0 R %b>>\n" % (size, trailer)
    return bytes(data) + b"startxref\n%d\n%%%%EOF\n" % start


def stream(content: bytes, entries: bytes = b"", *, packed: bool = False) -> bytes:
    """Return a stream object's body."""
    if packed:
        content, entries = zlib.compress(content, 9), entries + b" /Filter /FlateDecode"
    return b"<<%b /Length %d>>\nstream\n%b\nendstream" % (entries, len(content), content)


def one_page(content: bytes, resources: bytes = b"", **more: bytes) -> bytes:
    """Return a PDF of one page with this content stream; ``more`` are objects ``o5``, ``o6``…"""
    objects = {
        1: b"<</Type /Catalog /Pages 2 0 R>>",
        2: b"<</Type /Pages /Kids [3 0 R] /Count 1>>",
        3: b"<</Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R"
        b" /Resources <<%b>> >>" % resources,
        4: content,
    }
    return written(objects | {int(name[1:]): body for name, body in more.items()})
