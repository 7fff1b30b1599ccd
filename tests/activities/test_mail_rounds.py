"""Digests, warnings and trials as they leave: real database, document store and SMTP."""

from dataclasses import replace
from datetime import timedelta
from email.headerregistry import Address

import pytest
from temporalio.testing import ActivityEnvironment
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from activities.mail.postman import Postman
from activities.mail.rounds import Rounds
from activities.mail.smtp import Relay
from activities.mail.trials import Trials
from activities.mail_out import MailActivities, MailRoundActivities
from activities.orders import RoundOrder
from cardflow.db.digests import Rhythm
from cardflow.db.mail_texts import save_text
from cardflow.db.tables import Certificate, Document, Mail, Person
from cardflow.db.update_record import UpdateRecord
from cardflow.documents.store import FileStore
from cardflow.errors import Refused, Unavailable
from cardflow.mail.compose import Composer
from cardflow.mail.letters import Text, TextKey
from cardflow.mail.trial import TrialOrder
from cardflow.model import EventKind, LaneStage, MailKind, Mode, new_id
from cardflow.orders import MailOrder
from cardflow.sql import transaction
from tests import build
from tests.activities.conftest import BESIDE
from tests.db.rows import NOW, a_person, found, populate, store, the
from tests.db.test_expiry import a_certificate, shelf  # noqa: F401 a fixture
from tests.db.test_opening import ROOT
from tests.db.test_projection import Story
from tests.waiting import until
from workflows import mail_rounds
from workflows.afterwork import Delivery

COMPOSER = Composer(Address("Cardflow", "cardflow", "example.org"), "Example", "http://localhost")
LIMIT = 100
RHYTHM = Rhythm(timedelta(hours=4), 6)
BEN = f"{build.OPERATOR}@example.org"
PDF = b"%PDF-1.7 the signed form"


@pytest.fixture
def documents(tmp_path):
    return FileStore(tmp_path / "documents")


@pytest.fixture
def postman(sessions, catcher, documents):
    relay = Relay("127.0.0.1", catcher.port, BESIDE)
    return Postman(sessions, COMPOSER, relay, store=documents, largest_attachment=LIMIT)


class Clock:
    """The activities of the clock, at any time."""

    def __init__(self, sessions, postman):
        rounds = Rounds(sessions, postman, RHYTHM)
        self.activities = MailRoundActivities(rounds, Trials(sessions, postman))
        self.environment = ActivityEnvironment()

    async def digests(self, at=NOW):
        await self.environment.run(self.activities.send_digests, RoundOrder(at))

    async def warnings(self, at=NOW):
        await self.environment.run(self.activities.warn_of_expiry, RoundOrder(at))

    async def trial(self, order):
        return await self.environment.run(self.activities.send_trial, order)


@pytest.fixture
def clock(sessions, postman):
    return Clock(sessions, postman)


class Desk:
    """An update under a policy, whose documents come in."""

    def __init__(self, sessions, postman, documents):
        self.sessions, self.postman, self.documents = sessions, postman, documents

    async def open(self, *, digest_above=10, **policy):
        of = build.a_policy(build.an_entry("logon", Mode.BOTH, precheck=True), **policy)
        update = build.an_update(of, opened_at=NOW)
        await populate(self.sessions, update)
        record = UpdateRecord(
            self.sessions, decision_root=ROOT, mail_domain="example.org", digest_above=digest_above
        )
        assert await record.open(update, f"card-update/{update.card_id}") == []
        self.story = Story(record, update)

    async def receive(self, content=PDF, media_type="application/pdf"):
        """Have a document come in, and send the mails that this asks for."""
        stored = await self.documents.put(content, limit=1000)
        document = Document(
            id="d1", update_id=self.story.update.update_id, lane="logon", kind="request_form",
            direction="received", state="arriving", sha256=stored.sha256, size=stored.size,
            media_type=media_type, file_name="../../evil.exe", created_at=NOW,
        )  # fmt: skip
        await store(self.sessions, document)
        self.story.lane("logon", stage=LaneStage.CHECKING_REQUEST_FORM, since=NOW)
        mails = await self.story.tell(
            EventKind.DOCUMENT_RECEIVED, lane="logon", mail=MailKind.DOCUMENT_RECEIVED,
            facts={"document_id": "d1", "kind": "request_form"},
        )  # fmt: skip
        assert await self.postman.send(mails, seconds=5) == []
        return stored

    async def tell(self, kind, **facts):
        mails = await self.story.tell(EventKind.VISIT_ENDED, lane="logon", mail=kind, facts=facts)
        assert await self.postman.send(mails, seconds=5) == []


