"""A mail's text: one template per kind and language, laid out as plain text and as HTML.

What an administrator wrote takes the place of a template's own words; the layout stays.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime, parseaddr
from pathlib import Path
from typing import Any
from unicodedata import category
from zoneinfo import ZoneInfo

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from cardflow.errors import Refused
from cardflow.mail import texts
from cardflow.mail.letters import Enclosure, Entry, Letter, Text
from cardflow.model import MailKind, Profile
from cardflow.settings import Settings

TEMPLATES = Path(__file__).parent / "templates"
LANGUAGES = frozenset(path.name for path in TEMPLATES.iterdir() if path.is_dir())
OPTIONS: dict[str, Any] = {
    "loader": FileSystemLoader(TEMPLATES),
    "undefined": StrictUndefined,
    "trim_blocks": True,
    "lstrip_blocks": True,
}
PLAIN = Environment(autoescape=False, **OPTIONS)  # noqa: S701 plain text stays # nosec B701
HTML = Environment(autoescape=True, **OPTIONS)
LONGEST_SUBJECT = 250  # names and labels that are filled in can be long
LAST_OF_THREAD = 8  # RFC 5322 3.6.4 lets a long thread be shortened; its first mail stays
EXTENSIONS = {"application/pdf": "pdf", "image/png": "png", "image/jpeg": "jpg"}

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Rendered:
    """What a mail says, in one language."""

    language: str
    subject: str
    text: str
    html: str


@dataclass(frozen=True)
class Composer:
    """Turns letters into messages; links go to ``public_url`` and nowhere else."""

    sender: Address
    organisation: str
    public_url: str
    default_language: str = "en"
    default_time_zone: str = "UTC"
    titles: dict[str, str] = field(default_factory=dict)  # profile -> its title

    def compose(self, letter: Letter, document: bytes | None = None) -> EmailMessage:
        """Return the message, or raise Refused when the address cannot be written to.

        ``document`` is what the letter encloses; without it the mail says where it is.
        """
        said = self.render(letter, attached=document is not None)
        message = EmailMessage()
        message["From"] = self.sender
        message["To"] = _address(letter)
        message["Subject"] = said.subject
        message["Date"] = format_datetime(letter.created_at)
        message["Message-ID"] = letter.message_id
        _thread(message, letter.earlier)
        self._explain(message, letter)
        message.set_content(said.text)
        message.add_alternative(said.html, subtype="html")
        if letter.enclosure and document is not None:
            _attach(message, letter.enclosure, document)
        message["Content-Language"] = said.language
        return message

    def _explain(self, message: EmailMessage, letter: Letter) -> None:
        """Leave what machines need to sort the mail and not to answer it."""
        message["Auto-Submitted"] = "auto-generated"  # RFC 3834 5
        message["X-Auto-Response-Suppress"] = "All"  # the same for Exchange, which has its own
        message["List-Id"] = f"Cardflow <card-updates.{self.sender.domain}>"  # RFC 2919 3
        message["X-Cardflow-Kind"] = str(letter.kind)

    def word_for_trial(self, letter: Letter) -> str:
        """Return what marks a mail as a trial, in its language."""
        word: str = _dictionary(self.language_of(letter)).trial
        return word

    def language_of(self, letter: Letter) -> str:
        """Return the language that the letter is written in."""
        return letter.language if letter.language in LANGUAGES else self.default_language

    def render(self, letter: Letter, *, attached: bool = False) -> Rendered:
        """Return what the letter says as plain text and as HTML."""
        language = self.language_of(letter)
        words = self._words(letter, language, attached=attached)
        own = self._own_text(letter, language)
        if own is None:
            subject, body = _block(f"{language}/{letter.kind}.j2", "subject", words), []
        else:
            values = {name: one_line(words[name]) for name in texts.MEANINGS}
            values["reason"] = values["reason"] or words["words"].no_reason
            subject = texts.fill(own.subject, values)
            body = [texts.fill(part, values) for part in texts.paragraphs(own.body)]
        words["subject"] = one_line(subject)[:LONGEST_SUBJECT]
        return Rendered(
            language,
            words["subject"],
            _laid_out(PLAIN, "txt", words, body),
            _laid_out(HTML, "html", words, [self._linked(part) for part in body]),
        )

    def default_text(self, kind: MailKind, language: str, *, outside: bool) -> Text:
        """Return what mails of the kind say by themselves, with placeholders where they vary."""
        names = texts.placeholders(kind)
        words = {name: f"{{{name}}}" if name in names else "" for name in texts.MEANINGS}
        told: dict[str, Any] = {
            **words,
            **dict.fromkeys(
                ("ready", "lapsed", "form_follows", "signature", "tracked", "rejected"), ""
            ),
            "outside": outside,
            "to_holder": True,
            "words": _dictionary(language),
        }
        name = f"{language}/{kind}.j2"
        lead, following = _block(name, "lead", told), _block(name, "next", told)
        return Text(_block(name, "subject", told), f"{lead}\n\n{following}")

    def _own_text(self, letter: Letter, language: str) -> Text | None:
        own = letter.texts.get(language)
        if own is None:
            return None
        # It was checked when it was saved; our address, or what mails can tell, may have changed.
        if texts.objections(MailKind(letter.kind), own, self.public_url):
            log.warning("the text of %s in %s cannot be used any more", letter.kind, language)
            return None
        return own

    def _linked(self, paragraph: str) -> Markup:
        parts = texts.words_and_links(paragraph, self.public_url)
        linked = Markup("").join(
            Markup('<a href="{0}">{0}</a>').format(part) if is_link else escape(part)
            for part, is_link in parts
        )
        return Markup("<br>\n").join(linked.split("\n"))

    def _words(self, letter: Letter, language: str, *, attached: bool) -> dict[str, Any]:
        words, facts = _dictionary(language), letter.facts
        zone = _zone(letter.time_zone or self.default_time_zone)
        enclosed = "attached" if attached else "not_attached"
        return {
            "words": words,
            "language": language,
            "organisation": self.organisation,
            "kind": letter.kind,
            "name": one_line(letter.name),
            "holder": one_line(letter.holder_name),
            "card": one_line(letter.card),
            "certificate": one_line(self.titles.get(letter.lane, letter.lane)),
            "form": words.forms.get(facts.get("form") or facts.get("kind"), ""),
            "awaited": words.awaited.get(facts.get("what"), facts.get("what", "")),
            "rejected": self._titled(facts.get("rejected", "")),
            "reason": facts.get("reason", ""),
            "expires": _said(facts.get("expires", ""), words.day, zone),
            "days": facts.get("days", ""),
            "by": one_line(facts.get("by", "")),
            "host": one_line(facts.get("host", "")),
            "system": one_line(facts.get("system", "")),
            "tracked": bool(facts.get("tracked")),
            "contact": letter.contact,
            "link": f"{self.public_url}{letter.path}",
            "place": letter.path.split("/")[1],
            "to_holder": letter.person_id == letter.holder_id,
            "ready": letter.ready,
            "lapsed": letter.lapsed,
            "form_follows": letter.form_follows,
            "signature": letter.signature,
            "outside": letter.outside,
            "enclosed": enclosed if letter.enclosure else "",
            "entries": [self._entry(entry, words, zone) for entry in letter.entries],
            "waiting": letter.waiting,
            "others": letter.waiting - len(letter.entries),
        }

    def _entry(self, entry: Entry, words: Any, zone: tzinfo) -> dict[str, str]:
        return {
            "holder_name": one_line(entry.holder_name),
            "title": one_line(self.titles.get(entry.lane, entry.lane)),
            "awaited": words.awaited.get(entry.what, entry.what),
            "since": f"{entry.since.astimezone(zone):{words.moment}}",
            "until": f"{entry.until.astimezone(zone):{words.moment}}",
            "link": f"{self.public_url}/updates/{entry.update_id}",
        }

    def _titled(self, names: str) -> str:
        return ", ".join(self.titles.get(name, name) for name in names.split(", ") if name)


def build_composer(settings: Settings, profiles: Mapping[str, Profile]) -> Composer:
    """Return the composer of this installation."""
    name, address = parseaddr(settings.mail_sender)
    return Composer(
        Address(name, addr_spec=address),
        organisation=settings.organisation,
        public_url=settings.public_url,
        default_language=settings.default_language,
        default_time_zone=settings.default_time_zone,
        titles={name: profile.title for name, profile in profiles.items()},
    )


def _dictionary(language: str) -> Any:
    return PLAIN.get_template(f"{language}/words.j2").module


def _block(name: str, block: str, words: Mapping[str, Any]) -> str:
    template = PLAIN.get_template(name)
    context = template.new_context({**words, "layout": "layout.txt.j2"})
    return "".join(template.blocks[block](context)).strip()


def _laid_out(environment: Environment, kind: str, words: dict[str, Any], body: list[Any]) -> str:
    template = environment.get_template(f"{words['language']}/{words['kind']}.j2")
    return template.render(words, layout=f"layout.{kind}.j2", paragraphs=body)


def _zone(name: str) -> tzinfo:
    """Return the zone; one that the machine does not know any more must not hold up a mail."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError):
        return UTC


def _said(instant: str, how: str, zone: tzinfo) -> str:
    return f"{datetime.fromisoformat(instant).astimezone(zone):{how}}" if instant else ""


def _thread(message: EmailMessage, earlier: tuple[str, ...]) -> None:
    """Hang the mail under those that its reader got before about the same thing."""
    if not earlier:
        return
    message["In-Reply-To"] = earlier[-1]
    message["References"] = " ".join((earlier[0], *earlier[1:][-LAST_OF_THREAD:]))


def _attach(message: EmailMessage, enclosure: Enclosure, document: bytes) -> None:
    """The file's name is ours: what an upload was called is somebody else's text."""
    main, _, sub = enclosure.media_type.partition("/")
    name = f"{enclosure.kind}.{EXTENSIONS[enclosure.media_type]}"
    message.add_attachment(document, maintype=main, subtype=sub, filename=name)


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
