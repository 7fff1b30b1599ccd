"""Each kind of difference that Temporal is asked about, one at a time, in a house that runs.

A case makes one difference, says what a person is to read of it and what is done about it, and then
looks that the update goes on. What it leaves open agrees everywhere, and the next case may use it.
"""

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import delete, update
from sqlmodel import col
from temporalio import workflow
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from cardflow.ca.tables import CaCertificate, CaRequest, State
from cardflow.db.mail_queue import mail_to
from cardflow.db.tables import AuditEntry, Card, Certificate, Mail, Person, Update
from cardflow.decisions import utc_now
from cardflow.model import DocumentKind, LaneStage, MailKind, Mode, Reply, Stage, Verdict
from cardflow.reconcile import Difference, Finding
from cardflow.reconcile.updates import BY_HISTORY, RESUMES
from cardflow.sql import transaction
from tests import build
from tests.db.rows import found, store, the
from tests.reconcile.books import card_is_lost, rows_of_all_tables
from tests.reconcile.cases import left, mended
from tests.reconcile.stage import an_entry
from tests.waiting import until
from workflows.card_update import workflow_id

pytestmark = pytest.mark.temporal

A_FORM = an_entry(Mode.REQUEST_FORM, precheck=True)
AN_OFFICER = an_entry(officer=True)


async def change(lodger, statement):
    async with transaction(lodger.sessions) as session:
        await session.execute(statement)


async def row_of(lodger, one):
    """Return the update's row."""
    return await the(lodger.sessions, Update, id=one.update.update_id)


async def ends(lodger, one):
    """Let the holder cancel the update."""
    await one.act(build.cancelling(one.update))
    assert await one.handle.result() is Stage.CANCELLED


# Updates


@asynccontextmanager
async def a_workflow_that_is_lost(lodger):
    """Temporal's store was lost."""
    one = await lodger.standing(LaneStage.AWAITING_REQUEST_FORM, A_FORM)
    await lodger.workflow_is_lost(one)
    name = one.update.update_id
    yield Finding(
        Difference.WORKFLOW_LOST,
        name,
        f"Update {name} is open on record (pending) and Temporal has no workflow for it.",
        RESUMES,
        mended="it was started anew",
    )
    assert await lodger.stands(lodger.again(one), LaneStage.AWAITING_REQUEST_FORM)


@asynccontextmanager
async def a_workflow_of_no_update_on_record(lodger):
    """The database was restored from before the update was opened."""
    copy = await lodger.database_is_copied()
    one = await lodger.at(LaneStage.AWAITING_REQUEST_FORM, A_FORM)
    events = (await row_of(lodger, one)).events
    await lodger.database_is_restored(copy)
    await lodger.register_again(one)
    name = one.update.update_id
    yield Finding(
        Difference.WORKFLOW_UNKNOWN,
        name,
        f"Temporal has update {name} of card {one.update.card_id}, which is not on record: the "
        "database was restored from an older copy.",
        BY_HISTORY,
        mended=f"it is on record again, with {events} events",
    )
    assert (await row_of(lodger, one)).events == events
    assert await lodger.stands(one, LaneStage.AWAITING_REQUEST_FORM)


@asynccontextmanager
async def a_workflow_that_is_older_than_the_record(lodger):
    """Temporal's store was restored from before the form came in."""
    one = await lodger.standing(LaneStage.AWAITING_REQUEST_FORM, A_FORM)
    await one.hand_in(DocumentKind.REQUEST_FORM)
    await lodger.publication(one)
    on_record = (await row_of(lodger, one)).events
    await lodger.workflow_goes_back(one)
    knows = (await one.view()).state.events
    assert knows < on_record
    name = one.update.update_id
    yield Finding(
        Difference.WORKFLOW_BEHIND,
        name,
        f"The workflow of update {name} knows {knows} events, {on_record} are on record: Temporal "
        "was restored from an older copy.",
        f"{RESUMES}, and ends the old one",
        mended="it was started anew",
    )
    assert await lodger.stands(lodger.again(one), LaneStage.CHECKING_REQUEST_FORM)


