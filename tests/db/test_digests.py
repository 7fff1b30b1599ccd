"""Operators with many waiting documents get one digest, and no document is forgotten over it."""

from datetime import UTC, datetime, timedelta

import pytest

from cardflow.db.digests import MOST_ENTRIES, NONE_NEEDED, Rhythm, is_due, queue_digests
from cardflow.db.letters import letters
from cardflow.db.mail_queue import queued_beside_updates
from cardflow.db.tables import Card, Mail, Person, Update, WaitingFor
from cardflow.db.update_record import UpdateRecord
from cardflow.lifecycle import CERTIFICATE_FORM_CHECK, REQUEST_FORM_CHECK
from cardflow.model import EventKind, LaneStage, MailKind, Mode
from cardflow.sql import transaction
from tests import build
from tests.db.rows import NOW, a_person, found, store
from tests.db.test_opening import ROOT
from tests.db.test_projection import Story, a_story

POLICY = build.a_policy(build.an_entry("logon", Mode.BOTH, precheck=True))
RHYTHM = Rhythm(timedelta(hours=4), daily_hour=6)
HOUR = timedelta(hours=1)
BOTH = {build.OPERATOR, build.OPERATOR_2}


async def waits(sessions, number, *, what=REQUEST_FORM_CHECK, party="operator", **changes):
    """Leave an update that waits."""
    update_id = f"other-{number}"
    given = {"holder_id": f"holder-of-{number}", "started_by": f"holder-of-{number}", **changes}
    card = Card(id=update_id, token_serial=update_id, state="Pending", created_at=NOW)
    update = Update(
        id=update_id, kind="update", card_id=update_id, policy_name="staff", policy_version=1,
        stage="pending", opened_at=NOW, due_at=NOW + 30 * HOUR, input="{}", view="{}", **given,
    )  # fmt: skip
    waiting = WaitingFor(
        update_id=update_id, lane="logon", party=party, what=what, holder_id=given["holder_id"],
        since=NOW + number * HOUR, until=NOW + 30 * HOUR,
    )  # fmt: skip
    await store(sessions, card, update, waiting)


class Office:
    """An update whose document is under check, and the clock."""

    def __init__(self, sessions, story):
        self.sessions = sessions
        self.story = story

    async def receive(self):
        """Have a document come in, and return the mails that this queued at once."""
        self.story.lane("logon", stage=LaneStage.CHECKING_REQUEST_FORM, since=NOW)
        return await self.story.tell(
            EventKind.DOCUMENT_RECEIVED, lane="logon", mail=MailKind.DOCUMENT_RECEIVED,
            facts={"kind": "request_form"},
        )  # fmt: skip

    async def decided(self):
        """Have the document be under check no more."""
        self.story.lane("logon", stage=LaneStage.AT_CA)
        await self.story.tell(EventKind.DOCUMENT_APPROVED)

    async def round(self, now):
        """Return the digests that are queued after a round."""
        async with transaction(self.sessions) as session:
            await queue_digests(session, now, RHYTHM, domain="example.org")
        return await found(self.sessions, Mail, kind="digest")

    async def folded(self):
        return await found(self.sessions, Mail, state="folded")

    async def letters(self):
        async with transaction(self.sessions) as session:
            return await letters(session, await queued_beside_updates(session))

    async def change(self, person_id, **changes):
        async with transaction(self.sessions) as session:
            person = await session.get_one(Person, person_id)
            for name, value in changes.items():
                setattr(person, name, value)


@pytest.fixture
async def office(sessions):
    story = await a_story(sessions, build.an_update(POLICY, opened_at=NOW))
    record = UpdateRecord(sessions, decision_root=ROOT, mail_domain="example.org", digest_above=2)
    patient = Story(record, story.update)
    return Office(sessions, patient)


# When mails are folded


async def test_while_few_documents_wait_each_has_its_mail(office, sessions):
    await waits(sessions, 1)
    await waits(sessions, 2, what=CERTIFICATE_FORM_CHECK)

    assert len(await office.receive()) == 2
    assert await office.folded() == []


