"""Each kind of difference that is found in what is written down, one at a time.

A case makes one difference, says what a person is to read of it, and then does as the remedy says.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from temporalio.client import Client

from cardflow import lifecycle
from cardflow.ca import RevocationReason
from cardflow.ca.embedded import open_issuing_key
from cardflow.checkpoint_files import export
from cardflow.db import checkpoints
from cardflow.db.tables import Document, JournalAnswer, JournalEntry
from cardflow.db.update_record import UpdateRecord
from cardflow.documents.store import FileStore
from cardflow.model import Act, EventKind, LaneStage, ObjectRef, Role, Stage, Verdict, new_id
from cardflow.reconcile import Difference, Finding, Installation
from cardflow.reconcile.resuming import unheard
from cardflow.sql import create_engine, sessions_of, transaction
from cardflow.x509 import facts_of_certificate
from tests import build
from tests.ca.making import AUTOMATIC, OFFICER, Home, a_request, issue
from tests.db.rows import audit_kinds, store
from tests.db.test_opening import ROOT
from tests.db.test_projection import Story
from tests.reconcile.books import Books, card_is_lost
from tests.reconcile.cases import left, mended

NOBODY = "127.0.0.1:1"
# The start is the input's, the officers' word the CA's; at the card people are asked again.
NOT_SAID_AGAIN = {
    *(Act.OPEN, Act.RESUME, Act.DECIDE_REQUEST),
    *(Act.CONTINUE, Act.SIGN_DOCUMENT),
}
REASON = RevocationReason.CESSATION_OF_OPERATION
A_PDF = b"%PDF-1.7 signed by hand"
STORE = "documents"


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Home:
    """Return a CA, without a database."""
    return Home(tmp_path_factory.mktemp("ca")).make()


@pytest.fixture(scope="module")
def issuing_key(home):
    """Return the CA's key, opened once: that is made slow on purpose."""
    return open_issuing_key(home.directory, home.secrets.issuing)


@pytest.fixture
async def books(tmp_path, databases, home, issuing_key) -> AsyncIterator[Books]:
    """Yield books in which everything agrees; whoever asked Temporal would wait in vain."""
    engine = create_engine(databases.migrated(tmp_path))
    ca = home.ca(engine, issuing_key=issuing_key)
    sessions = sessions_of(engine)
    there = Installation(
        sessions,
        await Client.connect(NOBODY, lazy=True),
        "cardflow",
        UpdateRecord(sessions, decision_root=ROOT, mail_domain="example.org"),
        ROOT,
        build.signer(),
        FileStore(tmp_path / STORE),
        tmp_path / "checkpoints",
    )
    yield Books(there, ca)
    ca.close()
    await engine.dispose()


# The trail and the documents


@asynccontextmanager
async def a_trail_shorter_than_its_checkpoint(books):
    """The database was restored from before the last entries under a checkpoint outside."""
    await books.opened()
    directory, now = books.there.checkpoint_dir, datetime.now(UTC)
    made = await checkpoints.make(books.sessions, build.signer(), ROOT, now)
    export(directory, [replace(made, number=made.number + 7)])
    yield Finding(
        Difference.RECORD_CUT,
        str(made.number),
        f"The audit trail ends at entry {made.number}, and a checkpoint in {directory} covers "
        f"{made.number + 7}: the database was restored from an older copy.",
        f"`--apply` brings back what Temporal knows, under new numbers; note the day, and move the "
        f"checkpoints out of {directory} to where the auditors keep them",
    )
    directory.rename(directory.with_name("with the auditors"))


