"""Where tests keep their databases: in files, or on a PostgreSQL server that the run starts.

``pytest --database postgresql`` chooses the server for every test that needs a database. An
installation's settings file names its database, so that whatever is started over the directory
finds it: this process, a server, a command.
"""

import os
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Protocol

import psycopg
from alembic import command
from psycopg import sql
from sqlalchemy import create_engine as create_synchronous_engine
from sqlalchemy import make_url

from cardflow.db.migrate import run
from cardflow.environment import SETTINGS_FILE
from cardflow.settings import Settings
from cli.ports import free_ports

VERSIONS = Path("/usr/lib/postgresql")  # where Debian has them, beside one another
ACCOUNT = "postgres" if os.geteuid() == 0 else None  # the server refuses to run as root
# Nothing here has to outlive a power failure; every test opens pools of its own.
OPTIONS = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "max_connections=300")
NAMES_IT = "database_url = "


class Kind(Protocol):
    """One of the two databases that Cardflow works with."""

    def empty(self, directory: Path) -> str:
        """Return the URL of a database without any table, there as long as the directory is."""

    def copy(self, url: str, directory: Path) -> str:
        """Return the URL of a copy of a database that nobody is connected to."""


class Files:
    """SQLite: a database is a file in its directory."""

    def empty(self, directory: Path) -> str:
        return f"sqlite+aiosqlite:///{directory}/cardflow.db"

    def copy(self, url: str, directory: Path) -> str:
        copy = self.empty(directory)
        shutil.copy(str(make_url(url).database), str(make_url(copy).database))
        return copy


class Server:
    """PostgreSQL: databases on one server, of which those go whose directories are gone."""

    def __init__(self, url: str) -> None:
        self._url = make_url(url)
        plain = self._url.set(drivername="postgresql").render_as_string()
        self._connection = psycopg.connect(plain, autocommit=True)
        self._made: dict[str, Path] = {}

    def close(self) -> None:
        """Leave the server."""
        self._connection.close()

    def empty(self, directory: Path) -> str:
        return self._created("template1", directory)

    def copy(self, url: str, directory: Path) -> str:
        return self._created(str(make_url(url).database), directory)

    def _created(self, template: str, directory: Path) -> str:
        self._sweep()
        name = f"t{uuid.uuid4().hex}"
        # By copying files: to write all of it to the log costs more where nothing is synced.
        words = "CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY"
        self._do(words, name, template)
        self._made[name] = directory
        return self._url.set(database=name).render_as_string()

    def _sweep(self) -> None:
        for name in [name for name, there in self._made.items() if not there.exists()]:
            self._do("DROP DATABASE {} WITH (FORCE)", name)
            del self._made[name]

    def _do(self, words: str, *names: str) -> None:
        self._connection.execute(sql.SQL(words).format(*map(sql.Identifier, names)))


class Databases:
    """Gives every test a database of its own: migrated once, and then copied."""

    def __init__(self, kind: Kind, directory: Path) -> None:
        self._kind = kind
        self._directory = directory

    def empty(self, directory: Path) -> str:
        """Return the URL of a database without any table."""
        return self._kind.empty(directory)

    def migrated(self, directory: Path) -> str:
        """Return the URL of a database with all tables and no row."""
        return self._kind.copy(self._template, directory)

    def copied(self, url: str, directory: Path) -> str:
        """Return the URL of a copy of a database that nobody is connected to."""
        return self._kind.copy(url, directory)

    def furnish(self, directory: Path, *, migrated: bool = True) -> None:
        """The installation in the directory has a database of its own."""
        directory.mkdir(parents=True, exist_ok=True)
        _name(directory, self.migrated(directory) if migrated else self.empty(directory))

    def copy_installation(self, source: Path, directory: Path) -> None:
        """The directory is an installation like the other, with a database of its own."""
        shutil.copytree(source, directory, ignore=shutil.ignore_patterns("cardflow.db*"))
        _name(directory, self.copied(Settings(state_dir=source).database_url, directory))

    @cached_property
    def _template(self) -> str:
        url = self._kind.empty(self._directory)
        engine = create_synchronous_engine(url.replace("+aiosqlite", ""))
        with engine.begin() as connection:
            run(connection, command.upgrade, "head")
        engine.dispose()
        return url


def _name(directory: Path, url: str) -> None:
    settings = directory / SETTINGS_FILE
    lines = settings.read_text().splitlines() if settings.exists() else []
    others = [line for line in lines if not line.startswith(NAMES_IT)]
    settings.write_text("\n".join([*others, f'{NAMES_IT}"{url}"', ""]))


@contextmanager
def postgresql_files() -> Iterator[Path]:
    """Yield a directory whose ``data`` is for a new PostgreSQL server that nobody has started."""
    # Not under pytest's own directory, which is closed to the account that the server runs as.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as directory:
        if ACCOUNT:
            shutil.chown(directory, ACCOUNT)
        home = Path(directory)
        _run("initdb", "-A", "trust", "-U", "postgres", "--no-sync", "-D", home / "data")
        yield home


@contextmanager
def postgresql_server() -> Iterator[str]:
    """Yield the URL of an empty PostgreSQL server of our own, on loopback."""
    (port,) = free_ports(1)
    with postgresql_files() as home:
        given = (f"port={port}", f"unix_socket_directories={home}", "listen_addresses=127.0.0.1")
        options = " ".join(f"-c {option}" for option in (*given, *OPTIONS))
        server = ("pg_ctl", "-D", home / "data", "-w")
        _run(*server, "-o", options, "-l", home / "log", "start")
        yield postgresql_url(port)
        _run(*server, "-m", "immediate", "stop")


def postgresql_url(port: int) -> str:
    """Return the URL of the database that every new server has."""
    return f"postgresql+psycopg://postgres@127.0.0.1:{port}/postgres"


def postgresql_program(name: str) -> Path:
    """Return one of the newest PostgreSQL's programs."""
    return max(VERSIONS.glob("*/bin"), key=lambda found: int(found.parent.name)) / name


def _run(program: str, *arguments: object) -> None:
    order = [postgresql_program(program), *map(str, arguments)]
    subprocess.run(order, user=ACCOUNT, check=True, stdout=subprocess.DEVNULL, cwd="/")
