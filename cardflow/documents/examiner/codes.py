"""Finding the form's code on a page that was printed, signed, bent and scanned."""

from collections.abc import Iterator

from PIL import Image

from cardflow.documents.qr import looks_like_ours, read_from_image

_COARSE = 2_500_000  # pixels: an A4 page at 150 dpi has 2.2 million


def codes_on(page: Image.Image) -> list[str]:
    """Return the codes on a page in shades of grey; looks twice when none of ours is found."""
    found: list[str] = []
    for view in _views(page):
        found = read_from_image(view)
        if any(map(looks_like_ours, found)):
            break
    return found


def _views(page: Image.Image) -> Iterator[Image.Image]:
    yield page
    if page.width * page.height < _COARSE:  # blurred: more dots to tell the modules apart
        yield page.resize((page.width * 2, page.height * 2), Image.Resampling.BICUBIC)
    else:  # grainy: fewer dots to even out the grain
        yield page.reduce(2)
