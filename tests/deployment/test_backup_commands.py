"""cardflow-backup and cardflow-restore, over a server that the deployment's own script set up."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from alembic import command
from sqlalchemy import create_engine

from cardflow.db.migrate import newest_revision, run
from cardflow.secret_files import write_secret
from cardflow.settings import Settings
from cli.local_secrets import Maker, make_own_secrets
from tests.databases import postgresql_server
from tests.deployment.files import DEPLOY, ROOT

pytestmark = pytest.mark.slow


@dataclass
class Tools:
    """What the service `tools` has: its commands, its directories, the databases."""

    here: Path
    port: int

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        surroundings = {
            "PATH": f"{self.here}/bin:{Path(sys.executable).parent}:{os.defpath}",
            "PYTHONPATH": str(ROOT),
            "CARDFLOW_STATE_DIR": str(self.here / "state"),
            "CARDFLOW_ENVIRONMENT": "production",
            "CARDFLOW_PUBLIC_URL": "https://cards.example.org",
            "CARDFLOW_SMTP_HOST": "mail",
            "CARDFLOW_SMTP_STARTTLS": "true",
            "CARDFLOW_DATABASE_URL": f"postgresql+psycopg://cardflow_owner@127.0.0.1:{self.port}"
            f"/cardflow?passfile={self.here}/owner/pgpass",
        }
        return subprocess.run(
            command, env=surroundings, capture_output=True, text=True, check=False
        )

    def does(self, *command: str) -> str:
        done = self.run(*command)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def at(self, account: str, database: str) -> psycopg.Connection:
        where = f"postgresql://{account}@127.0.0.1:{self.port}/{database}"
        return psycopg.connect(where, autocommit=True)

    def ask(self, account: str, database: str, words: str) -> list[tuple[object, ...]]:
        with self.at(account, database) as connection:
            answer = connection.execute(words)
            return answer.fetchall() if answer.description else []


@contextmanager
def machine(here: Path) -> Iterator[Tools]:
    """Yield what one machine has: a server as the deployment's script leaves it, and secrets."""
    with postgresql_server() as url:
        port = int(url.rpartition(":")[2].partition("/")[0])
        for name in ("bin", "backups", "run"):
            (here / name).mkdir(parents=True)
        for account in ("temporal", "cardflow_owner", "cardflow", "cardflow_auditor"):
            (here / "run" / account).write_text(account)
        write_secret(here / "owner/backup-passphrase", b"in another place than the backups")
        moved = {
            "/run/secrets": f"{here}/run",
            '"/backups': f'"{here}/backups',
            "/owner/": f"{here}/owner/",
            "@postgresql/": f"@127.0.0.1:{port}/",
        }
        for script in (*(DEPLOY / "bin").iterdir(), DEPLOY / "postgres-init.sh"):
            text = script.read_text()
            for old, new in moved.items():
                text = text.replace(old, new)
            (here / "bin" / script.name).write_text(text)
            shutil.copymode(script, here / "bin" / script.name)
        where = {"PGHOST": "127.0.0.1", "PGPORT": str(port), "PATH": os.defpath}
        subprocess.run(["/bin/sh", here / "bin/postgres-init.sh"], env=where, check=True)
        make_own_secrets(Settings(state_dir=here / "state"), Maker(marked=False))
        yield Tools(here, port)


@pytest.fixture
def tools(tmp_path: Path) -> Iterator[Tools]:
    with machine(tmp_path / "one") as tools:
        yield tools


