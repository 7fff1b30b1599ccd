"""Other kinds of files, broken files, and files that are two things."""

import gzip
import struct
import zlib

from PIL import PngImagePlugin

from tests.documents.build import (
    form,
    page,
    saved,
    stream,
    written,
)
from tests.documents.corpus.case import MATCHES, UNREADABLE, Case
from tests.documents.corpus.making import chunk, flipped, other, png, tiny_jpeg, zipped

NO_SCAN = "neither PDF nor PNG nor JPEG"
XXE = b'<?xml version="1.0"?><!DOCTYPE svg [<!ENTITY x SYSTEM "file:///etc/passwd">]><svg>&x;</svg>'
MAGICK = b"push graphic-context\nviewbox 0 0 9 9\nfill 'url(https://x/\"|id\")'\n"

OTHER_KINDS = [
    Case("a drawing that reads other files", lambda: XXE, "a drawing", "CWE-611"),
    Case("commands for ImageMagick", lambda: MAGICK, NO_SCAN, "CVE-2016-3714"),
    Case(
        "PostScript in a DOS wrapper",
        lambda: b"\xc5\xd0\xd3\xc6\x1e\0",
        NO_SCAN,
        "Adobe TN 5002",
    ),
    Case("a rich text", lambda: b"{\\rtf1 {\\object}}", "office document", "CVE-2017-11882"),
    Case("a saved mail", lambda: b"MIME-Version: 1.0\r\n\r\n<html>", NO_SCAN, "RFC 2557"),
    Case("a web page in UTF-16", lambda: "<script>1</script>".encode("utf-16"), NO_SCAN, "CWE-79"),
    Case("a JPEG 2000 picture", lambda: b"\0\0\0\x0cjP  \r\n\x87\n", NO_SCAN, "ISO 15444-1"),
    Case("an AVIF picture", lambda: b"\0\0\0\x1cftypavif", "rare kind of photo", "AV1-ISOBMFF"),
    Case("a shell script", lambda: b"#!/bin/sh\nid\n", NO_SCAN, "CWE-434"),
    Case(
        "a Windows shortcut",
        lambda: b"L\0\0\0\x01\x14\x02\0",
        NO_SCAN,
        "MS-SHLLINK, CVE-2010-2568",
    ),
    Case("Java classes", lambda: b"\xca\xfe\xba\xbe\0\0\0\x34", NO_SCAN, "JVMS 4.1"),
    Case("nothing", lambda: b"", "empty", "CWE-1284"),
    Case("a text", lambda: b"I sign.", "neither PDF nor PNG nor JPEG", "CWE-434"),
    Case(
        "an SVG drawing",
        lambda: b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        "a drawing",
        "CWE-79, SVG 2",
    ),
    Case(
        "an SVG drawing after a BOM",
        lambda: b"\xef\xbb\xbf\n<?xml version='1.0'?>",
        "a drawing",
        "WHATWG MIME sniffing 7.1",
    ),
    Case("a web page", lambda: b"<!DOCTYPE html><p>signed", "web page", "WHATWG MIME sniffing 7.1"),
    Case("an office document", zipped, "office document: save it as PDF", "ECMA-376 part 2"),
    Case(
        "an old office document",
        lambda: b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
        "save it as PDF",
        "MS-CFB 2.2",
    ),
    Case(
        "an iPhone photo",
        lambda: b"\0\0\0\x18ftypheic\0\0\0\0",
        "'most compatible'",
        "ISO 23008-12",
    ),
    Case("a video", lambda: b"\0\0\0\x18ftypmp42\0\0\0\0", "video", "ISO 14496-12 4.3"),
    Case("a GIF", lambda: saved(page(72), "GIF"), "GIF", "GIF89a"),
    Case("a TIFF", lambda: saved(page(72), "TIFF"), "TIFF", "TIFF 6.0"),
    Case("a WebP", lambda: saved(page(72), "WEBP"), "WebP", "CVE-2023-4863, RFC 9649"),
    Case("a BMP", lambda: saved(page(72), "BMP"), "BMP", "BITMAPFILEHEADER"),
    Case("PostScript", lambda: b"%!PS-Adobe-3.0\n", "PostScript", "CVE-2018-16509"),
    Case("a Windows program", lambda: b"MZ\x90\0", "program", "PE/COFF 2.1"),
    Case("a Linux program", lambda: b"\x7fELF\x02", "program", "ELF gABI 4"),
]

# Broken files, and files that are two things


def moving() -> bytes:
    frames = [page(72), page(72).rotate(180)]
    return saved(frames[0], "PNG", save_all=True, append_images=frames[1:])


