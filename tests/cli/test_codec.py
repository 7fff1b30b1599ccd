"""Keys of the installation: listed, rotated under running programs, and retired when unused."""

import asyncio
import json
import subprocess
import sys
import uuid
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlmodel import select

from cardflow.db.reencryption import bound_of
from cardflow.db.tables import AuditEntry, IdempotentAnswer, Person, SecondFactor
from cardflow.decisions import utc_now
from cardflow.environment import SETTINGS_FILE
from cardflow.errors import Refused
from cardflow.key_ring import KeyFile, KeyRing
from cardflow.sealed import key_of, seal, unseal
from cardflow.settings import Settings
from cardflow.sql import create_engine, sessions_of, transaction
from cardflow.temporal.client import connect
from cardflow.temporal.key_use import keys_in_use
from cli import codec
from cli.local_secrets import make_local_secrets
from cli.ports import free_ports
from cli.processes import ROOT
from tests.temporal.test_devserver import serving, until_ready


@pytest.fixture
def settings(tmp_path, databases):
    """Return the settings of an installation with secrets, a database, and a port for Temporal."""
    temporal, ui = free_ports(2)
    lines = (f'temporal_address = "127.0.0.1:{temporal}"', f"temporal_ui_port = {ui}")
    (tmp_path / "cardflow.toml").write_text("\n".join(lines))
    databases.furnish(tmp_path)
    settings = Settings(state_dir=tmp_path)
    make_local_secrets(settings)
    return settings


def in_database(settings, work):
    """Return what the work, done in a transaction, returns."""

    async def do():
        engine = create_engine(settings.database_url)
        try:
            async with transaction(sessions_of(engine)) as session:
                return await work(session)
        finally:
            await engine.dispose()

    return asyncio.run(do())


def recorded(settings):
    """Return what the audit trail tells."""

    async def read(session):
        entries = await session.scalars(select(AuditEntry))
        return [(entry.kind, json.loads(entry.text)["facts"]) for entry in entries]

    return in_database(settings, read)


def said(settings, *words):
    """Return how `cardflow codec` ended, in a process of its own, and what it said."""
    command = (sys.executable, "-m", "cli", "codec", *words, "--state", str(settings.state_dir))
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return ran.returncode, " ".join((ran.stdout or ran.stderr).split())


def answer(ring, body=b"a token shown once"):
    """Return a kept answer, sealed."""
    row = IdempotentAnswer(
        person_id="p", key="k", request_sha256="0" * 64, status=201, body="", recorded_at=utc_now()
    )
    row.body = seal(ring, body, bound_of(row))
    return row


# Files


def test_a_program_that_runs_takes_a_new_key_up_by_itself(settings):
    running = KeyFile(settings.sealing_key_file)
    sealed = seal(running, b"old", b"")
    codec.rotate(ring=codec.Ring.SEALING, key="2027", state=settings.state_dir)

    assert key_of(seal(running, b"new", b"")) == "2027"
    assert unseal(running, sealed, b"") == b"old"
    assert settings.sealing_key_file.stat().st_mode & 0o777 == 0o600
    assert recorded(settings) == [
        ("keys_rotated", {"ring": "sealing", "key": "2027", "before": "1"})
    ]


def test_a_key_is_named_after_its_day(settings):
    for _ in range(2):
        codec.rotate(state=settings.state_dir)
    today = f"{utc_now():%Y-%m-%d}"

    assert KeyRing.load(settings.codec_key_file).current == f"{today}.2"


def test_a_file_that_is_damaged_meanwhile_changes_nothing(settings, caplog):
    running = KeyFile(settings.codec_key_file)
    settings.codec_key_file.write_text("{}")

    assert running.current == "1"
    assert "going on with the keys read before" in caplog.text
    settings.codec_key_file.unlink()
    assert len(running.keys) == 1


def test_a_prepared_key_reads_before_it_writes(settings):
    codec.rotate(key="next", prepare=True, state=settings.state_dir)
    prepared = KeyRing.load(settings.codec_key_file)
    codec.rotate(key="next", state=settings.state_dir)
    rotated = KeyRing.load(settings.codec_key_file)

    assert (prepared.current, sorted(prepared.keys)) == ("1", ["1", "next"])
    assert (rotated.current, rotated.keys) == ("next", prepared.keys)


def test_keys_are_listed_and_never_shown(settings, capsys):
    codec.keys(state=settings.state_dir, json=True)

    assert json.loads(capsys.readouterr().out) == [
        {"ring": ring, "key": "1", "current": True} for ring in ("codec", "sealing", "qr")
    ]


def test_rotating_to_the_key_that_writes_already_is_refused(settings):
    with pytest.raises(Refused, match="the current key"):
        codec.rotate(key="1", state=settings.state_dir)


def test_a_key_of_printed_codes_is_not_retired_by_the_way(settings):
    with pytest.raises(Refused, match="cannot be seen"):
        codec.retire("1", ring=codec.Ring.QR, state=settings.state_dir)


