"""PDF files: complete, unencrypted, without anything that acts, few pages, each one rendered."""

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pikepdf
import pypdfium2

from cardflow.documents.examiner import Examined, Limits
from cardflow.documents.examiner.codes import codes_on
from cardflow.documents.examiner.image import damaged
from cardflow.errors import Refused

_SCRIPT, _FILE, _ELSEWHERE, _MEDIA, _SHOWN = (
    "a script",
    "an attached file",
    "a command that opens or sends something",
    "sound, video or 3D",
    "a command that changes what is shown",
)
_ACTIVE = {  # ISO 32000-2: 12.6 actions, 7.11 files, 13 multimedia
    "/JS": _SCRIPT,
    "/JavaScript": _SCRIPT,
    "/AA": "an action that runs by itself",
    "/OpenAction": "an action that runs by itself",
    "/XFA": "an interactive XFA form",
    "/EF": _FILE,
    "/EmbeddedFile": _FILE,
    "/EmbeddedFiles": _FILE,
    "/Collection": _FILE,
    "/Launch": _ELSEWHERE,
    "/SubmitForm": _ELSEWHERE,
    "/ImportData": _ELSEWHERE,
    "/GoToR": _ELSEWHERE,
    "/GoToE": _ELSEWHERE,
    "/RichMedia": _MEDIA,
    "/Rendition": _MEDIA,
    "/Movie": _MEDIA,
    "/Sound": _MEDIA,
    "/3D": _MEDIA,
}
_ACTIVE_KINDS = _ACTIVE | {
    "/Hide": _SHOWN,
    "/SetOCGState": _SHOWN,
    "/PS": "a program for printers",  # ISO 32000-1 8.8.2
}
_FROM_ELSEWHERE = {  # ISO 32000-2 7.3.8.2 and 8.10.4, ISO 32000-1 14.11.7
    "/F",
    "/Ref",
    "/OPI",
}
_SAFE_LINK = re.compile(r"\s*(https?|mailto|tel):", re.IGNORECASE)
_KINDS = {"/S", "/Type", "/Subtype"}
_DENSITY = 200 / 72  # dots per inch over PDF units per inch
_LARGEST = 8_000_000  # pixels that a page is rendered to, whatever its paper size
_NODES_PER_OBJECT = 20


def _find_chance() -> None:
    """Have qpdf open the system's source of chance, which it wants before it reads some files."""
    pdf = pikepdf.new()
    pdf.Root.X = pikepdf.String("x")
    pdf.save(io.BytesIO(), encryption=pikepdf.Encryption(owner="", user="", R=4))


_find_chance()  # at once: a confined process could not open it


def examine_pdf(data: bytes, limits: Limits) -> Examined:
    """Return what is in a PDF whose every page was rendered and in which nothing acts."""
    _refuse_unless_ended(data)
    with _opened(data) as pdf:
        _refuse_by_size(pdf, limits)
        parts = _Parts(limits.max_objects * _NODES_PER_OBJECT)
        parts.walk(pdf)
        pages = len(pdf.pages)
    if parts.active:
        raise Refused(
            f"the PDF contains {' and '.join(sorted(parts.active))}, which a signed form does not"
            " need; print it and scan the paper"
        )
    return Examined("application/pdf", pages, _codes(data, pages), parts.notes())


def _refuse_unless_ended(data: bytes) -> None:
    end = data.rfind(b"%%EOF")
    if end < 0:
        raise damaged("PDF")
    if data[end + 5 :].strip(b"\0\r\n\t "):
        raise Refused("something follows the end of the PDF; save or scan it again and upload that")


def _opened(data: bytes) -> pikepdf.Pdf:
    try:
        # Repairing would show us another document than the one that others see.
        pdf = pikepdf.open(io.BytesIO(data), attempt_recovery=False, inherit_page_attributes=False)
    except pikepdf.PasswordError:
        raise _encrypted() from None
    except pikepdf.PdfError as error:
        raise damaged("PDF") from error
    if pdf.is_encrypted:
        raise _encrypted()
    return pdf


def _encrypted() -> Refused:
    return Refused("the PDF is encrypted; save it without a password or restrictions")


