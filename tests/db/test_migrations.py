"""The tables are made, checked and unmade by migrations alone, on both databases."""

import asyncio

import pytest
from alembic import command
from sqlalchemy import column, insert, inspect, text
from sqlalchemy import table as lightweight
from sqlalchemy.exc import IntegrityError
from sqlmodel import SQLModel

from cardflow.ca import tables as ca_tables  # noqa: F401 its tables register themselves
from cardflow.db import tables  # noqa: F401 its tables register themselves
from cardflow.db.migrate import (
    database_objections,
    newest_revision,
    run,
    upgrade_database,
)
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


async def test_a_certificate_is_known_per_card_and_once_again_after_going_back(empty_engine):
    await carried_out(empty_engine, command.upgrade, "0002")
    await executed(
        empty_engine, *(a_row("cards", id=c, token_serial=c, **CARD) for c in ("ada", "ben"))
    )
    first = a_row("certificates", sha256="5a", card_id="ben", created_at="2026-01-01", **WATCHED)
    await executed(empty_engine, first)

    await upgrade_database(empty_engine)
    second = a_row("certificates", sha256="5a", card_id="ada", created_at="2026-02-01", **WATCHED)
    await executed(empty_engine, second)
    with pytest.raises(IntegrityError):
        await executed(empty_engine, second)

    await carried_out(empty_engine, command.downgrade, "0002")
    async with empty_engine.connect() as connection:
        rows = await connection.execute(text("SELECT card_id, sha256 FROM certificates"))
        assert rows.all() == [("ben", "5a")]
    with pytest.raises(IntegrityError):
        await executed(empty_engine, second)


CARD = {
    **dict.fromkeys(("token_label", "manufacturer", "model", "policy_name", "update_due"), ""),
    **{"state": "Clean", "inventory": "", "created_at": "2026-01-01"},
}
WATCHED = {
    **dict.fromkeys(("profile", "key_type", "update_id", "lane", "subject", "issuer", "pem"), ""),
    **{"kind": "tracked", "state": "on_card", "cka_id": "01", "spki_sha256": "5b"},
    **{"serial_number": "1", "not_before": "2026-01-01", "not_after": "2027-01-01"},
}


def a_row(table, **values):
    """Return the statement that puts a row into a table, whatever today's classes look like."""
    return insert(lightweight(table, *(column(name) for name in values))).values(values)


async def executed(engine, *statements):
    async with engine.begin() as connection:
        for statement in statements:
            await connection.execute(statement)


async def test_a_database_without_tables_is_objected_to(empty_engine):
    assert await database_objections(empty_engine) == [
        f"the database is at revision none, this program needs {newest_revision()}"
    ]


async def test_processes_that_start_together_upgrade_once(empty_engine):
    url = empty_engine.url.render_as_string(hide_password=False)
    engines = [create_engine(url) for _ in range(3)]

    await asyncio.gather(*(upgrade_database(engine) for engine in engines))

    assert await database_objections(engines[0]) == []
    for engine in engines:
        await engine.dispose()


@pytest.mark.sqlite
async def test_the_state_directory_is_made_when_it_is_missing(tmp_path):
    engine = create_engine(f"sqlite+aiosqlite:///{tmp_path}/new/state/cardflow.db")

    await upgrade_database(engine)

    assert await database_objections(engine) == []
    await engine.dispose()
