"""What workflows publish is written forward only, each event once, with its effects."""

import json
from dataclasses import replace
from datetime import timedelta

import pytest

from cardflow import lifecycle
from cardflow.db import audit
from cardflow.db.register_updates import certificates_of
from cardflow.db.tables import Card, Certificate, Debt, Document, Update, UpdateLane, WaitingFor
from cardflow.db.update_record import UpdateRecord
from cardflow.db.views import event_of, text_of, view_of
from cardflow.errors import Refused
from cardflow.jobs import FoundCertificate, Inventory
from cardflow.model import (
    CardState,
    DocumentKind,
    Event,
    EventKind,
    LaneStage,
    Mode,
    ObjectRef,
    Stage,
)
from cardflow.orders import Publication
from cardflow.sql import transaction
from cardflow.x509 import facts_of_certificate
from tests import build
from tests.db.rows import NOW, a_card, a_certificate_pem, audit_kinds, found, populate, store, the
from tests.db.test_opening import ROOT

POLICY = build.a_policy(build.an_entry("logon", Mode.BOTH, precheck=True), build.an_entry("mail"))
LATER = NOW + timedelta(hours=1)
DEBT = ObjectRef("aa" * 20, spki_sha256="bb" * 32)
CLEANED = ObjectRef("cc" * 20, certificate_sha256="dd" * 32)


class Story:
    """An update as its workflow would tell it: events are numbered, the state moves along."""

    def __init__(self, record, update):
        self.record = record
        self.update = update
        self.state = lifecycle.begin(update)

    def event(self, kind, **parts):
        """Return the next event."""
        self.state = replace(self.state, events=self.state.events + 1)
        return Event(self.state.events, kind, LATER, **parts)

    @property
    def view(self):
        return lifecycle.slim(lifecycle.view(self.update, self.state))

    async def publish(self, *events):
        return await self.record.publish(Publication(self.view, events))

    async def tell(self, kind, **parts):
        """Publish one event of this kind."""
        return await self.publish(self.event(kind, **parts))

    def end(self, stage):
        self.state = replace(self.state, ended=stage, ended_because="because")

    def lane(self, name, **changes):
        lanes = [replace(x, **changes) if x.plan.lane == name else x for x in self.state.lanes]
        self.state = replace(self.state, lanes=tuple(lanes))


async def a_story(sessions, update, **card):
    await populate(sessions, update, **card)
    record = UpdateRecord(sessions, decision_root=ROOT, mail_domain="example.org")
    assert await record.open(update, f"card-update/{update.card_id}") == []
    return Story(record, update)


@pytest.fixture
async def story(sessions):
    return await a_story(sessions, build.an_update(POLICY, opened_at=NOW))


# Forward only, each event once


async def test_a_publication_moves_the_copy_on(story, sessions):
    story.lane("logon", stage=LaneStage.AWAITING_REQUEST_FORM, since=LATER)
    story.lane("mail", stage=LaneStage.READY)
    await story.tell(EventKind.VISIT_ENDED)

    row = await the(sessions, Update)
    assert (row.stage, row.events) == (Stage.PENDING, 1)
    assert view_of(row) == story.view
    lanes = await found(sessions, UpdateLane)
    assert [lane.stage for lane in lanes] == ["awaiting_request_form", "ready"]
    waits = await the(sessions, WaitingFor)
    assert (waits.party, waits.what) == ("holder", "the signed request form")


async def test_a_publication_that_comes_twice_changes_nothing(story, sessions):
    events = [story.event(EventKind.DEBTS_RECORDED, refs=(DEBT,)) for _ in range(2)]

    await story.publish(*events)
    await story.publish(*events)

    assert await audit_kinds(sessions) == ["start_verified", "debts_recorded", "debts_recorded"]
    assert len(await found(sessions, Debt)) == 1


async def test_an_older_publication_never_takes_the_copy_back(story, sessions):
    first = story.event(EventKind.VISIT_STARTED)
    older = story.view
    story.lane("mail", stage=LaneStage.READY)
    await story.tell(EventKind.VISIT_ENDED)

    await story.record.publish(Publication(older, (first,)))

    row = await the(sessions, Update)
    assert (row.events, view_of(row)) == (2, story.view)
    kinds = await audit_kinds(sessions)
    assert kinds == ["start_verified", "visit_ended", "visit_started"]


async def test_an_event_in_the_audit_trail_reads_back_as_it_was(story, sessions):
    event = story.event(
        EventKind.DEBTS_RECORDED, lane="mail", actor="x", facts={"a": "ü"}, refs=(DEBT,), token="t"
    )
    await story.publish(event)

    *_, entry = await found(sessions, audit.AuditEntry)
    assert event_of(entry) == event
    async with transaction(sessions) as session:
        assert (await audit.verify(session)).ok


