"""What an update's view leaves out is remembered while it is open, so that nothing is lost."""

from dataclasses import replace

from cardflow.db.memories import state_of
from cardflow.db.tables import JournalAnswer, JournalEntry, Memory, Update
from cardflow.db.views import text_of
from cardflow.model import EventKind, LaneStage, Reply, Stage
from cardflow.orders import Publication
from cardflow.sql import transaction
from tests.db.rows import NOW, a_certificate_pem, found
from tests.db.test_projection import story  # noqa: F401 a fixture

ANSWERS, DECISIONS = {"action-1": "the document was approved"}, {"d1": "ben approved it"}


def yes(reply) -> JournalAnswer:
    return JournalAnswer(
        action_id=reply.action_id, accepted=True, answer=text_of(reply), recorded_at=NOW
    )


async def whole(story, sessions):  # noqa: F811 the imported fixture
    async with transaction(sessions) as session:
        return await state_of(session, await session.get_one(Update, story.update.update_id))


async def test_the_state_on_record_is_whole(story, sessions):  # noqa: F811
    pem = a_certificate_pem()
    story.lane("logon", stage=LaneStage.AT_CA, csr_pem="CSR")
    await story.tell(EventKind.KEY_PREPARED, lane="logon", facts={"csr_pem": "CSR"})
    story.lane("logon", stage=LaneStage.READY, certificate_pem=pem)
    event = story.event(EventKind.CERTIFICATE_ISSUED, lane="logon", facts={"certificate_pem": pem})
    said = Publication(story.view, (event,), ANSWERS, DECISIONS)
    await story.record.publish(said)

    expected = replace(story.state, answered=ANSWERS, decisions=DECISIONS)
    assert await whole(story, sessions) == expected


async def test_a_repeated_publication_is_remembered_once(story, sessions):  # noqa: F811
    said = Publication(story.view, (story.event(EventKind.RETRIED),), ANSWERS, DECISIONS)
    await story.record.publish(said)
    await story.record.publish(said)

    assert [row.name for row in await found(sessions, Memory)] == ["action-1", "d1"]


async def test_an_update_that_ends_leaves_the_answers_that_were_lost(story, sessions):  # noqa: F811
    update_id = story.update.update_id
    async with transaction(sessions) as session:
        for action_id in ("action-1", "action-2", "refused"):
            session.add(
                JournalEntry(action_id=action_id, update_id=update_id, token="", recorded_at=NOW)
            )
        kept = Reply(Stage.READY, "as it was told", "action-2")
        session.add(yes(kept))
    answers = {**ANSWERS, "action-2": "taken", "by-a-service": "taken"}
    event = story.event(EventKind.RETRIED)
    await story.record.publish(Publication(story.view, (event,), answers))
    assert len(await found(sessions, JournalAnswer)) == 1
    story.end(Stage.CANCELLED)
    last = story.event(EventKind.CANCELLED)

    for _ in range(2):  # a publication whose end was not heard of comes again
        await story.publish(last)

    told = {a.action_id: (a.accepted, a.answer) for a in await found(sessions, JournalAnswer)}
    given = Reply(Stage.CANCELLED, "the document was approved", "action-1")
    assert told == {"action-1": (True, text_of(given)), "action-2": (True, text_of(kept))}


async def test_an_update_that_has_ended_leaves_no_memories(story, sessions):  # noqa: F811
    said = Publication(story.view, (story.event(EventKind.RETRIED),), ANSWERS, DECISIONS)
    await story.record.publish(said)
    story.end(Stage.CANCELLED)
    await story.tell(EventKind.CANCELLED)

    assert await found(sessions, Memory) == []
