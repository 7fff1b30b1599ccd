"""PDF files that do something by themselves."""

from collections.abc import Callable

import pikepdf

from tests.documents.build import (
    changed,
    one_page,
    stream,
    written,
)
from tests.documents.corpus.case import Case


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


def elsewhere() -> bytes:
    return one_page(b"<</Length 0 /F (/etc/passwd)>>\nstream\n\nendstream")


def locked(**passwords: str) -> Callable[[], bytes]:
    encryption = pikepdf.Encryption(**({"owner": "o", "user": ""} | passwords))
    return lambda: changed(lambda _: None, encryption=encryption)


PACKED = {"object_stream_mode": pikepdf.ObjectStreamMode.generate}
SCRIPT = b"<</S /JavaScript /JS (app.alert(1))>>"


def locked_by_certificate() -> bytes:
    pages = {
        1: b"<</Type /Catalog /Pages 2 0 R>>",
        2: b"<</Type /Pages /Kids [3 0 R] /Count 1>>",
        3: b"<</Type /Page /Parent 2 0 R /MediaBox [0 0 9 9]>>",
        4: b"<</Filter /Adobe.PubSec /SubFilter /adbe.pkcs7.s5 /V 4 /Length 128>>",
    }
    return written(pages, trailer=b"/Encrypt 4 0 R /ID [(a) (b)]")


def drawn(entries: bytes) -> Callable[[], bytes]:
    """Return a PDF whose page draws a thing with these entries."""
    return lambda: one_page(
        stream(b"/X Do"), b"/XObject <</X 5 0 R>>", o5=stream(b"", b"/Type /XObject " + entries)
    )


