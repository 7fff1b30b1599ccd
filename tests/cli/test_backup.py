"""What a backup holds, and everything that keeps a wrong one from being restored."""

import asyncio
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cardflow.db.migrate import newest_revision
from cardflow.documents.s3 import Bucket
from cardflow.environment import SETTINGS_FILE
from cardflow.errors import Refused
from cardflow.secret_files import write_secret
from cardflow.settings import Settings, read_settings
from cardflow.stores import store_of
from cli.backup import backup, restore
from cli.backups import keys
from cli.backups.databases import copy_database, copy_sqlite
from cli.backups.sums import MANIFEST, SUMS, verified
from cli.local_secrets import Maker, make_own_secrets
from cli.processes import ROOT
from tests.databases import Databases
from tests.documents.s3_server import client, ready, s3_server

pytestmark = pytest.mark.sqlite

PASSPHRASE = b"correct horse battery staple, apart"
OFFLINE = ("decision-root-key.pem", "ca-root-passphrase")
PDF = b"%PDF-1.7"
ELSEWHERE = (Path("/dev/shm"), Path("/var/tmp"))


@pytest.fixture(scope="module")
def passphrase(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("apart") / "passphrase"
    write_secret(file, PASSPHRASE)
    return file


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory, databases: Databases) -> Settings:
    """An installation at rest: database, documents, CA, keys, checkpoints, settings."""
    state = tmp_path_factory.mktemp("state")
    (state / SETTINGS_FILE).write_text('organisation = "Example Insurance"\n')
    settings = read_settings(state)
    databases.migrated(state)
    make_own_secrets(settings, Maker(marked=False))
    for name in (
        "ca/issuing/key.pem",
        "ca/root/key.pem",
        "ca/public/root.pem",
        "ca/responder/ocsp.pem",
    ):
        (state / name).parent.mkdir(parents=True, exist_ok=True)
        (state / name).write_text(name)
    (state / "documents/arriving").mkdir(parents=True)
    (state / "documents/arriving/half").write_bytes(b"half of one")
    (state / "checkpoints/2026-11").mkdir(parents=True)
    (state / "checkpoints/2026-11/000000000007.jws").write_text("a.b.c\n")
    return settings


@pytest.fixture(scope="module")
def original(
    tmp_path_factory: pytest.TempPathFactory, settings: Settings, passphrase: Path
) -> Path:
    """Return a backup of it."""
    directory = tmp_path_factory.mktemp("backups") / "backup"
    backup(directory, passphrase_file=passphrase, state=settings.state_dir)
    return directory


@pytest.fixture
def made(tmp_path: Path, original: Path) -> Path:
    """Return a copy of the backup that a test may spoil."""
    return shutil.copytree(original, tmp_path / "backup")


def files(directory: Path) -> set[str]:
    return {p.relative_to(directory).as_posix() for p in directory.rglob("*") if p.is_file()}


def test_a_backup_holds_everything_but_what_belongs_offline(made: Path) -> None:
    assert files(made) == {
        "SHA256SUMS",
        "manifest.json",
        "cardflow.db",
        "cardflow.toml",
        "keys.sealed",
        "ca/issuing/key.pem",
        "ca/public/root.pem",
        "checkpoints/2026-11/000000000007.jws",
    }
    assert {p.stat().st_mode & 0o777 for p in made.rglob("*") if p.is_file()} == {0o600}
    assert {p.stat().st_mode & 0o777 for p in (made, *made.rglob("*")) if p.is_dir()} == {0o700}


def test_another_program_finds_it_whole(made: Path) -> None:
    subprocess.run(["sha256sum", "--check", "--strict", SUMS], cwd=made, check=True)

    assert verified(made).database == "sqlite"


def test_no_key_can_be_read_in_it(made: Path, settings: Settings) -> None:
    content = b"".join((made / name).read_bytes() for name in files(made))

    for file in (settings.codec_key_file, settings.decision_key_file, settings.ca_passphrase_file):
        assert file.read_bytes().strip() not in content
    sealed = keys.unseal_keys(made, PASSPHRASE)["files"]
    assert {"codec_key_file", "ca_passphrase_file", "decision_root_file"} <= sealed.keys()
    assert not [name for name in OFFLINE if any(name in str(getattr(settings, f)) for f in sealed)]


