"""Files that cost more than they are worth."""

import struct
import zlib

from tests.documents.build import (
    one_page,
    stream,
    written,
)
from tests.documents.corpus.case import UNREADABLE, Case
from tests.documents.corpus.making import chunk, page_of, png, tiny_jpeg, unpacking_to


def pages(count: int, told: int | None = None) -> bytes:
    kids = b" ".join(b"%d 0 R" % (3 + number) for number in range(count))
    objects = {
        1: b"<</Type /Catalog /Pages 2 0 R>>",
        2: b"<</Type /Pages /Count %d /Kids [%b]>>" % (count if told is None else told, kids),
    }
    empty = b"<</Type /Page /Parent 2 0 R /MediaBox [0 0 9 9]>>"
    return written(objects | {3 + number: empty for number in range(count)})


def same_page(count: int) -> bytes:
    return written(
        {
            1: b"<</Type /Catalog /Pages 2 0 R>>",
            2: b"<</Type /Pages /Count %d /Kids [%b]>>" % (count, b"3 0 R " * count),
            3: b"<</Type /Page /Parent 2 0 R /MediaBox [0 0 9 9]>>",
        }
    )


def page_loop() -> bytes:
    return written(
        {
            1: b"<</Type /Catalog /Pages 2 0 R>>",
            2: b"<</Type /Pages /Kids [2 0 R] /Count 1>>",
        }
    )


def table_loop() -> bytes:
    data = page_of(b"/MediaBox [0 0 9 9]")
    at = int(data[data.rfind(b"startxref") + 9 : data.rfind(b"%%EOF")])
    return data.replace(b"trailer\n<<", b"trailer\n<</Prev %d " % at)


def image_of(width: int, height: int, content: bytes) -> bytes:
    entries = b"/Type /XObject /Subtype /Image /ColorSpace /DeviceGray /BitsPerComponent 8"
    entries += b" /Width %d /Height %d" % (width, height)
    return one_page(
        stream(b"595 0 0 842 0 0 cm /I Do"),
        b"/XObject <</I 5 0 R>>",
        o5=stream(content, entries, packed=True),
    )


def recursion() -> bytes:
    entries = b"/Type /XObject /Subtype /Form /BBox [0 0 9 9] /Resources <</XObject <</F 5 0 R>> >>"
    return one_page(
        stream(b"/F Do"), b"/XObject <</F 5 0 R>>", o5=stream(b"/F Do /F Do /F Do", entries)
    )


def explosion() -> bytes:
    """Return a page whose drawing calls ten drawings, each of which calls ten more."""
    forms = {}
    for level in range(5, 15):
        inner = b"/XObject <</F %d 0 R>>" % (level + 1)
        entries = b"/Type /XObject /Subtype /Form /BBox [0 0 595 842] /Resources <<%b>>" % inner
        forms[f"o{level}"] = stream(b"/F Do " * 10, entries)
    forms["o15"] = stream(b"0 0 500 800 re f", b"/Type /XObject /Subtype /Form /BBox [0 0 595 842]")
    return one_page(stream(b"/F Do"), b"/XObject <</F 5 0 R>>", **forms)


def packed_objects() -> bytes:
    """Return a PDF whose object stream unpacks to a gigabyte."""
    body = unpacking_to(2**30, b" ")
    head = b"%PDF-1.7\n"
    objects = b"1 0 obj\n<</Type /ObjStm /N 1 /First 4 /Filter /FlateDecode /Length %d>>\nstream\n"
    data = head + objects % len(body) + body + b"\nendstream\nendobj\n"
    rows = [(0, 0, 255), (1, len(head), 0), (2, 1, 0), (1, len(data), 0)]
    table = b"".join(struct.pack(">BLB", *row) for row in rows)
    entries = b"/Type /XRef /Size 4 /W [1 4 1] /Root 2 0 R"
    return data + b"3 0 obj\n%b\nendobj\nstartxref\n%d\n%%%%EOF\n" % (
        stream(table, entries),
        len(data),
    )


def unpacking_page() -> bytes:
    content = unpacking_to(2**31, b"0 0 1 1 re f    ")
    return one_page(
        b"<</Length %d /Filter /FlateDecode>>\nstream\n%b\nendstream" % (len(content), content)
    )


def many_objects() -> bytes:
    objects = dict.fromkeys(range(4, 60000), b"0")
    objects |= {
        1: b"<</Type /Catalog /Pages 2 0 R>>",
        2: b"<</Type /Pages /Kids [3 0 R] /Count 1>>",
        3: b"<</Type /Page /Parent 2 0 R /MediaBox [0 0 9 9]>>",
    }
    return written(objects)