async def test_an_update_that_was_never_opened_cannot_be_published(story):
    stranger = build.an_update(POLICY, opened_at=NOW)

    with pytest.raises(Refused, match="never opened"):
        await Story(story.record, stranger).tell(EventKind.OPENED)


# Keys and certificates


async def issued(story, lane="mail", pem=None):
    pem = pem or a_certificate_pem()
    await story.tell(EventKind.CERTIFICATE_ISSUED, lane=lane, facts={"certificate_pem": pem})
    return pem


async def test_the_csr_and_the_certificate_are_kept_with_their_lane(story, sessions):
    facts = {"csr_pem": "CSR", "spki_sha256": "ab"}
    await story.tell(EventKind.KEY_PREPARED, lane="mail", facts=facts)
    pem = await issued(story)

    lane = await the(sessions, UpdateLane, lane="mail")
    assert (lane.csr_pem, lane.certificate_pem) == ("CSR", pem)


async def test_an_issued_certificate_is_in_the_register_before_it_is_on_the_card(story, sessions):
    pem = await issued(story)

    facts, row = facts_of_certificate(pem), await the(sessions, Certificate)
    plan = story.update.plan.lanes[1]
    assert (row.kind, row.state, row.profile) == ("managed", "issued", "mail")
    assert (row.sha256, row.serial_number) == (facts.sha256, facts.serial_number)
    assert (row.cka_id, row.key_type) == (plan.cka_id, plan.key_type)
    assert row.not_after == facts.not_after


async def test_a_certificate_moves_on_from_issued_to_on_card_to_retired(story, sessions):
    pem = await issued(story)
    await story.tell(EventKind.WRITTEN, lane="mail")
    assert (await the(sessions, Certificate)).state == "on_card"

    ref = ObjectRef("00", certificate_sha256=facts_of_certificate(pem).sha256)
    await story.tell(EventKind.RETIRED, refs=(ref,))
    assert (await the(sessions, Certificate)).state == "retired"


async def test_a_certificate_whose_writing_was_recorded_first_is_on_the_card(story, sessions):
    facts = {"certificate_pem": a_certificate_pem()}
    late = story.event(EventKind.CERTIFICATE_ISSUED, lane="mail", facts=facts)
    story.lane("mail", stage=LaneStage.WRITTEN)
    await story.tell(EventKind.WRITTEN, lane="mail")

    await story.publish(late)

    assert (await the(sessions, Certificate)).state == "on_card"


async def test_a_revoked_certificate_is_never_called_anything_else(story, sessions):
    pem = await issued(story)
    async with transaction(sessions) as session:
        key = (facts_of_certificate(pem).sha256, story.update.card_id)
        row = await session.get(Certificate, key)
        row.state = "revoked"

    await story.tell(EventKind.WRITTEN, lane="mail")
    await issued(story, pem=pem)

    assert (await the(sessions, Certificate)).state == "revoked"


# Debts


async def test_debts_are_recorded_once_and_paid_by_a_later_update(story, sessions):
    await story.tell(EventKind.DEBTS_RECORDED, refs=(DEBT, CLEANED))
    await story.tell(EventKind.DEBTS_RECORDED, refs=(DEBT,))
    assert [debt.paid_at for debt in await found(sessions, Debt)] == [None, None]

    await story.tell(EventKind.DEBTS_PAID, refs=(DEBT,))

    paid = {debt.cka_id: debt.paid_at for debt in await found(sessions, Debt)}
    assert paid == {DEBT.cka_id: LATER, CLEANED.cka_id: None}


async def test_a_debt_is_paid_whenever_its_object_is_removed(story, sessions):
    await story.tell(EventKind.DEBTS_RECORDED, refs=(CLEANED,))

    await story.tell(EventKind.RETIRED, refs=(CLEANED,))

    assert (await the(sessions, Debt)).paid_at == LATER


# Documents


def a_document(document_id, story, kind=DocumentKind.REQUEST_FORM, **changes):
    given = {
        "id": document_id,
        "update_id": story.update.update_id,
        "lane": "logon",
        "kind": kind,
        "direction": "received",
        "state": "checking",
        "sha256": "d0" * 32,
        "size": 1,
        "media_type": "application/pdf",
        "created_at": NOW,
    }
    return Document(**{**given, **changes})


async def told_of(story, kind, document_id, **facts):
    await story.tell(kind, lane="logon", facts={"document_id": document_id, **facts})


async def states(sessions):
    return {row.id: row.state for row in await found(sessions, Document)}


