"""`cardflow backup` and `cardflow restore`: on the machine that Cardflow runs on."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

from cardflow.db.migrate import database_revision, newest_revision
from cardflow.environment import SETTINGS_FILE, Environment
from cardflow.errors import CardflowError, Refused
from cardflow.settings import Settings, load_settings, read_settings
from cardflow.sql import create_engine
from cardflow.stores import store_of
from cardflow.temporal.ending import run_and_exit
from cli.backups import databases, files, keys
from cli.backups.keys import Sealed
from cli.backups.sums import Manifest, seal_backup, verified
from cli.database import upgrade
from cli.output import say, working
from cli.processes import Supervisor, locked, refuse_taken_ports
from cli.reconcile import differences, show_differences
from cli.up import engine, engine_ports


def backup(
    directory: Path,
    /,
    *,
    passphrase_file: Path | None = None,
    without_documents: bool = False,
    state: Path | None = None,
) -> None:
    """Copy everything that this installation is into a new directory, while it runs.

    For example:

        cardflow backup /media/backup/2026-11-27 --passphrase-file /root/backup-passphrase

    Parameters
    ----------
    directory
        Where to; it must not exist, or be empty.
    passphrase_file
        A file (mode 0600) with the passphrase that seals the keys. Keep it apart from the backup.
        Without it the keys stay out, and you keep a copy of them yourself.
    without_documents
        Leave the documents out, where a bucket's own versions and replicas are their backup.
    state
        The state directory; default: CARDFLOW_STATE_DIR, else var.
    """
    settings = load_settings(state)
    passphrase = keys.passphrase_in(passphrase_file) if passphrase_file else None
    _refuse_unless_empty(directory)
    with working("copying"):
        damaged = _copy(settings, directory, passphrase, documents=not without_documents)
    say(f"the backup is in {directory}; it holds personal data: keep it on an encrypted medium")
    if passphrase is None:
        say("  → the keys are not in it: keep a copy of them, above all of the codec's ring")
    if damaged:
        raise Refused(f"documents are damaged in the store: {', '.join(damaged)}")


def restore(
    directory: Path,
    /,
    *,
    passphrase_file: Path | None = None,
    over: bool = False,
    documents_only: bool = False,
    state: Path | None = None,
) -> None:
    """Bring back what a backup holds, and compare it with Temporal and the CA.

    Every file of the backup is checked before anything is touched. Nothing of Cardflow may run,
    unless only documents come back.

    For example:

        cardflow restore /media/backup/2026-11-27 --passphrase-file /root/backup-passphrase
        cardflow restore /media/backup/2026-11-27 --documents-only

    Parameters
    ----------
    directory
        The backup.
    passphrase_file
        A file (mode 0600) with the passphrase that seals the keys.
    over
        Restore although there is something: what is replaced is moved to `replaced-<time>` in the
        state directory; in PostgreSQL it is dropped.
    documents_only
        Bring back the documents that the store has lost or damaged, and touch nothing else.
    state
        The state directory; default: CARDFLOW_STATE_DIR, else var.
    """
    manifest = verified(directory)
    if documents_only:
        return _restore_documents(read_settings(state), directory)
    found = _keys(directory, manifest, passphrase_file)
    _put_settings(directory, read_settings(state).state_dir)
    settings = read_settings(state)
    with locked(settings.state_dir):
        if settings.environment is Environment.DEMO:
            refuse_taken_ports(engine_ports(settings))
        with working("bringing back"):
            asyncio.run(_refuse_unless_fitting(settings, directory, manifest, found, over=over))
            _bring_back(settings, directory, manifest, found, _aside(settings, over=over))
            asyncio.run(upgrade(settings))
        say(f"the backup of {manifest.made_at:%Y-%m-%d %H:%M} UTC is restored")
        run_and_exit(_compare(settings))
    return None


def _restore_documents(settings: Settings, directory: Path) -> None:
    with working("bringing back documents"):
        mended = asyncio.run(files.put_documents_back(directory, store_of(settings)))
    say(f"{mended} documents were missing or damaged in the store, and are whole again")


# Backing up


def _refuse_unless_empty(directory: Path) -> None:
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise Refused(f"{directory} is not empty\n  → name a directory that does not exist yet")
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    directory.chmod(0o700)


def _copy(
    settings: Settings, directory: Path, passphrase: bytes | None, *, documents: bool
) -> list[str]:
    """Copy in this order: what is copied later may know more, and then only what may.

    1. Temporal, so that the record is never behind what a restored workflow knows.
    2. Checkpoints, so that none covers more than the copy of the trail.
    3. The database, and in it what the CA signed.
    4. Documents, so that each that is on record is there.
    """
    temporal = files.temporal_file(settings)
    if temporal.exists():
        databases.copy_sqlite(temporal, directory / temporal.name, check="quick_check")
    files.copy_checkpoints(settings, directory)
    databases.copy_database(settings.database_url, directory)
    damaged = asyncio.run(files.copy_documents(store_of(settings), directory)) if documents else []
    files.copy_ca(settings, directory)
    files.copy_settings(settings, directory)
    if passphrase is not None:
        keys.seal_keys(settings, directory, passphrase)
    manifest = Manifest(
        made_at=datetime.now(UTC),
        database=databases.kind_of(settings.database_url),
        revision=asyncio.run(_revision(settings)),
        temporal=temporal.exists(),
        documents="here" if documents else "left out",
        keys=passphrase is not None,
    )
    seal_backup(directory, manifest)
    return damaged


async def _revision(settings: Settings) -> str:
    engine = create_engine(settings.database_url)
    try:
        return await database_revision(engine)
    finally:
        await engine.dispose()


# Restoring


def _keys(directory: Path, manifest: Manifest, passphrase_file: Path | None) -> Sealed | None:
    if not manifest.keys:
        return None
    if passphrase_file is None:
        raise Refused("the keys in this backup are sealed\n  → give --passphrase-file")
    return keys.unseal_keys(directory, keys.passphrase_in(passphrase_file))


def _put_settings(directory: Path, state_dir: Path) -> None:
    """This machine's own settings stay; where there are none, those of the backup count."""
    state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    source, target = directory / SETTINGS_FILE, state_dir / SETTINGS_FILE
    if source.exists() and not target.exists():
        databases.restore_file(source, target)


