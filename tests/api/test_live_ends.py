"""An open event stream hears nothing more once its person is disabled or its sign-in has ended."""

import asyncio
from urllib.parse import urlencode

import pytest
from sqlalchemy import delete, update

from api.pulse import PAUSE
from api.web.live import CHECK_EVERY
from cardflow.db.tables import ApiToken, Person, Session
from cardflow.decisions import utc_now
from cardflow.sql import transaction
from tests.waiting import until

PATIENCE = 20  # seconds; a loaded machine is no failure


class Stream:
    """An open stream of events, as the server sends it: no client in between buffers it."""

    def __init__(self, app, token: str, topic: str) -> None:
        self._heard = ""
        self._left = asyncio.Event()
        headers = [(b"authorization", f"Bearer {token}".encode()), (b"host", b"localhost")]
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "GET",
            "scheme": "http",
            "path": "/events",
            "raw_path": b"/events",
            "query_string": urlencode({"of": topic}).encode(),
            "headers": headers,
            "server": ("localhost", 8000),
            "client": ("127.0.0.1", 1),
        }
        self._asked = False
        self._running = asyncio.create_task(app(scope, self._receive, self._send))

    async def heard(self, what: str = "", *, times: int = 1) -> None:
        """Return once it has come, or once anything has."""
        await until(lambda: bool(self._heard) and self._heard.count(what) >= times, what="an event")

    async def ended(self) -> None:
        """Return once the server has ended the stream."""
        await asyncio.wait_for(asyncio.shield(self._running), PATIENCE)

    @property
    def is_open(self) -> bool:
        """Whether the server still serves it."""
        return not self._running.done()

    async def leave(self) -> None:
        """Close the browser's end."""
        self._left.set()
        await self.ended()

    async def _receive(self) -> dict:
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: dict) -> None:
        if message["type"] == "http.response.body" and message.get("body"):
            self._heard += message["body"].decode()


def test_streams_look_often_enough_to_end_within_five_seconds():
    assert PAUSE * CHECK_EVERY < 5


@pytest.mark.parametrize("topic", ["mine"])
async def test_streams_end_when_their_sign_in_does(sign_in, app, topic):
    people = [await sign_in(name) for name in ("disabled", "ended", "idle", "token", "stays")]
    made = await people[3].post("/api/v1/tokens", json={"name": "a", "roles": ["holder"]})
    tokens = [p.headers["Authorization"].removeprefix("Bearer ") for p in people]
    tokens[3] = made.json()["token"]
    streams = [Stream(app, token, topic) for token in tokens]
    for stream in streams:
        await stream.heard()

    ids = [person.headers["X-Person"] for person in people]
    async with transaction(app.state.cardflow.sessions) as session:
        await session.execute(update(Person).where(Person.id == ids[0]).values(active=False))
        await session.execute(delete(Session).where(Session.person_id == ids[1]))
        over = update(Session).where(Session.person_id == ids[2])
        await session.execute(over.values(expires_at=utc_now()))
        revoked = update(ApiToken).where(ApiToken.person_id == ids[3])
        await session.execute(revoked.values(revoked_at=utc_now()))

    await asyncio.gather(*(stream.ended() for stream in streams[:4]))
    assert streams[4].is_open
    await streams[4].leave()


async def test_streams_end_when_their_process_is_told_to(sign_in, app):
    holly = await sign_in("holly")
    stream = Stream(app, holly.headers["Authorization"].removeprefix("Bearer "), "mine")
    await stream.heard()

    app.state.cardflow.ending.set()

    await stream.ended()
