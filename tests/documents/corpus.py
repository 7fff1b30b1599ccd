"""Uploads, good and bad, each with what must become of it."""

import base64
import io
import struct
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace

import pikepdf
from PIL import Image, ImageDraw, PngImagePlugin

from cardflow.documents import qr
from tests.documents.build import (
    AWAITED,
    changed,
    form,
    noisy,
    one_page,
    page,
    saved,
    stream,
    written,
)

MATCHES, UNREADABLE = "matches", "unreadable"
WHITE = 255


@dataclass(frozen=True)
class Case:
    """An upload; ``outcome`` is how its code is read, or words of the refusal."""

    name: str
    make: Callable[[], bytes]
    outcome: str
    bomb: bool = False  # only ever taken apart by a confined process


# What people send


def unchanged(pdf: pikepdf.Pdf) -> None:
    pass


def turned(degrees: float, dpi: int = 200) -> Image.Image:
    return page(dpi).rotate(degrees, Image.Resampling.BICUBIC, expand=True, fillcolor=WHITE)


def covered() -> Image.Image:
    image = page().copy()
    ImageDraw.Draw(image).rectangle((1250, 150, 1450, 400), fill=40)
    return image


def with_other_code() -> Image.Image:
    code = base64.b64encode(b"https://elsewhere.example/ticket/12345").decode()
    image = Image.new("L", (900, 900), WHITE)
    drawn = qr.zxingcpp.write_barcode_to_image(
        qr.zxingcpp.create_barcode(code, qr.zxingcpp.BarcodeFormat.QRCode), scale=8
    )
    image.paste(Image.fromarray(drawn) if hasattr(drawn, "shape") else drawn, (100, 100))
    return image


def revised() -> bytes:
    """Return the form with an incremental update, as a signature program adds it."""
    data = form()
    before = int(data[data.rfind(b"startxref") + 9 : data.rfind(b"%%EOF")])
    size = b"/Size 100000 /Root " + data[data.rfind(b"/Root") + 6 :].split(b" R")[0] + b" R"
    at = len(data)
    addition = b"\n99999 0 obj\n<</Type /Annot>>\nendobj\n"
    table = b"xref\n99999 1\n%010d 00000 n \n" % (at + 1)
    trailer = b"trailer\n<<%b /Prev %d>>\nstartxref\n%d\n%%%%EOF\n"
    return data + addition + table + trailer % (size, before, at + len(addition))


def scrolls(pdf: pikepdf.Pdf) -> None:
    pdf.Root.OpenAction = pikepdf.Array([pdf.pages[0].obj, pikepdf.Name.Fit])


def links(pdf: pikepdf.Pdf) -> None:
    action = pikepdf.Dictionary(S=pikepdf.Name.URI, URI="https://example.org")
    pdf.pages[0].Annots = [
        pikepdf.Dictionary(
            Type=pikepdf.Name.Annot, Subtype=pikepdf.Name.Link, Rect=[0, 0, 9, 9], A=action
        )
    ]


