"""The timeline of an update on paper, in the style of the forms: the same facts, the same bytes."""

import asyncio
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from cardflow.documents.font_set import FontSet

_TEMPLATES: Final = Path(__file__).parent
_STANDARDS: Final = ("a-2a", "ua-1")
_FONTS: Final = FontSet()
_WORDS: Final = {
    "start_verified": "The start was checked: this organisation signed it",
    "ca_rejected": "The CA rejected the request",
    "submitted_to_ca": "Submitted to the CA",
    "request_decided": "An officer decided on the request at the CA",
    "certificate_issued": "Certificate issued",
    "written": "Written to the card, read back and proven",
    "retired": "What was replaced was removed from the card",
    "debts_recorded": "What must go from the card was recorded",
    "debts_paid": "What was owed was removed from the card",
    "ready": "Ready to continue",
}
# Said in other columns, or of use to machines only.
_NOT_SHOWN: Final = {"document_id", "input_sha256", "spki_sha256", "cka_id", "card_id", "holder_id"}


@dataclass(frozen=True)
class Line:
    """One thing that happened."""

    number: int
    at: datetime
    kind: str
    lane: str = ""
    who: str = ""
    facts: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Sheet:
    """Everything that the timeline says."""

    organisation: str
    update_id: str
    card: str
    token_serial: str
    holder: str
    policy: str
    as_of: datetime
    lines: tuple[Line, ...]


async def render_timeline(sheet: Sheet, *, fonts: FontSet = _FONTS) -> bytes:
    """Return the timeline: PDF/A-2a and PDF/UA-1, the same bytes for the same sheet."""
    return await asyncio.to_thread(_pdf, sheet, fonts)


def _pdf(sheet: Sheet, fonts: FontSet) -> bytes:
    inputs = {"sheet": json.dumps(_content(sheet, fonts))}
    compiler = fonts.compiler(_TEMPLATES / "timeline.typ", inputs)
    instant = sheet.as_of.replace(microsecond=0)  # typst takes whole seconds
    made = compiler.compile(format="pdf", pdf_standards=list(_STANDARDS), timestamp=instant)
    if not isinstance(made, bytes):
        msg = f"typst returned {type(made).__name__}, not one file"
        raise TypeError(msg)
    return made


def _content(sheet: Sheet, fonts: FontSet) -> dict[str, Any]:
    facts = {
        "Card update": sheet.update_id,
        "Card": f"{sheet.card} ({sheet.token_serial})",
        "Card holder": sheet.holder,
        "Policy": sheet.policy,
        "As of": _instant(sheet.as_of),
    }
    return {
        "fonts": fonts.families,
        "title": "Timeline of a card update",
        "organisation": fonts.printable(sheet.organisation),
        "update": sheet.update_id,
        "facts": [[name, fonts.printable(value)] for name, value in facts.items() if value],
        "columns": ["Entry", "When (UTC)", "What", "Who", "Facts"],
        "lines": [[fonts.printable(text) for text in _line(line)] for line in sheet.lines],
    }


def _line(line: Line) -> list[str]:
    what = _WORDS.get(line.kind, line.kind.replace("_", " ").capitalize())
    facts = [
        f"{name.replace('_', ' ')}: {value}"
        for name, value in line.facts.items()
        if value and name not in _NOT_SHOWN
    ]
    where = f"{what} ({line.lane})" if line.lane else what
    return [str(line.number), _instant(line.at), where, line.who or "Cardflow", "; ".join(facts)]


def _instant(instant: datetime) -> str:
    return f"{instant.astimezone(UTC):%Y-%m-%d %H:%M:%S}"
