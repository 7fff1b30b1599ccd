"""What administrators may write into mails, and everything that they may not."""

import pytest

from cardflow.mail.letters import Text
from cardflow.mail.texts import (
    ALSO,
    LONGEST_BODY,
    LONGEST_SUBJECT,
    MEANINGS,
    fill,
    objections,
    paragraphs,
    placeholders,
    tidy,
    words_and_links,
)
from cardflow.model import MailKind

BASE = "https://cards.example.org"
KIND = MailKind.DOCUMENT_REJECTED


def found(*, subject="Subject", body="Body", kind=KIND):
    return objections(kind, Text(subject, body), BASE)


@pytest.mark.parametrize("kind", MailKind)
def test_every_placeholder_of_a_kind_is_taken_and_has_a_meaning(kind):
    body = " ".join(f"{{{name}}}" for name in placeholders(kind))

    assert found(subject="{name}", body=body, kind=kind) == []
    assert set(placeholders(kind)) <= set(MEANINGS)


@pytest.mark.parametrize("kind", MailKind)
def test_what_a_kind_cannot_fill_is_refused_and_what_it_can_is_listed(kind):
    missing = sorted(set(MEANINGS) - set(placeholders(kind)))

    told = found(body=" ".join(f"{{{name}}}" for name in missing), kind=kind)

    assert [objection.field for objection in told] == ["body"] * len(missing)
    assert all("{contact}" in objection.remedy for objection in told)


def test_every_kind_with_placeholders_of_its_own_is_a_kind():
    assert set(ALSO) <= set(MailKind)


@pytest.mark.parametrize(
    "hostile",
    [
        "{nmae}",
        "{}",
        "{0}",
        "{name.__class__}",
        "{name[0]}",
        "{name!r}",
        "{name:>9999999}",
        "{ name }",
        "{NAME}",
        "{self}",
        "{password}",
        "{update.token}",
        "{{ 7 * 7 }}",
        "{% include '/etc/passwd' %}",
        "{{name}}",
        "{name",
        "name}",
        "}{",
        "{{}}",
        "{na{name}me}",
        "{name\n}",
    ],
)
@pytest.mark.parametrize("field", ["subject", "body"])
def test_what_looks_like_more_than_a_placeholder_is_refused(hostile, field):
    told = [
        objection for objection in found(**{field: f"Hello {hostile}"}) if "{" in objection.remedy
    ]

    assert told
    assert {objection.field for objection in told} == {field}
    assert all("{name}, {holder}" in objection.remedy for objection in told)


@pytest.mark.parametrize(
    "address",
    [
        "https://evil.example",
        "HTTPS://EVIL.EXAMPLE/x",
        "http://cards.example.org/updates/1",
        "https://cards.example.org.evil.example/",
        "https://cards.example.org@evil.example/",
        "https://cards.example.org:8443/",
        "https://cards.example.orgevil/",
        "//evil.example/x",
        "ftp://evil.example",
        "www.evil.example",
        "evil.example/sign-in",
        "https://{card}.evil.example",
        "ht{reason}tps://evil.example",
        "https:{reason}//evil.example",
        "evil.exam{reason}ple/sign-in",
        "(https://evil.example).",
    ],
)
@pytest.mark.parametrize("field", ["subject", "body"])
def test_an_address_of_somebody_else_is_refused_by_name(address, field):
    told = found(**{field: f"Open {address} now"})

    assert told
    assert all(objection.field == field for objection in told)
    assert all("leads away from https://cards.example.org" in o.reason for o in told)
    assert all(o.remedy.startswith("write {link}, or an address that starts with") for o in told)


@pytest.mark.parametrize(
    "body",
    [
        "See {link}.",
        "See https://cards.example.org.",
        "See https://cards.example.org/help?x=1#top, or (https://cards.example.org/updates).",
        "Write to servicedesk@example.org or come to room 1/2, e.g. at noon; and/or call 030/123.",
        "Ä ß — “quotes” and z.B. an abbreviation",
        "<b>not markup</b> & never will be",
    ],
)
def test_ordinary_sentences_are_taken(body):
    assert found(body=body) == []


def test_a_text_that_is_missing_or_too_long_says_by_how_much():
    told = found(subject=" ".strip(), body="x" * (LONGEST_BODY + 7))

    assert [(o.field, o.reason) for o in told] == [
        ("subject", "the subject is empty"),
        ("body", f"longer than {LONGEST_BODY} characters"),
    ]
    assert told[1].remedy == "shorten it by 7"
    assert found(subject="x" * LONGEST_SUBJECT) == []


@pytest.mark.parametrize("sign", ["\x00", "\x1b", "\u202e", "\u2066", "\u200b", "\ud800"])
def test_signs_that_hide_or_turn_text_are_refused_by_number(sign):
    (told,) = found(body=f"a{sign}b")

    assert f"U+{ord(sign):04X}" in told.reason


def test_a_subject_is_one_line():
    (told,) = found(subject="Hello\nBcc: eve@example.org")

    assert (told.field, "U+000A" in told.reason) == ("subject", True)


def test_every_reason_is_told_at_once():
    told = found(subject="", body="{x} } https://evil.example")

    assert len(told) == 4


def test_what_is_filled_in_is_never_read_again():
    assert fill("{name}: {reason}", {"name": "{reason}", "reason": "{name}"}) == "{reason}: {name}"


def test_paragraphs_are_parted_by_empty_lines_whatever_the_browser_sends():
    text = tidy(Text(" Subject ", "\r\n one  \r\ntwo\r\n  \r\n\r\nthree\r\n"))

    assert text.subject == "Subject"
    assert paragraphs(text.body) == ["one\ntwo", "three"]


@pytest.mark.parametrize(
    ("paragraph", "links"),
    [
        ("See https://cards.example.org/updates/1.", ["https://cards.example.org/updates/1"]),
        ("(https://cards.example.org)", ["https://cards.example.org"]),
        ("https://cards.example.org@evil.example/ https://evil.example", []),
        ("", []),
    ],
)
def test_only_our_own_addresses_become_links_and_no_sign_is_lost(paragraph, links):
    parts = list(words_and_links(paragraph, BASE))

    assert "".join(part for part, _ in parts) == paragraph
    assert [part for part, is_link in parts if is_link] == links
