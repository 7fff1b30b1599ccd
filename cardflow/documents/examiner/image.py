"""Photos and scans: PNG and JPEG, decoded to the last pixel and nothing after it."""

import io
import struct
import warnings

from PIL import Image, MpoImagePlugin, TiffImagePlugin

from cardflow.documents.examiner import Examined, Limits
from cardflow.documents.examiner.codes import codes_on
from cardflow.errors import Refused

PNG = b"\x89PNG\r\n\x1a\n"
JPEG = b"\xff\xd8\xff"
_LOADED_EARLY = (MpoImagePlugin, TiffImagePlugin)  # a confined process can load nothing
_STANDALONE = {0x01, *range(0xD0, 0xD8)}  # JPEG markers without a length, ITU T.81 B.1.1.3
_END = 0xD9
_CRITICAL = (b"IHDR", b"PLTE", b"IDAT", b"IEND")

Image.preinit()


def examine_image(data: bytes, limits: Limits) -> Examined:
    """Return what is in a photo; refuse what is too large, damaged, moving or followed by more."""
    is_png = data.startswith(PNG)
    end = _png_end(data) if is_png else _jpeg_end(data)
    if data[end:].strip(b"\0\r\n "):
        raise Refused(
            "something follows the picture in this file, such as a moving picture or another file;"
            " take it again as a plain photo or scan it"
        )
    picture = _decoded(data, limits)
    return Examined("image/png" if is_png else "image/jpeg", 1, codes_on(picture))


def _decoded(data: bytes, limits: Limits) -> Image.Image:
    Image.MAX_IMAGE_PIXELS = limits.max_pixels
    warnings.simplefilter("error", Image.DecompressionBombWarning)
    try:
        with Image.open(io.BytesIO(data), formats=("PNG", "JPEG")) as picture:
            _refuse_by_header(picture, limits)
            picture.verify()
        with Image.open(io.BytesIO(data), formats=("PNG", "JPEG")) as picture:
            return picture.convert("L")
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise _too_large(limits) from None
    except (OSError, SyntaxError, ValueError, struct.error, EOFError) as error:
        if getattr(error, "errno", None):
            raise  # the system's no, not Pillow's
        raise damaged("picture") from error


def _refuse_by_header(picture: Image.Image, limits: Limits) -> None:
    if picture.width * picture.height > limits.max_pixels:
        raise _too_large(limits)
    if picture.format == "PNG" and getattr(picture, "n_frames", 1) > 1:
        raise Refused("the picture moves; a form is one still picture: scan it")


def _too_large(limits: Limits) -> Refused:
    return Refused(
        f"the picture has more than {limits.max_pixels // 1_000_000} million pixels;"
        " scan it at 200 to 300 dots per inch"
    )


def damaged(what: str) -> Refused:
    """Return the refusal of a file that breaks off or contradicts itself."""
    return Refused(f"the {what} is damaged or broken off; scan the form again and upload that")


def _png_end(data: bytes) -> int:
    """Return where the IEND chunk ends (PNG 3rd edition, 5.6).

    What a decoder cannot do without it must know (14.2), or it shows another picture.
    """
    at = len(PNG)
    while at + 12 <= len(data):
        name = data[at + 4 : at + 8]
        if name[:1].isupper() and name not in _CRITICAL:
            raise damaged("picture")
        at += 12 + int.from_bytes(data[at : at + 4])
        if name == b"IEND":
            return at
    raise damaged("picture")


def _jpeg_end(data: bytes) -> int:
    """Return where the last JPEG in a row of them ends.

    Phones append smaller copies and brightness maps of the same photo as further JPEGs (CIPA
    DC-007); those are pictures too.
    """
    at = 0
    while data.startswith(JPEG, at):
        at = _one_jpeg_end(data, at + 2)
    return at


def _one_jpeg_end(data: bytes, at: int) -> int:
    while True:
        at = data.find(b"\xff", at)
        if at < 0 or at + 2 > len(data):
            raise damaged("picture")
        marker = data[at + 1]
        if marker == _END:
            return at + 2
        if marker == 0xFF:  # noqa: PLR2004 - a fill byte before a marker
            at += 1
        elif marker in _STANDALONE or marker == 0:
            at += 2
        elif at + 4 > len(data):
            raise damaged("picture")
        else:
            at += 2 + int.from_bytes(data[at + 2 : at + 4])
