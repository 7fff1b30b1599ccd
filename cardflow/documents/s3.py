"""The document store in a bucket of an S3 server: nothing is ever replaced there.

Conditional writes (``If-None-Match: *``) keep the first copy; a server without them may be sent the
same bytes twice, which changes nothing, because a document's name is its digest.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
from botocore.awsrequest import (
    AWSHTTPConnection,
    AWSHTTPConnectionPool,
    AWSHTTPSConnection,
    AWSHTTPSConnectionPool,
)
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from urllib3.exceptions import NewConnectionError

from cardflow.documents.store import (
    Arriving,
    Damaged,
    Stored,
    checked_digest,
    damaged,
    fill,
    is_digest,
    room_wanted,
)
from cardflow.errors import Refused, Unavailable

CONFIG = Config(
    connect_timeout=5,
    read_timeout=30,
    retries={"mode": "standard", "total_max_attempts": 3},
    s3={"addressing_style": "path"},
    proxies={},
)
MISSING = ("NoSuchKey", "404")
KEPT_BEFORE = ("PreconditionFailed", "412")
TWO_AT_ONCE = ("ConditionalRequestConflict", "409")  # the other one may still fail: send again
PROBE = "health"
# Of a host and a port: those that may be connected to.
Addresses = Callable[[str, int], Coroutine[Any, Any, list[str]]]


@dataclass(frozen=True)
class Bucket:
    """Where the bucket is and who we are there; an empty URL is Amazon's own."""

    name: str
    url: str
    region: str
    access_key: str
    secret_key: str = field(repr=False)


class S3Store:
    """A document store in a bucket; any number of processes may use it at once."""

    def __init__(self, bucket: Bucket, arriving: Path, addresses: Addresses) -> None:
        self._bucket = bucket.name
        self._arriving = arriving
        self._client: Any = boto3.session.Session(
            aws_access_key_id=bucket.access_key,
            aws_secret_access_key=bucket.secret_key,
            region_name=bucket.region,
        ).client("s3", endpoint_url=bucket.url or None, config=CONFIG)
        _look_at_addresses(self._client, addresses)

    async def put(self, data: bytes | AsyncIterator[bytes], *, limit: int) -> Stored:
        """Have the bytes in the bucket for good; more than ``limit`` are refused as they come."""
        with room_wanted():
            arriving = await asyncio.to_thread(Arriving, self._arriving, limit)
            try:
                await fill(arriving, data)
                return await asyncio.shield(asyncio.to_thread(self._keep, arriving))
            finally:
                await asyncio.shield(asyncio.to_thread(arriving.discard))

    async def get(self, sha256: str) -> bytes:
        """Return the bytes with this digest; anything else in their place is ``Damaged``."""
        return await asyncio.to_thread(self._read, checked_digest(sha256))

    async def free_bytes(self) -> None:
        """The bucket can be written; how much room it has nobody says."""
        await asyncio.to_thread(self._probe)

    async def names(self) -> list[str]:
        """Return the digest of every document, in order; our key there needs the right to list."""
        return await asyncio.to_thread(self._names)

    async def mend(self, data: bytes) -> bool:
        """Have the bytes whole, whatever is in their place; tell whether they were not before."""
        return await asyncio.to_thread(self._mend, data)

    def _keep(self, arriving: Arriving) -> Stored:
        stored = arriving.finish()
        content = arriving.path.read_bytes()
        with self._answers():
            while not self._put_new(_key(stored.sha256), content):
                pass
        return stored

    def _put_new(self, key: str, content: bytes) -> bool:
        """Tell whether a whole copy is under the key now."""
        try:
            self._client.put_object(
                Bucket=self._bucket,
                Key=key,
                Body=content,
                IfNoneMatch="*",
                ChecksumAlgorithm="SHA256",
                ContentType="application/octet-stream",
            )
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code in TWO_AT_ONCE:
                return False
            if code not in KEPT_BEFORE:
                raise
            self._read(key.rpartition("/")[2])  # an earlier copy counts only if it is whole
        return True

    def _read(self, sha256: str) -> bytes:
        try:
            with self._answers():
                answer = self._client.get_object(Bucket=self._bucket, Key=_key(sha256))
                data: bytes = answer["Body"].read()
        except _MissingError:
            raise Refused(f"no document {sha256} is in the store") from None
        if hashlib.sha256(data).hexdigest() != sha256:
            raise damaged(sha256)
        return data

    def _names(self) -> list[str]:
        with self._answers():
            pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket)
            keys = [found["Key"] for page in pages for found in page.get("Contents", ())]
        named = ((key, key.rpartition("/")[2]) for key in keys)
        return sorted(name for key, name in named if is_digest(name) and key == _key(name))

    def _mend(self, data: bytes) -> bool:
        sha256 = hashlib.sha256(data).hexdigest()
        try:
            self._read(sha256)
        except (Damaged, Refused):
            with self._answers():
                self._client.put_object(
                    Bucket=self._bucket,
                    Key=_key(sha256),
                    Body=data,
                    ChecksumAlgorithm="SHA256",
                    ContentType="application/octet-stream",
                )
            return True
        return False

    def _probe(self) -> None:
        with self._answers():
            self._client.put_object(Bucket=self._bucket, Key=PROBE, Body=b"cardflow")

    @contextmanager
    def _answers(self) -> Iterator[None]:
        """Name what the server said; everything but a missing key may pass."""
        try:
            yield
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code in MISSING:
                raise _MissingError from None
            msg = f"the bucket {self._bucket} refuses ({code}); look at its rights and its region"
            raise Unavailable(msg) from error
        except BotoCoreError as error:
            if isinstance(barred := error.kwargs.get("error"), Refused):
                raise Unavailable(f"the document store: {barred}") from error
            msg = f"the document store does not answer as one ({type(error).__name__})"
            raise Unavailable(msg) from error


class _MissingError(Exception):
    """Nothing is under the key."""


def _look_at_addresses(client: Any, addresses: Addresses) -> None:
    """Have the client connect to nothing but addresses that were looked at.

    botocore 1.x lets nobody hand in a session or a resolver; its pools are as it makes them.
    """

    class Looking:
        host: str
        port: int

        def _new_conn(self) -> Any:
            name, failed = self.host, None
            try:
                # The pool's threads run no loop of their own.
                for address in asyncio.run(addresses(name, self.port)):
                    self.host = address
                    try:
                        return super()._new_conn()  # type: ignore[misc]
                    except NewConnectionError as error:
                        failed = error
            finally:
                self.host = name  # the certificate is checked for the name, not the address
            raise failed or OSError(f"{name} has no address")

    class Plain(Looking, AWSHTTPConnection):  # type: ignore[misc]
        pass

    class Secure(Looking, AWSHTTPSConnection):  # type: ignore[misc]
        pass

    class PlainPool(AWSHTTPConnectionPool):  # type: ignore[misc]
        ConnectionCls = Plain

    class SecurePool(AWSHTTPSConnectionPool):  # type: ignore[misc]
        ConnectionCls = Secure

    pools = {"http": PlainPool, "https": SecurePool}
    client._endpoint.http_session._manager.pool_classes_by_scheme = pools


def _key(sha256: str) -> str:
    return f"{sha256[:2]}/{sha256}"
