"""Documents as pictures: small enough, the right way up, and no file is shown as it came."""

import io
from dataclasses import replace

import pytest
from PIL import Image

from cardflow.documents.examiner import Limits
from cardflow.documents.pictures import PIXELS, Size, pages_of, picture_of
from cardflow.errors import Refused
from tests.documents.build import form, page, saved

LIMITS = Limits(wall_seconds=60)


async def shown(data: bytes, number: int = 1, size: Size = Size.PAGE, **limits) -> Image.Image:
    picture = Image.open(
        io.BytesIO(await picture_of(data, number, size, replace(LIMITS, **limits)))
    )
    picture.load()
    return picture


async def test_a_page_of_a_pdf_is_a_png_to_be_read_or_to_be_looked_at_closely():
    read, close = await shown(form()), await shown(form(), size=Size.FULL)

    assert read.format == close.format == "PNG"
    assert read.size == (995, 1408)
    assert close.size == (1654, 2339)  # A4 at 200 dots per inch


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
async def test_a_photo_is_shown_within_its_size(kind):
    picture = await shown(saved(page(300), kind))

    assert picture.width * picture.height <= PIXELS[Size.PAGE]


async def test_a_photo_that_was_taken_sideways_is_shown_upright():
    exif = Image.Exif()
    exif[0x0112] = 6  # Exif 2.32, 4.6.4: turn by 90 degrees to show it
    sideways, data = Image.new("RGB", (300, 100), "white"), io.BytesIO()
    sideways.save(data, "JPEG", exif=exif)

    assert (await shown(data.getvalue())).size == (100, 300)


async def test_a_small_picture_is_not_blown_up():
    assert (await shown(saved(Image.new("RGB", (30, 20)), "PNG"))).size == (30, 20)


@pytest.mark.parametrize(
    ("data", "number", "limits"),
    [
        (form(), 2, {}),
        (form()[:2000], 1, {}),
        (b"%PDF-1.7 nothing", 1, {}),
        (saved(Image.new("RGB", (7000, 7000)), "PNG"), 1, {"memory_bytes": 160 * 1024 * 1024}),
        (saved(Image.new("RGB", (300, 300)), "PNG"), 1, {"max_pixels": 1_000}),
    ],
    ids=["no such page", "broken off", "no pdf", "too much memory", "too many pixels"],
)
async def test_what_cannot_be_shown_is_refused(data, number, limits):
    with pytest.raises(Refused, match="download the document instead"):
        await shown(data, number, **limits)


async def test_a_painter_that_cannot_start_is_a_fault_of_ours():
    with pytest.raises(RuntimeError, match="does not start"):
        await shown(form(), cpu_seconds="none")


def test_the_pages_of_a_form_are_counted():
    assert pages_of(form()) == 1
