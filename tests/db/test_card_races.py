"""Races for cards on PostgreSQL; on SQLite one transaction waits for the other from its start."""

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from sqlalchemy import text

from api.authorize import Caller
from api.cards import CardPatch, cards_in, change_card, remember_import
from api.problems import Problem
from cardflow.db import audit
from cardflow.db.ca_record import CARecord
from cardflow.db.register_cards import find_to_change
from cardflow.db.tables import Card, Certificate, Update
from cardflow.db.update_record import UpdateRecord
from cardflow.model import CardState, EventKind, Role, Stage
from cardflow.sql import create_engine, sessions_of, transaction
from tests import build
from tests.db.rows import ADMIN, NOW, audit_kinds, found, populate, store, the
from tests.db.test_opening import ROOT
from tests.db.test_projection import POLICY, a_certificate_row, a_story
from tests.waiting import until

pytestmark = pytest.mark.slow
WAITS = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event_type = 'Lock'
"""


@pytest.fixture
async def engine(on_server, tmp_path):
    """An engine over a migrated database on PostgreSQL."""
    engine = create_engine(on_server.migrated(tmp_path))
    yield engine
    await engine.dispose()


@pytest.fixture
def sessions(engine):
    """What opens sessions on it."""
    return sessions_of(engine)


@pytest.fixture
def update():
    return build.an_update(POLICY, opened_at=NOW)


@dataclass
class Second:
    """What a transaction that came second does: it waits until the first one has ended."""

    tasks: list[asyncio.Task] = field(default_factory=list)

    async def begins(self, sessions, does):
        """Return once it waits for the first."""
        self.tasks.append(task := asyncio.create_task(does))

        async def waits():
            async with transaction(sessions) as session:
                return task.done() or await session.scalar(text(WAITS))

        await until(waits, what="the second waits for the first")


@asynccontextmanager
async def first(sessions):
    """Yield a transaction, and what is begun while it is open."""
    second = Second()
    async with transaction(sessions) as session:
        yield session, second
    await asyncio.wait(second.tasks)


async def set_state(session, update, state):
    (await find_to_change(session, update.card_id)).state = state
    await session.flush()


def a_caller():
    return Caller(ADMIN, ADMIN, ADMIN, frozenset({Role.ADMIN}), "en")


def the_record(sessions):
    return UpdateRecord(sessions, decision_root=ROOT, mail_domain="example.org")


async def test_a_card_that_is_disabled_while_its_update_starts_gets_none(sessions, update):
    await populate(sessions, update)
    start = the_record(sessions).open(update, f"card-update/{update.card_id}")

    async with first(sessions) as (session, second):
        await set_state(session, update, CardState.DISABLED)
        await second.begins(sessions, start)

    assert second.tasks[0].result() == ["the card is disabled"]
    assert (await the(sessions, Card)).state == CardState.DISABLED
    assert await found(sessions, Update) == []


async def test_a_card_that_is_disabled_while_its_update_ends_stays_so(sessions, update):
    story = await a_story(sessions, update)
    story.end(Stage.COMPLETED)

    async with first(sessions) as (session, second):
        await set_state(session, update, CardState.DISABLED)
        await second.begins(sessions, story.tell(EventKind.COMPLETED))

    second.tasks[0].result()
    assert (await the(sessions, Card)).state == CardState.DISABLED


async def changed(sessions, update, **changes):
    async with transaction(sessions) as session:
        return await change_card(update.card_id, CardPatch(**changes), a_caller(), session)


async def imported(sessions, update):
    content = f"token_serial,holder\n{update.token_serial},{build.OPERATOR_2}\n".encode()
    async with transaction(sessions) as session:
        done = await cards_in(content, dry_run=False).run(session)
        await remember_import(session, a_caller(), content, done)
    return done


async def test_a_card_does_not_change_hands_while_its_update_starts(sessions, update):
    await populate(sessions, update)

    async with first(sessions) as (session, second):
        await set_state(session, update, CardState.PENDING)
        await second.begins(sessions, changed(sessions, update, holder_id=None))

    assert isinstance(second.tasks[0].exception(), Problem)
    assert (await the(sessions, Card)).holder_id == build.HOLDER


async def test_nor_by_an_import(sessions, update):
    await populate(sessions, update)

    async with first(sessions) as (session, second):
        await set_state(session, update, CardState.PENDING)
        await second.begins(sessions, imported(sessions, update))

    (refusal,) = second.tasks[0].result().refused
    assert refusal.reason == "an update is open on this card; cancel it first"
    assert (await the(sessions, Card)).holder_id == build.HOLDER


async def test_imports_at_the_same_moment_come_one_after_the_other(sessions, update):
    await populate(sessions, update)
    content = f"token_serial,token_label\n{update.token_serial},again\nSN-2,new\n".encode()

    async def once():
        async with transaction(sessions) as session:
            return await cards_in(content, dry_run=False).run(session)

    async with first(sessions) as (session, second):
        await cards_in(content, dry_run=False).run(session)
        await second.begins(sessions, once())

    assert second.tasks[0].result().unchanged == 2


async def test_whoever_waits_for_a_card_does_not_hold_up_the_audit_trail(sessions, update):
    story = await a_story(sessions, update)
    story.end(Stage.COMPLETED)

    async with first(sessions) as (session, second):
        await set_state(session, update, CardState.DISABLED)
        await second.begins(sessions, story.tell(EventKind.COMPLETED))
        await audit.append(session, audit.Entry("card_changed", NOW))

    second.tasks[0].result()
    assert await audit_kinds(sessions) == ["start_verified", "card_changed", "completed"]


async def test_a_certificate_that_is_revoked_twice_at_once_is_audited_once(sessions, update):
    await populate(sessions, update)
    await store(sessions, a_certificate_row(update, "aa" * 32))
    revocation = CARecord(sessions).revoked("1", update.update_id, "superseded")

    async with first(sessions) as (session, second):
        row = await session.get_one(Certificate, ("aa" * 32, update.card_id))
        row.state = "revoked"
        await audit.append(session, audit.Entry("certificate_revoked", NOW))
        await second.begins(sessions, revocation)

    second.tasks[0].result()
    assert await audit_kinds(sessions) == ["certificate_revoked"]