HIDING = b"<</Subtype /Link /Rect [0 0 9 9] /A <</S /Hide /T (x)>> >>"
SWITCHING = b"<</Subtype /Link /Rect [0 0 9 9] /A <</S /SetOCGState /State []>> >>"
LINK = b"<</Subtype /Link /Rect [0 0 9 9] /A <</S /URI /URI (%b)>> >>"
FORM = b"/Subtype /Form /BBox [0 0 9 9] "
ACTING = [
    Case(
        "a note that hides another",
        on_page(HIDING),
        "changes what is shown",
        "ISO 32000-2 12.6.4.11",
    ),
    Case(
        "a link that switches layers",
        on_page(SWITCHING),
        "changes what is shown",
        "ISO 32000-2 12.6.4.13",
    ),
    Case("a program for printers", drawn(b"/Subtype /PS"), "a program", "ISO 32000-1 8.8.2"),
    Case(
        "a page of another file",
        drawn(FORM + b"/Ref <</F (x.pdf) /Page 0>>"),
        "opens or sends",
        "ISO 32000-2 8.10.4",
    ),
    Case(
        "a picture that the printer fetches",
        drawn(FORM + b"/OPI <</2.0 <</F (x)>> >>"),
        "opens or sends",
        "ISO 32000-1 14.11.7",
    ),
    Case(
        "a collection of files",
        acting("/Collection", b"<</Type /Collection>>"),
        "an attached file",
        "ISO 32000-2 12.3.5",
    ),
    Case(
        "a field that computes",
        acting("/AcroForm", b"<</Fields [<</AA <</K <</S /JavaScript /JS (1)>> >> >>]>>"),
        "a script",
        "ISO 32000-2 12.6.3",
    ),
    Case(
        "a film",
        on_page(b"<</Subtype /Screen /Rect [0 0 9 9] /A <</S /Rendition>> >>"),
        "video or 3D",
        "ISO 32000-2 12.6.4.14",
    ),
    Case("a 3D figure", on_page(b"<</Subtype /3D /Rect [0 0 9 9]>>"), "3D", "CVE-2009-4324"),
    Case(
        "a link that runs a script in a browser",
        on_page(LINK % b"javascript:alert(1)"),
        "opens or sends",
        "CWE-79, ISO 32000-2 12.6.4.8",
    ),
    Case(
        "a link to a file of this computer",
        on_page(LINK % b"file://10.0.0.1/x"),
        "opens or sends",
        "CVE-2018-4993, CWE-73",
    ),
    Case(
        "a PDF locked by certificates",
        locked_by_certificate,
        "encrypted|damaged",
        "ISO 32000-2 7.6.5",
    ),
    Case(
        "a script at opening",
        acting("/OpenAction", SCRIPT),
        "a script",
        "ISO 32000-2 12.6.4.17, CVE-2024-4367",
    ),
    Case(
        "a script by another name",
        acting("/OpenAction", b"<</S /J#61vaScript>>"),
        "a script",
        "ISO 32000-2 7.3.5",
    ),
    Case(
        "a script after a harmless action",
        acting("/OpenAction", b"<</S /GoTo /D [0 /Fit] /Next <</S /JavaScript /JS (1)>> >>"),
        "a script",
        "ISO 32000-2 12.6.2",
    ),
    Case(
        "a script in the names",
        acting("/Names", b"<</JavaScript <</Names []>> >>"),
        "a script",
        "ISO 32000-2 7.7.4",
    ),
    Case(
        "a script in an object stream",
        lambda: changed(
            lambda pdf: pdf.Root.__setitem__("/X", pdf.make_indirect(pikepdf.Object.parse(SCRIPT))),
            **PACKED,
        ),
        "a script",
        "ISO 32000-2 7.5.7",
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
        "NDSS 2021 shadow attacks",
    ),
    Case(
        "a script deep in arrays", acting("/X", b"[[[[" + SCRIPT + b"]]]]"), "a script", "CWE-184"
    ),
    Case(
        "an action at opening",
        acting("/OpenAction", b"<</S /Named /N /Print>>"),
        "by itself",
        "ISO 32000-2 12.6.4.12",
    ),
    Case(
        "an action at closing",
        acting("/AA", b"<</WC <</S /Named>> >>"),
        "by itself",
        "ISO 32000-2 12.6.3",
    ),
    Case(
        "a program to launch",
        on_page(b"<</Type /Annot /Subtype /Link /Rect [0 0 9 9] /A <</S /Launch /F (cmd.exe)>> >>"),
        "opens or sends",
        "CVE-2010-1240, ISO 32000-2 12.6.4.6",
    ),
    Case(
        "a form that sends itself",
        on_page(b"<</Type /Annot /Subtype /Link /Rect [0 0 9 9] /A <</S /SubmitForm /F (x)>> >>"),
        "opens or sends",
        "ISO 32000-2 12.7.6.2",
    ),
    Case(
        "a link into another file",
        acting("/OpenAction", b"<</S /GoToR /F (x)>>"),
        "opens",
        "CVE-2018-4993",
    ),
    Case(
        "a link into an attached file",
        acting("/OpenAction", b"<</S /GoToE>>"),
        "opens",
        "ISO 32000-2 12.6.4.4",
    ),
    Case(
        "data to import",
        acting("/X", b"<</S /ImportData /F (x.fdf)>>"),
        "opens or sends",
        "ISO 32000-2 12.7.6.4",
    ),
    Case("an attached file", lambda: changed(attached), "an attached file", "ISO 32000-2 7.11.4"),
    Case(
        "a file attached to a note",
        on_page(b"<</Type /Annot /Subtype /FileAttachment /Rect [0 0 9 9] /FS <</EF <<>> >> >>"),
        "an attached file",
        "ISO 32000-2 12.5.6.15",
    ),
    Case(
        "an XFA form",
        acting("/AcroForm", b"<</XFA (x) /Fields []>>"),
        "XFA",
        "CVE-2013-0641, XFA 3.3",
    ),
    Case(
        "a video annotation",
        on_page(b"<</Subtype /RichMedia /Rect [0 0 9 9]>>"),
        "video or 3D",
        "ISO 32000-2 13.7, CVE-2011-0611",
    ),
    Case("a sound", on_page(b"<</Subtype /Sound /Rect [0 0 9 9]>>"), "sound", "ISO 32000-2 13.3"),
    Case("a stream from another file", elsewhere, "opens or sends", "ISO 32000-2 7.3.8.2"),
    Case("a PDF with a password", locked(user="u"), "encrypted", "PDFex (CCS 2019)"),
    Case("a PDF with restrictions", locked(), "encrypted", "ISO 32000-2 7.6.4.2"),
]
