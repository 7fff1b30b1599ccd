"""Texts that administrators write: plain paragraphs with a few placeholders, and nothing else.

There is no way to write a brace, markup or an expression; what is filled in is never read again.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from unicodedata import category

from cardflow.mail.letters import Text
from cardflow.model import MailKind

LONGEST_SUBJECT = 150
LONGEST_BODY = 4_000

MEANINGS = {
    "name": "the name of the person who gets the mail",
    "holder": "the card holder's name",
    "card": "the card's label",
    "link": "the address of the page that the mail is about",
    "contact": "whom to ask, as the policy says",
    "organisation": "the organisation's name",
    "certificate": "which certificate it is about",
    "form": "which form it is about",
    "reason": "the reason that was given",
    "awaited": "what is waited for",
    "expires": "the day on which the certificate expires",
    "days": "how many days are left until then",
}
ALWAYS = ("name", "holder", "card", "link", "contact", "organisation")
# Only what every mail of the kind has: a placeholder never leaves a gap.
ALSO: dict[MailKind, tuple[str, ...]] = {
    MailKind.DOCUMENT_NEEDED: ("certificate", "form"),
    MailKind.DOCUMENT_RECEIVED: ("certificate", "form"),
    MailKind.DOCUMENT_APPROVED: ("certificate",),
    MailKind.DOCUMENT_REJECTED: ("certificate", "reason"),
    MailKind.UPDATE_APPROVED: ("certificate",),
    MailKind.UPDATE_REJECTED: ("certificate", "reason"),
    MailKind.REMINDER: ("awaited",),
    MailKind.EXPIRY_WARNING: ("certificate", "expires", "days"),
}

PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
# What mail programs turn into a link: a scheme, "www.", or a name with a path behind it.
ADDRESS = re.compile(
    r"(?:[a-z][a-z0-9+.-]*:)?//\S*|\bwww\.\S+|\b[\w-]+(?:\.[\w-]+)*\.[a-z]{2,}(?::\d+)?/\S*",
    re.IGNORECASE,
)
AROUND = "([{<\"'«»„“”‚‘’>}]).,;:!?"  # what stands around an address in a sentence


@dataclass(frozen=True)
class Objection:
    """Why a text cannot be taken, and what helps."""

    field: str
    reason: str
    remedy: str


def placeholders(kind: MailKind) -> tuple[str, ...]:
    """Return the placeholders that mails of this kind can fill."""
    return (*ALWAYS, *ALSO.get(kind, ()))


def tidy(text: Text) -> Text:
    """Return the text with one kind of line break and no white space at its ends."""
    lines = text.body.replace("\r\n", "\n").strip().split("\n")
    return Text(text.subject.strip(), "\n".join(line.rstrip() for line in lines))


def objections(kind: MailKind, text: Text, public_url: str) -> list[Objection]:
    """Return every reason why mails of this kind cannot say so."""
    found: list[Objection] = []
    for field, value, longest in (
        ("subject", text.subject, LONGEST_SUBJECT),
        ("body", text.body, LONGEST_BODY),
    ):
        found += _about_size(field, value, longest)
        found += _about_signs(field, value)
        found += _about_placeholders(field, value, placeholders(kind))
        found += _about_addresses(field, value, public_url)
    return found


def _about_size(field: str, value: str, longest: int) -> Iterator[Objection]:
    if not value:
        remedy = "write one, or delete the text to return to the default"
        yield Objection(field, f"the {field} is empty", remedy)
    if over := max(0, len(value) - longest):
        yield Objection(field, f"longer than {longest} characters", f"shorten it by {over}")


def _about_signs(field: str, value: str) -> Iterator[Objection]:
    allowed = "\n" if field == "body" else ""
    bad = sorted({f"U+{ord(c):04X}" for c in value if category(c)[0] == "C" and c not in allowed})
    if bad:
        reason = f"control characters cannot be sent: {', '.join(bad[:5])}"
        remedy = "remove them; paragraphs are parted by an empty line"
        yield Objection(field, reason, remedy if field == "body" else "write one line without them")


def _about_placeholders(field: str, value: str, known: tuple[str, ...]) -> Iterator[Objection]:
    listed = "there are: " + ", ".join(f"{{{name}}}" for name in known)
    names = dict.fromkeys(PLACEHOLDER.findall(value))
    for name in [name for name in names if name not in known][:10]:
        yield Objection(field, f"{{{name[:40]}}} is no placeholder of this mail", listed)
    if re.search("[{}]", PLACEHOLDER.sub("", value)):
        yield Objection(field, "a brace has no partner: braces enclose placeholders only", listed)


def _about_addresses(field: str, value: str, public_url: str) -> Iterator[Objection]:
    # Also as it reads with every placeholder empty: nobody hides an address behind one.
    read = f"{value}\n{PLACEHOLDER.sub('', value)}"
    found = dict.fromkeys(address.strip(AROUND) for address in ADDRESS.findall(read))
    for address in [a for a in found if not is_ours(a, public_url)][:10]:
        remedy = f"write {{link}}, or an address that starts with {public_url}/"
        yield Objection(field, f"{address[:80]} leads away from {public_url}", remedy)


def is_ours(address: str, public_url: str) -> bool:
    """Tell whether an address leads to us and to nobody else."""
    rest = address.removeprefix(public_url)
    return rest != address and (not rest or rest[0] in "/?#")


def fill(text: str, values: Mapping[str, str]) -> str:
    """Return the text with its placeholders replaced; what they are replaced by is only text."""
    return PLACEHOLDER.sub(lambda found: values[found[1]], text)


def paragraphs(body: str) -> list[str]:
    """Return the body's paragraphs, each as it was broken into lines."""
    return [part.strip("\n") for part in re.split(r"\n{2,}", body) if part.strip("\n")]


def words_and_links(paragraph: str, public_url: str) -> Iterator[tuple[str, bool]]:
    """Yield the paragraph in parts; those that are our own addresses are marked."""
    for word in re.split(r"(\s+)", paragraph):
        address = word.strip(AROUND)
        if not address or not is_ours(address, public_url):
            yield word, False
            continue
        before, _, after = word.partition(address)
        yield from ((before, False), (address, True), (after, False))