def told(text: str) -> bytes:
    info = PngImagePlugin.PngInfo()
    info.add_text("Comment", text)
    return saved(page(72), "PNG", pnginfo=info)


def iphone_png() -> bytes:
    data = saved(page(72), "PNG")
    return data[:8] + chunk(b"CgBI", b"\x50\0\x20\2") + data[8:]


def colourless() -> bytes:
    header = struct.pack(">LLBBBBB", 9, 9, 8, 3, 0, 0, 0)
    parts = [(b"IHDR", header), (b"IDAT", zlib.compress(bytes(90))), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*each) for each in parts)


def headless() -> bytes:
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def endless_chunk() -> bytes:
    data = saved(page(72), "PNG")
    return data[:33] + struct.pack(">L", 2**31 - 1) + b"tEXt" + data[33:]


def compressed(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)


def cropped() -> bytes:
    """Return a smaller picture that was saved over a larger one (aCropalypse)."""
    small, large = saved(page(72), "PNG"), saved(page(100), "PNG")
    return small + large[len(small) :]


def disk_image() -> bytes:
    """Return a PDF in the part of a disk image that nobody uses (ECMA-119 6.2.1)."""
    data = form()
    space = b"\n" + bytes(0x8001 - 1 - len(data)) if len(data) < 0x8001 else b""
    volume = b"%" + b"\x01CD001\x01" + bytes(2040)
    return data[:0x8000] + volume + data[0x8000:] if not space else data + space + volume


def scripted_jpeg() -> bytes:
    """Return a JPEG whose first segment's length begins a JavaScript comment."""
    data = saved(page(72))
    body = b"JFIF\0\1\1\0\0\1\0\1\0\0"
    size = 0x2F2A  # '/*'
    segment = b"\xff\xe0/*" + body + b"*/=alert(1)/*".rjust(size - 2 - len(body), b"A")
    return b"\xff\xd8" + segment + data[20:]


def precise(bits: int, marker: bytes = b"\xff\xc0") -> bytes:
    data = saved(page(72))
    at = data.index(b"\xff\xc0")
    return data[:at] + marker + data[at + 2 : at + 4] + bytes([bits]) + data[at + 5 :]


def many_comments() -> bytes:
    data = saved(page(72))
    return data[:2] + b"\xff\xfe\0\2" * 100_000 + data[2:]