@pytest.fixture
def desk(sessions, postman, documents):
    return Desk(sessions, postman, documents)


def to(catcher, address):
    return [message for message in catcher.taken if address in message["To"]]


def said(message):
    return message.get_body(("plain",)).get_content()


# Documents


@pytest.mark.parametrize(
    ("media_type", "name"),
    [("application/pdf", "request_form.pdf"), ("image/png", "request_form.png")],
)
async def test_operators_get_the_document_if_the_policy_says_so(desk, catcher, media_type, name):
    await desk.open(attach_documents=True)
    await desk.receive(media_type=media_type)

    (mail,) = to(catcher, BEN)
    (attached,) = mail.iter_attachments()
    assert (attached.get_filename(), attached.get_content()) == (name, PDF)
    assert "The document is attached." in said(mail)


async def test_without_the_policys_word_no_document_leaves(desk, catcher):
    await desk.open()
    await desk.receive()

    (mail,) = to(catcher, BEN)
    assert list(mail.iter_attachments()) == []
    assert "attached" not in said(mail)


async def test_a_document_beyond_the_limit_is_linked_only(desk, catcher):
    await desk.open(attach_documents=True)
    await desk.receive(b"x" * (LIMIT + 1))

    (mail,) = to(catcher, BEN)
    assert list(mail.iter_attachments()) == []
    assert "not attached" in said(mail)


async def test_a_document_that_the_store_has_lost_does_not_hold_up_the_mail(
    desk, catcher, tmp_path, caplog
):
    await desk.open(attach_documents=True)
    desk.documents = FileStore(tmp_path / "another store")
    await desk.receive()

    (mail,) = to(catcher, BEN)
    assert list(mail.iter_attachments()) == []
    assert "not attached" in said(mail)
    assert "a mail goes without its document" in caplog.text


async def test_a_note_of_a_paper_that_is_kept_elsewhere_is_not_attached(desk, catcher):
    await desk.open(attach_documents=True)
    await desk.receive(b"Record", media_type="text/plain; charset=utf-8")

    assert list(to(catcher, BEN)[0].iter_attachments()) == []


# Threads


async def test_mails_about_one_update_arrive_as_one_thread_per_person(desk, catcher):
    await desk.open()
    await desk.tell(MailKind.OPERATION_STARTED)
    await desk.receive()
    await desk.tell(MailKind.DOCUMENT_NEEDED, form="request_form")
    await desk.tell(MailKind.ESCALATION, reason="trouble")
    await desk.tell(MailKind.DOCUMENT_REJECTED, reason="unsigned")

    for address, number in ((f"{build.HOLDER}@example.org", 3), (BEN, 2)):
        thread = to(catcher, address)
        ids = [message["Message-ID"] for message in thread]
        assert len(set(ids)) == number
        assert [message["In-Reply-To"] for message in thread] == [None, *ids[:-1]]
        for position, message in enumerate(thread[1:], 1):
            assert message["References"].split() == ids[:position]


# Texts of one's own


@pytest.mark.parametrize("language", ["en", "de"])
async def test_what_an_administrator_saved_is_what_arrives(desk, catcher, language):
    await desk.open()
    async with transaction(desk.sessions) as session:
        key = TextKey("staff", MailKind.DOCUMENT_REJECTED, "en")
        await save_text(session, key, Text("No: {card}", "Because {reason}."), by="x", at=NOW)
    if language == "de":
        async with transaction(desk.sessions) as session:
            person = await session.get_one(Person, build.HOLDER)
            person.language = "de"
    await desk.tell(MailKind.DOCUMENT_REJECTED, reason="it is unsigned")

    (mail,) = catcher.taken
    if language == "en":
        assert mail["Subject"] == "No: Ada's card"
        assert "Because it is unsigned." in said(mail)
    else:
        assert mail["Subject"] == "Dokument abgelehnt"