@asynccontextmanager
async def a_workflow_whose_update_is_over(lodger):
    """Temporal's store was restored from before the update was cancelled."""
    one = await lodger.standing(LaneStage.AWAITING_REQUEST_FORM, A_FORM)
    await ends(lodger, one)
    await lodger.workflow_goes_back(one)
    name = one.update.update_id
    yield Finding(
        Difference.WORKFLOW_BEHIND,
        name,
        f"Update {name} has ended on record and its workflow runs: Temporal was restored from an "
        "older copy.",
        "`--apply` ends the workflow",
        mended="the workflow was ended",
    )
    assert (await lodger.again(one).handle.describe()).status.name == "TERMINATED"
    assert (await row_of(lodger, one)).stage == "cancelled"


@workflow.defn(name="CardUpdate")
class Mute:
    """A release of the workflow that does not know what it is asked."""

    @workflow.run
    async def run(self, update: dict) -> None:
        await asyncio.Event().wait()


@asynccontextmanager
async def a_workflow_that_does_not_answer(lodger):
    """It runs with code that cannot say where it stands."""
    one = await lodger.standing(LaneStage.AWAITING_REQUEST_FORM, A_FORM)
    await lodger.workflow_is_lost(one)
    mute = {"task_queue": "mute", "workflow_runner": UnsandboxedWorkflowRunner()}
    async with Worker(lodger.client, workflows=[Mute], **mute):
        name = workflow_id(one.update.card_id)
        handle = await lodger.client.start_workflow(
            "CardUpdate", one.update, id=name, task_queue="mute"
        )
        yield Finding(
            Difference.WORKFLOW_SILENT,
            one.update.update_id,
            f"The workflow of update {one.update.update_id} runs and does not answer.",
            "start a worker; if one runs, look at the workflow's failing task in Temporal's pages",
        )
        await handle.terminate("it fails")
    await lodger.reconcile(apply=True)  # lost now, and so started anew
    assert await lodger.stands(lodger.again(one), LaneStage.AWAITING_REQUEST_FORM)


@asynccontextmanager
async def a_record_that_is_older_than_its_workflow(lodger):
    """The database was restored from before the form came in and the update was cancelled."""
    one = await lodger.standing(LaneStage.AWAITING_REQUEST_FORM, A_FORM)
    knew = (await row_of(lodger, one)).events
    copy = await lodger.database_is_copied()
    await one.hand_in(DocumentKind.REQUEST_FORM)
    await ends(lodger, one)
    told = (await row_of(lodger, one)).events
    await lodger.database_is_restored(copy)
    name = one.update.update_id
    yield Finding(
        Difference.RECORD_BEHIND,
        name,
        f"The record of update {name} ends at event {knew} and its workflow has told {told}: the "
        "database was restored from an older copy.",
        BY_HISTORY,
        mended=f"events {knew + 1} to {told} are on record again",
    )
    row = await row_of(lodger, one)
    assert (row.events, row.stage) == (told, "cancelled")


# What people said


@asynccontextmanager
async def a_yes_that_the_workflow_does_not_know(lodger):
    """The operator approved, and Temporal's store was lost before that was on record."""
    one = await lodger.standing(LaneStage.CHECKING_REQUEST_FORM, A_FORM)
    view = await one.view()
    lane = view.state.lanes[0].plan.lane
    action = build.deciding(one.update, view, lane, Verdict.APPROVE)
    await said_and_answered(one, action)
    yield unheard(one, action)
    await until(lambda: lodger.stands(one, LaneStage.READY), what="the certificate")


@asynccontextmanager
async def a_lost_card_that_the_workflow_does_not_know_of(lodger):
    """The holder reported the card lost, and Temporal's store was lost before it was on record."""
    one = await lodger.standing(LaneStage.AWAITING_REQUEST_FORM, A_FORM)
    action = build.reporting_lost(one.update)
    await said_and_answered(one, action)
    yield unheard(one, action)
    assert await one.handle.result() is Stage.CANCELLED
    assert (await one.view()).state.lost


async def said_and_answered(one, action):
    """Leave the action and its yes in the journal, and nowhere else."""
    await one.journal(action, one.signer.sign(action))
    await one.answered(action, Reply(Stage.PENDING, "it counts", action.id))


