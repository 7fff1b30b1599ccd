"""What a backup holds: each file with its SHA-256, so that nothing else is ever restored.

``SHA256SUMS`` is written last and is what `sha256sum --check` reads: a backup without it is none.
"""

import hashlib
import json
import os
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cardflow.errors import Refused
from cardflow.wire import from_json, parsed, to_json

SUMS, MANIFEST = "SHA256SUMS", "manifest.json"
FORMAT = 1


@dataclass(frozen=True)
class Manifest:
    """What a backup is of, in words that a person needs before restoring it."""

    made_at: datetime
    database: str  # sqlite postgresql
    revision: str  # of the database
    temporal: bool  # whether the development server's store is in it
    documents: str  # here, or left out
    keys: bool  # whether the keys are in it, sealed
    format: int = FORMAT


def new_file(path: Path) -> Path:
    """Return a new, empty file that only its owner can open."""
    for parent in reversed(path.parents):
        parent.mkdir(exist_ok=True, mode=0o700)  # each: mkdir(parents=True) opens those between
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    return path


def seal_backup(directory: Path, manifest: Manifest) -> None:
    """Leave the manifest and, last of all, the sums of every file."""
    text = json.dumps(to_json(manifest), indent=1)
    new_file(directory / MANIFEST).write_text(f"{text}\n")
    lines = [f"{digest}  {name}\n" for name, digest in sorted(_digests(directory).items())]
    coming = new_file(directory / f"{SUMS}.new")
    coming.write_text("".join(lines))
    coming.rename(directory / SUMS)


def verified(directory: Path) -> Manifest:
    """Return the manifest of a backup that is whole, or refuse with every file that is not."""
    if not (directory / SUMS).is_file():
        raise Refused(f"{directory} holds no whole backup: {SUMS} is missing")
    lines = (directory / SUMS).read_text().splitlines()
    wanted = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
    there = _digests(directory)
    found = [f"{name} is missing" for name in sorted(wanted.keys() - there.keys())]
    found += [f"{name} does not belong to it" for name in sorted(there.keys() - wanted.keys())]
    found += [
        f"{name} was changed"
        for name in sorted(wanted)
        if there.get(name, wanted[name]) != wanted[name]
    ]
    if found:
        raise Refused(f"{directory} is not what was backed up", *found)
    return _manifest(directory)


def _manifest(directory: Path) -> Manifest:
    manifest = from_json(Manifest, parsed((directory / MANIFEST).read_bytes()))
    if manifest.format != FORMAT:
        raise Refused(f"the backup is of format {manifest.format}; use the version that made it")
    return manifest


def _digests(directory: Path) -> dict[str, str]:
    found = {}
    for path in directory.rglob("*"):
        if path.is_symlink():
            raise Refused(f"{path} is a link; a backup has none")
        if path.is_file() and path.name not in {SUMS, f"{SUMS}.new"}:
            found[path.relative_to(directory).as_posix()] = digest_of(path)
    return found


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