async def test_a_second_document_replaces_the_one_under_check(story, sessions):
    await store(sessions, a_document("1", story), a_document("2", story))
    await told_of(story, EventKind.DOCUMENT_RECEIVED, "1")
    await told_of(story, EventKind.DOCUMENT_RECEIVED, "2")

    assert await states(sessions) == {"1": "replaced", "2": "checking"}


@pytest.mark.parametrize(
    ("kind", "state"),
    [
        (EventKind.DOCUMENT_WITHDRAWN, "withdrawn"),
        (EventKind.DOCUMENT_APPROVED, "accepted"),
        (EventKind.DOCUMENT_REJECTED, "rejected"),
    ],
)
async def test_a_document_ends_as_was_decided(story, sessions, kind, state):
    await store(sessions, a_document("1", story))
    await told_of(story, EventKind.DOCUMENT_RECEIVED, "1")
    await told_of(story, kind, "1")

    assert await states(sessions) == {"1": state}


async def test_a_document_stays_under_check_until_all_who_must_have_approved(story, sessions):
    await store(sessions, a_document("1", story))
    await told_of(story, EventKind.DOCUMENT_APPROVED, "1", complete="no")
    assert await states(sessions) == {"1": "checking"}

    await told_of(story, EventKind.DOCUMENT_APPROVED, "1", complete="yes")
    assert await states(sessions) == {"1": "accepted"}


@pytest.mark.parametrize(
    ("kind", "state"),
    [(DocumentKind.REQUEST_FORM, "accepted"), (DocumentKind.CERTIFICATE_FORM, "checking")],
)
async def test_a_request_form_that_nobody_checks_is_accepted_at_once(sessions, kind, state):
    policy = build.a_policy(build.an_entry("logon", Mode.BOTH))
    story = await a_story(sessions, build.an_update(policy, opened_at=NOW))
    await store(sessions, a_document("1", story, kind))

    await told_of(story, EventKind.DOCUMENT_RECEIVED, "1")

    assert await states(sessions) == {"1": state}


async def test_an_event_about_a_document_that_is_not_in_the_register_is_still_recorded(
    story, sessions
):
    for kind in (
        EventKind.DOCUMENT_RECEIVED,
        EventKind.DOCUMENT_APPROVED,
        EventKind.DOCUMENT_REJECTED,
        EventKind.DOCUMENT_WITHDRAWN,
    ):
        await told_of(story, kind, "nowhere")

    assert len(await audit_kinds(sessions)) == 5


# The end


async def ended(story, stage):
    story.end(stage)
    await story.tell(EventKind(stage.value))


async def test_what_was_on_its_way_to_an_update_that_ended_does_not_count(story, sessions):
    await store(sessions, a_document("1", story), a_document("2", story, state="arriving"))
    await told_of(story, EventKind.DOCUMENT_RECEIVED, "1")
    assert await states(sessions) == {"1": "checking", "2": "arriving"}

    await ended(story, Stage.CANCELLED)

    assert await states(sessions) == {"1": "checking", "2": "refused"}


async def test_a_completed_update_leaves_an_issued_card(story, sessions):
    await issued(story)
    await story.tell(EventKind.WRITTEN, lane="mail")
    await ended(story, Stage.COMPLETED)

    row, card = await the(sessions, Update), await the(sessions, Card)
    assert (row.stage, row.ended_at, row.ended_because) == ("completed", LATER, "because")
    assert card.state == CardState.ISSUED
    assert await found(sessions, WaitingFor) == []


@pytest.mark.parametrize("stage", [Stage.CANCELLED, Stage.LAPSED, Stage.REJECTED])
async def test_a_card_without_certificates_is_assigned_again(story, sessions, stage):
    await issued(story)
    await ended(story, stage)

    assert (await the(sessions, Card)).state == CardState.ASSIGNED


async def test_a_card_disabled_meanwhile_stays_disabled(story, sessions):
    async with transaction(sessions) as session:
        card = await session.get(Card, story.update.card_id)
        card.state = CardState.DISABLED

    await ended(story, Stage.CANCELLED)

    assert (await the(sessions, Card)).state == CardState.DISABLED


async def test_a_card_that_is_reported_lost_is_blocked_and_stays_so(story, sessions):
    await story.tell(EventKind.REPORTED_LOST)
    assert (await the(sessions, Card)).state == CardState.DISABLED

    await ended(story, Stage.CANCELLED)
    assert (await the(sessions, Card)).state == CardState.DISABLED


async def test_a_card_taken_from_its_holder_meanwhile_ends_clean(story, sessions):
    async with transaction(sessions) as session:
        card = await session.get(Card, story.update.card_id)
        card.holder_id = None

    await ended(story, Stage.CANCELLED)

    assert (await the(sessions, Card)).state == CardState.CLEAN