def test_keys_come_back_where_the_settings_want_them(
    made: Path, settings: Settings, tmp_path: Path
) -> None:
    elsewhere = Settings(state_dir=tmp_path / "elsewhere")

    keys.put_back(elsewhere, keys.unseal_keys(made, PASSPHRASE), None)

    assert elsewhere.codec_key_file.read_bytes() == settings.codec_key_file.read_bytes()
    assert elsewhere.codec_key_file.stat().st_mode & 0o777 == 0o600


def test_without_a_passphrase_the_keys_stay_out(settings: Settings, tmp_path: Path) -> None:
    backup(tmp_path / "bare", state=settings.state_dir)

    assert keys.NAME not in files(tmp_path / "bare")
    assert not verified(tmp_path / "bare").keys


def test_a_damaged_document_is_named_and_the_rest_is_there(
    settings: Settings, tmp_path: Path
) -> None:
    document = settings.document_dir / "ab" / ("ab" * 32)
    document.parent.mkdir()
    document.write_bytes(PDF)

    with pytest.raises(Refused, match="documents are damaged in the store: abab"):
        backup(tmp_path / "damaged", state=settings.state_dir)
    document.unlink()
    assert verified(tmp_path / "damaged").documents == "here"


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bucket]:
    with s3_server(tmp_path_factory.mktemp("s3") / "server") as bucket:
        asyncio.run(ready(bucket))
        yield bucket


@pytest.mark.s3
def test_documents_in_a_bucket_are_in_the_backup_and_come_back(
    databases: Databases, bucket: Bucket, tmp_path: Path
) -> None:
    settings = with_bucket(tmp_path / "state", databases, bucket)
    store, objects = store_of(settings), client(bucket)
    whole = asyncio.run(store.put(PDF, limit=100)).sha256
    spoilt = asyncio.run(store.put(b"whole", limit=100)).sha256
    before, after, none = (tmp_path / name for name in ("before", "after", "none"))
    backup(before, state=settings.state_dir)
    objects.put_object(Bucket=bucket.name, Key=f"{spoilt[:2]}/{spoilt}", Body=b"spoilt")

    with pytest.raises(Refused, match=f"documents are damaged in the store: {spoilt}"):
        backup(after, state=settings.state_dir)
    backup(none, without_documents=True, state=settings.state_dir)
    restore(before, documents_only=True, state=settings.state_dir)
    assert asyncio.run(store.get(spoilt)) == b"whole"
    for sha256 in (whole, spoilt):
        objects.delete_object(Bucket=bucket.name, Key=f"{sha256[:2]}/{sha256}")
    command = (sys.executable, "-m", "cli", "restore", before, "--over")
    state = ("--state", settings.state_dir)
    subprocess.run([*command, *state], cwd=ROOT, check=True)

    assert asyncio.run(store.names()) == sorted((whole, spoilt))
    assert (verified(before).documents, verified(none).documents) == ("here", "left out")
    assert f"documents/{whole[:2]}/{whole}" in files(after)
    assert f"documents/{spoilt[:2]}/{spoilt}" not in files(after)
    assert not [name for name in files(none) if name.startswith("documents/")]


def with_bucket(state: Path, databases: Databases, bucket: Bucket) -> Settings:
    """Return the settings of an installation that keeps its documents in the bucket."""
    write_secret(state / "key", bucket.secret_key.encode())
    lines = {
        "environment": "production",
        "public_url": "https://cards.example.org",
        "smtp_host": "mail.example.org",
        "smtp_starttls": True,
        "document_bucket": bucket.name,
        "document_bucket_url": bucket.url,
        "document_bucket_access_key": bucket.access_key,
        "document_bucket_secret_file": "key",
        "local_services": bucket.url.removeprefix("http://"),
    }
    text = "".join(f"{field} = {json.dumps(value)}\n" for field, value in lines.items())
    (state / SETTINGS_FILE).write_text(text)
    databases.furnish(state)
    settings = read_settings(state)
    make_own_secrets(settings, Maker(marked=False))
    return settings


@pytest.fixture
def rounded_otherwise(tmp_path: Path) -> Path:
    """Return a database whose index holds what another version of SQLite computed."""
    file = tmp_path / "temporal.db"
    with closing(sqlite3.connect(file)) as database:
        database.execute("CREATE TABLE visibility (x, y AS (round(x)))")
        database.execute("CREATE INDEX by_y ON visibility (y)")
        database.execute("INSERT INTO visibility (x) VALUES (0.9996)")
        database.execute("PRAGMA writable_schema=ON")
        database.execute("UPDATE sqlite_master SET sql = replace(sql, 'round(x)', 'floor(x)')")
        database.commit()
    return file


