"""Documents as pictures: what a person looks at is never the file that somebody sent."""

import asyncio
from enum import StrEnum

from cardflow.documents.confined import said_by
from cardflow.documents.examiner import READY, Limits
from cardflow.errors import Refused

_END = b"IEND\xaeB`\x82\n"  # PNG 3rd edition, 11.2.5, and the line's end
_AT_ONCE = asyncio.Semaphore(2)  # each takes a core for a while; others wait their turn
SHOWN = ("application/pdf", "image/png", "image/jpeg")


class Size(StrEnum):
    """How large a picture of a page is."""

    PAGE = "page"  # to be read beside another one
    FULL = "full"  # 200 dots per inch


PIXELS = {Size.PAGE: 1_400_000, Size.FULL: 8_000_000}


async def picture_of(
    data: bytes, number: int, size: Size = Size.PAGE, limits: Limits = Limits()
) -> bytes:
    """Return page ``number`` of a document as a PNG; refuse what cannot be shown."""
    async with _AT_ONCE:
        said = await said_by("picture", data, limits, str(number), str(PIXELS[size]))
    ready, _, png = said.partition(b"\n")
    if ready != READY:
        msg = "the painter of documents does not start"
        raise RuntimeError(msg)
    if not png.endswith(_END):
        raise Refused("this page cannot be shown as a picture; download the document instead")
    return png[:-1]


def pages_of(form: bytes) -> int:
    """Return how many pages a form that we made ourselves has."""
    import pypdfium2  # 4 MiB, and only who prints forms needs it

    return len(pypdfium2.PdfDocument(form))