def text_bomb() -> bytes:
    return png(9, 9, zlib.compress(bytes(18)), chunk(b"zTXt", b"a\0\0" + unpacking_to(2**28, b"x")))


def nested_pages(depth: int) -> bytes:
    objects = {1: b"<</Type /Catalog /Pages 2 0 R>>"}
    for number in range(2, depth):
        kids = b"<</Type /Pages /Count 1 /Kids [%d 0 R] /Parent %d 0 R>>"
        objects[number] = kids % (number + 1, number - 1)
    objects[depth] = b"<</Type /Page /Parent %d 0 R /MediaBox [0 0 9 9]>>" % (depth - 1)
    return written(objects)


def huge_table() -> bytes:
    return page_of(b"/MediaBox [0 0 9 9]").replace(b"/Size 4", b"/Size 2147483647")


def filtered(times: int) -> bytes:
    content = b"0 0 1 1 re f"
    for _ in range(times):
        content = zlib.compress(content, 9)
    filters = b"/Filter [%b]" % (b"/FlateDecode " * times)
    return one_page(stream(content, filters))


def predicted() -> bytes:
    parameters = b"/DecodeParms <</Predictor 15 /Columns 2147483647 /Colors 32>>"
    return one_page(stream(b"0 0 1 1 re f", parameters, packed=True))


def tiled() -> bytes:
    pattern = b"/PatternType 1 /PaintType 1 /TilingType 1 /BBox [0 0 1 1] /XStep .0001 /YStep .0001"
    return one_page(
        stream(b"/Pattern cs /P scn 0 0 595 842 re f"),
        b"/Pattern <</P 5 0 R>>",
        o5=stream(b"0 0 1 1 re f", pattern),
    )


def typed_by_itself() -> bytes:
    """Return text in a font whose letter is text in the same font."""
    font = b"<</Type /Font /Subtype /Type3 /FontBBox [0 0 9 9] /FontMatrix [1 0 0 1 0 0] "
    font += b"/FirstChar 97 /LastChar 97 /Widths [9] /Encoding <</Differences [97 /a]>> "
    font += b"/CharProcs <</a 6 0 R>> /Resources <</Font <</F 5 0 R>> >> >>"
    letter = stream(b"9 0 d0 BT /F 9 Tf (aaaa) Tj ET")
    return one_page(stream(b"BT /F 9 Tf (aaaa) Tj ET"), b"/Font <</F 5 0 R>>", o5=font, o6=letter)


def fax_in_pdf(kind: bytes, content: bytes) -> bytes:
    entries = b"/Type /XObject /Subtype /Image /ColorSpace /DeviceGray /BitsPerComponent 1"
    entries += b" /Width 60000 /Height 60000 /Filter " + kind
    return one_page(stream(b"/I Do"), b"/XObject <</I 5 0 R>>", o5=stream(content, entries))


def saved_again(times: int) -> bytes:
    """Return a PDF with as many incremental updates."""
    data = page_of(b"/MediaBox [0 0 9 9]")
    for _ in range(times):
        before, at = int(data[data.rfind(b"startxref") + 9 : -6]), len(data)
        table = b"xref\n0 0\ntrailer\n<</Size 4 /Root 1 0 R /Prev %d>>\nstartxref\n%d\n%%%%EOF\n"
        data += table % (before, at)
    return data


def profile_bomb() -> bytes:
    profile = chunk(b"iCCP", b"a\0\0" + unpacking_to(2**28, b"x"))
    return png(9, 9, zlib.compress(bytes(18)), profile)