def _refuse_by_size(pdf: pikepdf.Pdf, limits: Limits) -> None:
    if len(pdf.objects) > limits.max_objects:
        raise _too_complex()
    try:
        _refuse_by_pages(int(pdf.Root.Pages.Count), limits)
        _refuse_by_pages(len(pdf.pages), limits)
    except (AttributeError, TypeError, ValueError, pikepdf.PdfError) as error:
        raise damaged("PDF") from error
    if len(pdf.pages) == 0:
        raise Refused("the PDF has no page; scan the form again and upload that")


def _refuse_by_pages(pages: int, limits: Limits) -> None:
    if pages > limits.max_pages:
        raise Refused(
            f"the PDF has {pages} pages, and at most {limits.max_pages} are accepted;"
            " upload only the signed form"
        )


def _too_complex() -> Refused:
    return Refused("the PDF has too many parts for a form; print it and scan the paper")


@dataclass
class _Parts:
    """What all objects of a PDF contain, reachable from a page or not."""

    left: int
    active: set[str] = field(default_factory=set)
    has_links: bool = False
    has_layers: bool = False

    def notes(self) -> list[str]:
        """Return what a person who checks the document should know."""
        found = ["the PDF contains links to other places"] if self.has_links else []
        if self.has_layers:
            found.append("the PDF has layers: another program may show or hide parts of it")
        return found

    def walk(self, pdf: pikepdf.Pdf) -> None:
        for each in pdf.objects:
            waiting: list[Any] = [each]
            while waiting:
                waiting.extend(self._inner(waiting.pop()))

    def _inner(self, part: Any) -> Iterator[Any]:
        if isinstance(part, pikepdf.Array):
            self._count(len(part))
            yield from filter(_is_container, part)
        elif isinstance(part, pikepdf.Dictionary | pikepdf.Stream):
            self._count(len(part.keys()))
            for key, value in part.items():
                self._note(part, key, value)
                if _is_container(value):
                    yield value

    def _count(self, parts: int) -> None:
        self.left -= parts
        if self.left < 0:
            raise _too_complex()

    def _note(self, part: Any, key: str, value: Any) -> None:
        kind = str(value) if key in _KINDS and isinstance(value, pikepdf.Name) else ""
        self.has_links |= kind == "/URI"
        self.has_layers |= key == "/OCProperties"
        if _leads_elsewhere(part, key, value):
            self.active.add(_ELSEWHERE)
        elif key in _ACTIVE and not _is_destination(key, value):
            self.active.add(_ACTIVE[key])
        elif kind in _ACTIVE_KINDS:
            self.active.add(_ACTIVE_KINDS[kind])


def _leads_elsewhere(part: Any, key: str, value: Any) -> bool:
    """Tell whether data are in another file, or a link leads to what is no page, mail or call."""
    if isinstance(part, pikepdf.Stream):
        return key in _FROM_ELSEWHERE
    return key == "/URI" and isinstance(value, pikepdf.String) and not _is_safe_link(value)


def _is_safe_link(value: pikepdf.String) -> bool:
    return bool(_SAFE_LINK.match(str(value)))


def _is_container(value: Any) -> bool:
    """Tell whether a value has parts that are not objects of their own."""
    return isinstance(value, pikepdf.Array | pikepdf.Dictionary) and not value.is_indirect


def _is_destination(key: str, value: Any) -> bool:
    """Tell whether opening the file only scrolls to a page, as office programs have it do."""
    if key != "/OpenAction":
        return False
    if isinstance(value, pikepdf.Dictionary):
        return value.get("/S") == pikepdf.Name("/GoTo")
    return isinstance(value, pikepdf.Array)


def _codes(data: bytes, pages: int) -> list[str]:
    try:
        pdf = pypdfium2.PdfDocument(data)
        # Two readers that count differently would show two documents.
        if len(pdf) != pages:
            raise damaged("PDF")
        return [code for page in pdf for code in codes_on(_rendered(page))]
    except pypdfium2.PdfiumError as error:
        raise damaged("PDF") from error


def _rendered(page: Any) -> Any:
    width, height = page.get_size()
    scale = min(_DENSITY, (_LARGEST / max(width * height, 1)) ** 0.5)
    return page.render(scale=scale, grayscale=True, may_draw_forms=False).to_pil()
