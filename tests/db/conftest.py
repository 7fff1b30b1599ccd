"""A migrated database per test: SQLite always, PostgreSQL where its tests are asked for."""

import os
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic import command
from sqlalchemy import create_engine as create_synchronous_engine
from sqlalchemy import make_url, text

from cardflow.db.migrate import run, upgrade_database
from cardflow.sql import create_engine, sessions_of
from tests.ports import free_ports

PROGRAMS = Path("/usr/lib/postgresql/15/bin")
ACCOUNT = "postgres" if os.geteuid() == 0 else None  # the server refuses to run as root


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory):
    """A migrated, empty SQLite database to copy."""
    path = tmp_path_factory.mktemp("migrated") / "cardflow.db"
    engine = create_synchronous_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        run(connection, command.upgrade, "head")
    engine.dispose()
    return path


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """The URL of an empty PostgreSQL server of our own, on loopback."""
    if not PROGRAMS.exists():
        pytest.skip("install postgresql-15 to run this test")
    (port,) = free_ports(1)
    # Not under pytest's own directory, which is closed to the account that the server runs as.
    with tempfile.TemporaryDirectory() as directory:
        if ACCOUNT:
            shutil.chown(directory, ACCOUNT)
        home = Path(directory)
        _run("initdb", "-A", "trust", "-U", "postgres", "-D", home / "data")
        options = f"-c listen_addresses=127.0.0.1 -p {port} -k {home} -c fsync=off"
        server = ("pg_ctl", "-D", home / "data", "-w")
        _run(*server, "-o", options, "-l", home / "log", "start")
        yield f"postgresql+psycopg://postgres@127.0.0.1:{port}/postgres"
        _run(*server, "-m", "immediate", "stop")


def _run(program, *arguments):
    command = [PROGRAMS / program, *arguments]
    subprocess.run(command, user=ACCOUNT, check=True, stdout=subprocess.DEVNULL, cwd="/")


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
async def empty_engine(request, tmp_path):
    """An engine over a database without any table."""
    url = f"sqlite+aiosqlite:///{tmp_path}/cardflow.db"
    if request.param == "postgresql":
        url = await new_database(request.getfixturevalue("postgresql"))
    engine = create_engine(url)
    yield engine
    await engine.dispose()


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
async def engine(request, tmp_path):
    """An engine over a migrated database that only this test uses."""
    path = tmp_path / "cardflow.db"
    if request.param == "sqlite":
        shutil.copy(request.getfixturevalue("migrated_file"), path)
        engine = create_engine(f"sqlite+aiosqlite:///{path}")
    else:
        engine = create_engine(await new_database(request.getfixturevalue("postgresql")))
        await upgrade_database(engine)
    yield engine
    await engine.dispose()


@pytest.fixture
def sessions(engine):
    """What opens sessions on the test's database."""
    return sessions_of(engine)


async def new_database(url):
    """Return the URL of a new, empty database on the server."""
    name = f"t{uuid.uuid4().hex}"
    engine = create_engine(url).execution_options(isolation_level="AUTOCOMMIT")
    async with engine.connect() as connection:
        await connection.execute(text(f"CREATE DATABASE {name}"))
    await engine.dispose()
    return make_url(url).set(database=name).render_as_string(hide_password=False)
