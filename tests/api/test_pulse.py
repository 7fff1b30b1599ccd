"""All live pages of a process ask the database together, and look when it concerns them."""

import asyncio
from contextlib import ExitStack, contextmanager
from datetime import timedelta

import pytest

from api import pulse
from api.pulse import MOST_ENTRIES, Pulse
from api.web import live
from cardflow.db import audit
from cardflow.db.tables import Agent, Card, Presence
from cardflow.decisions import utc_now
from cardflow.model import CardState, Stage, new_id
from cardflow.sql import transaction
from tests.api.test_live_ends import Stream
from tests.api.test_measuring import an_update, given


class Counted:
    """Sessions that know how often they were asked."""

    def __init__(self, sessions) -> None:
        self._sessions, self.times = sessions, 0

    def __call__(self):
        self.times += 1
        return self._sessions()


@pytest.fixture
def at_once(monkeypatch):
    """Let every look be one: no pause is waited for."""
    monkeypatch.setattr(pulse, "PAUSE", 0)


@contextmanager
def listening(shared: Pulse, shown: dict[str, tuple[str, ...]]):
    """Yield a page of each person's for each topic."""
    with ExitStack() as open_pages:
        yield [
            open_pages.enter_context(shared.listening(who, of))
            for who, topics in shown.items()
            for of in topics
        ]


async def on_the_trail(state, kind: str, **said) -> None:
    async with transaction(state.sessions) as session:
        await audit.append(session, audit.Entry(kind, utc_now(), **said))


async def an_open_update(state, holder: str) -> tuple[str, str]:
    card = Card(id=new_id(), token_serial=new_id(), state=CardState.PENDING, created_at=utc_now())
    update = an_update(card, Stage.PENDING, holder_id=holder)
    await given(state, card, update)
    return update.id, card.id


async def test_pages_ask_together(app):
    sessions, shared = Counted(app.state.cardflow.reads), Pulse()

    await asyncio.gather(*(shared.look(sessions) for _ in range(50)))

    assert sessions.times == 1


async def test_an_entry_of_an_update_concerns_who_shows_it_and_whose_it_is(app, at_once):
    state, shared = app.state.cardflow, Pulse()
    update, card = await an_open_update(state, "hilda")
    shown = {
        "hilda": ("mine", "agents"),
        "olga": (f"update:{update}", f"card:{card}", f"request:{update}:1:logon", "work"),
        "henry": ("mine", "update:other", "card:other", "request:other:1:logon", "requests"),
    }
    with listening(shared, shown) as pages:
        await news(shared, state, pages)
        await on_the_trail(state, "ready", update_id=update, event=1)
        moved = await news(shared, state, pages)

    assert moved == {(who, of) for who in ("hilda", "olga") for of in shown[who]}


async def test_a_sign_in_concerns_nobody_else_and_what_names_no_update_everybody(app, at_once):
    state, shared = app.state.cardflow, Pulse()
    shown = {"hilda": ("mine",), "olga": ("work", "card:some"), "ada": ("everything",)}
    with listening(shared, shown) as pages:
        await news(shared, state, pages)
        quiet = await news(shared, state, pages)
        await on_the_trail(state, "signed_in", actor="olga")
        signed_in = await news(shared, state, pages)
        await on_the_trail(state, "card_assigned", actor="ada")
        assigned = await news(shared, state, pages)

    assert quiet == set()
    assert signed_in == {("olga", "work"), ("olga", "card:some"), ("ada", "everything")}
    assert assigned == {(who, of) for who, topics in shown.items() for of in topics}


async def test_more_news_than_are_read_concerns_everybody(app, at_once, monkeypatch):
    state, shared = app.state.cardflow, Pulse()
    monkeypatch.setattr(pulse, "MOST_ENTRIES", 2)
    with listening(shared, {"hilda": ("mine",)}) as pages:
        await news(shared, state, pages)
        for event in (1, 2):
            await on_the_trail(state, "ready", update_id="another", event=event)
        moved = await news(shared, state, pages)

    assert moved == {("hilda", "mine")}
    assert MOST_ENTRIES > 100


async def test_a_card_at_ones_own_workstation_concerns_oneself(app, register, at_once):
    state, shared = app.state.cardflow, Pulse()
    hilda, now = await register("hilda"), utc_now()
    agent = Agent(
        id=new_id(),
        person_id=hilda.id,
        public_key="ab",
        words="six",
        state="confirmed",
        enrolled_at=now,
        seen_at=now - timedelta(seconds=1),
    )
    with listening(shared, {hilda.id: ("mine",), "olga": ("work",)}) as pages:
        await news(shared, state, pages)
        await given(state, agent)
        came = await news(shared, state, pages)
        await given(
            state, Presence(agent_id=agent.id, token_serial="4711", report="{}", seen_at=now)
        )
        card = await news(shared, state, pages)
        nothing = await news(shared, state, pages)

    assert (came, card, nothing) == ({(hilda.id, "mine")}, {(hilda.id, "mine")}, set())


async def test_what_is_the_same_for_all_is_looked_for_once_until_there_is_news(app, at_once):
    state, shared, looks = app.state.cardflow, Pulse(), []

    async def look() -> str:
        looks.append(None)
        return str(len(looks))

    await shared.look(state.reads)
    before = [await shared.once("work", look) for _ in range(3)]
    await on_the_trail(state, "ready", update_id="some", event=1)
    await shared.look(state.reads)
    after = [await shared.once("work", look) for _ in range(3)]

    assert (before, after) == (["1"] * 3, ["2"] * 3)


async def test_an_answer_that_was_overtaken_by_news_is_not_kept(app, at_once):
    state, shared = app.state.cardflow, Pulse()

    async def overtaken() -> str:
        await on_the_trail(state, "ready", update_id="some", event=1)
        await shared.look(state.reads)
        return "old"

    async def look() -> str:
        return "new"

    await shared.look(state.reads)
    await shared.once("work", overtaken)

    assert await shared.once("work", look) == "new"


async def test_a_look_that_was_broken_off_loses_no_news(app, at_once, monkeypatch):
    state, shared = app.state.cardflow, Pulse()
    with listening(shared, {"hilda": ("work",)}) as pages:
        await news(shared, state, pages)
        await on_the_trail(state, "ready", update_id="some", event=1)
        with monkeypatch.context() as broken:
            broken.setattr(pulse.register, "concerned", lambda *_: asyncio.sleep(60))
            leaves = asyncio.create_task(shared.look(state.reads))
            await asyncio.wait([leaves], timeout=0.2)
            leaves.cancel()
            await asyncio.wait([leaves])
        moved = await news(shared, state, pages)

    assert moved == {("hilda", "work")}


async def test_an_open_stream_hears_of_an_entry_without_looking_by_itself(
    sign_in, app, monkeypatch
):
    monkeypatch.setattr(live, "CHECK_EVERY", 1_000)  # beside the first time
    holly = await sign_in("holly")
    stream = Stream(app, holly.headers["Authorization"].removeprefix("Bearer "), "everything")
    await stream.heard("event: changed")

    await on_the_trail(app.state.cardflow, "ready", update_id="some", event=1)

    await stream.heard("event: changed", times=2)
    await stream.leave()


async def news(shared, state, pages) -> set[tuple[str, str]]:
    """Look, and return who was told, of which page."""
    await shared.look(state.reads)
    moved = {(page.person_id, page.topic) for page in pages if page.moved.is_set()}
    for page in pages:
        page.moved.clear()
    return moved