BROKEN = [
    Case("a PDF in a compressed file", lambda: compressed(form()), NO_SCAN, "RFC 1952"),
    Case("a PNG over what a larger one left", cropped, "follows the picture", "CVE-2023-21036"),
    Case("a PDF and a disk image", disk_image, "disk image|damaged", "ECMA-119 8.1"),
    Case(
        "a GIF and a PDF",
        lambda: b"GIF89a" + form(),
        "before its beginning",
        "CWE-434, Albertini",
    ),
    Case("a program and a PDF", lambda: b"MZ" + form(), "before its beginning", "CVE-2019-11687"),
    Case("a JPEG and a script", scripted_jpeg, MATCHES, "Heyes, CSP bypass by JPEG (2016)"),
    Case("a JPEG of twelve bits", lambda: precise(12), "damaged", "ITU T.81 B.2.2"),
    Case("a lossless JPEG", lambda: precise(8, b"\xff\xc3"), "damaged", "ITU T.81 H"),
    Case("a JPEG with 100,000 comments", many_comments, MATCHES, "ITU T.81 B.2.4.5, CWE-407"),
    Case("a JPEG of no size", lambda: tiny_jpeg(0, 0), "damaged", "ITU T.81 B.2.2"),
    Case("a PNG of no size", lambda: png(0, 0, b""), "damaged", "PNG 3rd ed. 11.2.1"),
    Case("a PNG as iPhones keep it", iphone_png, "damaged", "Apple CgBI"),
    Case("a PNG without its colours", colourless, UNREADABLE, "PNG 3rd ed. 11.2.2"),
    Case("a PNG without its header", headless, "damaged", "PNG 3rd ed. 5.6"),
    Case("a PNG with a chunk of 2 GiB", endless_chunk, "damaged", "PNG 3rd ed. 5.3, CWE-190"),
    Case("only the beginning of a PDF", lambda: b"%PDF-1.7\n", "damaged", "ISO 32000-2 7.5.5"),
    Case(
        "a PDF beginning before text",
        lambda: b"%PDF-1.4\nsigned\n%%EOF",
        "damaged",
        "ISO 32000-2 7.5.5",
    ),
    Case("half a PDF", lambda: form()[: len(form()) // 2], "damaged", "CWE-130"),
    Case("a PDF without its last 100 bytes", lambda: form()[:-100], "damaged", "ISO 32000-2 7.5.5"),
    Case(
        "a PDF moved by junk before it",
        lambda: b"junk\n" + form(),
        "before its beginning",
        "ISO 32000-1 annex H 3.4.1",
    ),
    Case(
        "a PDF with its offsets wrong",
        lambda: form()[:15] + b"  " + form()[15:],
        "damaged",
        "ISO 32000-2 7.5.4",
    ),
    Case(
        "a PDF with more after its end",
        lambda: form() + b"more",
        "follows the end",
        "ISO 32000-1 annex H 3.4.4",
    ),
    Case(
        "a PDF with a PDF after its end",
        lambda: form() + b"x" + other(document_id="another"),
        "damaged",
        "Albertini, Funky file formats (31C3)",
    ),
    Case("half a JPEG", lambda: saved(page())[:50_000], "damaged", "ITU T.81 B.2"),
    Case("a JPEG beginning", lambda: b"\xff\xd8\xff\xe0", "damaged", "ITU T.81 B.2"),
    Case(
        "a JPEG with noise inside",
        lambda: b"\xff\xd8\xff" + bytes(50) + b"\xff\xd9",
        "damaged",
        "ITU T.81 B.1.1.3",
    ),
    Case("half a PNG", lambda: saved(page(), "PNG")[:20_000], "damaged", "PNG 3rd ed. 5.6"),
    Case("a PNG beginning", lambda: b"\x89PNG\r\n\x1a\n", "damaged", "PNG 3rd ed. 5.2"),
    Case(
        "a PNG with a flipped bit",
        lambda: flipped(saved(page(), "PNG"), 30_000),
        "damaged",
        "PNG 3rd ed. 5.4",
    ),
    Case("a PNG without pixels", lambda: png(100, 100, b""), "damaged", "PNG 3rd ed. 11.2.3"),
    Case(
        "a PNG with a text behind",
        lambda: saved(page(72), "PNG") + b"more",
        "follows the pict",
        "PNG 3rd ed. 11.2.5",
    ),
    Case(
        "a JPEG with a video behind",
        lambda: saved(page(72)) + b"\0\0\0\x18ftyp",
        "follows",
        "Google Motion Photo 1.0",
    ),
    Case("a PNG that moves", moving, "moves", "PNG 3rd ed. 11.3.6.1"),
    Case(
        "a PDF and a ZIP archive",
        lambda: form() + zipped(),
        "ZIP archive",
        "Albertini, PoC||GTFO 0x03",
    ),
    Case(
        "a PDF whose end is a ZIP's comment",
        lambda: form() + zipped(b"\n%%EOF\n"),
        "ZIP",
        "APPNOTE 4.3.16",
    ),
    Case(
        "a ZIP archive inside a PDF's stream",
        lambda: written(
            {
                1: b"<</Type /Catalog /Pages 2 0 R>>",
                2: b"<</Kids [] /Count 0>>",
                3: stream(zipped()),
            }
        ),
        "ZIP archive",
        "APPNOTE 4.3.16",
    ),
    Case(
        "a JPEG and a ZIP archive",
        lambda: saved(page(72)) + zipped(),
        "ZIP archive",
        "GIFAR, Brandis and Heasman (Black Hat 2008)",
    ),
    Case(
        "a PNG and a ZIP archive",
        lambda: saved(page(72), "PNG") + zipped(),
        "ZIP archive",
        "GIFAR, Brandis and Heasman (Black Hat 2008)",
    ),
    Case(
        "a PDF and a RAR archive",
        lambda: form() + b"Rar!\x1a\x07\0\n%%EOF",
        "RAR",
        "Albertini, Funky file formats (31C3)",
    ),
    Case(
        "a JPEG and a 7-Zip archive",
        lambda: saved(page(72)) + b"7z\xbc\xaf\x27\x1c",
        "7-Zip",
        "7zFormat.txt",
    ),
    Case(
        "a PDF and a web page",
        lambda: b"%PDF-1.7\n<html><script>1</script>\n" + form(),
        "web",
        "Albertini, PoC||GTFO 0x03",
    ),
    Case(
        "a JPEG and a web page",
        lambda: saved(page(72), comment=b"<script>1</script>"),
        "web",
        "WHATWG MIME sniffing 7.1",
    ),
    Case("a PNG and a web page", lambda: told("<svg onload='x'>"), "web page", "CWE-79, SVG 2"),
]