ANY = "too much|too many|damaged|unreadable|no page"  # which of these is the parser's affair
BOMBS = [
    Case("page trees 3,000 deep", lambda: nested_pages(3_000), ANY, "CWE-674"),
    Case("a table of 2^31 objects", huge_table, ANY, "CVE-2018-18020, CWE-789"),
    Case("filters packed a hundred times", lambda: filtered(100), ANY, "CWE-409, zip quines"),
    Case("columns without end", predicted, ANY, "CWE-190, ISO 32000-2 7.4.4.4", bomb=True),
    Case("tiles too small to see", tiled, ANY, "CWE-400, ISO 32000-2 8.7.3", bomb=True),
    Case(
        "letters made of themselves",
        typed_by_itself,
        ANY,
        "CWE-674, ISO 32000-2 9.6.4",
        bomb=True,
    ),
    Case(
        "a fax with a damaged JBIG2 page",
        lambda: fax_in_pdf(b"/JBIG2Decode", b"\0\0\0\0\x30\0\1" + b"\xff" * 64),
        ANY,
        "CVE-2021-30860",
        bomb=True,
    ),
    Case(
        "a JPEG 2000 page that is none",
        lambda: fax_in_pdf(b"/JPXDecode", b"\0\0\0\x0cjP  \r\n\x87\n" + b"\xff" * 64),
        ANY,
        "CVE-2018-5727",
        bomb=True,
    ),
    Case(
        "a fax of 60,000 by 60,000",
        lambda: fax_in_pdf(b"/CCITTFaxDecode", bytes(1000)),
        ANY,
        "ITU T.6, CWE-789",
        bomb=True,
    ),
    Case("a PDF that was saved 2,000 times", lambda: saved_again(2_000), ANY, "CWE-407"),
    Case("a PNG with 256 MiB of profile", profile_bomb, ANY, "CVE-2014-9601, ICC.1", bomb=True),
    Case("100,000 pages", lambda: same_page(100_000), "100000 pages", "CWE-770"),
    Case("eleven pages", lambda: pages(11), "11 pages", "CWE-770"),
    Case(
        "eleven pages that say they are one",
        lambda: pages(11, told=1),
        "11 pages",
        "ISO 32000-2 7.7.3.2",
    ),
    Case(
        "one page that says it is 10^9", lambda: pages(1, told=10**9), "1000000000 pages", "CWE-789"
    ),
    Case("no page", lambda: pages(0), "no page", "ISO 32000-2 7.7.3"),
    Case(
        "no page tree", lambda: written({1: b"<</Type /Catalog>>"}), "damaged", "ISO 32000-2 7.7.2"
    ),
    Case("pages that contain themselves", page_loop, "damaged", "CVE-2017-9208, CWE-674"),
    Case(
        "a cross-reference table before itself",
        table_loop,
        "damaged",
        "CVE-2018-9918, ISO 32000-2 7.5.5",
    ),
    Case("60,000 objects", many_objects, "too many parts", "CWE-770"),
    Case(
        "two million numbers",
        lambda: page_of(b"/X [%b]" % (b"0 " * 2_000_000)),
        "many parts",
        "CWE-770",
    ),
    Case(
        "arrays 100,000 deep",
        lambda: page_of(b"/X " + b"[" * 100_000 + b"]" * 100_000),
        "no page|damaged",
        "CVE-2018-9918, CWE-674",
    ),
    Case(
        "a page of four square kilometres",
        lambda: page_of(b"/MediaBox [0 0 9999999 9999999]"),
        UNREADABLE,
        "ISO 32000-2 annex C",
    ),
    Case("a page of no size", lambda: page_of(b"/MediaBox [0 0 0 0]"), UNREADABLE, "CWE-369"),
    Case(
        "a page of impossible size",
        lambda: page_of(b"/MediaBox [9 (x) /N 1e99]"),
        UNREADABLE,
        "ISO 32000-2 7.9.5",
    ),
    Case(
        "a drawing that contains itself",
        recursion,
        "too much work",
        "CWE-674, ISO 32000-2 8.10",
        bomb=True,
    ),
    Case(
        "ten to the ten drawings",
        explosion,
        "too much work",
        "CWE-776, a billion laughs",
        bomb=True,
    ),
    Case(
        "a page that unpacks to 2 GiB",
        unpacking_page,
        "too much",
        "CWE-409",
        bomb=True,
    ),
    Case(
        "objects that unpack to 1 GiB",
        packed_objects,
        "too much|damaged",
        "CWE-409, ISO 32000-2 7.5.7",
        bomb=True,
    ),
    Case(
        "a picture of 65,000 by 65,000 in a PDF",
        lambda: image_of(65_000, 65_000, bytes(1 << 20)),
        "too much|damaged|unreadable",
        "CWE-789",
        bomb=True,
    ),
    Case(
        "a PNG of 65,000 by 65,000",
        lambda: png(65_000, 65_000, zlib.compress(bytes(1 << 20))),
        "60 million pixels",
        "CWE-409, libpng decompression bombs",
        bomb=True,
    ),
    Case(
        "a PNG just too large",
        lambda: png(10_000, 6_001, zlib.compress(bytes(1251 * 6_001))),
        "60 million pixels",
        "CWE-770",
    ),
    Case(
        "a PNG that says it is 2^31 wide",
        lambda: png(2**31 - 1, 1, b""),
        "60 million|damaged",
        "PNG 3rd ed. 11.2.1",
    ),
    Case("a PNG with 256 MiB of text", text_bomb, "damaged", "CVE-2014-9601", bomb=True),
    Case(
        "a JPEG of 65,500 by 65,500",
        lambda: tiny_jpeg(65_500, 65_500),
        "60 million pixels",
        "CWE-789",
    ),
]
