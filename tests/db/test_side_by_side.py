"""Two processes do the same thing at the same moment."""

import asyncio

import pytest
from sqlalchemy import select

from cardflow.db.register_agents import Reported, replace_presence
from cardflow.db.tables import Agent, Presence
from cardflow.model import Role
from cardflow.sql import alone_with, transaction
from tests import build
from tests.db.rows import NOW, a_person, found, store

AT_ONCE = 8


@pytest.fixture
async def agent(sessions):
    """An agent that was confirmed."""
    agent = Agent(
        id="a1", person_id=build.HOLDER, public_key="ab" * 32, words="", host="", system="",
        version="0.1.0", state="confirmed", enrolled_at=NOW, key_since=NOW,
    )  # fmt: skip
    await store(sessions, a_person(build.HOLDER, [Role.HOLDER]))
    await store(sessions, agent)
    return agent


async def test_reports_of_one_workstation_at_the_same_moment_leave_one_of_them(sessions, agent):
    async def report(number):
        async with transaction(sessions) as session:
            token = Reported(build.SERIAL, f"label {number}", "{}", "")
            await replace_presence(session, agent, [token], now=NOW)

    await asyncio.gather(*(report(number) for number in range(AT_ONCE)))

    assert [seen.token_serial for seen in await found(sessions, Presence)] == [build.SERIAL]


async def test_whoever_is_alone_sees_what_the_one_before_left(sessions, agent):
    async def count():
        async with transaction(sessions) as session:
            await alone_with(session, "the count")
            row = (await session.scalars(select(Agent))).one()
            row.host = f"{row.host}+"

    await asyncio.gather(*(count() for _ in range(AT_ONCE)))

    assert [row.host for row in await found(sessions, Agent)] == ["+" * AT_ONCE]
