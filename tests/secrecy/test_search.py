"""The search itself: it finds a secret in every encoding, in every wrapping, and in memory."""

import base64
import gzip
import io
import os
import quopri
import sys
import zipfile
import zlib
from pathlib import Path

import pikepdf
import pytest
import zxingcpp

from tests.secrecy.encodings import ENCODINGS, forms_of
from tests.secrecy.processes import memory_of, told_of, tree_of
from tests.secrecy.search import WRAPPINGS, Search, all_within

WORD, DIGITS = "Kq7vRz3MwX9tLb2H", "407193628514"
SECRETS = {"word": WORD, "digits": DIGITS, "letters": "Winterreise"}


@pytest.fixture(scope="module")
def search():
    return Search(SECRETS)


@pytest.mark.parametrize("name", ENCODINGS)
def test_a_secret_is_found_in_every_encoding(search, name):
    tried = 0
    for secret, text in SECRETS.items():
        for way, form in forms_of(text):
            if way == name:
                assert f"{secret} as {name}" in search.found_in(
                    b"before \x00\xff" + form + b"\nafter"
                )
                tried += 1
    assert tried


def zipped(data):
    pack = io.BytesIO()
    with zipfile.ZipFile(pack, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("one", data)
    return pack.getvalue()


def pdf(data):
    with pikepdf.new() as document:
        document.Root.Kept = document.make_stream(data)
        made = io.BytesIO()
        document.save(
            made, compress_streams=True, object_stream_mode=pikepdf.ObjectStreamMode.generate
        )
    return made.getvalue()


def qr(data):
    picture = io.BytesIO()
    code = zxingcpp.create_barcode(data.decode(), zxingcpp.BarcodeFormat.QRCode)
    zxingcpp_image = zxingcpp.write_barcode_to_image(code, scale=8)
    from PIL import Image

    Image.fromarray(zxingcpp_image).save(picture, "PNG")
    return picture.getvalue()


TEXT = f"the PIN is {WORD}, and a few words more, so that it can be made smaller ".encode() * 3
WRAPPED = {
    "line breaks": base64.encodebytes(os.urandom(51) + TEXT),
    "zlib and gzip": b"junk" + zlib.compress(TEXT) + b"junk",
    "gzip": b"junk" + gzip.compress(TEXT),
    "PDF stream": pdf(TEXT),
    "ZIP": zipped(TEXT),
    "base64": base64.b64encode(zlib.compress(TEXT)),
    "base64url": base64.urlsafe_b64encode(gzip.compress(TEXT)),
    "quoted-printable": b"Content-Transfer-Encoding: quoted-printable\n\n"
    + quopri.encodestring(b"=" + TEXT.replace(b" ", b"\t"), quotetabs=True),
    "QR code": qr(WORD.encode()),
    "a PDF in a ZIP": zipped(pdf(TEXT)),
}


@pytest.mark.parametrize("name", WRAPPED)
def test_a_secret_is_found_in_every_wrapping(search, name):
    assert "word as UTF-8" in search.found_in(*all_within(WRAPPED[name]))


def test_every_wrapping_that_the_search_knows_is_tried():
    assert set(WRAPPINGS) <= set(WRAPPED)


def test_what_is_not_there_is_not_found(search):
    assert search.found_in(*all_within(os.urandom(100_000) + WORD[:-1].encode())) == []


def test_the_table_is_long_enough():
    assert len(ENCODINGS) >= 15


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may read another's memory")
def test_a_secret_is_found_in_memory_and_so_is_what_the_kernel_shows(search):
    kept = WORD.encode() * 2

    assert "word as UTF-8" in search.found_in(*memory_of(os.getpid()))
    assert Path(sys.executable).name.encode() in told_of(os.getpid())
    assert os.getpid() in tree_of(os.getppid())
    assert kept