async def a_document(books, **changes):
    """Leave a document on record and in the store; return its row and its file."""
    story = await books.opened()
    stored = await books.there.documents.put(A_PDF, limit=1_000)
    given = {
        "id": new_id(), "update_id": story.update.update_id, "lane": AUTOMATIC,
        "kind": "request_form", "direction": "received", "state": "checking",
        "sha256": stored.sha256, "size": stored.size, "media_type": "application/pdf",
        "created_at": datetime.now(UTC),
    }  # fmt: skip
    row = Document(**given | changes)
    await store(books.sessions, row)
    return story, row, books.there.checkpoint_dir.with_name(STORE) / row.sha256[:2] / row.sha256


def document_missing(row, why):
    return Finding(
        Difference.DOCUMENT_MISSING,
        row.id,
        f"Document {row.id} (request_form, received) of update {row.update_id}: {why}.",
        "restore the document store from its backup; until then have it handed in again",
    )


@asynccontextmanager
async def a_document_that_is_not_in_the_store(books):
    _, row, file = await a_document(books)
    backup = file.rename(file.with_suffix(".backup"))
    yield document_missing(row, f"no document {row.sha256} is in the store")
    backup.rename(file)


@asynccontextmanager
async def a_document_that_was_changed_in_the_store(books):
    _, row, file = await a_document(books)
    file.chmod(0o600)
    file.write_bytes(b"%PDF-1.7 signed by somebody else")
    why = f"the document {row.sha256} was changed in the store; restore it from a backup"
    yield document_missing(row, why)
    file.write_bytes(A_PDF)


# What the CA knows and no update does


@asynccontextmanager
async def a_certificate_of_no_update(books):
    """The CA signed for an update that the database has lost."""
    request = a_request()
    number = facts_of_certificate(await issue(books.ca, request)).serial_number
    yield Finding(
        Difference.CERTIFICATE_UNKNOWN,
        number,
        f"The CA issued certificate {number} for request {request.request_id}, and no update on "
        "record asked for it.",
        f"look whose card has it; if none: cardflow ca revoke {number} --reason "
        "cessationOfOperation",
    )
    await books.ca.revoke(number, REASON)


@asynccontextmanager
async def a_request_of_no_update(books):
    """Officers are asked for an update that the database has lost."""
    request = a_request(OFFICER)
    await books.ca.submit(request)
    yield Finding(
        Difference.REQUEST_UNKNOWN,
        request.request_id,
        f"Request {request.request_id} waits at the CA, and no update on record made it.",
        "an officer rejects it at the CA",
    )
    await reject(books, request.request_id)


@asynccontextmanager
async def a_request_whose_update_is_over(books):
    """The update was cancelled before it knew that officers had been asked."""
    story = await books.opened()
    name = f"{story.update.update_id}:1:{AUTOMATIC}"
    await books.ca.submit(a_request(OFFICER, request_id=name))
    await cancelled(story)
    yield Finding(
        Difference.REQUEST_UNKNOWN,
        name,
        f"Request {name} waits at the CA, and its update is over and does not know it.",
        "an officer rejects it at the CA",
    )
    await reject(books, name)


async def cancelled(story):
    story.lane(AUTOMATIC, stage=LaneStage.CANCELLED)
    story.end(Stage.CANCELLED)
    await story.tell(EventKind.CANCELLED)


async def reject(books, name):
    digest = (await books.ca.request(name)).digest
    await books.ca.decide(name, build.OFFICER, Verdict.REJECT, "nobody waits for it", digest)


# What the CA knows of an update that does not


def not_taken(name, number, stands, remedy):
    return Finding(
        Difference.CERTIFICATE_NOT_TAKEN,
        number,
        f"The CA issued certificate {number} for {name}, whose update is {stands} and does not "
        "know it.",
        remedy,
    )


@asynccontextmanager
async def a_certificate_that_its_open_update_has_forgotten(books):
    """The update stands before the CA, and the CA has signed: the update is the older copy."""
    story = await books.opened()
    story.lane(AUTOMATIC, stage=LaneStage.AWAITING_REQUEST_FORM)
    await story.tell(EventKind.VISIT_ENDED)
    name, pem = await books.asked(story)
    number = facts_of_certificate(pem).serial_number
    remedy = "continue or retry the update: it looks at the CA before it asks again"
    yield not_taken(name, number, "awaiting_request_form", remedy)
    facts = {"certificate_pem": pem}
    story.lane(AUTOMATIC, stage=LaneStage.READY, serial_number=number)
    await story.tell(EventKind.CERTIFICATE_ISSUED, lane=AUTOMATIC, facts=facts)


