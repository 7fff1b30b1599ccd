"""What must be on disk before anybody is told of it."""

import os
from pathlib import Path


def sync_directory(directory: Path) -> None:
    """Return when the names in the directory are on disk."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
