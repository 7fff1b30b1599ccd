"""Where documents are kept: written once under the SHA-256 of their bytes, checked when read."""

import asyncio
import errno
import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

from cardflow.durable import sync_directory
from cardflow.errors import CardflowError, Refused, Unavailable

_DIGEST = re.compile(r"[0-9a-f]{64}")
_READ_ONLY = 0o400
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Damaged(CardflowError):
    """What the store holds under a digest is not what was put there: restore it from a backup."""


@dataclass(frozen=True)
class Stored:
    """What was put into the store."""

    sha256: str
    size: int


class DocumentStore(Protocol):
    """Keeps bytes for ever under their digest."""

    async def put(self, data: bytes | AsyncIterator[bytes], *, limit: int) -> Stored: ...

    async def get(self, sha256: str) -> bytes: ...

    async def free_bytes(self) -> int | None: ...


class WholeStore(DocumentStore, Protocol):
    """What backups need besides: the store as a whole."""

    async def names(self) -> list[str]: ...

    async def mend(self, data: bytes) -> bool: ...


class FileStore:
    """A document store in a directory; several processes may use it at once."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    async def put(self, data: bytes | AsyncIterator[bytes], *, limit: int) -> Stored:
        """Have the bytes on disk for good; more than ``limit`` are refused while they come."""
        with room_wanted():
            arriving = await asyncio.to_thread(Arriving, self._directory / "arriving", limit)
            try:
                await fill(arriving, data)
            except BaseException:
                await asyncio.shield(asyncio.to_thread(arriving.discard))
                raise
            return await asyncio.shield(asyncio.to_thread(self._keep, arriving))

    async def get(self, sha256: str) -> bytes:
        """Return the bytes with this digest; anything else in their place is ``Damaged``."""
        return await asyncio.to_thread(self._read, self._path(sha256))

    async def free_bytes(self) -> int:
        """Return the room that is left, once something could be written."""
        return await asyncio.to_thread(self._probe)

    async def names(self) -> list[str]:
        """Return the digest of every document, in order."""
        return await asyncio.to_thread(self._names)

    async def mend(self, data: bytes) -> bool:
        """Have the bytes whole, whatever is in their place; tell whether they were not before."""
        return await asyncio.to_thread(self._mend, data)

    def _names(self) -> list[str]:
        found = self._directory.glob("[0-9a-f][0-9a-f]/*")
        return sorted(path.name for path in found if is_digest(path.name))

    def _mend(self, data: bytes) -> bool:
        path = self._path(hashlib.sha256(data).hexdigest())
        try:
            self._read(path)
        except (Damaged, Refused):
            path.unlink(missing_ok=True)  # never the last whole copy: that is in our hands
        else:
            return False
        arriving = Arriving(self._directory / "arriving", len(data))
        try:
            arriving.write(data)
            arriving.finish()
            self._link(arriving.path, path)
        finally:
            arriving.discard()
        return True

    def _probe(self) -> int:
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.NamedTemporaryFile(dir=self._directory) as file:
            file.write(b"cardflow")
            file.flush()
            os.fsync(file.fileno())
        return shutil.disk_usage(self._directory).free

    def _path(self, sha256: str) -> Path:
        return self._directory / sha256[:2] / checked_digest(sha256)

    def _keep(self, arriving: "Arriving") -> Stored:
        try:
            stored = arriving.finish()
            self._link(arriving.path, self._path(stored.sha256))
            return stored
        finally:
            arriving.discard()

    def _link(self, source: Path, path: Path) -> None:
        path.parent.mkdir(exist_ok=True, mode=0o700)
        sync_directory(self._directory)
        try:
            os.link(source, path)
        except FileExistsError:
            self._read(path)  # an earlier copy counts only if it is whole
        # Also when another process made the link: it may not have reached the disk yet.
        sync_directory(path.parent)

    def _read(self, path: Path) -> bytes:
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            raise Refused(f"no document {path.name} is in the store") from None
        except OSError as error:
            if error.errno != errno.ELOOP:
                raise
            raise damaged(path.name) from error
        with os.fdopen(descriptor, "rb") as file:
            data = file.read()
        if hashlib.sha256(data).hexdigest() != path.name:
            raise damaged(path.name)
        return data


class Arriving:
    """A file that nobody can see yet: hashed while it is written."""

    def __init__(self, directory: Path, limit: int) -> None:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor, name = tempfile.mkstemp(dir=directory)
        self.path = Path(name)
        self._file: IO[bytes] = os.fdopen(descriptor, "wb")
        self._hash = hashlib.sha256()
        self._size, self._limit = 0, limit

    def write(self, chunk: bytes) -> None:
        self._size += len(chunk)
        if self._size > self._limit:
            raise Refused(
                f"the file is larger than the {in_words(self._limit)} that are accepted;"
                " scan it with fewer dots per inch or fewer pages"
            )
        self._hash.update(chunk)
        self._file.write(chunk)

    def finish(self) -> Stored:
        self._file.flush()
        os.fchmod(self._file.fileno(), _READ_ONLY)
        os.fsync(self._file.fileno())
        return Stored(self._hash.hexdigest(), self._size)

    def discard(self) -> None:
        self._file.close()
        self.path.unlink()


def is_digest(name: str) -> bool:
    """Tell whether this can be the name of a document."""
    return bool(_DIGEST.fullmatch(name))


def checked_digest(sha256: str) -> str:
    """Return the name of a document, or refuse what cannot be one."""
    if not is_digest(sha256):
        raise Refused("a document is named by its SHA-256: 64 hex digits in lower case")
    return sha256


def in_words(size: int) -> str:
    """Return a size as a person says it."""
    mebibyte = 1024 * 1024
    return f"{size / mebibyte:.3g} MiB" if size >= mebibyte else f"{size} bytes"


async def fill(arriving: Arriving, data: bytes | AsyncIterator[bytes]) -> None:
    if isinstance(data, bytes):
        await asyncio.to_thread(arriving.write, data)
        return
    async for chunk in data:
        await asyncio.to_thread(arriving.write, chunk)


def damaged(sha256: str) -> Damaged:
    """Return the failure to raise when other bytes are in a document's place."""
    return Damaged(f"the document {sha256} was changed in the store; restore it from a backup")


@contextmanager
def room_wanted() -> Iterator[None]:
    """Tell a full disk from a bug: people come again when there is room."""
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise Unavailable("the document store has no room left; nothing was kept") from error
