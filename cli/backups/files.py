"""Files that are copied as they are: documents, the CA's directory, checkpoints, settings."""

import shutil
from collections.abc import Iterator
from pathlib import Path

from cryptography import x509

from cardflow.documents.store import Damaged, WholeStore
from cardflow.environment import SETTINGS_FILE
from cardflow.settings import Settings
from cli.backups.sums import digest_of, new_file

# The root's key belongs offline; the OCSP signer's is made anew by the worker.
NOT_OF_THE_CA = ("root/key.pem", "responder/")
DOCUMENTS, CA, CHECKPOINTS = "documents", "ca", "checkpoints"
ROOT_CRL = "public/root.crl"


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
            shutil.copyfile(path, new_file(directory / CA / name))


def copy_checkpoints(settings: Settings, directory: Path) -> None:
    """Leave the signed checkpoints of the audit trail."""
    for name, path in _files(settings.audit_checkpoint_dir):
        shutil.copyfile(path, new_file(directory / CHECKPOINTS / name))


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


def in_the_way(directory: Path, into: Path) -> list[str]:
    """Return the name of each file that would come back where another one is."""
    return [
        name
        for name, path in _files(directory)
        if (into / name).exists() and digest_of(into / name) != digest_of(path)
    ]


def put_ca_back(directory: Path, settings: Settings, aside: Path | None) -> None:
    """Leave the CA's files as they were, but its root's newest CRL; others are moved aside."""
    source, into = directory / CA, settings.ca_dir
    for name in in_the_way(source, into):
        if name == ROOT_CRL and _is_newer(into / name, source):
            continue
        assert aside is not None  # noqa: S101 the command has refused it
        away = aside / CA / name
        away.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        shutil.move(into / name, away)
    _put_back(source, into)


def put_checkpoints_back(directory: Path, settings: Settings) -> None:
    """Leave the checkpoints that are missing; what was signed here stays, whatever it says."""
    _put_back(directory / CHECKPOINTS, settings.audit_checkpoint_dir, mode=0o444)


def _put_back(directory: Path, into: Path, *, mode: int = 0o600) -> None:
    for name, path in _files(directory):
        if not (into / name).exists():
            coming = into / f"{name}.coming"  # a half of a file is never taken for one
            coming.unlink(missing_ok=True)
            shutil.copyfile(path, new_file(coming))
            coming.chmod(mode)
            coming.rename(into / name)


def _is_newer(there: Path, source: Path) -> bool:
    """Tell whether the CRL that is there comes after the backup's, of the root in the backup.

    RFC 5280 5.2.3: the number grows, so relying parties may hold to the one that they have seen.
    """
    try:
        root = x509.load_pem_x509_certificate((source / "public/root.pem").read_bytes())
        found, old = (
            x509.load_der_x509_crl(crl.read_bytes()) for crl in (there, source / ROOT_CRL)
        )
        if not found.is_signature_valid(root.public_key()):  # type: ignore[arg-type]
            return False
        return _number(found) > _number(old)
    except (OSError, ValueError, TypeError, x509.ExtensionNotFound):
        return False


def _number(crl: x509.CertificateRevocationList) -> int:
    return crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number


def _files(directory: Path) -> Iterator[tuple[str, Path]]:
    """Yield the plain files in a directory, each with its name within."""
    if not directory.is_dir():
        return
    for path in sorted(directory.rglob("*")):
        if path.is_file() and not path.is_symlink():
            yield path.relative_to(directory).as_posix(), path
