"""What people send: scans and photos of the form, and forms that are not the awaited one."""

import base64
import io

import pikepdf
from PIL import Image, ImageDraw

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
)
from tests.documents.corpus.case import MATCHES, UNREADABLE, Case
from tests.documents.corpus.making import (
    other,
)

WHITE = 255


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


def layered(pdf: pikepdf.Pdf) -> None:
    layer = pdf.make_indirect(pikepdf.Dictionary(Type=pikepdf.Name.OCG, Name="Over"))
    order = pikepdf.Dictionary(ON=[], OFF=[layer])
    pdf.Root.OCProperties = pikepdf.Dictionary(OCGs=[layer], D=order)


def sideways() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6  # CIPA DC-008 4.6.5: orientation
    return saved(page().rotate(90, expand=True), exif=exif)


def located() -> bytes:
    exif = Image.Exif()
    exif[0x8825] = {1: "N", 2: (52.0, 31.0, 0.0), 3: "E", 4: (13.0, 24.0, 0.0)}
    exif[0x927C] = bytes(20_000)  # the maker's own notes
    return saved(page(), exif=exif)


def deep_grey() -> bytes:
    return saved(page().convert("I").point(lambda grey: grey * 257).convert("I;16"), "PNG")


GOOD = [
    Case("the form as printed", form, MATCHES, "ISO 19005-2"),
    Case(
        "a scan at 200 dpi as PDF",
        lambda: saved(page(), "PDF", resolution=200),
        MATCHES,
        "ISO 32000-2 8.9",
    ),
    Case("a scan at 300 dpi as PNG", lambda: saved(page(300), "PNG"), MATCHES, "PNG 3rd ed. 5"),
    Case("a scan at 100 dpi as JPEG", lambda: saved(page(100)), MATCHES, "ITU T.81"),
    Case("a scan at 72 dpi", lambda: saved(page(72), quality=60), MATCHES, "ITU T.81 F.1"),
    Case("a grainy scan at 72 dpi", lambda: saved(noisy(page(72), 0.25)), MATCHES, "scanner noise"),
    Case(
        "a grainy scan at 200 dpi",
        lambda: saved(noisy(page(), 0.5), quality=50),
        MATCHES,
        "scanner noise",
    ),
    Case("a scan askew by 1.5 degrees", lambda: saved(turned(1.5)), MATCHES, "ISO 18004 6.3.3"),
    Case("a scan askew by 45 degrees", lambda: saved(turned(45)), MATCHES, "ISO 18004 6.3.3"),
    Case("a scan on its side", lambda: saved(turned(90)), MATCHES, "ISO 18004 6.3.3"),
    Case("a scan upside down", lambda: saved(turned(180), "PNG"), MATCHES, "ISO 18004 6.3.3"),
    Case(
        "a fax in black and white",
        lambda: saved(page().convert("1"), "PNG"),
        MATCHES,
        "PNG 3rd ed. 11.2.1, one bit",
    ),
    Case("a progressive JPEG", lambda: saved(page(), progressive=True), MATCHES, "ITU T.81 G"),
    Case("a CMYK JPEG", lambda: saved(page().convert("CMYK")), MATCHES, "ITU T.872"),
    Case(
        "a PNG with few colours",
        lambda: saved(page().quantize(16), "PNG"),
        MATCHES,
        "PNG 3rd ed. 11.2.2",
    ),
    Case(
        "a transparent PNG",
        lambda: saved(page().convert("RGBA"), "PNG"),
        MATCHES,
        "PNG 3rd ed. 11.3.1.1",
    ),
    Case(
        "a photo and its small copy",
        lambda: saved(page()) + saved(page(72)),
        MATCHES,
        "CIPA DC-007",
    ),
    Case("a PDF that scrolls to its page", lambda: changed(scrolls), MATCHES, "ISO 32000-2 12.3.2"),
    Case("a PDF with links", lambda: changed(links), MATCHES, "ISO 32000-2 12.6.4.8"),
    Case("a PDF with an incremental update", revised, MATCHES, "ISO 32000-2 7.5.6"),
    Case(
        "a PDF with object streams",
        lambda: changed(lambda _: None, object_stream_mode=pikepdf.ObjectStreamMode.generate),
        MATCHES,
        "ISO 32000-2 7.5.7",
    ),
    Case(
        "a form and an empty page",
        lambda: changed(lambda pdf: pdf.add_blank_page()),
        MATCHES,
        "ISO 32000-2 7.7.3",
    ),
    Case(
        "an empty sheet",
        lambda: saved(Image.new("L", (1654, 2339), WHITE)),
        UNREADABLE,
        "a code that is not there",
    ),
    Case("a form with ink over its code", lambda: saved(covered()), UNREADABLE, "ISO 18004 7.5"),
    Case(
        "a picture of another code",
        lambda: saved(with_other_code(), "PNG"),
        UNREADABLE,
        "a code that is not ours",
    ),
    Case(
        "a picture of one dot",
        lambda: saved(Image.new("L", (1, 1)), "PNG"),
        UNREADABLE,
        "PNG 3rd ed. 11.2.1",
    ),
    Case(
        "text in a font that is not in the file",
        lambda: one_page(
            stream(b"BT /F1 24 Tf 50 700 Td (signed) Tj ET"),
            b"/Font <</F1 <</Type /Font /Subtype /Type1 /BaseFont /Comic>> >>",
        ),
        UNREADABLE,
        "ISO 32000-2 9.6.2.2",
    ),
]


# Other forms


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
        "the form of another lane",
        lambda: other(document_id="019a1b2c-another-lane"),
        "another c",
        "threat T13",
    ),
    Case(
        "a scan of another lane's form",
        lambda: saved(page(200, other(document_id="019a1b2c-another-lane"))),
        "belongs to another card update or another certificate",
        "threat T13",
    ),
    Case(
        "the form before the last change",
        lambda: other(version=1),
        "this is version 1 .* 2 is",
        "threat T05",
    ),
    Case(
        "a form that was never printed", lambda: other(version=3), "this is version 3", "threat T13"
    ),
    Case("a form with a forged code", forged, "not made by this service", "threat T13, FIPS 198-1"),
    Case("two forms in one file", two_forms, "several different forms", "threat T13"),
]
