"""What mails say, in both languages, for everything that an event can bring."""

from dataclasses import replace
from datetime import UTC, datetime
from email.headerregistry import Address
from functools import cache
from itertools import product

import pytest

from cardflow import lifecycle
from cardflow.db.letters import letter_of
from cardflow.db.tables import Mail
from cardflow.errors import Refused
from cardflow.mail.compose import LANGUAGES, Composer
from cardflow.mail.letters import NEW_AGENT
from cardflow.model import (
    DocumentExchange,
    Event,
    EventKind,
    FormSignature,
    LaneStage,
    MailKind,
    Mode,
)
from tests import build
from tests.db.rows import a_person

NOW = datetime(2026, 5, 6, 7, 8, 9, tzinfo=UTC)
UPDATE = build.an_update(build.a_policy(build.an_entry("logon", Mode.BOTH)), opened_at=NOW)
COMPOSER = Composer(
    Address("Cardflow", "cardflow", "example.org"),
    organisation="Example & Sons",
    public_url="https://cards.example.org",
    titles={"logon": "Smart-card logon"},
)
FACTS = {
    MailKind.DOCUMENT_NEEDED: {"form": "certificate_form"},
    MailKind.DOCUMENT_RECEIVED: {"kind": "request_form"},
    MailKind.DOCUMENT_REJECTED: {"reason": "the <signature> is missing"},
    MailKind.REMINDER: {"party": "holder", "what": "the signed request form"},
    MailKind.COMPLETED: {"rejected": "logon, other", "reason": ""},
    MailKind.EXPIRY_WARNING: {"expires": "2026-06-07T08:09:10+00:00", "days": "32"},
}
SUBJECTS = {
    MailKind.OPERATION_STARTED: "Card update operation started",
    MailKind.DOCUMENT_NEEDED: "Document needed",
    MailKind.DOCUMENT_RECEIVED: "Document received",
    MailKind.DOCUMENT_APPROVED: "Document approved",
    MailKind.DOCUMENT_REJECTED: "Document rejected",
    MailKind.UPDATE_APPROVED: "Card update operation approved",
    MailKind.UPDATE_REJECTED: "Card update operation rejected",
    MailKind.READY_TO_CONTINUE: "Card update operation ready to continue",
    MailKind.REMINDER: "Reminder: card update operation",
    MailKind.ESCALATION: "Card update operation needs attention",
    MailKind.COMPLETED: "Card update operation completed",
    MailKind.CANCELLED: "Card update operation cancelled",
    MailKind.EXPIRY_WARNING: "Certificate expires soon",
}


def a_letter(kind=MailKind.COMPLETED, *, event=None, update=UPDATE, **changes):
    event = event or Event(3, EventKind.OPENED, NOW, "logon", facts=FACTS.get(kind, {}))
    person = a_person(build.HOLDER, ["holder"], name="Ada Löwe")
    mail = Mail(
        id="1",
        update_id=update.update_id,
        event=event.number,
        kind=kind,
        person_id=person.id,
        address="ada@example.org",
        message_id="<1@example.org>",
        state="queued",
        created_at=NOW,
    )
    letter = letter_of(mail, person, update, event, holder_name="Ada Löwe")
    return replace(letter, **changes)


def text_of(letter):
    return COMPOSER.compose(letter).get_body(("plain",)).get_content()


def html_of(letter):
    return COMPOSER.compose(letter).get_body(("html",)).get_content()


@pytest.mark.parametrize("kind", MailKind)
def test_the_english_subjects_are_those_that_people_know(kind):
    assert COMPOSER.compose(a_letter(kind))["Subject"] == SUBJECTS[kind]


@pytest.mark.parametrize("kind", MailKind)
def test_every_kind_says_in_german_what_it_says_in_english(kind):
    german = COMPOSER.compose(a_letter(kind, language="de"))

    assert german["Content-Language"] == "de"
    assert german["Subject"] != SUBJECTS[kind]
    text = german.get_body(("plain",)).get_content()
    assert text.startswith("Guten Tag Ada Löwe,")
    assert "Was jetzt zu tun ist" in text


@cache
def an_update_under(mode, exchange):
    policy = build.a_policy(build.an_entry("logon", mode), document_exchange=exchange)
    return build.an_update(policy, opened_at=NOW)


@pytest.mark.parametrize(("kind", "language"), list(product(MailKind, sorted(LANGUAGES))))
def test_no_mail_has_a_gap_whatever_the_event_brings(kind, language):
    for ready, mode, exchange in product((True, False), Mode, DocumentExchange):
        event_kind, lane = (EventKind.LAPSED, "") if ready else (EventKind.CANCELLED, "logon")
        event = Event(1, event_kind, NOW, lane, facts=FACTS.get(kind, {}), ready=ready)
        update = an_update_under(mode, exchange)
        message = COMPOSER.compose(a_letter(kind, event=event, update=update, language=language))
        for body in (part.get_content() for part in message.iter_parts()):
            assert "None" not in body
            assert "  \n" not in body
            assert update.policy.contact in body


def everything_waited_for():
    """Yield what an update can wait for, wherever it stands."""
    for officers in ((), ("logon",)):
        update = build.an_update(UPDATE.policy, opened_at=NOW, officers=officers)
        begun = lifecycle.begin(update)
        states = [replace(begun, lanes=()), replace(begun, visit=build.a_visit())]
        for stage, attention in product(LaneStage, ("", "trouble")):
            lane = replace(begun.lanes[0], stage=stage, attention=attention)
            states.append(replace(begun, lanes=(lane,)))
        for state in states:
            yield from (entry.what for entry in lifecycle.waiting(update, state))


