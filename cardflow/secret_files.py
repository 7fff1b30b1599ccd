"""Secrets live in files that only their owner can read; nothing else holds them."""

import os
import tempfile
from pathlib import Path

from cardflow.durable import sync_directory
from cardflow.errors import Refused

DEMO_MARKER = "demo"  # a file of this name beside a secret says: made for trying out, known to many


def read_secret(path: Path) -> bytes:
    """Return the content of a secret file that nobody but its owner can open."""
    try:
        mode = path.stat().st_mode
        content = path.read_bytes()
    except FileNotFoundError:
        msg = f"{path} is missing; make it, or correct the setting that names it"
        raise Refused(msg) from None
    except OSError as error:
        msg = f"{path} cannot be read ({error.strerror}); give it to the account that runs Cardflow"
        raise Refused(msg) from error
    if mode & 0o077:
        msg = f"{path} is open to other accounts; run: chmod 600 {path}"
        raise Refused(msg)
    if not content:
        msg = f"{path} is empty; make it anew"
        raise Refused(msg)
    return content


def write_secret(path: Path, content: bytes) -> None:
    """Leave ``content`` in a new file that only the owner can read; an existing one is kept.

    The file is there whole or not at all, whenever this process is killed.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor, fresh = tempfile.mkstemp(dir=path.parent, prefix=_started(path))  # mode 0600
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.link(fresh, path)
    finally:
        Path(fresh).unlink()
    sync_directory(path.parent)


def forget_secret(path: Path) -> None:
    """Leave neither the file nor what a killed process left beside it while writing it."""
    for file in (path, *path.parent.glob(f"{_started(path)}*")):
        file.unlink(missing_ok=True)


def _started(path: Path) -> str:
    return f".{path.name}.new-"


def is_demo(path: Path) -> bool:
    """Tell whether a file or a directory carries the mark of what was made for trying out."""
    return (path.parent / DEMO_MARKER).exists() or (path / DEMO_MARKER).exists()