def _aside(settings: Settings, *, over: bool) -> Path | None:
    if not over:
        return None
    aside = settings.state_dir / f"replaced-{datetime.now(UTC):%Y%m%dT%H%M%S}"
    aside.mkdir(mode=0o700)
    return aside


async def _refuse_unless_fitting(
    settings: Settings, directory: Path, manifest: Manifest, found: Sealed | None, *, over: bool
) -> None:
    """Refuse before anything is touched, with everything that is in the way."""
    kind = databases.kind_of(settings.database_url)
    if kind != manifest.database:
        raise Refused(f"the backup is of {manifest.database}, the settings name {kind}")
    if manifest.revision > newest_revision():
        raise Refused(
            f"the backup is of revision {manifest.revision}, this program knows "
            f"{newest_revision()}\n  → use the version that made it, or a later one"
        )
    there = []
    if await databases.has_tables(settings.database_url):
        there.append("the database is not empty")
    if manifest.temporal and files.temporal_file(settings).exists():
        there.append(f"{files.temporal_file(settings)} is there")
    there += [f"another key is in {path}" for path in keys.in_the_way(settings, found or {})]
    for name, into in (
        (files.CA, settings.ca_dir),
        (files.CHECKPOINTS, settings.audit_checkpoint_dir),
    ):
        there += [
            f"another {into / one} is there" for one in files.in_the_way(directory / name, into)
        ]
    if there and not over:
        raise Refused(*there, "restoring would replace what is there; if that is meant: --over")


def _bring_back(
    settings: Settings,
    directory: Path,
    manifest: Manifest,
    found: Sealed | None,
    aside: Path | None,
) -> None:
    """Bring everything back in this order.

    1. The database, which takes all or nothing: what it refuses leaves everything as it was.
    2. Keys, for the bucket's is among them.
    3. Files, which are only added or moved aside, so the command may be given again.
    """
    if aside:
        _move_aside(settings, aside, manifest)
    databases.restore_database(settings.database_url, directory)
    if manifest.temporal:
        temporal = files.temporal_file(settings)
        databases.restore_file(directory / temporal.name, temporal)
    if found:
        keys.put_back(settings, found, aside)
    files.put_ca_back(directory, settings, aside)
    files.put_checkpoints_back(directory, settings)
    asyncio.run(files.put_documents_back(directory, store_of(settings)))
    if settings.profiles_file and not settings.profiles_file.exists():
        databases.restore_file(directory / "profiles.toml", settings.profiles_file)


def _move_aside(settings: Settings, aside: Path, manifest: Manifest) -> None:
    going = [files.temporal_file(settings)] if manifest.temporal else []
    if manifest.database == "sqlite":
        going.append(databases.file_of(settings.database_url))
    for database in going:
        for path in database.parent.glob(f"{database.name}*"):
            path.rename(aside / path.name)


async def _compare(settings: Settings) -> int:
    """Name what differs; the embedded engine is started for this and stopped again."""
    if settings.environment is not Environment.DEMO:
        say("  → start Temporal and a worker, then: cardflow reconcile")
        return 0
    supervisor = Supervisor(settings.state_dir / "log")
    try:
        await engine(supervisor, settings)
        found = await differences(settings)
    except CardflowError as error:
        say(f"✗ it could not be compared: {error}\n  → cardflow reconcile")
        return 1
    finally:
        await supervisor.stop()
    show_differences(found)
    if any(not one.mended for one in found):
        say("  → cardflow up, then: cardflow reconcile --apply")
    return 0
