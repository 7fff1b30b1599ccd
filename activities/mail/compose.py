"""A mail's text: one template per kind and language, laid out as plain text and as HTML."""

from dataclasses import dataclass, field
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime
from pathlib import Path
from typing import Any
from unicodedata import category

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from cardflow.db.mail_queue import Letter
from cardflow.errors import Refused
from cardflow.lifecycle import form_signature
from cardflow.model import (
    DocumentExchange,
    DocumentKind,
    Event,
    FormSignature,
    LanePlan,
    Mode,
)

TEMPLATES = Path(__file__).parent / "templates"
LANGUAGES = frozenset(path.name for path in TEMPLATES.iterdir() if path.is_dir())
OPTIONS: dict[str, Any] = {
    "loader": FileSystemLoader(TEMPLATES),
    "undefined": StrictUndefined,
    "trim_blocks": True,
    "lstrip_blocks": True,
}
PLAIN = Environment(autoescape=False, **OPTIONS)  # noqa: S701 plain text is not interpreted
HTML = Environment(autoescape=True, **OPTIONS)


@dataclass(frozen=True)
class Composer:
    """Turns letters into messages; links go to ``public_url`` and nowhere else."""

    sender: Address
    organisation: str
    public_url: str
    default_language: str = "en"
    titles: dict[str, str] = field(default_factory=dict)  # profile -> its title

    def compose(self, letter: Letter) -> EmailMessage:
        """Return the message, or raise Refused when the address cannot be written to."""
        language = letter.language if letter.language in LANGUAGES else self.default_language
        name = f"{language}/{letter.kind}.j2"
        words = self._words(letter, language)
        message = EmailMessage()
        message["From"] = self.sender
        message["To"] = _address(letter)
        message["Subject"] = _subject(name, words)
        message["Date"] = format_datetime(letter.created_at)
        message["Message-ID"] = letter.message_id
        message["References"] = f"<{letter.update.update_id}@{self.sender.domain}>"
        message["Auto-Submitted"] = "auto-generated"  # RFC 3834 5
        message.set_content(PLAIN.get_template(name).render(words, layout="layout.txt.j2"))
        html = HTML.get_template(name).render(words, layout="layout.html.j2")
        message.add_alternative(html, subtype="html")
        message["Content-Language"] = language
        return message

    def _words(self, letter: Letter, language: str) -> dict[str, Any]:
        update, event = letter.update, letter.event
        plan = next((plan for plan in update.plan.lanes if plan.lane == event.lane), None)
        return {
            "language": language,
            "organisation": self.organisation,
            "name": one_line(letter.name),
            "holder": one_line(letter.holder_name),
            "card": one_line(update.token_label) or update.token_serial,
            "kind": letter.kind,
            "event": event,
            "certificate": self.titles.get(event.lane, event.lane),
            "rejected": self._titled(event.facts.get("rejected", "")),
            "reason": event.facts.get("reason", ""),
            "form_follows": _form_follows(plan),
            "signature": _signature(plan, event),
            "outside": update.policy.document_exchange is DocumentExchange.OUTSIDE,
            "contact": update.policy.contact,
            "link": f"{self.public_url}/updates/{update.update_id}",
            "to_holder": letter.person_id == update.holder_id,
        }

    def _titled(self, names: str) -> str:
        return ", ".join(self.titles.get(name, name) for name in names.split(", ") if name)


def _form_follows(plan: LanePlan | None) -> bool:
    return plan is not None and plan.mode in (Mode.CERTIFICATE_FORM, Mode.BOTH)


def _signature(plan: LanePlan | None, event: Event) -> FormSignature:
    """Return how the form that the mail is about may be signed."""
    kind = DocumentKind(event.facts.get("form", DocumentKind.CERTIFICATE_FORM))
    return form_signature(plan, kind) if plan else FormSignature.PAPER


def _subject(name: str, words: dict[str, Any]) -> str:
    template = PLAIN.get_template(name)
    context = template.new_context({**words, "layout": "layout.txt.j2"})
    return one_line("".join(template.blocks["subject"](context)))


def _address(letter: Letter) -> Address:
    try:
        address = Address(one_line(letter.name), addr_spec=letter.address)
    except (MessageError, ValueError, IndexError) as error:
        raise Refused("the person's e-mail address cannot be written to") from error
    if not (address.username and address.domain):
        raise Refused("the person has no complete e-mail address")
    return address


def one_line(text: str) -> str:
    """Return the text without line breaks and other control characters, for use in headers."""
    return " ".join("".join(" " if category(c)[0] in "CZ" else c for c in text).split())
