"""The hands of the demo's people: a form is printed, signed with a scribble, and scanned askew."""

import io
import math
import random  # allowed: random: handwriting, not a secret
import time
from typing import Any

import pypdfium2
from PIL import Image, ImageChops, ImageDraw

_DPI = 150
_INK = (28, 42, 120)
_PAPER = (250, 249, 246)
_LABELS = ("Signature of", "Unterschrift")  # what stands under the box
_BOX_HEIGHT = 57  # PDF units from the label to the top of the box


def scan_of(pdf: bytes, *, seed: int) -> bytes:
    """Return a scan of the signed form as a one-page PDF; the same seed signs in the same way."""
    chance = random.Random(seed)  # noqa: S311 handwriting, not a secret # nosec B311
    page = pypdfium2.PdfDocument(pdf)[0]
    sheet = page.render(scale=_DPI / 72).to_pil().convert("RGB")
    _sign(sheet, _box(page), chance)
    file = io.BytesIO()
    instant = time.gmtime(seed)
    _scanned(sheet, chance).save(
        file, "PDF", resolution=_DPI, quality=80, creationDate=instant, modDate=instant
    )
    return file.getvalue()


def _box(page: Any) -> tuple[float, float, float, float]:
    """Return the signature box in pixels: left, top, right, bottom."""
    text = page.get_textpage()
    found = (
        text.search(label, match_case=True, match_whole_word=True).get_next() for label in _LABELS
    )
    start, _ = next(hit for hit in found if hit is not None)
    left, _, _, top = text.get_charbox(start)
    scale = _DPI / 72
    bottom = (page.get_height() - top) * scale
    return left * scale, bottom - _BOX_HEIGHT * scale, (left + 260) * scale, bottom


def _sign(
    sheet: Image.Image, box: tuple[float, float, float, float], chance: random.Random
) -> None:
    left, top, right, bottom = box
    width, middle, height = (right - left) * 0.6, (top + bottom) / 2, (bottom - top) * 0.3
    waves = [(chance.uniform(3, 14), chance.uniform(0, math.tau)) for _ in range(4)]

    def point(step: int) -> tuple[float, float]:
        t = step / 400
        rise = sum(math.sin(speed * t * math.tau / 2 + phase) for speed, phase in waves) / 2
        back = math.sin(waves[0][0] * t * math.tau) * width * 0.05
        return left + width * (0.1 + t) + back, middle - height * rise * (1.1 - t)

    pen = ImageDraw.Draw(sheet)
    pen.line([point(step) for step in range(401)], fill=_INK, width=3, joint="curve")


def _scanned(sheet: Image.Image, chance: random.Random) -> Image.Image:
    """Return the sheet as a scanner sees it: grey paper, a little askew, a little noisy."""
    sheet = ImageChops.multiply(sheet, Image.new("RGB", sheet.size, _PAPER))
    angle = chance.uniform(-1.2, 1.2)
    turned = sheet.rotate(angle, Image.Resampling.BILINEAR, fillcolor=_PAPER)
    grain = Image.frombytes("L", turned.size, chance.randbytes(turned.width * turned.height))
    return Image.blend(turned, grain.convert("RGB"), 0.06)