async def test_a_rejected_mandatory_profile_leaves_the_card_due(story, sessions):
    story.lane("logon", stage=LaneStage.CA_REJECTED)
    await ended(story, Stage.COMPLETED)

    assert (await the(sessions, Card)).update_due == "rejected by the CA: logon"


async def test_a_completed_update_settles_what_was_due_and_a_cancelled_one_does_not(sessions):
    update = build.an_update(POLICY, opened_at=NOW)
    story = await a_story(sessions, update, update_due="rejected by the CA: logon")

    await ended(story, Stage.CANCELLED)
    assert (await the(sessions, Card)).update_due != ""

    await ended(story, Stage.COMPLETED)
    assert (await the(sessions, Card)).update_due == ""


async def test_clearing_a_card_retires_its_certificates_and_pays_its_debts(sessions):
    update = build.to_clear(build.an_update(POLICY, opened_at=NOW))
    story = await a_story(sessions, update)
    ref = ObjectRef("11" * 20, "12" * 32)
    await store(
        sessions,
        a_certificate_row(update, ref.certificate_sha256),
        a_certificate_row(update, "13" * 32, kind="tracked"),
    )
    await story.tell(EventKind.DEBTS_RECORDED, refs=(DEBT,))
    await story.tell(EventKind.CARD_CLEARED, refs=(DEBT, ref))
    await ended(story, Stage.COMPLETED)

    states = {row.kind: row.state for row in await found(sessions, Certificate)}
    assert states == {"managed": "retired", "tracked": "on_card"}
    assert (await the(sessions, Debt)).paid_at == LATER
    assert (await the(sessions, Card)).state == CardState.ASSIGNED


def a_certificate_row(update, sha256, kind="managed"):
    return Certificate(
        sha256=sha256,
        card_id=update.card_id,
        kind=kind,
        state="on_card",
        cka_id="00",
        spki_sha256="00",
        serial_number="1",
        subject="",
        issuer="",
        not_before=NOW,
        not_after=LATER,
        pem="",
        created_at=NOW,
    )


async def test_third_party_certificates_are_tracked_once_the_update_is_complete(sessions):
    pems = [a_certificate_pem("Bank"), a_certificate_pem("Club")]
    digests = [facts_of_certificate(pem).sha256 for pem in pems]
    update = build.an_update(POLICY, opened_at=NOW)
    seen = [FoundCertificate("01", "", pem, True) for pem in (*pems, "not a certificate")]
    story = await a_story(
        sessions,
        registering(update, digests[0]),
        inventory=text_of(Inventory(certificates=tuple(seen))),
    )
    await ended(story, Stage.COMPLETED)
    await ended(story, Stage.COMPLETED)

    row = await the(sessions, Certificate)
    assert (row.sha256, row.kind, row.state) == (digests[0], "tracked", "on_card")
    assert (row.subject, row.not_after) == ("CN=Bank", NOW + timedelta(days=365))


async def test_one_certificate_on_two_cards_is_tracked_on_each(sessions):
    pem = a_certificate_pem("Bank")
    digest = facts_of_certificate(pem).sha256
    first = registering(build.an_update(POLICY, opened_at=NOW), digest)
    other = build.an_update(POLICY, opened_at=NOW)
    second = registering(replace(other, token_serial="SN-2"), digest)
    inventory = text_of(Inventory(certificates=(FoundCertificate("01", "", pem, True),)))
    story = await a_story(sessions, first, inventory=inventory)
    await store(sessions, a_card(second, inventory=inventory))
    await story.record.open(second, f"card-update/{second.card_id}")
    for told in (story, Story(story.record, second)):
        await ended(told, Stage.COMPLETED)

    rows = await found(sessions, Certificate)
    assert {(row.card_id, row.sha256) for row in rows} == {
        (first.card_id, digest),
        (second.card_id, digest),
    }
    async with transaction(sessions) as session:
        known = await certificates_of(session, second.card_id)
    assert known[digest].card_id == second.card_id


def registering(update, digest):
    plan = replace(update.plan, registers=(ObjectRef("01", certificate_sha256=digest),))
    return build.signed(replace(update, plan=plan))


async def test_nothing_is_tracked_when_the_card_was_never_seen(story, sessions):
    await ended(story, Stage.COMPLETED)

    assert await found(sessions, Certificate) == []


async def test_the_copy_is_small_enough_to_read_at_a_glance(story, sessions):
    await story.tell(EventKind.OPENED, token=story.update.token)

    assert len(json.dumps((await the(sessions, Update)).view)) < 5_000