GOOD = [
    Case("the form as printed", form, MATCHES),
    Case("a scan at 200 dpi as PDF", lambda: saved(page(), "PDF", resolution=200), MATCHES),
    Case("a scan at 300 dpi as PNG", lambda: saved(page(300), "PNG"), MATCHES),
    Case("a scan at 100 dpi as JPEG", lambda: saved(page(100)), MATCHES),
    Case("a scan at 72 dpi", lambda: saved(page(72), quality=60), MATCHES),
    Case("a grainy scan at 72 dpi", lambda: saved(noisy(page(72), 0.25)), MATCHES),
    Case("a grainy scan at 200 dpi", lambda: saved(noisy(page(), 0.5), quality=50), MATCHES),
    Case("a scan askew by 1.5 degrees", lambda: saved(turned(1.5)), MATCHES),
    Case("a scan askew by 45 degrees", lambda: saved(turned(45)), MATCHES),
    Case("a scan on its side", lambda: saved(turned(90)), MATCHES),
    Case("a scan upside down", lambda: saved(turned(180), "PNG"), MATCHES),
    Case("a fax in black and white", lambda: saved(page().convert("1"), "PNG"), MATCHES),
    Case("a progressive JPEG", lambda: saved(page(), progressive=True), MATCHES),
    Case("a CMYK JPEG", lambda: saved(page().convert("CMYK")), MATCHES),
    Case("a PNG with few colours", lambda: saved(page().quantize(16), "PNG"), MATCHES),
    Case("a transparent PNG", lambda: saved(page().convert("RGBA"), "PNG"), MATCHES),
    Case("a photo and its small copy", lambda: saved(page()) + saved(page(72)), MATCHES),
    Case("a PDF that scrolls to its page", lambda: changed(scrolls), MATCHES),
    Case("a PDF with links", lambda: changed(links), MATCHES),
    Case("a PDF with an incremental update", revised, MATCHES),
    Case(
        "a PDF with object streams",
        lambda: changed(lambda _: None, object_stream_mode=pikepdf.ObjectStreamMode.generate),
        MATCHES,
    ),
    Case(
        "a form and an empty page",
        lambda: changed(lambda pdf: pdf.add_blank_page()),
        MATCHES,
    ),
    Case("an empty sheet", lambda: saved(Image.new("L", (1654, 2339), WHITE)), UNREADABLE),
    Case("a form with ink over its code", lambda: saved(covered()), UNREADABLE),
    Case("a picture of another code", lambda: saved(with_other_code(), "PNG"), UNREADABLE),
    Case("a picture of one dot", lambda: saved(Image.new("L", (1, 1)), "PNG"), UNREADABLE),
    Case(
        "text in a font that is not in the file",
        lambda: one_page(
            stream(b"BT /F1 24 Tf 50 700 Td (signed) Tj ET"),
            b"/Font <</F1 <</Type /Font /Subtype /Type1 /BaseFont /Comic>> >>",
        ),
        UNREADABLE,
    ),
]

# Other kinds of files


def zipped(comment: bytes = b"") -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("hidden.txt", "hidden")
        archive.comment = comment
    return file.getvalue()


OTHER_KINDS = [
    Case("nothing", lambda: b"", "empty"),
    Case("a text", lambda: b"I sign.", "neither PDF nor PNG nor JPEG"),
    Case("an SVG drawing", lambda: b"<svg xmlns='http://www.w3.org/2000/svg'/>", "a drawing"),
    Case("an SVG drawing after a BOM", lambda: b"\xef\xbb\xbf\n<?xml version='1.0'?>", "a drawing"),
    Case("a web page", lambda: b"<!DOCTYPE html><p>signed", "web page"),
    Case("an office document", zipped, "office document: save it as PDF"),
    Case("an old office document", lambda: b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "save it as PDF"),
    Case("an iPhone photo", lambda: b"\0\0\0\x18ftypheic\0\0\0\0", "'most compatible'"),
    Case("a video", lambda: b"\0\0\0\x18ftypmp42\0\0\0\0", "video"),
    Case("a GIF", lambda: saved(page(72), "GIF"), "GIF"),
    Case("a TIFF", lambda: saved(page(72), "TIFF"), "TIFF"),
    Case("a WebP", lambda: saved(page(72), "WEBP"), "WebP"),
    Case("a BMP", lambda: saved(page(72), "BMP"), "BMP"),
    Case("PostScript", lambda: b"%!PS-Adobe-3.0\n", "PostScript"),
    Case("a Windows program", lambda: b"MZ\x90\0", "program"),
    Case("a Linux program", lambda: b"\x7fELF\x02", "program"),
]

# Broken files, and files that are two things


def chunk(name: bytes, content: bytes) -> bytes:
    check = zlib.crc32(name + content)
    return struct.pack(">L", len(content)) + name + content + struct.pack(">L", check)


def png(width: int, height: int, pixels: bytes, *extra: bytes) -> bytes:
    header = struct.pack(">LLBBBBB", width, height, 1, 0, 0, 0, 0)
    parts = [chunk(b"IHDR", header), *extra, chunk(b"IDAT", pixels), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def moving() -> bytes:
    frames = [page(72), page(72).rotate(180)]
    return saved(frames[0], "PNG", save_all=True, append_images=frames[1:])


def told(text: str) -> bytes:
    info = PngImagePlugin.PngInfo()
    info.add_text("Comment", text)
    return saved(page(72), "PNG", pnginfo=info)


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :]


