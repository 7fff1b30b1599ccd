"""Copies of databases as they were at one instant, while others go on writing, and the way back."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

from sqlalchemy import inspect, make_url
from sqlalchemy.engine import URL

from cardflow.errors import Refused
from cardflow.sql import create_engine
from cli.backups import postgresql
from cli.backups.sums import new_file
from cli.programs import expect, run

HOURS = 12 * 3600  # the largest database may take its time


def kind_of(url: str) -> str:
    """Return which database it is: sqlite or postgresql."""
    return make_url(url).get_backend_name()


def file_of(url: str) -> Path:
    """Return the file of an SQLite database."""
    return Path(make_url(url).database or "")


def copy_database(url: str, directory: Path) -> None:
    """Leave a copy of the database that is consistent in itself."""
    if kind_of(url) == "sqlite":
        return copy_sqlite(file_of(url), directory / "cardflow.db")
    target = new_file(directory / "cardflow.pgdump")
    dump = ("--format=custom", f"--file={target}", f"--dbname={_address(url)}")
    expect(run("pg_dump", *dump, patience=HOURS))
    return None


def restore_database(url: str, directory: Path) -> None:
    """Leave the database as it was copied; on PostgreSQL all of it, or nothing."""
    if kind_of(url) == "sqlite":
        return restore_file(directory / "cardflow.db", file_of(url))
    return postgresql.restore(_address(url), directory / "cardflow.pgdump")


def copy_sqlite(source: Path, target: Path, *, check: str = "integrity_check") -> None:
    """Leave a copy as of one instant (SQLite's backup API), found sound.

    What another version of SQLite wrote takes ``quick_check``, which leaves out whether indexes
    fit: Temporal's have times in them, and versions do not agree how half a millisecond is rounded.
    """
    new_file(target)
    with (
        closing(sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro", uri=True)) as live,
        closing(sqlite3.connect(target)) as copy,
    ):
        try:
            live.backup(copy)
            copy.execute("PRAGMA journal_mode=DELETE")  # the copy is one file
            said = copy.execute(f"PRAGMA {check}").fetchone()[0]  # allowed: composed-sql: our word
        except sqlite3.OperationalError:  # a disk that is full, say
            raise
        except sqlite3.DatabaseError as error:
            said = str(error)
        if said != "ok":
            raise Refused(f"{source} is damaged ({said}); restore an earlier backup")


def restore_file(source: Path, target: Path) -> None:
    """Leave a copy of the file in a place where none is."""
    shutil.copyfile(source, new_file(target))


async def has_tables(url: str) -> bool:
    """Tell whether the database holds anything."""
    if kind_of(url) == "sqlite":
        return file_of(url).exists()
    engine = create_engine(url)
    try:
        async with engine.connect() as connection:
            names = await connection.run_sync(lambda c: inspect(c).get_table_names())
    finally:
        await engine.dispose()
    return bool(names)


def _address(url: str) -> str:
    """Return the database's address for libpq: what stands there can be seen by every account."""
    address: URL = make_url(url).set(drivername="postgresql")
    if address.password:
        raise Refused(
            "the database's URL holds a password, which every account of this machine would see\n"
            "  → put it into a file and name that: ?passfile=/path/to/pgpass"
        )
    return address.render_as_string()
