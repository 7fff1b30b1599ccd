"""The database's accounts in production: who runs owns nothing, who audits changes nothing."""

import asyncio
import os
import subprocess
from pathlib import Path

import pytest
from sqlalchemy import make_url, text
from sqlalchemy.exc import ProgrammingError

from cardflow.db import audit
from cardflow.db.migrate import upgrade_database
from cardflow.decisions import utc_now
from cardflow.sql import create_engine, sessions_of, transaction

SCRIPT = Path(__file__).resolve().parents[2] / "deploy" / "postgres-init.sh"
ACCOUNTS = ("TEMPORAL", "CARDFLOW_OWNER", "CARDFLOW", "CARDFLOW_AUDITOR")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
async def production(postgresql):
    """Yield what gives the URL of an account on a server that the deployment's script set up."""
    server = make_url(postgresql)
    passwords = {f"{name}_DB_PASSWORD": "made in the test" for name in ACCOUNTS}
    where = {"PGHOST": server.host, "PGPORT": str(server.port), "PATH": os.defpath}
    await asyncio.to_thread(
        subprocess.run, ["/bin/sh", SCRIPT], env={**passwords, **where}, check=True
    )

    def account(name):
        return server.set(username=name, database="cardflow").render_as_string()

    owner = create_engine(account("cardflow_owner"))
    await upgrade_database(owner)
    await owner.dispose()
    return account


async def refused(url, statement):
    engine = create_engine(url)
    try:
        with pytest.raises(ProgrammingError, match=r"must be owner|permission denied"):
            async with engine.begin() as connection:
                await connection.execute(text(statement))
    finally:
        await engine.dispose()


async def test_the_processes_work_with_the_tables(production):
    engine = create_engine(production("cardflow"))
    async with transaction(sessions_of(engine)) as session:
        await audit.append(session, audit.Entry("signed_in", utc_now(), actor="p"))
        assert (await audit.verify(session)).ok
    await engine.dispose()


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER TABLE audit DISABLE TRIGGER ALL",
        "DROP TRIGGER audit_append_only ON audit",
        "TRUNCATE audit",
        "DROP TABLE audit",
        "ALTER TABLE journal DISABLE TRIGGER ALL",
        "CREATE TABLE mine (id int)",
    ],
)
async def test_the_processes_cannot_take_away_what_keeps_evidence(production, statement):
    await refused(production("cardflow"), statement)


@pytest.mark.parametrize(
    "statement",
    ["DELETE FROM people", "UPDATE cards SET state = 'clean'", "INSERT INTO audit VALUES (1)"],
)
async def test_the_auditors_account_reads_and_changes_nothing(production, statement):
    url = production("cardflow_auditor")
    engine = create_engine(url)
    async with engine.begin() as connection:
        await connection.execute(text("SELECT count(*) FROM audit"))
    await engine.dispose()

    await refused(url, statement)


async def test_temporals_account_cannot_open_our_tables(production):
    engine = create_engine(production("temporal"))
    with pytest.raises(Exception, match="permission denied"):
        async with engine.connect():
            pass
    await engine.dispose()