@pytest.mark.parametrize(("key", "reason"), [("1", "rotate first"), ("9", "holds no key '9'")])
def test_what_would_lose_something_is_refused(settings, key, reason):
    before = settings.sealing_key_file.read_bytes()
    code, words = said(settings, "retire", key, "--ring", "sealing")

    assert code == 1
    assert reason in words
    assert settings.sealing_key_file.read_bytes() == before


@pytest.mark.parametrize("words", [("rotate",), ("rotate", "--key", "next"), ("retire", "next")])
def test_without_the_database_that_keeps_the_record_no_ring_changes(settings, words):
    """On the host, where the settings name another database than in the containers."""
    for ring in (codec.Ring.SEALING, codec.Ring.CODEC):
        codec.rotate(ring=ring, key="next", prepare=True, state=settings.state_dir)
    before = settings.sealing_key_file.read_bytes()
    elsewhere = f"sqlite+aiosqlite:///{settings.state_dir}/empty.db"
    file = settings.state_dir / SETTINGS_FILE
    kept = [line for line in file.read_text().splitlines() if not line.startswith("database_url")]
    file.write_text("\n".join([*kept, f'database_url = "{elsewhere}"', ""]))
    code, why = said(settings, *words, "--ring", "sealing")

    assert code == 1
    assert "the database is at revision none" in why
    assert "CARDFLOW_DATABASE_URL" in why
    assert settings.sealing_key_file.read_bytes() == before


# The database


@pytest.mark.slow
def test_sealed_columns_move_to_the_new_key_and_the_old_one_can_go(settings):
    async def keep(session):
        ring = KeyRing.load(settings.sealing_key_file)
        session.add(Person(id="p", login="p", name="P", created_at=utc_now()))
        await session.flush()
        session.add(answer(ring))
        row = SecondFactor(person_id="p", secret="", created_at=utc_now())
        row.secret = seal(ring, b"makes codes", bound_of(row))
        session.add(row)

    async def read(session):
        ring = KeyRing.load(settings.sealing_key_file)
        kept = (await session.scalars(select(IdempotentAnswer))).one()
        factor = (await session.scalars(select(SecondFactor))).one()
        return [
            unseal(ring, text, bound_of(row))
            for row, text in ((kept, kept.body), (factor, factor.secret))
        ]

    in_database(settings, keep)
    codec.rotate(ring=codec.Ring.SEALING, key="2", state=settings.state_dir)
    refused, why = said(settings, "retire", "1", "--ring", "sealing")
    codec.reencrypt_columns(state=settings.state_dir)
    gone, _ = said(settings, "retire", "1", "--ring", "sealing")

    assert (refused, gone) == (1, 0)
    assert "2 values in the database" in why
    assert sorted(KeyRing.load(settings.sealing_key_file).keys) == ["2"]
    assert in_database(settings, read) == [b"a token shown once", b"makes codes"]
    assert [kind for kind, _ in recorded(settings)] == [
        "keys_rotated",
        "columns_reencrypted",
        "key_retired",
    ]


# Temporal


async def histories(settings):
    """An open workflow is written with key 1, a closed one with key 2; the ring writes with 3."""
    await until_ready(settings)
    client = await connect(settings)
    await client.start_workflow("Any", "Ada", id="open", task_queue="nobody")
    ring = KeyRing.load(settings.codec_key_file).rotated("2")
    ring.save(settings.codec_key_file)
    closed = await client.start_workflow("Any", "Ada", id="closed", task_queue="nobody")
    await closed.terminate("enough")
    ring.rotated("3").save(settings.codec_key_file)


@pytest.mark.slow
@pytest.mark.temporal
def test_a_key_is_needed_as_long_as_a_history_is_kept_that_was_written_with_it(settings):
    with serving(settings):
        asyncio.run(histories(settings))
        code, words = said(settings, "status", "--json")
        refused, why = said(settings, "retire", "2")
    found = {row["key"]: row for row in json.loads(words) if row["ring"] == "codec"}
    kept_until = utc_now() + timedelta(days=30)

    assert code == 0
    assert found["1"]["needed_by"] == "1 open workflows"
    assert found["1"]["retire"].startswith("once the open ones")
    assert found["2"]["needed_by"] == "1 closed workflows that Temporal keeps"
    assert f"{kept_until:%Y-%m-}" in found["2"]["retire"]
    assert (found["3"]["needed_by"], found["3"]["current"]) == ("", True)
    assert refused == 1
    assert "1 closed workflows" in why


@pytest.mark.temporal
async def test_what_is_listed_and_has_no_history_needs_no_key(temporal_env):
    """Temporal's list is restored from a little later than its histories."""
    client = temporal_env.client
    listed = await client.start_workflow("Any", id="listed", task_queue="nobody")

    class ListsMore:
        """A client whose list is ahead."""

        def __getattr__(self, name):
            return getattr(client, name)

        async def list_workflows(self):
            found = await listed.describe()
            yield found
            yield replace(found, id="never-there", run_id=str(uuid.uuid4()))

    assert await keys_in_use(ListsMore()) == {}
    await listed.terminate()
