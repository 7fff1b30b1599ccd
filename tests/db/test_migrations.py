"""The tables are made, checked and unmade by migrations alone, on both databases."""

import asyncio

from alembic import command
from sqlalchemy import inspect
from sqlmodel import SQLModel

from cardflow.ca import tables as ca_tables  # noqa: F401 its tables register themselves
from cardflow.db import tables  # noqa: F401 its tables register themselves
from cardflow.db.migrate import database_objections, run, upgrade_database
from cardflow.sql import create_engine


async def carried_out(engine, order, *arguments):
    async with engine.begin() as connection:
        await connection.run_sync(run, order, *arguments)


async def tables_in(engine):
    async with engine.connect() as connection:
        return set(await connection.run_sync(lambda c: inspect(c).get_table_names()))


async def test_an_upgraded_database_is_what_the_program_expects(empty_engine):
    await upgrade_database(empty_engine)

    assert await tables_in(empty_engine) == {*SQLModel.metadata.tables, "alembic_version"}
    assert await database_objections(empty_engine) == []
    await carried_out(empty_engine, command.check)


async def test_a_database_goes_down_to_nothing_and_up_again(empty_engine):
    await upgrade_database(empty_engine)
    await carried_out(empty_engine, command.downgrade, "base")
    assert await tables_in(empty_engine) == {"alembic_version"}

    await upgrade_database(empty_engine)
    await carried_out(empty_engine, command.check)


async def test_a_database_without_tables_is_objected_to(empty_engine):
    assert await database_objections(empty_engine) == [
        "the database is at revision none, this program needs 0010"
    ]


async def test_processes_that_start_together_upgrade_once(empty_engine):
    url = empty_engine.url.render_as_string(hide_password=False)
    engines = [create_engine(url) for _ in range(3)]

    await asyncio.gather(*(upgrade_database(engine) for engine in engines))

    assert await database_objections(engines[0]) == []
    for engine in engines:
        await engine.dispose()


async def test_the_state_directory_is_made_when_it_is_missing(tmp_path):
    engine = create_engine(f"sqlite+aiosqlite:///{tmp_path}/new/state/cardflow.db")

    await upgrade_database(engine)

    assert await database_objections(engine) == []
    await engine.dispose()
