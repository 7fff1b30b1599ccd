"""The document store in a bucket keeps the promises of the one in a directory."""

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from cardflow.documents.s3 import S3Store
from cardflow.documents.store import Damaged
from cardflow.errors import Refused, Unavailable
from cardflow.outbound import Outbound
from cardflow.secret_files import write_secret
from cardflow.settings import Settings
from cardflow.stores import store_of
from cli.ports import free_ports
from tests.documents.s3_server import SHIPPED, ready, s3_server

pytestmark = pytest.mark.s3
LIMIT = 1024 * 1024
BESIDE = Outbound(loopback=True).addresses


@pytest.fixture(scope="module")
async def server(tmp_path_factory):
    with s3_server(tmp_path_factory.mktemp("s3") / "server") as bucket:
        yield bucket, await ready(bucket)


@pytest.fixture
def bucket(server):
    return server[0]


@pytest.fixture
def objects(server):
    """What an independent client sees and does in the bucket."""
    return server[1]


@pytest.fixture
def store(bucket, tmp_path):
    return S3Store(bucket, tmp_path / "arriving", BESIDE)


def key(sha256):
    return f"{sha256[:2]}/{sha256}"


async def chunks(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


async def test_what_was_put_in_chunks_is_read_back(store, objects, bucket):
    stored = await store.put(chunks(b"sig", b"", b"ned"), limit=LIMIT)

    assert await store.get(stored.sha256) == b"signed"
    seen = objects.get_object(Bucket=bucket.name, Key=key(stored.sha256))
    assert seen["Body"].read() == b"signed"


async def test_an_installation_names_its_bucket_and_the_file_of_its_secret(bucket, tmp_path):
    write_secret(tmp_path / "secret", f"{bucket.secret_key}\n".encode())
    settings = Settings(
        state_dir=tmp_path,
        document_bucket=bucket.name,
        document_bucket_url=bucket.url,
        document_bucket_access_key=bucket.access_key,
        document_bucket_secret_file=tmp_path / "secret",
    )
    store = store_of(settings)

    stored = await store.put(b"by settings", limit=LIMIT)
    assert await store.get(stored.sha256) == b"by settings"
    assert bucket.secret_key not in repr(settings)


async def test_the_same_bytes_are_kept_once_and_never_replaced(store, objects, bucket):
    stored = await store.put(b"kept once", limit=LIMIT)
    first = objects.head_object(Bucket=bucket.name, Key=key(stored.sha256))

    assert await store.put(b"kept once", limit=LIMIT) == stored
    again = objects.head_object(Bucket=bucket.name, Key=key(stored.sha256))
    assert again["LastModified"] == first["LastModified"]


@pytest.mark.parametrize("change", [b"forged", b"", b"changed and more"])
async def test_a_changed_object_is_never_answered(store, objects, bucket, change):
    stored = await store.put(b"changed", limit=LIMIT)
    objects.put_object(Bucket=bucket.name, Key=key(stored.sha256), Body=change)
    try:
        with pytest.raises(Damaged, match=stored.sha256):
            await store.get(stored.sha256)
        with pytest.raises(Damaged, match="backup"):
            await store.put(b"changed", limit=LIMIT)
    finally:
        objects.delete_object(Bucket=bucket.name, Key=key(stored.sha256))


async def test_all_documents_are_named_and_nothing_else(store, objects, bucket):
    await store.free_bytes()  # it leaves a probe there
    before = await store.names()
    stored = [(await store.put(b"%d" % n, limit=LIMIT)).sha256 for n in range(20)]
    objects.put_object(Bucket=bucket.name, Key=f"zz/{stored[0]}", Body=b"in another place")

    assert await store.names() == sorted({*before, *stored})


async def test_the_rights_that_are_shipped_suffice_for_all_of_it(bucket, tmp_path):
    limited = replace(bucket, access_key=SHIPPED)
    store = S3Store(limited, tmp_path / "arriving", BESIDE)

    stored = await store.put(b"with few rights", limit=LIMIT)
    assert await store.get(stored.sha256) == b"with few rights"
    assert stored.sha256 in await store.names()
    assert not await store.mend(b"with few rights")
    with pytest.raises(Unavailable, match="refuses"):
        await S3Store(replace(limited, name="another"), tmp_path, BESIDE).names()


@pytest.mark.parametrize("there", ["nothing", "another", "the document"])
async def test_a_document_is_mended_whatever_is_in_its_place(store, objects, bucket, there):
    data = f"instead of {there}".encode()
    sha256 = hashlib.sha256(data).hexdigest()
    if there != "nothing":
        content = data if there == "the document" else b"forged"
        objects.put_object(Bucket=bucket.name, Key=key(sha256), Body=content)

    assert await store.mend(data) is (there != "the document")
    assert await store.get(sha256) == data


async def test_more_than_the_limit_leaves_nothing_behind(store, tmp_path):
    with pytest.raises(Refused, match="100 bytes"):
        await store.put(chunks(bytes(60), bytes(41)), limit=100)
    assert list((tmp_path / "arriving").iterdir()) == []


@pytest.mark.parametrize("name", ["", "../health", "0" * 63, "A" * 64, "0" * 64 + "\n"])
async def test_a_name_that_is_no_digest_is_refused(store, name):
    with pytest.raises(Refused, match="64 hex digits"):
        await store.get(name)


async def test_a_missing_document_is_refused_by_name(store):
    with pytest.raises(Refused, match="no document 00000000"):
        await store.get("0" * 64)


async def test_many_at_once_put_the_same_bytes(bucket, tmp_path):
    stores = [S3Store(bucket, tmp_path / "arriving", BESIDE) for _ in range(10)]
    data = os.urandom(100_000)

    stored = await asyncio.gather(*(each.put(data, limit=LIMIT) for each in stores))

    assert len(set(stored)) == 1
    assert await stores[0].get(stored[0].sha256) == data
    assert list((tmp_path / "arriving").iterdir()) == []


async def test_it_says_whether_it_can_be_written(store):
    assert await store.free_bytes() is None


@pytest.mark.parametrize("change", [{"secret_key": "wrong"}, {"access_key": "nobody"}])
async def test_a_server_that_refuses_is_named_and_may_be_asked_again(bucket, tmp_path, change):
    store = S3Store(replace(bucket, **change), tmp_path / "arriving", BESIDE)
    for ask in (store.put(b"x", limit=LIMIT), store.get("0" * 64), store.free_bytes()):
        with pytest.raises(Unavailable, match="refuses") as caught:
            await ask
        assert "wrong" not in str(caught.value)


async def test_without_its_bucket_nothing_is_taken(bucket, tmp_path):
    store = S3Store(replace(bucket, name="no-such-bucket"), tmp_path / "arriving", BESIDE)
    for ask in (store.put(b"x", limit=LIMIT), store.free_bytes()):
        with pytest.raises(Unavailable, match="no-such-bucket refuses"):
            await ask


async def test_a_server_that_is_away_may_be_asked_again(bucket, tmp_path):
    (port,) = free_ports(1)
    store = S3Store(replace(bucket, url=f"http://127.0.0.1:{port}"), tmp_path / "arriving", BESIDE)
    with pytest.raises(Unavailable, match="does not answer"):
        await store.put(b"x", limit=LIMIT)
    assert list((tmp_path / "arriving").iterdir()) == []


async def test_a_name_that_leads_to_this_machine_is_not_connected_to(bucket, tmp_path):
    """The name is harmless; what it leads to at the moment of connecting is not."""

    async def rebound(_host, _port):
        return ["127.0.0.1"]

    port = int(bucket.url.rpartition(":")[2])
    named = replace(bucket, url=f"http://s3.example:{port}")
    allowed = Outbound(frozenset({("s3.example", port)}), resolve=rebound)
    await S3Store(named, tmp_path / "there", allowed.addresses).put(b"signed", limit=LIMIT)

    store = S3Store(named, tmp_path / "arriving", Outbound(resolve=rebound).addresses)
    with pytest.raises(Unavailable, match="it is this machine itself"):
        await store.put(b"signed", limit=LIMIT)
