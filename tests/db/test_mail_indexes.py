"""Mails are never forgotten, so nothing that is done again and again reads all of them."""

from datetime import timedelta

import pytest
from sqlalchemy import event

from cardflow.db.digests import Rhythm, queue_digests
from cardflow.db.mail_queue import list_mails, queued_beside_updates
from cardflow.db.tables import Mail
from cardflow.sql import transaction
from tests.db.rows import NOW, store

RHYTHM = Rhythm(timedelta(hours=4), daily_hour=6)


@pytest.fixture
def plans(engine):
    """How SQLite goes about every query on mails."""
    found = []

    @event.listens_for(engine.sync_engine, "before_cursor_execute")
    def _explain(connection, _cursor, statement, parameters, _context, _many):
        if statement.startswith("SELECT") and "FROM mails" in statement:
            asked = connection.connection.cursor()
            asked.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
            found.append("; ".join(step[3] for step in asked.fetchall()))

    return found


def a_mail(number, **changes):
    given = {
        "id": f"m{number}", "update_id": "", "event": 0, "kind": "digest", "person_id": "p",
        "address": "", "message_id": f"<{number}>", "state": "sent",
        "created_at": NOW + timedelta(minutes=number // 2),
    }  # fmt: skip
    return Mail(**{**given, **changes})


@pytest.mark.sqlite
@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
async def test_rounds_and_pages_of_mails_follow_an_index(sessions, plans):
    async with transaction(sessions) as session:
        await queue_digests(session, NOW, RHYTHM, domain="example.org")
        await queued_beside_updates(session)
        await list_mails(session, state="", before=(NOW, "m1"), limit=2)
        await list_mails(session, state="failed", before=(NOW, "m1"), limit=2)

    indexes = ["ix_mails_untold", "ix_mails_", "ix_mails_age", "ix_mails_state_age"]
    assert [index in plan for plan, index in zip(plans, indexes, strict=True)] == [True] * 4, plans
    assert not any("TEMP B-TREE" in plan for plan in (plans[0], *plans[2:])), plans
    assert all("(created_at" in plan or "AND created_at" in plan for plan in plans[2:]), plans


async def test_pages_of_mails_follow_one_another_to_the_end(sessions):
    await store(sessions, *(a_mail(number) for number in range(7)))
    seen, before = [], None
    async with transaction(sessions) as session:
        while page := await list_mails(session, state="sent", before=before, limit=2):
            seen += [mail.id for mail in page]
            before = (page[-1].created_at, page[-1].id)

    assert seen == [f"m{number}" for number in reversed(range(7))]