@pytest.mark.parametrize("what", sorted(set(everything_waited_for())))
def test_what_is_waited_for_is_said_in_german_too(what):
    event = Event(1, EventKind.REMINDER, NOW, facts={"party": "holder", "what": what})
    text = text_of(a_letter(MailKind.REMINDER, event=event, language="de"))

    assert what not in text.partition("Karte:")[0]


def test_a_language_that_we_do_not_speak_becomes_the_default():
    assert COMPOSER.compose(a_letter(language="fr"))["Content-Language"] == "en"


def test_a_rejected_document_brings_its_reason_and_what_to_do():
    letter = a_letter(MailKind.DOCUMENT_REJECTED)

    assert "Reason: the <signature> is missing" in text_of(letter)
    assert "upload it" in text_of(letter)
    assert "the &lt;signature&gt; is missing" in html_of(letter)


def test_documents_that_go_another_way_are_not_said_to_be_uploaded():
    policy = build.a_policy(document_exchange=DocumentExchange.OUTSIDE)
    update = build.an_update(policy, opened_at=NOW)

    assert "upload" not in text_of(a_letter(MailKind.DOCUMENT_REJECTED, update=update))


def test_the_approval_in_both_forms_names_the_form_that_follows():
    assert "certificate form" in text_of(a_letter(MailKind.UPDATE_APPROVED))


def test_a_mail_that_made_the_update_ready_says_so_once():
    event = Event(1, EventKind.DOCUMENT_APPROVED, NOW, "logon", ready=True)

    said = "You can continue now"
    assert text_of(a_letter(MailKind.DOCUMENT_APPROVED, event=event)).count(said) == 1
    assert said not in text_of(a_letter(MailKind.READY_TO_CONTINUE, event=event))
    assert said not in text_of(a_letter(MailKind.DOCUMENT_APPROVED))


def test_operators_are_told_whose_card_it_is_and_holders_are_not():
    to_operator = a_letter(MailKind.DOCUMENT_RECEIVED, person_id="operator-1", name="Ben")

    assert "Holder: Ada Löwe" in text_of(to_operator)
    assert "Holder:" not in text_of(a_letter())


def test_a_completed_update_names_what_was_rejected():
    assert "rejected: Smart-card logon, other" in text_of(a_letter(MailKind.COMPLETED))


def test_headers_name_the_mail_and_stop_automatic_answers():
    message = COMPOSER.compose(a_letter())

    assert message["Message-ID"] == "<1@example.org>"
    assert message["References"] is None
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["Date"].datetime == NOW
    assert str(message["To"]) == "Ada Löwe <ada@example.org>"


def test_links_lead_to_our_own_address_only():
    html = html_of(a_letter())
    link = f"https://cards.example.org/updates/{UPDATE.update_id}"

    assert html.count("http") == html.count(link) == 1


def test_nothing_in_a_name_becomes_a_header_or_markup():
    name = 'Ada\r\nBcc: eve@example.org\n"<u>'
    letter = a_letter(name=name, update=replace(UPDATE, token_label="<i>\r\ncard"))
    message = COMPOSER.compose(letter)

    assert message["Bcc"] is None
    assert message["To"].addresses[0].addr_spec == "ada@example.org"
    assert "<u>" not in html_of(letter)
    assert "<i>" not in html_of(letter)


def test_no_token_key_or_certificate_is_in_any_mail():
    letter = a_letter(update=replace(UPDATE, token="secret-token"))

    assert "secret-token" not in COMPOSER.compose(letter).as_string()
    assert UPDATE.decision_root not in COMPOSER.compose(letter).as_string()


@pytest.mark.parametrize(
    "address", ["", "ada", "ada@", "@example.org", "ada@example.org\r\nBcc: x@y", "a b@c", "a@b@c"]
)
def test_an_address_that_cannot_be_written_to_is_refused(address):
    with pytest.raises(Refused, match="address"):
        COMPOSER.compose(a_letter(address=address))


@pytest.mark.parametrize(
    ("way", "told"),
    [
        ("paper", (False, True)),
        ("electronic", (True, False)),
        ("either", (True, True)),
    ],
)
@pytest.mark.parametrize("kind", [MailKind.DOCUMENT_NEEDED, MailKind.UPDATE_APPROVED])
@pytest.mark.parametrize(
    ("language", "words"),
    [("en", ("with your card", "upload it")), ("de", ("mit Ihrer Karte", "laden"))],
)
def test_a_form_is_asked_for_in_the_way_it_may_be_signed(language, words, kind, way, told):
    entry = build.an_entry("logon", Mode.BOTH, certificate_form_signature=FormSignature(way))
    update = build.an_update(build.a_policy(entry), opened_at=NOW)
    text = text_of(a_letter(kind, update=update, language=language))
    assert tuple(word in text.replace("\n", " ") for word in words) == told


@pytest.mark.parametrize("language", sorted(LANGUAGES))
def test_a_new_workstation_is_named_to_its_holder_and_to_administrators(language):
    facts = {"host": "desk-7\r\nBcc: eve@example.org", "system": "Debian 12"}
    changes = {"language": language, "path": "/account", "facts": facts, "card": "", "contact": ""}
    to_holder = a_letter(**changes)
    to_admin = replace(to_holder, person_id="an admin", path="/agents")
    mails = [COMPOSER.compose(replace(one, kind=NEW_AGENT)) for one in (to_holder, to_admin)]

    texts = [mail.get_body(("plain",)).get_content() for mail in mails]
    assert all("desk-7" in text and "Debian 12" in text for text in texts)
    assert all(mail["Bcc"] is None for mail in mails)
    assert texts[0] != texts[1]
    assert "Ada Löwe" in texts[1]
