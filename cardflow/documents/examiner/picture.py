"""A page of a document: its number and a size are told, one file in, one PNG out.

A PNG that does not come to its end is no picture: the reader sees by its last chunk.
"""

import io
import struct
import sys
import warnings

import pypdfium2
from PIL import Image, ImageOps, MpoImagePlugin, TiffImagePlugin

from cardflow.documents.examiner import PICTURE_BYTES, READY, Limits
from cardflow.documents.examiner.confinement import confine, say

_LOADED_EARLY = (MpoImagePlugin, TiffImagePlugin)  # a confined process can load nothing
_DENSITY = 200 / 72  # dots per inch over PDF units per inch
_DAMAGE = (pypdfium2.PdfiumError, OSError, ValueError, SyntaxError, struct.error, IndexError)

Image.preinit()


def main(limits: Limits, number: str, most_pixels: str) -> None:
    """Answer ``ready``, then the page as a PNG; nothing when it cannot be shown."""
    data = sys.stdin.buffer.read()
    warnings.simplefilter("ignore", Image.DecompressionBombWarning)
    confine(limits, PICTURE_BYTES)
    say(READY)
    try:
        say(picture_of(data, int(number), int(most_pixels), limits))
    except (*_DAMAGE, MemoryError):
        return


def picture_of(data: bytes, number: int, most_pixels: int, limits: Limits) -> bytes:
    """Return page ``number`` of a PDF, or a picture, as a PNG of no more than so many pixels."""
    is_pdf = data.startswith(b"%PDF-")
    page = _rendered(data, number, most_pixels) if is_pdf else _decoded(data, most_pixels, limits)
    made = io.BytesIO()
    page.convert("RGB").save(made, "PNG", compress_level=6)
    return made.getvalue()


def _rendered(data: bytes, number: int, most_pixels: int) -> Image.Image:
    page = pypdfium2.PdfDocument(data)[number - 1]
    width, height = page.get_size()
    scale = min(_DENSITY, (most_pixels / max(width * height, 1)) ** 0.5)
    shown: Image.Image = page.render(scale=scale).to_pil()
    return shown


def _decoded(data: bytes, most_pixels: int, limits: Limits) -> Image.Image:
    Image.MAX_IMAGE_PIXELS = limits.max_pixels
    with Image.open(io.BytesIO(data), formats=("PNG", "JPEG")) as picture:
        factor = min(1.0, (most_pixels / max(picture.width * picture.height, 1)) ** 0.5)
        size = max(1, int(picture.width * factor)), max(1, int(picture.height * factor))
        picture.draft("RGB", size)
        small = picture.convert("RGB").resize(size, Image.Resampling.LANCZOS)
        return ImageOps.exif_transpose(small)
