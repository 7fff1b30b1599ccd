"""What administrators wrote takes the place of our words: in every kind, language and form."""

import re
from dataclasses import replace
from email import message_from_bytes, policy
from itertools import product

import pytest

from cardflow.mail.compose import LANGUAGES
from cardflow.mail.letters import Enclosure, Entry, Text
from cardflow.mail.samples import sample_letter
from cardflow.mail.texts import MEANINGS, placeholders
from cardflow.model import MailKind
from tests.mail.test_compose import COMPOSER, NOW, UPDATE, a_letter, html_of, text_of

EVERYTHING = list(product(MailKind, sorted(LANGUAGES)))
LINK = f"https://cards.example.org/updates/{UPDATE.update_id}"


def saying(kind, body, *, subject="Our subject", language="en", **changes):
    return a_letter(kind, language=language, texts={language: Text(subject, body)}, **changes)


@pytest.mark.parametrize(("kind", "language"), EVERYTHING)
def test_a_text_of_ones_own_replaces_ours_in_every_kind_and_language(kind, language):
    body = "First of all.\n\n" + "; ".join(f"{name}={{{name}}}" for name in placeholders(kind))
    letter = saying(kind, body, subject="About {card}", language=language)

    message = COMPOSER.compose(letter)

    assert message["Subject"] == "About Ada's card"
    text = message.get_body(("plain",)).get_content()
    filled = text.split("First of all.\n\n")[1].split("\n\n")[0]
    assert re.fullmatch("; ".join(f"{name}=.+?" for name in placeholders(kind)), filled)
    assert "{" not in text + message.get_body(("html",)).get_content().split("</style>")[1]
    default = COMPOSER.compose(a_letter(kind, language=language)).get_body(("plain",)).get_content()
    assert default.split("\n\n")[1] not in text


@pytest.mark.parametrize(("kind", "language"), EVERYTHING)
def test_the_default_text_saved_as_it_is_says_the_same_and_is_accepted(kind, language):
    default = COMPOSER.default_text(kind, language, outside=False)

    assert set(re.findall(r"\{(\w+)\}", default.body)) <= set(placeholders(kind))
    letter = a_letter(kind, language=language, texts={language: default})
    assert COMPOSER.compose(letter)["Subject"] == default.subject
    assert "None" not in text_of(letter)


@pytest.mark.parametrize(("kind", "language"), EVERYTHING)
def test_a_sample_of_every_kind_can_be_shown_with_and_without_a_text(kind, language):
    body = " ".join(f"[{{{name}}}]" for name in placeholders(kind))
    for text in (None, Text("Own", body)):
        said = COMPOSER.render(sample_letter(kind, language, UPDATE.policy, text, NOW))
        assert "[]" not in said.text
        assert said.text.startswith(("Hello", "Guten Tag"))
        assert said.subject == ("Own" if text else said.subject)


def test_a_text_in_another_language_is_not_used():
    letter = a_letter(language="de", texts={"en": Text("English", "English")})

    assert "English" not in text_of(letter)


def test_an_address_of_ours_becomes_a_link_and_nothing_else_does():
    body = "Go to {link}, then to\nhttps://cards.example.org/help. Reason: {reason}"
    event = replace(
        saying(MailKind.DOCUMENT_REJECTED, body), facts={"reason": "http://evil.example/"}
    )

    html = html_of(event)

    assert html.count(f'<a href="{LINK}">{LINK}</a>, then to<br>') == 1
    assert '<a href="https://cards.example.org/help">https://cards.example.org/help</a>.' in html
    assert 'href="http://evil' not in html


def test_what_is_written_or_filled_in_is_never_markup():
    letter = saying(MailKind.DOCUMENT_REJECTED, "<script>x</script> {reason} {name}")
    letter = replace(letter, name="<u>Ada</u>", facts={"reason": "<img src=x>\n\nSigned: the CA"})

    html, text = html_of(letter), text_of(letter)

    assert "<script>" not in html
    assert "<img" not in html
    assert "<u>" not in html
    assert "&lt;img src=x&gt; Signed: the CA" in html
    assert "<script>x</script> <img src=x> Signed: the CA <u>Ada</u>" in text