async def test_when_many_wait_the_next_is_folded_and_stays_on_record(office, sessions):
    for number in (1, 2, 3):
        await waits(sessions, number)

    assert await office.receive() == []
    folded = await office.folded()
    assert {mail.person_id for mail in folded} == BOTH
    assert {(mail.update_id, mail.kind) for mail in folded} == {
        (office.story.update.update_id, "document_received")
    }


async def test_only_documents_that_wait_for_operators_are_counted(office, sessions):
    await waits(sessions, 1, party="holder", what="the signed request form")
    await waits(sessions, 2, party="officer", what="the decision at the CA")
    await waits(sessions, 3, what="an operator's action: retry or cancel")

    assert len(await office.receive()) == 2


async def test_who_chose_a_digest_a_day_has_every_document_folded(office):
    await office.change(build.OPERATOR, mail_digest="daily")

    (sent,) = await office.receive()

    (folded,) = await office.folded()
    assert folded.person_id == build.OPERATOR
    assert sent != folded.id


async def test_no_other_mail_is_ever_folded(office, sessions):
    for number in (1, 2, 3):
        await waits(sessions, number)
    await office.change(build.OPERATOR, mail_digest="daily")
    await office.change(build.HOLDER, mail_digest="daily")

    await office.story.tell(EventKind.ESCALATION, mail=MailKind.ESCALATION)
    await office.story.tell(EventKind.COMPLETED, mail=MailKind.OPERATION_STARTED)

    assert await office.folded() == []


async def test_a_publication_that_comes_twice_folds_once(office, sessions):
    await office.change(build.OPERATOR, mail_digest="daily")
    office.story.lane("logon", stage=LaneStage.CHECKING_REQUEST_FORM, since=NOW)
    event = office.story.event(
        EventKind.DOCUMENT_RECEIVED, lane="logon", mail=MailKind.DOCUMENT_RECEIVED,
        facts={"kind": "request_form"},
    )  # fmt: skip

    await office.story.publish(event)
    await office.story.publish(event)

    assert len(await office.folded()) == 1


# When digests come


@pytest.fixture
async def crowded(office, sessions):
    for number in (1, 2, 3):
        await waits(sessions, number)
    await office.receive()
    return office


async def test_a_round_leaves_one_digest_per_operator_and_names_it_on_what_was_folded(crowded):
    digests = await crowded.round(NOW)

    assert {mail.person_id for mail in digests} == BOTH
    by_person = {mail.person_id: mail.id for mail in digests}
    assert all(mail.digest_id == by_person[mail.person_id] for mail in await crowded.folded())
    assert {mail.state for mail in digests} == {"queued"}


async def test_a_round_that_runs_again_adds_nothing(crowded):
    first = await crowded.round(NOW)

    assert [mail.id for mail in await crowded.round(NOW)] == [mail.id for mail in first]
    assert len(await crowded.round(NOW + 9 * HOUR)) == len(first)


async def test_the_next_digest_waits_until_its_time_has_come(crowded):
    await crowded.round(NOW)
    await crowded.receive()

    assert len(await crowded.round(NOW + 3 * HOUR)) == 2
    assert {m.digest_id for m in await crowded.folded()} > {""}
    assert len(await crowded.round(NOW + 4 * HOUR)) == 4
    assert "" not in {mail.digest_id for mail in await crowded.folded()}


async def test_what_was_checked_before_the_digest_came_needs_none(office):
    await office.change(build.OPERATOR, mail_digest="daily")
    await office.change(build.OPERATOR_2, mail_digest="daily")
    await office.receive()
    await office.decided()

    assert await office.round(NOW + 48 * HOUR) == []
    assert {mail.digest_id for mail in await office.folded()} == {NONE_NEEDED}


@pytest.mark.parametrize("change", [{"active": False}, {"roles": ["holder"]}])
async def test_who_is_no_operator_any_more_gets_no_digest(crowded, change):
    await crowded.change(build.OPERATOR, **change)

    assert {mail.person_id for mail in await crowded.round(NOW)} == {build.OPERATOR_2}