# Digests


async def test_folded_mails_arrive_as_one_digest_and_are_told_once(desk, clock, catcher, sessions):
    await desk.open()
    await store(sessions, a_person("daily", ["operator"], mail_digest="daily"))
    await desk.receive()
    assert to(catcher, "daily@example.org") == []

    await clock.digests(NOW + timedelta(days=2))
    await clock.digests(NOW + timedelta(days=2, minutes=15))
    await clock.digests(NOW + timedelta(days=9))

    (digest,) = to(catcher, "daily@example.org")
    assert digest["Subject"] == "1 document waits for a check"
    assert f"http://localhost/updates/{desk.story.update.update_id}" in said(digest)
    row = await the(sessions, Mail, kind="digest")
    assert (row.state, row.message_id) == ("sent", digest["Message-ID"])
    assert (await the(sessions, Mail, state="folded")).digest_id == row.id


async def test_a_digest_that_the_relay_does_not_take_waits_for_the_next_round(
    desk, clock, catcher, sessions
):
    await desk.open()
    await store(sessions, a_person("daily", ["operator"], mail_digest="daily"))
    await desk.receive()
    catcher.to_recipient["daily@example.org"] = "451 later"
    with pytest.raises(Unavailable, match="1 mails wait"):
        await clock.digests(NOW + timedelta(days=2))
    assert (await the(sessions, Mail, kind="digest")).error == "451 later"
    catcher.to_recipient.clear()

    await clock.digests(NOW + timedelta(days=2, minutes=15))

    assert (await the(sessions, Mail, kind="digest")).state == "sent"
    assert len(to(catcher, "daily@example.org")) == 1


# Warnings


async def test_a_warning_arrives_once_per_threshold(shelf, clock, catcher, sessions):  # noqa: F811
    certificate = await shelf.put(a_certificate(days=20))

    for day in (0, 0, 1, 14, 15):
        await clock.warnings(NOW + timedelta(days=day))

    first, second = catcher.taken
    assert first["Subject"] == second["Subject"] == "Certificate expires soon"
    assert f"expires on {certificate.not_after:%d %B %Y}" in said(first)
    assert "http://localhost/cards/card" in said(first)
    assert second["In-Reply-To"] == first["Message-ID"]


async def test_an_address_that_nobody_can_write_to_is_on_record(shelf, clock, sessions):  # noqa: F811
    certificate = await shelf.put(a_certificate(days=5))
    await shelf.change(Person, build.HOLDER, email="nowhere")
    await clock.warnings()

    mail = await the(sessions, Mail)
    assert (mail.state, mail.certificate_sha256) == ("failed", certificate.sha256)
    assert "address" in mail.error
    assert len(await found(sessions, Certificate)) == 1


# What was left


async def left_by_the_dead(desk, waited):
    """Queue a mail of the desk's update that whoever queued it did not live to send."""
    (key,) = await desk.story.tell(EventKind.VISIT_ENDED, mail=MailKind.OPERATION_STARTED)
    async with transaction(desk.sessions) as session:
        (await session.get_one(Mail, key)).created_at = NOW - waited
    return desk.story.update.update_id, key


async def in_time(rounds, client, expected):
    return await until(
        lambda: rounds.left(NOW, client), lambda found: found == expected, what=f"{expected}"
    )


@pytest.mark.temporal
async def test_mails_that_nothing_delivers_are_found_and_no_others(desk, postman, temporal_env):
    rounds, client = Rounds(desk.sessions, postman, RHYTHM), temporal_env.client
    await desk.open()
    update_id, key = await left_by_the_dead(desk, timedelta(hours=2))
    await left_by_the_dead(desk, timedelta(minutes=50))
    assert await rounds.left(NOW, client) == {update_id: (key,)}

    at_work = await client.start_workflow(
        Delivery.run, MailOrder((key,)), id=f"mail/{update_id}/form/{key}", task_queue=new_id()
    )
    await in_time(rounds, client, {})
    await at_work.terminate()
    await in_time(rounds, client, {update_id: (key,)})


