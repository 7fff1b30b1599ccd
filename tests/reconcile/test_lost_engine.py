"""Temporal's store is lost: every open update goes on, and nothing is issued twice."""

import asyncio
from collections import Counter

import pytest
from sqlalchemy import select
from sqlmodel import col

from cardflow.ca.tables import CaCertificate
from cardflow.db.tables import AuditEntry
from cardflow.model import LaneStage, Mode, Stage
from cardflow.reconcile import Difference
from cardflow.sql import transaction
from tests.db.rows import found
from tests.reconcile.stage import an_entry

pytestmark = [pytest.mark.temporal, pytest.mark.sqlite, pytest.mark.slow]

# Where the first lane stands when the engine is lost, and the policy.
STANDS = (
    (LaneStage.PREPARING, an_entry()),
    (LaneStage.AWAITING_REQUEST_FORM, an_entry(Mode.REQUEST_FORM)),
    (LaneStage.CHECKING_REQUEST_FORM, an_entry(Mode.BOTH, officer=True, precheck=True)),
    (LaneStage.AT_CA, an_entry(officer=True)),
    (LaneStage.AWAITING_CERTIFICATE_FORM, an_entry(Mode.CERTIFICATE_FORM)),
    (LaneStage.READY, an_entry(Mode.CERTIFICATE_FORM), an_entry(officer=True)),
)


async def certificates_by_lane(house):
    """Return how many certificates the CA's own table has per update and lane."""
    query = select(col(CaCertificate.request_id)).where(col(CaCertificate.request_id).is_not(None))
    async with transaction(house.sessions) as session:
        return Counter((await session.scalars(query)).all())


async def lose_and_go_on(house, number):
    """Open so many updates, lose the engine, reconcile, and drive all of them to their end."""
    before = await in_turns(house.at(*STANDS[n % len(STANDS)]) for n in range(number))
    ids = {one.update.update_id for one in before}
    await house.lose_engine()

    seen = await house.reconcile()
    assert {one.about for one in seen if one.difference is Difference.WORKFLOW_LOST} == ids
    mended = await house.reconcile(apply=True)
    assert {one.about for one in mended if one.mended == "it was started anew"} == ids

    stages = await in_turns(house.again(one).to_the_end() for one in before)
    assert Counter(stages) == {Stage.COMPLETED: number}
    lanes = {f"{one.update.update_id}:1:{x.lane}" for one in before for x in one.update.plan.lanes}
    issued = await certificates_by_lane(house)
    assert {lane: issued[lane] for lane in lanes} == dict.fromkeys(lanes, 1)
    assert not [one for one in await house.reconcile() if one.about in ids]


async def in_turns(works):
    """Return what the works return, a few at a time."""
    room = asyncio.Semaphore(4)

    async def one(work):
        async with room:
            return await work

    return await asyncio.gather(*(one(work) for work in works))


async def test_six_updates_at_six_stages_go_on_and_none_is_issued_twice(house):
    await lose_and_go_on(house, len(STANDS))

    kinds = Counter(entry.kind for entry in await found(house.sessions, AuditEntry))
    assert kinds["resumed"] == len(STANDS)


@pytest.mark.timeout(3_000)
async def test_two_hundred_updates_go_on_and_none_is_issued_twice(house):
    await lose_and_go_on(house, 200)