def test_a_name_cannot_break_a_subject_or_make_it_endless():
    letter = saying(MailKind.COMPLETED, "x", subject="{name} {holder} {organisation}")
    letter = replace(letter, name="a\r\nBcc: eve@example.org" + "b" * 190, holder_name="c" * 200)

    message = COMPOSER.compose(letter)

    assert message["Bcc"] is None
    assert len(message["Subject"]) == 250


def test_what_was_rejected_is_told_under_a_text_of_ones_own_too():
    assert "Rejected by the certification authority: Smart-card logon, other" in text_of(
        saying(MailKind.COMPLETED, "Done.")
    )


def test_a_text_that_has_become_wrong_gives_way_to_ours(caplog):
    letter = saying(MailKind.COMPLETED, "See https://old.example.org/updates")

    assert "old.example.org" not in text_of(letter)
    assert "Your card has been updated" in text_of(letter)
    assert "cannot be used any more" in caplog.text


def test_a_reason_that_nobody_gave_leaves_no_gap():
    letter = saying(MailKind.UPDATE_REJECTED, "Because: {reason}.")

    assert "Because: no reason was given." in text_of(letter)


# Threading


def test_the_first_mail_begins_a_thread_and_the_next_hang_under_it():
    first = COMPOSER.compose(a_letter())
    third = COMPOSER.compose(a_letter(earlier=("<1@example.org>", "<2@example.org>")))

    assert (first["In-Reply-To"], first["References"]) == (None, None)
    assert third["In-Reply-To"] == "<2@example.org>"
    assert third["References"] == "<1@example.org> <2@example.org>"


def test_a_long_thread_keeps_its_first_mail_and_its_last_ones():
    ids = tuple(f"<{number}@{'mail.' * 12}example.org>" for number in range(40))

    message = COMPOSER.compose(a_letter(earlier=ids))

    assert message["References"].split() == [ids[0], *ids[-8:]]
    read = message_from_bytes(message.as_bytes(), policy=policy.SMTP)
    assert read["References"].split() == [ids[0], *ids[-8:]]
    assert "=?" not in message.as_string().split("References:")[1].split("Auto-Submitted")[0]


# Documents


def enclosing(**changes):
    enclosure = Enclosure("d0" * 32, 3, "application/pdf", "request_form")
    letter = a_letter(MailKind.DOCUMENT_RECEIVED, person_id="operator-1")
    return replace(letter, enclosure=replace(enclosure, **changes))


@pytest.mark.parametrize(
    ("media_type", "name"),
    [
        ("application/pdf", "request_form.pdf"),
        ("image/png", "request_form.png"),
        ("image/jpeg", "request_form.jpg"),
    ],
)
def test_a_document_is_attached_under_a_name_of_ours(media_type, name):
    message = COMPOSER.compose(enclosing(media_type=media_type), b"\x00\xffx")

    (attached,) = message.iter_attachments()
    assert (attached.get_content_type(), attached.get_filename()) == (media_type, name)
    assert attached.get_content() == b"\x00\xffx"
    assert "The document is attached." in message.get_body(("plain",)).get_content()
    assert message["Content-Language"] == "en"


@pytest.mark.parametrize("language", sorted(LANGUAGES))
def test_a_document_that_is_too_large_is_linked_and_the_mail_says_so(language):
    message = COMPOSER.compose(replace(enclosing(), language=language))

    assert list(message.iter_attachments()) == []
    text = message.get_body(("plain",)).get_content()
    assert {"en": "not attached", "de": "nicht angehängt"}[language] in text
    assert LINK in text


def test_without_a_document_nothing_is_said_of_one():
    assert "attached" not in text_of(a_letter(MailKind.DOCUMENT_RECEIVED))


# Digests


def a_digest(number, *, waiting=0, language="en"):
    entry = Entry("u1", "Holly <b>", "logon", "the check of the request form", NOW, NOW)
    entries = tuple(replace(entry, update_id=f"u{n}") for n in range(number))
    letter = a_letter(person_id="operator-1", language=language)
    return replace(
        letter, kind="digest", entries=entries, waiting=waiting or number, card="", path="/work"
    )