async def test_a_digest_tells_what_its_reader_may_check_the_oldest_first(crowded, sessions):
    await waits(sessions, 4, holder_id=build.OPERATOR)
    await waits(sessions, 5, started_by=build.OPERATOR)
    await waits(sessions, 0, what=CERTIFICATE_FORM_CHECK)
    await store(sessions, a_person("holder-of-1", ["holder"], name="Holly Wood"))
    await crowded.round(NOW)

    (letter,) = [x for x in await crowded.letters() if x.person_id == build.OPERATOR]

    ours = crowded.story.update.update_id
    assert {entry.update_id for entry in letter.entries[:2]} == {ours, "other-0"}
    assert [entry.update_id for entry in letter.entries[2:]] == ["other-1", "other-2", "other-3"]
    assert letter.waiting == 5
    entry = letter.entries[2]
    assert (entry.holder_name, entry.lane, entry.what) == (
        "Holly Wood",
        "logon",
        REQUEST_FORM_CHECK,
    )
    assert (entry.since, entry.until) == (NOW + HOUR, NOW + 30 * HOUR)


async def test_a_digest_of_a_great_many_says_how_many_there_are(crowded, sessions):
    for number in range(4, MOST_ENTRIES + 4):
        await waits(sessions, number)
    await crowded.round(NOW)

    (letter, _) = await crowded.letters()
    assert (len(letter.entries), letter.waiting) == (MOST_ENTRIES, MOST_ENTRIES + 4)


AT_NOON = datetime(2026, 5, 6, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("chosen", "oldest", "last", "now", "due"),
    [
        ("off", AT_NOON, None, AT_NOON, True),
        ("off", AT_NOON, AT_NOON - 4 * HOUR, AT_NOON, True),
        ("off", AT_NOON, AT_NOON - 3 * HOUR, AT_NOON, False),
        ("daily", AT_NOON, None, AT_NOON, False),
        ("daily", AT_NOON, None, AT_NOON + 17 * HOUR, False),
        ("daily", AT_NOON, None, AT_NOON + 18 * HOUR, True),
        ("daily", AT_NOON - 7 * HOUR, None, AT_NOON, True),
        ("daily", AT_NOON - 7 * HOUR, None, AT_NOON - 7 * HOUR, False),
    ],
)
def test_a_digest_is_due_by_itself_after_some_hours_or_once_a_day(chosen, oldest, last, now, due):
    person = a_person("ben", ["operator"], mail_digest=chosen)

    assert is_due(person, oldest, last, now, RHYTHM) is due


def test_the_hour_of_a_daily_digest_is_the_hour_where_its_reader_is():
    person = a_person("ben", ["operator"], mail_digest="daily", time_zone="Asia/Tokyo")
    six_in_tokyo = AT_NOON.replace(hour=21)

    assert not is_due(person, AT_NOON, None, six_in_tokyo - HOUR, RHYTHM)
    assert is_due(person, AT_NOON, None, six_in_tokyo, RHYTHM)


# Threads


async def test_the_mails_of_one_person_about_one_update_hang_together(office, sessions):
    kinds = [MailKind.DOCUMENT_NEEDED, MailKind.DOCUMENT_REJECTED, MailKind.UPDATE_APPROVED]
    office.story.record = UpdateRecord(sessions, decision_root=ROOT, mail_domain="example.org")
    await office.receive()
    for kind in kinds:
        await office.story.tell(EventKind.VISIT_ENDED, lane="logon", mail=kind)
    await office.receive()

    async with transaction(sessions) as session:
        ids = [mail.id for mail in await found(sessions, Mail)]
        all_letters = await letters(session, ids)
    for person, number in ((build.HOLDER, 3), (build.OPERATOR, 2)):
        thread = [letter for letter in all_letters if letter.person_id == person]
        assert len(thread) == number
        for position, letter in enumerate(thread):
            assert letter.earlier == tuple(earlier.message_id for earlier in thread[:position])


async def test_a_folded_mail_is_no_part_of_a_thread(office):
    await office.change(build.OPERATOR, mail_digest="daily")
    await office.receive()
    await office.change(build.OPERATOR, mail_digest="off")
    ids = await office.receive()

    async with transaction(office.sessions) as session:
        by_person = {x.person_id: x for x in await letters(session, ids)}
    assert by_person[build.OPERATOR].earlier == ()
    assert len(by_person[build.OPERATOR_2].earlier) == 1