@asynccontextmanager
async def a_certificate_whose_update_is_over(books):
    """The update was cancelled before it knew that its key had got a certificate."""
    story = await books.opened()
    name, pem = await books.asked(story)
    number = facts_of_certificate(pem).serial_number
    await cancelled(story)
    remedy = f"cardflow ca revoke {number} --reason cessationOfOperation"
    yield not_taken(name, number, "over", remedy)
    await books.ca.revoke(number, REASON)


# Certificates on record


@asynccontextmanager
async def a_certificate_that_the_ca_never_saw(books):
    """The CA's tables were restored from before they had it."""
    story, number = await books.completed()
    await books.forgotten_by_ca(number)
    yield Finding(
        Difference.CERTIFICATE_NOT_AT_CA,
        number,
        f"Certificate {number} of card {story.update.card_id} is on record and the CA does not "
        "know it: its tables were restored from an older copy.",
        "update the card's contents anew; the CA can neither vouch for this one nor revoke it",
    )
    gone = ObjectRef("00", certificate_sha256=(await books.certificate(number)).sha256)
    await story.tell(EventKind.RETIRED, refs=(gone,))


@asynccontextmanager
async def a_revocation_that_is_not_on_record(books):
    """It was revoked at the CA, and the database was restored from before that."""
    _, number = await books.completed()
    await books.ca.revoke(number, REASON)
    yield Finding(
        Difference.REVOCATION_MISSING,
        number,
        f"Certificate {number} is revoked at the CA and the record says on_card.",
        "`--apply` puts it on record",
        mended="it is on record",
    )
    assert (await books.certificate(number)).state == "revoked"
    assert (await audit_kinds(books.sessions)).count("certificate_revoked") == 1


@asynccontextmanager
async def a_revocation_that_the_ca_has_forgotten(books):
    """It was revoked, and the CA's tables were restored from before that."""
    _, number = await books.completed()
    await books.set_certificate(number, state="revoked")
    yield Finding(
        Difference.REVOCATION_UNDONE,
        number,
        f"Certificate {number} is revoked on record and good at the CA.",
        f"cardflow ca revoke {number} --reason cessationOfOperation",
    )
    await books.ca.revoke(number, REASON)


@asynccontextmanager
async def an_open_update_of_a_lost_card(books):
    """The server died when it had blocked the card, and nobody reported it again."""
    story = await books.opened()
    name, card_id = story.update.update_id, story.update.card_id
    async with transaction(books.sessions) as session:
        await session.execute(card_is_lost(card_id))
    yield Finding(
        Difference.LOST_CARD_OPEN,
        name,
        f"Card {card_id} is reported lost, and its update {name} is open.",
        "report the card lost again: that ends the update",
    )
    await cancelled(story)


@asynccontextmanager
async def a_certificate_on_a_cleared_card(books):
    """It was to be revoked when the card was cleared; that update has no request at the CA."""
    before, number = await books.completed()
    update = build.to_clear(before.update)
    plan = replace(update.plan, removed_serial_numbers=(number,))
    story = await on_the_same_card(books, build.signed(replace(update, plan=plan)))
    story.end(Stage.COMPLETED)
    await story.tell(EventKind.COMPLETED)
    yield Finding(
        Difference.AFTERWORK_OWED,
        story.update.update_id,
        f"Update {story.update.update_id} has ended, and at the CA still stands what was to be "
        f"revoked or withdrawn: {number}.",
        "`--apply` has it done",
    )
    await books.ca.revoke(number, REASON)
    await books.set_certificate(number, state="revoked")


