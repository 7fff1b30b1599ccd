"""Checkpoints outside the database: one file each, written once, for a place that we cannot change.

The directory is meant to be a volume that only takes (WORM), another machine's, or what a mailbox
or a second person is fed from.
"""

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

from cardflow.checkpoints import Checkpoint
from cardflow.errors import Refused

SUFFIX = ".jws"
READ_ONLY = 0o444


def export(directory: Path, checkpoints: Iterable[Checkpoint]) -> None:
    """Leave each checkpoint in a file of its own; a file that is there is never touched."""
    for checkpoint in checkpoints:
        path = directory / f"{checkpoint.at:%Y-%m}" / f"{checkpoint.number:012}{SUFFIX}"
        path.parent.mkdir(parents=True, exist_ok=True)
        _write_once(path, checkpoint.token)


def _write_once(path: Path, token: str) -> None:
    descriptor, name = tempfile.mkstemp(dir=path.parent)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(f"{token}\n")
            file.flush()
            os.fchmod(file.fileno(), READ_ONLY)
            os.fsync(file.fileno())
        os.link(name, path)
    except FileExistsError:
        return  # verification compares what stands there
    finally:
        Path(name).unlink()


def exported_to(directory: Path) -> int:
    """Return the last entry that an exported checkpoint covers; 0 before the first."""
    return max((int(path.stem) for path in _files(directory) if path.stem.isdigit()), default=0)


def read_tokens(directory: Path) -> list[str]:
    """Return the tokens of every checkpoint in the directory, or of the one in a file."""
    if directory.is_file():
        return directory.read_text(errors="replace").split()
    if not directory.is_dir():
        raise Refused(f"{directory} is neither a file nor a directory with checkpoints")
    return [
        token for path in _files(directory) for token in path.read_text(errors="replace").split()
    ]


def _files(directory: Path) -> list[Path]:
    return sorted(directory.rglob(f"*{SUFFIX}"))
