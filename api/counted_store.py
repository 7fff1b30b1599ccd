"""The document store as the API uses it: what it fails to do is counted."""

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

from prometheus_client import Counter

from cardflow.documents.store import Damaged, DocumentStore, Stored
from cardflow.errors import Unavailable

ERRORS = Counter(
    "cardflow_document_store_errors", "What the document store failed to do.", ["operation"]
)
for _operation in ("put", "get", "probe"):
    ERRORS.labels(_operation)


class CountedStore:
    """Any document store; a refusal is the caller's doing and no failure of the store."""

    def __init__(self, store: DocumentStore) -> None:
        self._store = store

    async def put(self, data: bytes | AsyncIterator[bytes], *, limit: int) -> Stored:
        """Have the bytes in the store for good."""
        with _counted("put"):
            return await self._store.put(data, limit=limit)  # no failpoint: counts

    async def get(self, sha256: str) -> bytes:
        """Return the bytes with this digest."""
        with _counted("get"):
            return await self._store.get(sha256)

    async def free_bytes(self) -> int | None:
        """Return the room that is left, if the store tells."""
        with _counted("probe"):
            return await self._store.free_bytes()


@contextmanager
def _counted(operation: str) -> Iterator[None]:
    try:
        yield
    except (Damaged, Unavailable, OSError):
        ERRORS.labels(operation).inc()
        raise