@pytest.fixture
def round_of_left_mails(desk, postman, temporal_env, monkeypatch):
    """Run one round, and all that it orders for the desk's update."""
    monkeypatch.setattr(mail_rounds, "BETWEEN_LOOKS", timedelta(seconds=0.1))
    rounds, client, queue = Rounds(desk.sessions, postman, RHYTHM), temporal_env.client, new_id()
    by_the_clock = MailRoundActivities(rounds, Trials(desk.sessions, postman))

    async def run():
        async with Worker(
            client,
            task_queue=queue,
            workflows=[mail_rounds.LeftMails, Delivery],
            activities=[by_the_clock.find_left_mails, MailActivities(postman).deliver],
            workflow_runner=UnsandboxedWorkflowRunner(),
        ):
            await client.execute_workflow(mail_rounds.LeftMails.run, id=new_id(), task_queue=queue)
            name = f"mail/{desk.story.update.update_id}/again"
            await client.get_workflow_handle(name).result()

    return run


@pytest.mark.temporal
@pytest.mark.parametrize(
    "case",
    [
        (timedelta(hours=2), "", "sent", ""),
        (timedelta(days=5), "", "sent", ""),
        (timedelta(days=5), "451 later", "failed", "given up: 451 later"),
    ],
    ids=["late", "too late", "too late and not taken"],
)
async def test_a_mail_that_was_left_is_sent_or_failed_in_the_end(
    round_of_left_mails, desk, catcher, case
):
    waited, says, state, error = case
    await desk.open()
    _, key = await left_by_the_dead(desk, waited)
    if says:
        catcher.to_recipient[f"{build.HOLDER}@example.org"] = says

    await round_of_left_mails()

    mail = await the(desk.sessions, Mail, id=key)
    assert (mail.state, mail.error) == (state, error)
    assert [message["Message-ID"] for message in catcher.taken] == (
        [mail.message_id] if mail.state == "sent" else []
    )


# Trials


def an_order(**changes):
    order = TrialOrder(build.HOLDER, "staff", MailKind.DOCUMENT_REJECTED, "en")
    return replace(order, **changes)


async def test_a_trial_arrives_marked_as_one_and_says_what_the_relay_said(shelf, clock, catcher):  # noqa: F811
    answer = await clock.trial(an_order(subject="About {card}", body="Reason: {reason}"))

    (mail,) = catcher.taken
    assert mail["Subject"] == answer.subject == "[Test] About Ada's card"
    assert mail["To"] == f"Ada Löwe <{build.HOLDER}@example.org>"
    assert "Reason: the signature is missing" in said(mail)
    assert (answer.state, answer.said) == ("sent", "250 OK")


async def test_a_trial_of_the_default_text_needs_no_text(shelf, clock, catcher):  # noqa: F811
    await clock.trial(an_order(language="de"))

    assert catcher.subjects == ["[Probe] Dokument abgelehnt"]


async def test_a_trial_that_the_relay_refuses_says_so(shelf, clock, catcher):  # noqa: F811
    catcher.to_recipient[f"{build.HOLDER}@example.org"] = "550 no such user"

    answer = await clock.trial(an_order())

    assert (answer.state, answer.said) == ("failed", "550 no such user")


async def test_a_trial_to_somebody_without_an_address_says_so(shelf, clock, catcher):  # noqa: F811
    await shelf.change(Person, build.HOLDER, email="")

    answer = await clock.trial(an_order())

    assert answer.state == "failed"
    assert "no complete e-mail address" in answer.said or "cannot be written to" in answer.said
    assert catcher.taken == []


async def test_a_trial_under_a_policy_that_is_gone_is_refused(shelf, clock):  # noqa: F811
    with pytest.raises(Refused, match="gone"):
        await clock.trial(an_order(policy_name="nothing"))
