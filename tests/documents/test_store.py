"""What is put into the store stays, whole, and nothing else is ever answered."""

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cardflow.documents.store import Damaged, FileStore
from cardflow.errors import Refused

LIMIT = 1024 * 1024


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    return FileStore(tmp_path / "documents")


def files(tmp_path: Path) -> list[Path]:
    return [path for path in (tmp_path / "documents").rglob("*") if path.is_file()]


async def chunks(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


async def test_what_was_put_is_read_back(store: FileStore) -> None:
    stored = await store.put(b"signed", limit=LIMIT)

    assert stored.sha256 == hashlib.sha256(b"signed").hexdigest()
    assert stored.size == 6
    assert await store.get(stored.sha256) == b"signed"


async def test_chunks_are_one_document(store: FileStore) -> None:
    stored = await store.put(chunks(b"sig", b"", b"ned"), limit=LIMIT)

    assert await store.get(stored.sha256) == b"signed"


async def test_the_same_bytes_are_kept_once(store: FileStore, tmp_path: Path) -> None:
    first = await store.put(b"signed", limit=LIMIT)
    inode = files(tmp_path)[0].stat().st_ino

    assert await store.put(chunks(b"signed"), limit=LIMIT) == first
    assert [path.stat().st_ino for path in files(tmp_path)] == [inode]


async def test_a_kept_file_is_read_only_for_its_owner(store: FileStore, tmp_path: Path) -> None:
    await store.put(b"signed", limit=LIMIT)

    assert files(tmp_path)[0].stat().st_mode & 0o777 == 0o400


async def test_the_limit_is_met_while_reading(store: FileStore, tmp_path: Path) -> None:
    taken = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal taken
        while True:
            taken += 1
            yield bytes(64 * 1024)

    with pytest.raises(Refused, match="larger than the 1 MiB"):
        await store.put(endless(), limit=LIMIT)
    assert taken == 17
    assert files(tmp_path) == []


async def test_exactly_the_limit_is_accepted(store: FileStore) -> None:
    assert (await store.put(bytes(100), limit=100)).size == 100
    with pytest.raises(Refused, match="100 bytes"):
        await store.put(bytes(101), limit=100)


async def test_an_upload_that_breaks_off_leaves_nothing(store: FileStore, tmp_path: Path) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"half"
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await store.put(broken(), limit=LIMIT)
    assert files(tmp_path) == []


async def test_a_cancelled_upload_leaves_nothing(store: FileStore, tmp_path: Path) -> None:
    begun = asyncio.Event()

    async def stalled() -> AsyncIterator[bytes]:
        yield b"half"
        begun.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(store.put(stalled(), limit=LIMIT))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert files(tmp_path) == []


@pytest.mark.parametrize(
    "change",
    [b"forged", b"", b"signed and more"],
    ids=["other bytes", "emptied", "longer"],
)
async def test_a_changed_file_is_never_answered(
    store: FileStore, tmp_path: Path, change: bytes
) -> None:
    stored = await store.put(b"signed", limit=LIMIT)
    path = files(tmp_path)[0]
    path.chmod(0o600)
    path.write_bytes(change)

    with pytest.raises(Damaged, match=stored.sha256):
        await store.get(stored.sha256)
    with pytest.raises(Damaged, match="backup"):
        await store.put(b"signed", limit=LIMIT)


async def test_a_link_in_the_place_of_a_document_is_not_followed(
    store: FileStore, tmp_path: Path
) -> None:
    stored = await store.put(b"signed", limit=LIMIT)
    path = files(tmp_path)[0]
    (tmp_path / "elsewhere").write_bytes(b"signed")
    path.unlink()
    path.symlink_to(tmp_path / "elsewhere")

    with pytest.raises(Damaged, match=stored.sha256):
        await store.get(stored.sha256)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "../../../etc/passwd",
        "/etc/passwd",
        "ab/" + "0" * 61,
        "0" * 63,
        "0" * 65,
        "A" * 64,
        "0" * 64 + "\n",
        "\0" * 64,
        "٠" * 64,
    ],
)
async def test_a_name_that_is_no_digest_is_refused(store: FileStore, name: str) -> None:
    with pytest.raises(Refused, match="64 hex digits"):
        await store.get(name)


async def test_a_missing_document_is_refused_by_name(store: FileStore) -> None:
    with pytest.raises(Refused, match="no document 00000000"):
        await store.get("0" * 64)


async def test_many_at_once_put_the_same_bytes(tmp_path: Path) -> None:
    stores = [FileStore(tmp_path / "documents") for _ in range(40)]
    data = os.urandom(100_000)

    stored = await asyncio.gather(*(each.put(data, limit=LIMIT) for each in stores))

    assert len(set(stored)) == 1
    assert len(files(tmp_path)) == 1
    assert await stores[0].get(stored[0].sha256) == data


async def test_many_at_once_put_different_bytes(store: FileStore, tmp_path: Path) -> None:
    documents = [os.urandom(1000) for _ in range(40)]

    stored = await asyncio.gather(*(store.put(each, limit=LIMIT) for each in documents))

    assert [await store.get(each.sha256) for each in stored] == documents
    assert len(files(tmp_path)) == 40
