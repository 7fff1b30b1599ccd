"""Idempotency-Key: the same key and the same request get the same answer, once made.

Answers are kept sealed: they may hold a token that is shown only once, or personal data.
"""

import hashlib
import json
import uuid
from collections.abc import Callable, Coroutine
from typing import Annotated, Any

from fastapi import Depends, Header, Request, Response
from sqlalchemy.ext.asyncio import AsyncSession

from api.authorize import Caller
from api.problems import invalid
from api.state import State
from cardflow.db.reencryption import bound_of
from cardflow.db.tables import IdempotentAnswer
from cardflow.decisions import utc_now
from cardflow.failpoints import effect
from cardflow.model import new_id
from cardflow.sealed import seal, unseal
from cardflow.sql import alone_with, transaction

HEADER = "Idempotency-Key"
LONGEST = 100
NAMESPACE = uuid.UUID("6d1f1ad6-6a4c-5d0e-9f0e-0f2c1f6f3f5b")

Key = Annotated[
    str | None,
    Header(
        alias=HEADER,
        min_length=1,
        max_length=LONGEST,
        pattern="^[ -~]+$",
        description="The same key and the same request are answered the same, and done once.",
    ),
]


async def declare_key(key: Key = None) -> str | None:
    """Return the key; as a dependency it puts the header into the API's description."""
    return key


GivenKey = Annotated[str | None, Depends(declare_key)]


def given_key(request: Request) -> str | None:
    """Return the request's key, or raise Problem 422."""
    key = request.headers.get(HEADER)
    if key is None:
        return None
    if not 1 <= len(key) <= LONGEST or not key.isascii() or not key.isprintable():
        raise invalid(HEADER, f"1 to {LONGEST} printable ASCII characters")
    return key


def id_for(caller: Caller, key: str | None) -> str:
    """Return the id of what a request makes: with a key, always the same one."""
    return str(uuid.uuid5(NAMESPACE, f"{caller.id}\n{key}")) if key else new_id()


class Attempt:
    """One try at a request that may have been answered before."""

    def __init__(self, state: State, caller: Caller, key: str) -> None:
        self._state, self._caller, self._key = state, caller, key

    async def answer(
        self, request: Request, take: Callable[[Request], Coroutine[Any, Any, Response]]
    ) -> Response:
        """Return the earlier answer, or a new one that is kept together with its effect."""
        digest = await _digest(request)
        with effect("api.idempotent"):
            async with transaction(self._state.sessions) as session:
                # A repeat that overtakes the first, at another process say, waits for its answer.
                await alone_with(session, f"{self._caller.id}\n{self._key}")
                if earlier := await self._earlier(session, digest):
                    return earlier
                request.state.transaction = session
                response = await take(request)
                session.add(self._row(digest, response))
        return response

    async def _earlier(self, session: AsyncSession, digest: str) -> Response | None:
        row = await session.get(IdempotentAnswer, (self._caller.id, self._key))
        if row is None:
            return None
        if row.request_sha256 != digest:
            raise invalid(HEADER, "this key was used for another request", "use a new key")
        body = unseal(self._state.keys.sealing, row.body, bound_of(row))
        return Response(body, row.status, media_type="application/json")

    def _row(self, digest: str, response: Response) -> IdempotentAnswer:
        row = IdempotentAnswer(
            person_id=self._caller.id,
            key=self._key,
            request_sha256=digest,
            status=response.status_code,
            body="",
            recorded_at=utc_now(),
        )
        row.body = seal(self._state.keys.sealing, bytes(response.body), bound_of(row))
        return row


async def _digest(request: Request) -> str:
    parts = [request.method, str(request.url.path), str(request.url.query)]
    parts.append(request.headers.get("content-type", ""))
    head = json.dumps(parts).encode()
    return hashlib.sha256(head + b"\n" + await request.body()).hexdigest()