async def on_the_same_card(books, update):
    name = f"card-update/{update.card_id}"
    assert await books.there.record.open(update, name) == []
    return Story(books.there.record, update)


CASES = (
    left(Difference.RECORD_CUT, a_trail_shorter_than_its_checkpoint),
    left(Difference.DOCUMENT_MISSING, a_document_that_is_not_in_the_store),
    left(Difference.DOCUMENT_MISSING, a_document_that_was_changed_in_the_store),
    left(Difference.CERTIFICATE_UNKNOWN, a_certificate_of_no_update),
    left(Difference.REQUEST_UNKNOWN, a_request_of_no_update),
    left(Difference.REQUEST_UNKNOWN, a_request_whose_update_is_over),
    left(Difference.CERTIFICATE_NOT_TAKEN, a_certificate_that_its_open_update_has_forgotten),
    left(Difference.CERTIFICATE_NOT_TAKEN, a_certificate_whose_update_is_over),
    left(Difference.CERTIFICATE_NOT_AT_CA, a_certificate_that_the_ca_never_saw),
    mended(Difference.REVOCATION_MISSING, a_revocation_that_is_not_on_record),
    left(Difference.LOST_CARD_OPEN, an_open_update_of_a_lost_card),
    left(Difference.REVOCATION_UNDONE, a_revocation_that_the_ca_has_forgotten),
)


@pytest.mark.parametrize("case", CASES)
async def test_a_difference_is_told_and_goes_by_its_remedy_and_by_nothing_else(case, books):
    async with case.made(books) as told:
        assert case.objections(told) == []
        before = await books.content()
        assert await books.look() == [replace(told, mended="")]
        assert await books.content() == before

        assert await books.look(apply=True) == [told]
        assert (await books.content() == before) is not case.is_mended
    assert await books.look() == []
    assert await books.look(apply=True) == []


async def test_what_a_cleared_card_left_to_be_revoked_is_found_by_the_update_alone(books):
    async with a_certificate_on_a_cleared_card(books) as told:
        assert await books.look() == [told]
    assert await books.look() == []


async def test_a_report_that_is_just_being_carried_out_is_no_difference(books):
    story = await books.opened()
    async with transaction(books.sessions) as session:
        await session.execute(card_is_lost(story.update.card_id, ago=timedelta(seconds=5)))

    assert await books.look() == []


async def test_a_certificate_that_has_expired_needs_no_ca_any_more(books):
    _, number = await books.completed()
    await books.forgotten_by_ca(number)
    assert len(await books.look()) == 1

    await books.set_certificate(number, not_after=datetime.now(UTC) - timedelta(seconds=1))

    assert await books.look() == []


async def test_documents_of_closed_updates_are_read_when_every_document_is(books):
    story, row, file = await a_document(books)
    await cancelled(story)
    file.unlink()

    assert await books.look() == []
    assert [one.about for one in await books.look(every_document=True)] == [row.id]


@pytest.mark.parametrize("act", Act)
async def test_whatever_a_workflow_is_told_is_said_again_but_not_the_clicks_at_a_card(act):
    update = build.an_update(build.a_policy(), opened_at=datetime.now(UTC))
    action = build.an_action(update, act, build.HOLDER, Role.HOLDER)
    entry = JournalEntry(
        action_id=action.id, update_id=update.update_id, token=build.signer().sign(action),
        recorded_at=action.at,
    )  # fmt: skip
    answer = JournalAnswer(action_id=action.id, accepted=True, answer="", recorded_at=action.at)
    view = lifecycle.view(update, lifecycle.begin(update))

    assert (unheard([(entry, answer)], view, set()) == [entry]) is (act not in NOT_SAID_AGAIN)
    assert unheard([(entry, None)], view, set()) == []
    assert unheard([(entry, answer)], view, {action.id}) == []