def test_times_that_temporals_sqlite_rounded_otherwise_are_no_damage(rounded_otherwise):
    copied = rounded_otherwise.with_name("copy.db")

    copy_sqlite(rounded_otherwise, copied, check="quick_check")

    assert copied.exists()


def test_a_database_that_is_damaged_is_no_backup(rounded_otherwise, tmp_path):
    with pytest.raises(Refused, match=r"is damaged .* restore an earlier backup"):
        copy_sqlite(rounded_otherwise, tmp_path / "whole.db")
    content = bytearray(rounded_otherwise.read_bytes())
    content[4096:4196] = b"x" * 100
    rounded_otherwise.write_bytes(content)

    with pytest.raises(Refused, match=r"is damaged .* restore an earlier backup"):
        copy_sqlite(rounded_otherwise, tmp_path / "quick.db", check="quick_check")


@pytest.mark.parametrize("spoil", ["missing", "damaged", "a link"])
def test_documents_alone_come_back_into_a_directory_while_all_else_stays(
    settings: Settings, tmp_path: Path, spoil: str
) -> None:
    stored = asyncio.run(store_of(settings).put(PDF, limit=100))
    document = settings.document_dir / stored.sha256[:2] / stored.sha256
    backup(tmp_path / "backup", state=settings.state_dir)
    before = {path: path.stat().st_mtime_ns for path in settings.state_dir.rglob("*.db")}
    document.unlink()
    if spoil == "damaged":
        document.write_bytes(b"damaged")
    if spoil == "a link":
        document.symlink_to("/etc/passwd")

    restore(tmp_path / "backup", documents_only=True, state=settings.state_dir)

    assert document.read_bytes() == PDF
    assert not document.is_symlink()
    assert document.stat().st_mode & 0o777 == 0o400
    assert {path: path.stat().st_mtime_ns for path in before} == before
    document.unlink()


@pytest.mark.parametrize("there", ["a file in it", "a file in its place"])
def test_a_target_that_holds_something_is_refused(
    settings: Settings, tmp_path: Path, there: str
) -> None:
    target = tmp_path / "target"
    if there == "a file in it":
        target.mkdir()
        (target / "mine").write_text("mine")
    else:
        target.write_text("mine")

    with pytest.raises(Refused, match="is not empty"):
        backup(target, state=settings.state_dir)


def changed(made: Path) -> None:
    with (made / "cardflow.db").open("r+b") as file:
        file.seek(100)
        file.write(b"\xff")


def cut(made: Path) -> None:
    os.truncate(made / "cardflow.db", 1_000)


def linked(made: Path) -> None:
    (made / "passwd").symlink_to("/etc/passwd")


SPOILT: list[tuple[Callable[[Path], object], str]] = [
    (lambda made: (made / SUMS).unlink(), "SHA256SUMS is missing"),
    (lambda made: (made / "ca/public/root.pem").unlink(), "ca/public/root.pem is missing"),
    (lambda made: (made / "more").write_text("more"), "more does not belong to it"),
    (changed, "cardflow.db was changed"),
    (cut, "cardflow.db was changed"),
    (lambda made: (made / MANIFEST).write_text("{}"), "manifest.json was changed"),
    (linked, "is a link"),
]


