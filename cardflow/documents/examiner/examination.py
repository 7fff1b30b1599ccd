"""What a file is, found out by decoding it, not by what it is called."""

from cardflow.documents.examiner import Examined, Limits
from cardflow.documents.examiner.foreign import refuse_foreign
from cardflow.documents.examiner.image import JPEG, PNG, examine_image
from cardflow.documents.examiner.pdf import examine_pdf
from cardflow.errors import Refused

_REMEDY = "upload a PDF, a PNG or a JPEG"
_KNOWN = (
    (0, b"PK\x03\x04", "an archive or an office document: save it as PDF and upload that"),
    (4, b"ftyphei", "an HEIC photo: set the camera to 'most compatible', which makes JPEG"),
    (4, b"ftypmif", "an HEIC photo: set the camera to 'most compatible', which makes JPEG"),
    (4, b"ftyp", f"a video or a rare kind of photo: {_REMEDY}"),
    (0, b"RIFF", f"a WebP picture, sound or video: {_REMEDY}"),
    (0, b"GIF8", f"a GIF picture: {_REMEDY}"),
    (0, b"II*\0", f"a TIFF picture: {_REMEDY}"),
    (0, b"MM\0*", f"a TIFF picture: {_REMEDY}"),
    (0, b"BM", f"a BMP picture: {_REMEDY}"),
    (0, b"<", f"a web page or a drawing: {_REMEDY}"),
    (0, b"%!PS", f"PostScript: {_REMEDY}"),
    (0, b"\xd0\xcf\x11\xe0", "an office document: save it as PDF and upload that"),
    (0, b"{\\rtf", "an office document: save it as PDF and upload that"),
    (0, b"MZ", f"a program: {_REMEDY}"),
    (0, b"\x7fELF", f"a program: {_REMEDY}"),
)


def examine(data: bytes, limits: Limits) -> Examined:
    """Return what is in a PDF, PNG or JPEG; refuse everything that a scan of a form is not."""
    if data.startswith(b"%PDF-"):
        refuse_foreign(data)
        return examine_pdf(data, limits)
    if data.startswith((PNG, JPEG)):
        refuse_foreign(data)
        return examine_image(data, limits)
    raise Refused(f"the file is {_description(data)}")


def _description(data: bytes) -> str:
    if b"%PDF-" in data[:1024]:
        return f"no PDF: something stands before its beginning; {_REMEDY}"
    start = data.lstrip(b"\xef\xbb\xbf \t\r\n")
    for offset, mark, description in _KNOWN:
        if start.startswith(mark, offset):
            return description
    return f"neither PDF nor PNG nor JPEG, whatever its name; {_REMEDY}"
