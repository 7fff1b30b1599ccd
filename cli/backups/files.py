"""Files that are copied as they are: documents, the CA's directory, checkpoints, settings."""

import shutil
from collections.abc import Iterator
from pathlib import Path

from cardflow.documents.store import Damaged, WholeStore
from cardflow.environment import SETTINGS_FILE
from cardflow.errors import Refused
from cardflow.settings import Settings
from cli.backups.sums import digest_of, new_file

# The root's key belongs offline; the OCSP signer's is made anew by the worker.
NOT_OF_THE_CA = ("root/key.pem", "responder/")
DOCUMENTS = "documents"


def temporal_file(settings: Settings) -> Path:
    """Return where `cardflow up` has Temporal keep everything."""
    return settings.state_dir / "temporal.db"


def copy_settings(settings: Settings, directory: Path) -> None:
    """Leave the settings file, and the profiles where they are not the samples."""
    if (file := settings.state_dir / SETTINGS_FILE).exists():
        shutil.copyfile(file, new_file(directory / SETTINGS_FILE))
    if settings.profiles_file:
        shutil.copyfile(settings.profiles_file, new_file(directory / "profiles.toml"))


def copy_ca(settings: Settings, directory: Path) -> None:
    """Leave the CA's certificates and its issuing key, encrypted as it is."""
    for name, path in _files(settings.ca_dir):
        if not name.startswith(NOT_OF_THE_CA):
            shutil.copyfile(path, new_file(directory / "ca" / name))


def copy_checkpoints(settings: Settings, directory: Path) -> None:
    """Leave the signed checkpoints of the audit trail."""
    for name, path in _files(settings.audit_checkpoint_dir):
        shutil.copyfile(path, new_file(directory / "checkpoints" / name))


async def copy_documents(store: WholeStore, directory: Path) -> list[str]:
    """Leave every document; return those that are not what their name says any more."""
    damaged = []
    for name in await store.names():
        try:
            content = await store.get(name)
        except Damaged:
            damaged.append(name)
        else:
            new_file(directory / DOCUMENTS / name[:2] / name).write_bytes(content)
    return damaged


async def put_documents_back(directory: Path, store: WholeStore) -> int:
    """Leave every document of a backup whole in the store; tell how many were not before."""
    mended = 0
    for _, path in _files(directory / DOCUMENTS):
        if digest_of(path) == path.name:
            mended += await store.mend(path.read_bytes())
    return mended


def put_back(directory: Path, into: Path, *, mode: int = 0o600) -> None:
    """Leave every file of a directory in another one; a file that is there and alike stays."""
    for name, path in _files(directory):
        target = into / name
        if target.exists():
            if digest_of(target) != digest_of(path):
                raise Refused(f"{target} is there and another one\n  → take it away")
            continue
        shutil.copyfile(path, new_file(target))
        target.chmod(mode)


def _files(directory: Path) -> Iterator[tuple[str, Path]]:
    """Yield the plain files in a directory, each with its name within."""
    if not directory.is_dir():
        return
    for path in sorted(directory.rglob("*")):
        if path.is_file() and not path.is_symlink():
            yield path.relative_to(directory).as_posix(), path