def tiny_jpeg(width: int, height: int) -> bytes:
    data = saved(Image.new("L", (8, 8)))
    at = data.index(b"\xff\xc0") + 5
    return data[:at] + struct.pack(">HH", height, width) + data[at + 4 :]


BROKEN = [
    Case("only the beginning of a PDF", lambda: b"%PDF-1.7\n", "damaged"),
    Case("a PDF beginning before text", lambda: b"%PDF-1.4\nsigned\n%%EOF", "damaged"),
    Case("half a PDF", lambda: form()[: len(form()) // 2], "damaged"),
    Case("a PDF without its last 100 bytes", lambda: form()[:-100], "damaged"),
    Case("a PDF moved by junk before it", lambda: b"junk\n" + form(), "before its beginning"),
    Case("a PDF with its offsets wrong", lambda: form()[:15] + b"  " + form()[15:], "damaged"),
    Case("a PDF with more after its end", lambda: form() + b"more", "follows the end"),
    Case(
        "a PDF with a PDF after its end",
        lambda: form() + b"x" + other(document_id="another"),
        "damaged",
    ),
    Case("half a JPEG", lambda: saved(page())[:50_000], "damaged"),
    Case("a JPEG beginning", lambda: b"\xff\xd8\xff\xe0", "damaged"),
    Case("a JPEG with noise inside", lambda: b"\xff\xd8\xff" + bytes(50) + b"\xff\xd9", "damaged"),
    Case("half a PNG", lambda: saved(page(), "PNG")[:20_000], "damaged"),
    Case("a PNG beginning", lambda: b"\x89PNG\r\n\x1a\n", "damaged"),
    Case("a PNG with a flipped bit", lambda: flipped(saved(page(), "PNG"), 30_000), "damaged"),
    Case("a PNG without pixels", lambda: png(100, 100, b""), "damaged"),
    Case("a PNG with a text behind", lambda: saved(page(72), "PNG") + b"more", "follows the pict"),
    Case("a JPEG with a video behind", lambda: saved(page(72)) + b"\0\0\0\x18ftyp", "follows"),
    Case("a PNG that moves", moving, "moves"),
    Case("a PDF and a ZIP archive", lambda: form() + zipped(), "ZIP archive"),
    Case("a PDF whose end is a ZIP's comment", lambda: form() + zipped(b"\n%%EOF\n"), "ZIP"),
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
    ),
    Case("a JPEG and a ZIP archive", lambda: saved(page(72)) + zipped(), "ZIP archive"),
    Case("a PNG and a ZIP archive", lambda: saved(page(72), "PNG") + zipped(), "ZIP archive"),
    Case("a PDF and a RAR archive", lambda: form() + b"Rar!\x1a\x07\0\n%%EOF", "RAR"),
    Case("a JPEG and a 7-Zip archive", lambda: saved(page(72)) + b"7z\xbc\xaf\x27\x1c", "7-Zip"),
    Case("a PDF and a web page", lambda: b"%PDF-1.7\n<html><script>1</script>\n" + form(), "web"),
    Case("a JPEG and a web page", lambda: saved(page(72), comment=b"<script>1</script>"), "web"),
    Case("a PNG and a web page", lambda: told("<svg onload='x'>"), "web page"),
]

# Files that act


def acting(key: str, value: object) -> Callable[[], bytes]:
    def change(pdf: pikepdf.Pdf) -> None:
        pdf.Root[key] = pdf.make_indirect(pikepdf.Object.parse(value))  # type: ignore[arg-type]

    return lambda: changed(change)


def on_page(value: bytes) -> Callable[[], bytes]:
    def change(pdf: pikepdf.Pdf) -> None:
        pdf.pages[0].Annots = [pikepdf.Object.parse(value)]

    return lambda: changed(change)


def attached(pdf: pikepdf.Pdf) -> None:
    pdf.attachments["hidden.txt"] = b"hidden"


def nowhere(pdf: pikepdf.Pdf) -> None:
    pdf.make_indirect(pikepdf.Object.parse(b"<</S /JavaScript /JS (app.alert(1))>>"))


def elsewhere() -> bytes:
    return one_page(b"<</Length 0 /F (/etc/passwd)>>\nstream\n\nendstream")


def locked(**passwords: str) -> Callable[[], bytes]:
    encryption = pikepdf.Encryption(**({"owner": "o", "user": ""} | passwords))
    return lambda: changed(lambda _: None, encryption=encryption)


PACKED = {"object_stream_mode": pikepdf.ObjectStreamMode.generate}
SCRIPT = b"<</S /JavaScript /JS (app.alert(1))>>"
ACTING = [
    Case("a script at opening", acting("/OpenAction", SCRIPT), "a script"),
    Case("a script by another name", acting("/OpenAction", b"<</S /J#61vaScript>>"), "a script"),
    Case(
        "a script after a harmless action",
        acting("/OpenAction", b"<</S /GoTo /D [0 /Fit] /Next <</S /JavaScript /JS (1)>> >>"),
        "a script",
    ),
    Case("a script in the names", acting("/Names", b"<</JavaScript <</Names []>> >>"), "a script"),
    Case(
        "a script in an object stream",
        lambda: changed(
            lambda pdf: pdf.Root.__setitem__("/X", pdf.make_indirect(pikepdf.Object.parse(SCRIPT))),
            **PACKED,
        ),
        "a script",
    ),
    Case(
        "a script that nothing refers to",
        lambda: written(
            {
                1: b"<</Type /Catalog /Pages 2 0 R>>",
                2: b"<</Type /Pages /Kids [3 0 R] /Count 1>>",
                3: b"<</Type /Page /Parent 2 0 R /MediaBox [0 0 9 9]>>",
                4: SCRIPT,
            }
        ),
        "a script",
    ),
    Case("a script deep in arrays", acting("/X", b"[[[[" + SCRIPT + b"]]]]"), "a script"),
    Case("an action at opening", acting("/OpenAction", b"<</S /Named /N /Print>>"), "by itself"),
    Case("an action at closing", acting("/AA", b"<</WC <</S /Named>> >>"), "by itself"),
    Case(
        "a program to launch",
        on_page(b"<</Type /Annot /Subtype /Link /Rect [0 0 9 9] /A <</S /Launch /F (cmd.exe)>> >>"),
        "opens or sends",
    ),
    Case(
        "a form that sends itself",
        on_page(b"<</Type /Annot /Subtype /Link /Rect [0 0 9 9] /A <</S /SubmitForm /F (x)>> >>"),
        "opens or sends",
    ),
    Case("a link into another file", acting("/OpenAction", b"<</S /GoToR /F (x)>>"), "opens"),
    Case("a link into an attached file", acting("/OpenAction", b"<</S /GoToE>>"), "opens"),
    Case("data to import", acting("/X", b"<</S /ImportData /F (x.fdf)>>"), "opens or sends"),
    Case("an attached file", lambda: changed(attached), "an attached file"),
    Case(
        "a file attached to a note",
        on_page(b"<</Type /Annot /Subtype /FileAttachment /Rect [0 0 9 9] /FS <</EF <<>> >> >>"),
        "an attached file",
    ),
    Case("an XFA form", acting("/AcroForm", b"<</XFA (x) /Fields []>>"), "XFA"),
    Case("a video annotation", on_page(b"<</Subtype /RichMedia /Rect [0 0 9 9]>>"), "video or 3D"),
    Case("a sound", on_page(b"<</Subtype /Sound /Rect [0 0 9 9]>>"), "sound"),
    Case("a stream from another file", elsewhere, "opens or sends"),
    Case("a PDF with a password", locked(user="u"), "encrypted"),
    Case("a PDF with restrictions", locked(), "encrypted"),
]

# Files that cost more than they are worth


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


def page_of(entries: bytes) -> bytes:
    return written(
        {
            1: b"<</Type /Catalog /Pages 2 0 R>>",
            2: b"<</Type /Pages /Kids [3 0 R] /Count 1>>",
            3: b"<</Type /Page /Parent 2 0 R %b>>" % entries,
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


def unpacking_to(size: int, part: bytes) -> bytes:
    """Return a few packed kilobytes that unpack to ``part`` again and again."""
    packer = zlib.compressobj(9)
    block = part * (2**20 // len(part))
    first, again = (packer.compress(block) + packer.flush(zlib.Z_FULL_FLUSH) for _ in range(2))
    return first + again * (size // len(block) - 1) + packer.flush()


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


BOMBS = [
    Case("100,000 pages", lambda: same_page(100_000), "100000 pages"),
    Case("eleven pages", lambda: pages(11), "11 pages"),
    Case("eleven pages that say they are one", lambda: pages(11, told=1), "11 pages"),
    Case("one page that says it is 10^9", lambda: pages(1, told=10**9), "1000000000 pages"),
    Case("no page", lambda: pages(0), "no page"),
    Case("no page tree", lambda: written({1: b"<</Type /Catalog>>"}), "damaged"),
    Case("pages that contain themselves", page_loop, "damaged"),
    Case("a cross-reference table before itself", table_loop, "damaged"),
    Case("60,000 objects", many_objects, "too many parts"),
    Case("two million numbers", lambda: page_of(b"/X [%b]" % (b"0 " * 2_000_000)), "many parts"),
    Case(
        "arrays 100,000 deep",
        lambda: page_of(b"/X " + b"[" * 100_000 + b"]" * 100_000),
        "no page|damaged",
    ),
    Case(
        "a page of four square kilometres",
        lambda: page_of(b"/MediaBox [0 0 9999999 9999999]"),
        UNREADABLE,
    ),
    Case("a page of no size", lambda: page_of(b"/MediaBox [0 0 0 0]"), UNREADABLE),
    Case("a page of impossible size", lambda: page_of(b"/MediaBox [9 (x) /N 1e99]"), UNREADABLE),
    Case("a drawing that contains itself", recursion, "too much work", bomb=True),
    Case("ten to the ten drawings", explosion, "too much work", bomb=True),
    Case(
        "a page that unpacks to 2 GiB",
        unpacking_page,
        "too much",
        bomb=True,
    ),
    Case("objects that unpack to 1 GiB", packed_objects, "too much|damaged", bomb=True),
    Case(
        "a picture of 65,000 by 65,000 in a PDF",
        lambda: image_of(65_000, 65_000, bytes(1 << 20)),
        "too much|damaged|unreadable",
        bomb=True,
    ),
    Case(
        "a PNG of 65,000 by 65,000",
        lambda: png(65_000, 65_000, zlib.compress(bytes(1 << 20))),
        "60 million pixels",
        bomb=True,
    ),
    Case(
        "a PNG just too large",
        lambda: png(10_000, 6_001, zlib.compress(bytes(1251 * 6_001))),
        "60 million pixels",
    ),
    Case("a PNG that says it is 2^31 wide", lambda: png(2**31 - 1, 1, b""), "60 million|damaged"),
    Case("a PNG with 256 MiB of text", text_bomb, "damaged", bomb=True),
    Case("a JPEG of 65,500 by 65,500", lambda: tiny_jpeg(65_500, 65_500), "60 million pixels"),
]

# Other forms


def other(**changes: object) -> bytes:
    return form(replace(AWAITED, **changes))  # type: ignore[arg-type]


def forged() -> bytes:
    return form(AWAITED, b"another key" * 3)


def two_forms() -> bytes:
    file = io.BytesIO()
    with (
        pikepdf.open(io.BytesIO(form())) as pdf,
        pikepdf.open(io.BytesIO(other(document_id="another"))) as second,
    ):
        pdf.pages.extend(second.pages)
        pdf.save(file)
    return file.getvalue()


OTHER_FORMS = [
    Case(
        "the form of another lane", lambda: other(document_id="019a1b2c-another-lane"), "another c"
    ),
    Case(
        "a scan of another lane's form",
        lambda: saved(page(200, other(document_id="019a1b2c-another-lane"))),
        "belongs to another card update or another certificate",
    ),
    Case("the form before the last change", lambda: other(version=1), "this is version 1 .* 2 is"),
    Case("a form that was never printed", lambda: other(version=3), "this is version 3"),
    Case("a form with a forged code", forged, "not made by this service"),
    Case("two forms in one file", two_forms, "several different forms"),
]

CASES = [*GOOD, *OTHER_KINDS, *BROKEN, *ACTING, *BOMBS, *OTHER_FORMS]