def test_what_was_copied_comes_back_with_everybodys_rights(tools: Tools) -> None:
    tools.does("python", "-m", "cli.database")
    for database in ("temporal", "temporal_visibility"):
        # As Temporal's own schema does; a database's owner may.
        tools.ask("temporal", database, "CREATE EXTENSION btree_gin")
        tools.ask("temporal", database, "CREATE TABLE executions (id int PRIMARY KEY)")
        tools.ask("temporal", database, "INSERT INTO executions VALUES (1)")
    write_secret(tools.here / "password", b"a first password of some length")
    password = ("--password-file", f"{tools.here}/password")
    tools.does("cardflow", "people", "first-admin", "ada", "Ada Holm", *password)
    codec = (tools.here / "state/secrets/codec.json").read_bytes()

    tools.does("cardflow-backup", "today")
    tools.does("cardflow", "codec", "rotate")
    tools.ask("cardflow", "cardflow", "UPDATE people SET name = 'Eve'")
    for database in ("temporal", "temporal_visibility"):
        tools.ask("temporal", database, "INSERT INTO executions VALUES (2)")
    with tools.at("temporal", "temporal"):
        refused = tools.run("cardflow-restore", "today")
    tools.does("cardflow-restore", "today")

    assert refused.returncode == 1
    assert "(1 connections); nothing was changed" in refused.stderr
    assert tools.ask("cardflow_auditor", "cardflow", "SELECT name FROM people") == [("Ada Holm",)]
    for database in ("temporal", "temporal_visibility"):
        assert tools.ask("temporal", database, "SELECT id FROM executions") == [(1,)]
    assert (tools.here / "state/secrets/codec.json").read_bytes() == codec
    tools.ask("cardflow", "cardflow", "UPDATE people SET name = 'Ada'")  # the API's account
    for account, words in (
        ("cardflow", "ALTER TABLE audit DISABLE TRIGGER ALL"),
        ("cardflow_auditor", "UPDATE people SET name = 'Eve'"),
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            tools.ask(account, "cardflow", words)
    mode = {p.stat().st_mode & 0o077 for p in (tools.here / "backups/today").rglob("*")}
    assert mode == {0}
    with machine(tools.here.with_name("another")) as another:
        shutil.copytree(tools.here / "backups/today", another.here / "backups/today")
        another.does("cardflow-restore", "today")
        assert another.ask("cardflow", "cardflow", "SELECT name FROM people") == [("Ada Holm",)]
        assert another.ask("temporal", "temporal", "SELECT id FROM executions") == [(1,)]
        assert (another.here / "state/secrets/codec.json").read_bytes() == codec


OTHER = "elsewhere:5432:*:cardflow:of another server"
HASHED = "SELECT rolpassword FROM pg_authid WHERE rolname = '{}'"
LATER = (
    "CREATE TYPE made_later AS ENUM ('yes')",
    "CREATE FUNCTION made_later_too() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE TABLE made_since (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, is_so made_later,"
    " of {column} REFERENCES {table})",
    "CREATE VIEW seen_since AS SELECT id FROM made_since",
)


def migrated(tools: Tools, revision: str) -> None:
    """Leave the tables as an earlier version of Cardflow had them."""
    where = f"postgresql+psycopg://cardflow_owner@127.0.0.1:{tools.port}/cardflow"
    engine = create_engine(where)
    with engine.begin() as connection:
        run(connection, command.upgrade, revision)
    engine.dispose()


def test_a_copy_of_before_a_migration_comes_back_over_what_was_migrated(tools: Tools) -> None:
    migrated(tools, "0013")
    for database in ("temporal", "temporal_visibility"):
        tools.ask("temporal", database, "CREATE EXTENSION btree_gin")
        tools.ask("temporal", database, "CREATE TABLE executions (id int PRIMARY KEY)")
    tools.does("cardflow-backup", "before")
    tools.does("python", "-m", "cli.database")
    for words in LATER:
        later = words.format(column="varchar", table="people")
        tools.ask("cardflow_owner", "cardflow", later)
        for database in ("temporal", "temporal_visibility"):
            later = words.format(column="int", table="executions")
            tools.ask("temporal", database, later)

    tools.does("cardflow-restore", "before")

    revision = tools.ask("cardflow", "cardflow", "SELECT version_num FROM alembic_version")
    assert revision == [(newest_revision(),)]
    for account, database in (
        ("cardflow_owner", "cardflow"),
        ("temporal", "temporal"),
        ("temporal", "temporal_visibility"),
    ):
        for words in LATER:  # as the next migration would
            column = ("varchar", "people") if database == "cardflow" else ("int", "executions")
            tools.ask(account, database, words.format(column=column[0], table=column[1]))


def test_a_database_that_takes_no_copy_stays_as_it_is_with_its_keys(tools: Tools) -> None:
    tools.does("python", "-m", "cli.database")
    tools.does("cardflow-backup", "today")
    tools.does("cardflow", "codec", "rotate")
    codec = (tools.here / "state/secrets/codec.json").read_bytes()
    tools.ask("cardflow_owner", "cardflow", "CREATE TABLE made_since ()")
    tools.ask("postgres", "cardflow", "CREATE SCHEMA mine CREATE TABLE of_another ()")

    refused = tools.run("cardflow-restore", "today")

    assert refused.returncode == 1
    assert "permission denied for schema mine" in refused.stdout + refused.stderr
    assert (tools.here / "state/secrets/codec.json").read_bytes() == codec
    tools.ask("cardflow_owner", "cardflow", "SELECT * FROM made_since")


def test_a_dump_that_ends_too_soon_leaves_everything_as_it_was(tools: Tools) -> None:
    tools.does("python", "-m", "cli.database")
    tools.does("cardflow-backup", "today")
    dump = tools.here / "backups/today/cardflow/cardflow.pgdump"
    os.truncate(dump, dump.stat().st_size - 2_000)
    address = f"postgresql://cardflow_owner@127.0.0.1:{tools.port}/cardflow"

    refused = tools.run("python", "-m", "cli.backups.postgresql", address, str(dump))

    assert refused.returncode == 1
    assert "pg_restore failed" in refused.stdout + refused.stderr
    tools.ask("cardflow", "cardflow", "SELECT * FROM people")


def test_a_copy_of_temporal_that_was_changed_is_refused_before_anything_is_touched(
    tools: Tools,
) -> None:
    tools.does("python", "-m", "cli.database")
    tools.does("cardflow-backup", "today")
    tools.ask("cardflow_owner", "cardflow", "CREATE TABLE made_since ()")
    with (tools.here / "backups/today/temporal.pgdump").open("ab") as file:
        file.write(b"more")

    refused = tools.run("cardflow-restore", "today")

    assert refused.returncode == 1
    assert "temporal.pgdump: FAILED" in refused.stdout
    tools.ask("cardflow_owner", "cardflow", "SELECT * FROM made_since")


def test_the_newest_stay_of_those_without_a_name(tools: Tools) -> None:
    backups = tools.here / "backups"
    tools.does("python", "-m", "cli.database")
    whole = ("2025-01-01-0200", "2025-01-02-0200", "2025-01-04-0200", "before-0.2.0")
    for name in whole:
        write_secret(backups / name / "cardflow/SHA256SUMS", b"of one that is whole")
    for name in ("2025-01-01-0900", "2025-01-03-0200"):
        write_secret(backups / name / "temporal.pgdump", b"of one that was broken off")
    (backups / "2025-01-01").mkdir()

    tools.does("cardflow-backup", "--keep", "3")

    (manifest,) = backups.glob("*/cardflow/manifest.json")
    left = {path.name for path in backups.iterdir()}
    assert left == {
        *("2025-01-02-0200", "2025-01-03-0200", "2025-01-04-0200"),
        *("before-0.2.0", "2025-01-01", "LAST", manifest.parents[1].name),
    }


def test_the_last_backup_that_is_whole_is_on_record(tools: Tools) -> None:
    last = tools.here / "backups/LAST"
    began = datetime.now(UTC).replace(microsecond=0)
    tools.does("python", "-m", "cli.database")
    passphrase = tools.here / "owner/backup-passphrase"
    passphrase.rename(tools.here / "elsewhere")
    assert tools.run("cardflow-backup", "broken-off").returncode == 1
    assert not last.exists()

    (tools.here / "elsewhere").rename(passphrase)
    tools.does("cardflow-backup", "whole")

    at, name = last.read_text().split()
    assert name == "whole"
    assert began <= datetime.fromisoformat(at) <= datetime.now(UTC)


def test_every_file_follows_a_password_that_is_changed(tools: Tools, tmp_path: Path) -> None:
    here = tmp_path / "machine"
    (here / "bin").mkdir(parents=True)
    subprocess.run([DEPLOY / "make-secrets.sh", here], check=True, capture_output=True)
    with (here / "secrets/pgpass").open("a") as file:
        file.write(f"{OTHER}\n")
    compose = here / "bin/docker-compose"
    compose.write_text(
        '#!/bin/sh\n[ "$1 $2 $3" = "exec -T postgresql" ] || exit 9\nshift 3\n'
        f'exec "$@" --host 127.0.0.1 --port {tools.port}\n'
    )
    compose.chmod(0o755)
    surroundings = {"PATH": f"{compose.parent}:{os.defpath}"}
    secrets = {
        "cardflow": "secrets/pgpass",
        "cardflow_owner": "owner/pgpass",
        "temporal": "owner/temporal-pgpass",
    }
    for account, file in secrets.items():
        before = tools.ask("postgres", "postgres", HASHED.format(account))
        order = [DEPLOY / "change-password.sh", account]
        done = subprocess.run(
            order, cwd=here, env=surroundings, capture_output=True, text=True, check=True
        )

        password = (here / "passwords" / account).read_text().strip()
        line, *others = (here / file).read_text().splitlines()
        assert line.endswith(f":{account}:{password}")
        assert tools.ask("postgres", "postgres", HASHED.format(account)) != before
        assert others == [OTHER] * (account == "cardflow")
        assert ("restart temporal" in done.stdout) is (account == "temporal")
        assert password not in done.stdout + done.stderr


def test_a_second_copy_under_one_name_is_refused(tools: Tools) -> None:
    (tools.here / "backups/today").mkdir()

    assert tools.run("cardflow-backup", "today").returncode == 1
    assert list((tools.here / "backups/today").iterdir()) == []
