"""The forms that people sign, made from data alone: the same data gives the same bytes for ever."""

import asyncio
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cardflow.documents import qr
from cardflow.documents.font_set import FontSet
from cardflow.documents.qr import DocumentIdentity
from cardflow.documents.texts import TEXTS
from cardflow.jobs import SignatureBox
from cardflow.model import FormSignature

if TYPE_CHECKING:
    import typst

_TEMPLATES: Final = Path(__file__).parent
_STANDARDS: Final = ("a-2a", "ua-1")
_PAGE_HEIGHT: Final = 841.89  # A4 in points; typst counts from the top, PDF from the bottom
_FONTS: Final = FontSet()


@dataclass(frozen=True)
class CertificateFacts:
    """What a certificate form says of the certificate."""

    serial_number: str  # hex
    issuer: str
    not_before: datetime
    not_after: datetime


@dataclass(frozen=True)
class FormData:
    """Everything a form says; empty optional facts are left out."""

    identity: DocumentIdentity
    code: str  # what ``qr.make`` returned for the identity
    update_id: str
    organisation: str
    holder_name: str
    profile: str  # the profile's title
    subject: str  # RFC 4514
    key_type: str
    spki_sha256: str  # hex
    policy_name: str
    policy_version: int
    requested_at: datetime
    contact: str
    portal: str = ""  # where the signed form is uploaded; empty: it comes back outside the portal
    holder_email: str = ""
    card: str = ""  # what is printed on the card, or its serial
    statement: str = ""  # the organisation's own declaration; empty: ours
    certificate: CertificateFacts | None = None
    language: str = "en"
    signature: FormSignature = FormSignature.PAPER


async def render_request_form(data: FormData, *, fonts: FontSet = _FONTS) -> bytes:
    """Return the request form: PDF/A-2a and PDF/UA-1, the same bytes for the same data."""
    return await asyncio.to_thread(_Form(data, "request", fonts).pdf)


async def render_certificate_form(data: FormData, *, fonts: FontSet = _FONTS) -> bytes:
    """Return the certificate form: PDF/A-2a and PDF/UA-1, the same bytes for the same data."""
    return await asyncio.to_thread(_Form(data, "certificate", fonts).pdf)


async def signature_box(data: FormData, *, fonts: FontSet = _FONTS) -> SignatureBox:
    """Return where the form for ``data`` is signed, for a signature that is not by hand."""
    kind = "certificate" if data.certificate else "request"
    return await asyncio.to_thread(_Form(data, kind, fonts).signature_box)


