"""Who gets which mail about what: asked for by an event, allowed by the policy, queued once."""

import pytest

from cardflow.db.letters import letters
from cardflow.db.tables import Mail, Person
from cardflow.model import EventKind, MailKind, Mode, Party
from cardflow.sql import transaction
from tests import build
from tests.db.rows import ADMIN, NOW, a_person, found, store, the
from tests.db.test_projection import a_story

LANE = build.an_entry("logon", Mode.BOTH)


async def told(sessions, kind=EventKind.VISIT_ENDED, *, policy=None, started_by="", **event):
    """Publish one event of an update and return the mails that it queued."""
    of = policy or build.a_policy(LANE)
    update = build.an_update(of, opened_at=NOW, started_by=started_by or build.HOLDER)
    story = await a_story(sessions, update)
    ids = await story.tell(kind, **event)
    mails = await found(sessions, Mail)
    assert sorted(ids) == [mail.id for mail in mails]
    return mails


def people_in(mails):
    return {mail.person_id for mail in mails}


@pytest.mark.parametrize("kind", sorted(set(MailKind) - {MailKind.REMINDER}))
async def test_every_kind_goes_to_those_it_concerns(sessions, kind):
    mails = await told(sessions, mail=kind)

    operators = {build.OPERATOR, build.OPERATOR_2}
    expected = {
        MailKind.DOCUMENT_RECEIVED: operators,
        MailKind.ESCALATION: operators | {ADMIN},
    }.get(kind, {build.HOLDER})
    assert people_in(mails) == expected
    assert {mail.kind for mail in mails} == {kind}


@pytest.mark.parametrize(
    ("party", "people"),
    [
        (Party.HOLDER, {build.HOLDER}),
        (Party.AGENT, {build.HOLDER}),
        (Party.OPERATOR, {build.OPERATOR, build.OPERATOR_2}),
        (Party.CA, {build.OPERATOR, build.OPERATOR_2}),
        (Party.OFFICER, {build.OFFICER}),
    ],
)
async def test_a_reminder_goes_to_those_who_are_waited_for(sessions, party, people):
    facts = {"party": party.value, "what": "something"}
    mails = await told(sessions, EventKind.REMINDER, mail=MailKind.REMINDER, facts=facts)

    assert people_in(mails) == people


async def test_operators_who_may_not_decide_are_not_asked_to(sessions):
    mails = await told(sessions, mail=MailKind.DOCUMENT_RECEIVED, started_by=build.OPERATOR)

    assert people_in(mails) == {build.OPERATOR_2}


async def test_people_who_left_get_no_mail(sessions):
    await store(sessions, a_person("gone", ["operator"], active=False))
    mails = await told(sessions, mail=MailKind.DOCUMENT_RECEIVED)

    assert "gone" not in people_in(mails)


async def test_an_event_that_asks_for_no_mail_sends_none(sessions):
    assert await told(sessions) == []


async def test_with_notifications_off_nothing_is_queued(sessions):
    policy = build.a_policy(LANE, notifications=())

    assert await told(sessions, policy=policy, mail=MailKind.COMPLETED, ready=True) == []


async def test_a_kind_that_the_policy_switched_off_gives_way_to_ready_to_continue(sessions):
    policy = build.a_policy(LANE, notifications=(MailKind.READY_TO_CONTINUE,))
    (mail,) = await told(sessions, policy=policy, mail=MailKind.UPDATE_APPROVED, ready=True)

    assert mail.kind == MailKind.READY_TO_CONTINUE


async def test_ready_is_told_inside_the_mail_that_made_it_so(sessions):
    (mail,) = await told(sessions, mail=MailKind.UPDATE_APPROVED, ready=True)

    assert mail.kind == MailKind.UPDATE_APPROVED
    async with transaction(sessions) as session:
        (letter,) = await letters(session, [mail.id])
    assert letter.ready


async def test_a_repeated_publication_keeps_the_message_id(sessions):
    story = await a_story(sessions, build.an_update(build.a_policy(LANE), opened_at=NOW))
    event = story.event(EventKind.OPENED, mail=MailKind.OPERATION_STARTED)

    first, second = await story.publish(event), await story.publish(event)

    mail = await the(sessions, Mail)
    assert first == second == [mail.id]
    assert mail.message_id == f"<{mail.id}@example.org>"


async def test_each_person_and_event_has_a_message_id_of_its_own(sessions):
    story = await a_story(sessions, build.an_update(build.a_policy(LANE), opened_at=NOW))
    for _ in range(2):
        await story.tell(EventKind.ESCALATION, mail=MailKind.ESCALATION)

    mails = await found(sessions, Mail)
    assert len({mail.message_id for mail in mails}) == len(mails) == 6


async def test_a_letter_knows_the_person_the_event_and_the_holder(sessions):
    (mail, _) = await told(
        sessions, mail=MailKind.DOCUMENT_RECEIVED, facts={"kind": "request_form"}
    )
    async with transaction(sessions) as session:
        (letter,) = await letters(session, [mail.id])
        holder = await session.get(Person, build.HOLDER)

    assert (letter.holder_name, letter.address) == (holder.name, mail.address)
    assert letter.facts == {"kind": "request_form"}
    assert letter.contact == "Ask the service desk."