@pytest.mark.parametrize(("spoil", "reason"), SPOILT)
def test_a_backup_that_is_not_what_was_made_is_refused_before_anything_is_touched(
    made: Path, tmp_path: Path, passphrase: Path, spoil: Callable[[Path], object], reason: str
) -> None:
    spoil(made)

    with pytest.raises(Refused, match=reason):
        restore(made, passphrase_file=passphrase, state=tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_wrong_a_short_and_no_passphrase_are_refused(made: Path, tmp_path: Path) -> None:
    wrong, short = tmp_path / "wrong", tmp_path / "short"
    write_secret(wrong, PASSPHRASE[::-1])
    write_secret(short, b"four words")

    for file, reason in (
        (wrong, "does not open"),
        (short, "shorter than 20"),
        (None, "are sealed"),
    ):
        with pytest.raises(Refused, match=reason):
            restore(made, passphrase_file=file, state=tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_what_is_there_is_not_replaced_unasked(
    made: Path, settings: Settings, passphrase: Path
) -> None:
    with pytest.raises(Refused, match=r"the database is not empty.*--over"):
        restore(made, passphrase_file=passphrase, state=settings.state_dir)


def test_other_keys_are_not_replaced_unasked(made: Path, tmp_path: Path) -> None:
    other = Settings(state_dir=tmp_path / "other")
    make_own_secrets(other, Maker(marked=False))
    before = other.codec_key_file.read_bytes()
    sealed = keys.unseal_keys(made, PASSPHRASE)

    with pytest.raises(Refused, match="other keys are in"):
        keys.put_back(other, sealed, None)
    assert other.codec_key_file.read_bytes() == before

    keys.put_back(other, sealed, tmp_path / "aside")
    assert (tmp_path / "aside/codec.json").read_bytes() == before


def test_keys_are_moved_aside_from_a_file_system_of_their_own(made: Path, tmp_path: Path) -> None:
    """In a container, secrets are a directory of the host's and the state is a volume."""
    here = tmp_path.stat().st_dev
    others = [path for path in ELSEWHERE if path.is_dir() and path.stat().st_dev != here]
    if not others:
        pytest.skip("this machine has one file system only")
    with tempfile.TemporaryDirectory(dir=others[0]) as elsewhere:
        other = Settings(state_dir=tmp_path, codec_key_file=Path(elsewhere) / "codec.json")
        write_secret(other.codec_key_file, b"another")
        sealed = keys.unseal_keys(made, PASSPHRASE)

        keys.put_back(other, sealed, tmp_path / "aside")

        assert (tmp_path / "aside/codec.json").read_bytes() == b"another"
        assert other.codec_key_file.stat().st_mode & 0o777 == 0o600


def test_everything_that_is_in_the_way_is_named_before_anything_is_touched(
    settings: Settings, made: Path, tmp_path: Path, passphrase: Path
) -> None:
    other = tmp_path / "other"
    make_own_secrets(Settings(state_dir=other), Maker(marked=False))
    for name in ("ca/public/root.pem", "checkpoints/2026-11/000000000007.jws"):
        (other / name).parent.mkdir(parents=True)
        (other / name).write_text("another")
    before = {path: path.read_bytes() for path in other.rglob("*") if path.is_file()}

    with pytest.raises(Refused) as refused:
        restore(made, passphrase_file=passphrase, state=other)

    for what in ("codec.json", "public/root.pem", "000000000007.jws", "--over"):
        assert what in str(refused.value)
    assert {path: path.read_bytes() for path in before} == before
    assert not (other / "cardflow.db").exists()


def test_a_backup_of_a_later_version_is_refused_before_anything_is_touched(
    made: Path, tmp_path: Path, passphrase: Path
) -> None:
    text = (made / MANIFEST).read_text().replace(newest_revision(), "9999")
    (made / MANIFEST).write_text(text)
    sums = subprocess.run(
        ["sha256sum", *sorted(files(made) - {SUMS})],
        cwd=made,
        text=True,
        capture_output=True,
        check=True,
    )
    (made / SUMS).write_text(sums.stdout)

    with pytest.raises(Refused, match="the backup is of revision 9999, this program knows"):
        restore(made, passphrase_file=passphrase, over=True, state=tmp_path / "new")
    assert not [path for path in (tmp_path / "new").iterdir() if path.name.startswith("cardflow.d")]


def test_a_password_in_the_databases_url_is_never_shown_to_other_accounts(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"\?passfile="):
        copy_database("postgresql+psycopg://cardflow:s3cret@db/cardflow", tmp_path)


def test_a_backup_of_another_database_is_refused(
    made: Path, tmp_path: Path, passphrase: Path
) -> None:
    state = tmp_path / "new"
    state.mkdir()
    (state / SETTINGS_FILE).write_text('database_url = "postgresql+psycopg://db/cardflow"\n')

    with pytest.raises(Refused, match="the backup is of sqlite, the settings name postgresql"):
        restore(made, passphrase_file=passphrase, state=state)


def test_a_database_that_is_written_to_is_copied_as_of_one_instant(
    settings: Settings, made: Path
) -> None:
    assert verified(made).revision == newest_revision()
    assert verified(made).made_at <= datetime.now(UTC)
