"""Whatever comes over the wire gets a named answer, and those who come after it get theirs."""

import asyncio
import gc
import re
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from fastapi import FastAPI

from api.auth import SESSION_PREFIX, new_token, token_digest
from cardflow.db.register_identity import open_session
from cardflow.db.tables import Person
from cardflow.decisions import utc_now
from cardflow.model import Role, new_id
from cardflow.settings import Settings
from cardflow.sql import transaction
from tests.api.conftest import NOBODY
from tests.api.corpus import FRAMING, REQUESTS, UPLOADS, Request, get, post
from tests.api.door.conftest import serving
from tests.databases import Databases

# Starlette leaves a file of a form that breaks off to the collector of garbage, who closes it.
pytestmark = pytest.mark.filterwarnings(
    "ignore:(?s).*SpooledTemporaryFile:pytest.PytestUnraisableExceptionWarning"
)
PATIENCE = 20  # seconds, on a busy machine
QUICK = Request("who am I", get(b"/api/v1/me"), (200,), "")


@dataclass(frozen=True)
class Served:
    """The people's door on loopback, and an administrator's token."""

    address: str
    token: bytes

    async def connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        host, port = self.address.removeprefix("http://").split(":")
        return await asyncio.open_connection(host, int(port))

    async def say(self, request: Request) -> list[bytes]:
        """Return every answer to what is sent, until the connection is closed."""
        reader, writer = await self.connected()
        writer.write(request.make().replace(b"%TOKEN%", self.token))
        if request.statuses == (0,):
            writer.write_eof()
        said = b""
        # What was not read to the end is answered too, before the connection is reset.
        with suppress(ConnectionResetError):
            async with asyncio.timeout(PATIENCE):
                while more := await reader.read(65_536):
                    said += more
        writer.close()
        return re.split(rb"(?=HTTP/1\.1 \d{3} )", said)[1:]


@pytest.fixture(scope="module")
async def served(
    shared_door: tuple[FastAPI, list[Settings]],
    fresh_installation: Path,
    databases: Databases,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Served]:
    directory = tmp_path_factory.mktemp("served") / "state"
    databases.copy_installation(fresh_installation, directory)
    app, given = shared_door
    given[:] = [Settings(state_dir=directory, temporal_address=NOBODY)]
    async with serving(app) as address:
        yield Served(address, await _an_administrator(app))


async def _an_administrator(app: FastAPI) -> bytes:
    person = Person(id=new_id(), login="ada", name="Ada", email="", roles=[Role.ADMIN, Role.HOLDER],
                    password_hash="", created_at=utc_now())  # fmt: skip
    token, now = new_token(SESSION_PREFIX), utc_now()
    async with transaction(app.state.cardflow.sessions) as session:
        session.add(person)
        await session.flush()
        await open_session(
            session, person.id, token_digest(token), now=now, until=now + timedelta(hours=1)
        )
    return token.encode()


@pytest.mark.parametrize("request_", [pytest.param(r, id=r.name) for r in REQUESTS])
async def test_a_request_gets_one_named_answer(served: Served, request_: Request) -> None:
    answers = [each for each in await served.say(request_) if b" 100 " not in each[:15]]

    statuses = [int(each[9:12]) for each in answers] or [0]
    assert len(statuses) == 1 or request_ not in FRAMING
    assert set(statuses) <= set(request_.statuses), answers
    if request_ in UPLOADS:
        await asyncio.sleep(0)
        gc.collect()  # here, where the warning is expected


def test_the_corpus_is_large_and_each_request_has_its_source() -> None:
    assert len({request.name for request in REQUESTS}) == len(REQUESTS) >= 130
    assert all(request.source for request in REQUESTS)


async def test_who_sends_slowly_holds_up_nobody_else(served: Served) -> None:
    waiting = [await served.connected() for _ in range(20)]
    head = post(b" " * 60_000)().replace(b"%TOKEN%", served.token)
    for _, writer in waiting:
        writer.write(head[:-59_000])  # and then nothing for a while

    answers = [await served.say(QUICK) for _ in range(5)]

    assert [answer[0][9:12] for answer in answers] == [b"200"] * 5
    for reader, writer in waiting:
        writer.write(head[-59_000:])
        assert (await reader.read(12)).endswith(b"422")
        writer.close()