@pytest.mark.parametrize(
    ("language", "number", "subject"),
    [
        ("en", 1, "1 document waits for a check"),
        ("en", 3, "3 documents wait for a check"),
        ("de", 1, "1 Dokument wartet auf die Prüfung"),
        ("de", 3, "3 Dokumente warten auf die Prüfung"),
    ],
)
def test_a_digest_lists_what_waits_since_when_until_when_with_links(language, number, subject):
    message = COMPOSER.compose(a_digest(number, language=language))

    assert message["Subject"] == subject
    said = {"en": "06 May 2026, 07:08 UTC", "de": "06.05.2026, 07:08 UTC"}[language]
    for body in (part.get_content() for part in message.iter_parts()):
        links = [f"https://cards.example.org/updates/u{n}" for n in range(number)]
        assert all(link in body for link in links)
        assert body.count(said) == 2 * number
        assert "https://cards.example.org/work" in body
    assert "Holly &lt;b&gt;" in html_of(a_digest(1))


def test_instants_are_said_as_the_clock_of_the_reader_shows_them():
    digest = replace(a_digest(1), time_zone="Europe/Berlin")

    assert "06 May 2026, 09:08 CEST" in text_of(digest)


def test_a_zone_that_the_machine_does_not_know_holds_up_no_mail():
    digest = replace(a_digest(1), time_zone="Mars/Olympus")

    assert "06 May 2026, 07:08 UTC" in text_of(digest)


def test_a_digest_says_how_many_more_there_are():
    assert "and 7 more" in text_of(a_digest(3, waiting=10))
    assert "more" not in text_of(a_digest(3))


def test_a_digest_that_was_late_does_not_ask_for_what_is_done():
    assert "No signed document waits for a check any more." in text_of(a_digest(0))


# The form of every mail


@pytest.mark.parametrize(("kind", "language"), EVERYTHING)
def test_html_needs_nothing_from_elsewhere_and_says_its_language(kind, language):
    html = html_of(a_letter(kind, language=language))

    assert f'<html lang="{language}" dir="ltr">' in html
    assert re.findall(r"<img|<link|<script|<iframe|url\(|@import|src=", html) == []
    assert set(re.findall(r'href="([^"]*)"', html)) == {LINK}
    assert "prefers-color-scheme: dark" in html
    assert "text-align: left" not in html


def test_a_name_that_reads_from_right_to_left_does_not_turn_the_words_around_it():
    html = html_of(a_letter(MailKind.DOCUMENT_RECEIVED, person_id="x", holder_name="עדה"))

    assert "<bdi>עדה</bdi>" in html


def luminance(colour):
    """WCAG 2.2, relative luminance."""
    parts = [int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5)]
    r, g, b = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


@pytest.mark.parametrize(
    ("ink", "paper"),
    [
        *(("#1b2430", "#ffffff"), ("#445163", "#f2f4f7"), ("#56637a", "#f2f4f7")),
        *(("#1f5fbf", "#ffffff"), ("#e6ebf2", "#1b212a"), ("#a7b4c6", "#12161c")),
        *(("#a7b4c6", "#1b212a"), ("#8ab4f8", "#1b212a")),
    ],
)
def test_every_ink_can_be_read_on_its_paper_by_day_and_by_night(ink, paper):
    html = html_of(a_letter())
    bright, dark = sorted((luminance(ink), luminance(paper)), reverse=True)

    assert ink in html
    assert paper in html
    assert (bright + 0.05) / (dark + 0.05) >= 4.5  # WCAG 2.2, 1.4.3


def test_headers_let_programs_sort_the_mail_and_keep_them_from_answering():
    message = COMPOSER.compose(a_letter(MailKind.REMINDER))

    assert message["Auto-Submitted"] == "auto-generated"
    assert message["X-Auto-Response-Suppress"] == "All"
    assert message["List-Id"] == "Cardflow <card-updates.example.org>"
    assert message["X-Cardflow-Kind"] == "reminder"


def test_every_meaning_is_told_for_some_kind():
    assert set(MEANINGS) == {name for kind in MailKind for name in placeholders(kind)}