def unheard(one, action):
    return Finding(
        Difference.ACTION_UNHEARD,
        action.id,
        f"{action.actor} was told yes to `{action.act}` on update {one.update.update_id} (action "
        f"{action.id}), and the workflow does not know of it.",
        "`--apply` sends it again; the workflow verifies it and counts it once",
        mended="it was sent again and counts",
    )


# What is ordered: at the CA, and of the mail relay


async def asked(lodger):
    """Return an update that waits for officers, and its request's name."""
    one = await lodger.standing(LaneStage.AT_CA, AN_OFFICER)
    view = await until(one.view, lambda view: view.state.lanes[0].ca_handle, what="the CA")
    await lodger.publication(one)
    return one, view.state.lanes[0].ca_handle


@asynccontextmanager
async def a_request_that_the_ca_has_lost(lodger):
    """The CA's tables were restored from before it was asked."""
    one, name = await asked(lodger)
    await change(lodger, delete(CaRequest).where(col(CaRequest.request_id) == name))
    yield Finding(
        Difference.REQUEST_NOT_AT_CA,
        name,
        f"Update {one.update.update_id} waits for the CA's answer to {name}, which the CA does not "
        "know: its tables were restored from an older copy.",
        "it asks anew under the same name at its next poll; `--apply` has it ask now",
        mended="the update asks anew",
    )
    await until(lambda: found(lodger.sessions, CaRequest, request_id=name), what="the request")
    assert await lodger.stands(one, LaneStage.AT_CA)


@asynccontextmanager
async def a_certificate_of_a_lost_card_that_stands(lodger):
    """The CA's tables were restored from before the request of a lost card was withdrawn."""
    one, name = await asked(lodger)
    await one.act(build.reporting_lost(one.update))
    assert await one.handle.result() is Stage.CANCELLED
    await lodger.client.get_workflow_handle(f"afterwork/{one.update.update_id}").result()
    was = {"state": State.PENDING, "ended_at": None, "reason": ""}
    await change(lodger, update(CaRequest).where(col(CaRequest.request_id) == name).values(**was))
    await one.officer_approves(name)
    await lodger.ca.poll(name)
    yield Finding(
        Difference.AFTERWORK_OWED,
        one.update.update_id,
        f"Update {one.update.update_id} has ended, and at the CA still stands what was to be "
        f"revoked or withdrawn: {name}.",
        "`--apply` has it done",
        mended="it was ordered",
    )
    certificate = await until(
        lambda: the(lodger.sessions, CaCertificate, request_id=name),
        lambda row: row.revoked_at,
        what="the revocation",
    )
    assert certificate.revocation_reason == "keyCompromise"


@asynccontextmanager
async def a_lost_card_whose_certificate_is_good(lodger):
    """The server died when it had blocked the card, and nobody reported it again."""
    one = await lodger.an_update(an_entry())
    assert await one.to_the_end() is Stage.COMPLETED
    card_id = one.update.card_id
    (on_card,) = await found(lodger.sessions, Certificate, card_id=card_id, state="on_card")
    await change(lodger, card_is_lost(card_id))
    yield Finding(
        Difference.LOST_CARD_TRUSTED,
        card_id,
        f"Card {card_id} is reported lost, and at the CA still stands: {on_card.serial_number}.",
        "`--apply` has it revoked",
        mended="it was ordered",
    )
    certificate = await until(
        lambda: the(lodger.sessions, CaCertificate, serial_number=on_card.serial_number),
        lambda row: row.revoked_at,
        what="the revocation",
    )
    assert certificate.revocation_reason == "keyCompromise"
    revoked = {"serial_number": on_card.serial_number, "state": "revoked"}
    await until(lambda: found(lodger.sessions, Certificate, **revoked), what="the record")