class _Form:
    def __init__(self, data: FormData, kind: str, fonts: FontSet) -> None:
        self._data, self._kind, self._fonts = data, kind, fonts
        self._texts = TEXTS[data.language]

    def pdf(self) -> bytes:
        instant = self._data.requested_at.replace(microsecond=0)  # typst takes whole seconds
        made = self._compiler().compile(
            format="pdf", pdf_standards=list(_STANDARDS), timestamp=instant
        )
        if not isinstance(made, bytes):
            msg = f"typst returned {type(made).__name__}, not one file"
            raise TypeError(msg)
        return made

    def signature_box(self) -> SignatureBox:
        compiler = self._compiler()
        start, end = (
            json.loads(compiler.query(f"<signature-{corner}>", field="value", one=True))
            for corner in ("from", "to")
        )
        return SignatureBox(
            page=start["page"] - 1,
            left=round(start["x"]),
            bottom=round(_PAGE_HEIGHT - end["y"]),
            right=round(end["x"]),
            top=round(_PAGE_HEIGHT - start["y"]),
        )

    def _compiler(self) -> "typst.Compiler":
        inputs = {"form": json.dumps(self._content())}
        return self._fonts.compiler(_TEMPLATES / "form.typ", inputs)

    def _content(self) -> dict[str, Any]:
        texts, data = self._texts, self._data
        return {
            "language": data.language,
            "fonts": self._fonts.families,
            "title": texts[f"{self._kind}_title"],
            "organisation": self._shown(data.organisation),
            "profile": self._shown(data.profile),
            "document": data.identity.document_id,
            "code": self._code(),
            "parts": [self._holder(), self._certificate()],
            "declaration": {
                "title": texts["declaration"],
                "paragraphs": self._lines(data.statement or texts[f"{self._kind}_statement"]),
            },
            "signing": {"place": texts["place_and_date"], "signature": texts["signature"]},
            "next": {"title": texts["next"], "steps": self._steps()},
            "contact": self._questions(),
            "footer": self._footer(),
        }

    def _code(self) -> dict[str, str]:
        identity = self._data.identity
        return {
            "svg": qr.svg(self._data.code),
            "alt": self._texts["code"].format(id=identity.document_id, version=identity.version),
            "note": self._texts["code_note"],
        }

    def _holder(self) -> dict[str, Any]:
        data = self._data
        rows = [
            self._row("name", data.holder_name),
            self._row("email", data.holder_email),
            self._row("card", data.card),
        ]
        return self._part("holder", rows)

    def _certificate(self) -> dict[str, Any]:
        data, texts = self._data, self._texts
        policy = texts["policy_version"].format(name=data.policy_name, version=data.policy_version)
        rows = [
            self._row("subject", data.subject),
            *self._issued(),
            self._row("key_type", data.key_type),
            self._row("fingerprint", _grouped(data.spki_sha256), mono=True),
            self._row("policy", policy),
            self._row("requested_at", self._instant(data.requested_at)),
        ]
        return self._part("issued" if self._kind == "certificate" else "requested", rows)

    def _issued(self) -> list[dict[str, Any]]:
        if self._kind != "certificate":
            return []
        facts = self._data.certificate
        if facts is None:
            msg = "a certificate form needs the facts of the certificate"
            raise ValueError(msg)
        return [
            self._row("serial_number", _grouped(facts.serial_number), mono=True),
            self._row("issuer", facts.issuer),
            self._row("not_before", self._instant(facts.not_before)),
            self._row("not_after", self._instant(facts.not_after)),
        ]

    def _steps(self) -> list[str]:
        texts, data = self._texts, self._data
        if not data.portal:
            back = texts["step_hand_in"].format(contact=data.contact)
            return [texts["step_sign"], self._shown(back)]
        upload = self._shown(texts["step_upload"].format(portal=data.portal))
        by_hand = [texts["step_sign"], texts["step_scan"], upload]
        match data.signature:
            case FormSignature.PAPER:
                return by_hand
            case FormSignature.ELECTRONIC:
                return [self._shown(texts["step_card"].format(portal=data.portal))]
            case FormSignature.EITHER:
                return [*by_hand, self._shown(texts["step_or_card"].format(portal=data.portal))]

    def _questions(self) -> list[str]:
        if not self._data.portal:
            return []  # the last step has said it
        return self._lines(self._texts["questions"].format(contact=self._data.contact))

    def _footer(self) -> dict[str, str]:
        texts, identity = self._texts, self._data.identity
        name = f"{identity.document_id}, {texts['version']} {identity.version}"
        return {
            "document": f"{texts['document']} {name}",
            "update": f"{texts['update']} {self._data.update_id}",
            "page": texts["page"],
        }

    def _part(self, title: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
        return {"title": self._texts[title], "rows": [row for row in rows if row["value"]]}

    def _row(self, label: str, value: str, *, mono: bool = False) -> dict[str, Any]:
        return {"label": self._texts[label], "value": self._shown(value), "mono": mono}

    def _instant(self, instant: datetime) -> str:
        utc = instant.astimezone(UTC)
        month = self._texts["months"].split()[utc.month - 1]
        return self._texts["instant"].format(
            day=utc.day, month=month, year=utc.year, time=f"{utc:%H:%M}"
        )

    def _lines(self, text: str) -> list[str]:
        return [self._shown(line.strip()) for line in text.splitlines() if line.strip()]

    def _shown(self, value: str) -> str:
        return self._fonts.printable(value)


def _grouped(digits: str) -> str:
    """Return hex digits in fours, as people compare them."""
    upper = digits.upper()
    return " ".join(upper[start : start + 4] for start in range(0, len(upper), 4))