@asynccontextmanager
async def a_mail_that_nothing_delivers(lodger):
    """Temporal's store was lost while the relay was away."""
    one = await lodger.standing(LaneStage.AWAITING_REQUEST_FORM, A_FORM)
    holder = await the(lodger.sessions, Person, id=build.HOLDER)
    mail = mail_to(
        holder, one.update.update_id, MailKind.OPERATION_STARTED,
        now=utc_now() - timedelta(hours=2), domain="example.org",
    )  # fmt: skip
    mail.update_id, mail.event = one.update.update_id, 1
    await store(lodger.sessions, mail)
    yield Finding(
        Difference.MAIL_STUCK,
        one.update.update_id,
        f"A mail of update {one.update.update_id} waits, and nothing delivers it.",
        "`--apply` has it delivered",
        mended="the delivery was ordered",
    )
    await until(lambda: found(lodger.sessions, Mail, id=mail.id, state="sent"), what="the mail")
    assert lodger.catcher.subjects == ["Card update operation started"]


FILES = pytest.mark.sqlite  # whose file is swapped
SLOW = pytest.mark.slow  # another case has the kind; an end under way is waited for, 2 s each time
CASES = (
    mended(Difference.WORKFLOW_LOST, a_workflow_that_is_lost),
    left(Difference.WORKFLOW_SILENT, a_workflow_that_does_not_answer),
    mended(Difference.MAIL_STUCK, a_mail_that_nothing_delivers),
    mended(Difference.WORKFLOW_BEHIND, a_workflow_that_is_older_than_the_record),
    mended(Difference.WORKFLOW_BEHIND, a_workflow_whose_update_is_over, SLOW),
    mended(Difference.ACTION_UNHEARD, a_yes_that_the_workflow_does_not_know),
    mended(Difference.ACTION_UNHEARD, a_lost_card_that_the_workflow_does_not_know_of, SLOW),
    mended(Difference.WORKFLOW_UNKNOWN, a_workflow_of_no_update_on_record, FILES),
    mended(Difference.RECORD_BEHIND, a_record_that_is_older_than_its_workflow, FILES),
    mended(Difference.REQUEST_NOT_AT_CA, a_request_that_the_ca_has_lost),
    mended(Difference.LOST_CARD_TRUSTED, a_lost_card_whose_certificate_is_good),
    mended(Difference.AFTERWORK_OWED, a_certificate_of_a_lost_card_that_stands),
)


@pytest.mark.parametrize("case", CASES)
async def test_a_difference_is_told_and_mended_once(case, lodger):
    async with case.made(lodger) as told:
        assert case.objections(told) == []
        before = await rows_of_all_tables(lodger.sessions)
        assert await lodger.reconcile() == [replace(told, mended="")]
        assert await rows_of_all_tables(lodger.sessions) == before

        assert await lodger.reconcile(apply=True) == [told]
        if case.is_mended:
            facts = {"mended": {case.kind: 1}, "standing": 0}
            assert await newest_of(lodger, "reconciled") == facts
        else:
            assert await rows_of_all_tables(lodger.sessions) == before
    assert await lodger.reconcile() == []


async def newest_of(lodger, kind):
    """Return the facts of the newest entry of a kind in the audit trail."""
    entry = (await found(lodger.sessions, AuditEntry, kind=kind))[-1]
    return json.loads(entry.text)["facts"]


@pytest.mark.slow
async def test_a_lost_request_of_an_update_that_cannot_go_on_is_told_beside_the_reason(lodger):
    one, name = await asked(lodger)
    card = update(Card).where(col(Card.id) == one.update.card_id)
    await lodger.workflow_is_lost(one)
    await change(lodger, card.values(holder_id=build.OPERATOR))
    await change(lodger, delete(CaRequest).where(col(CaRequest.request_id) == name))

    lost, unasked = await lodger.reconcile(apply=True)

    assert lost.remedy == "it cannot go on: the card belongs to somebody else now"
    assert unasked.remedy == "its workflow is not there: see to that first, it asks then"
    assert not lost.mended
    assert not unasked.mended

    await change(lodger, card.values(holder_id=build.HOLDER))
    lost, *_ = await lodger.reconcile(apply=True)
    assert lost.mended == "it was started anew"
    await until(lambda: found(lodger.sessions, CaRequest, request_id=name), what="the request")
    assert await lodger.reconcile() == []
