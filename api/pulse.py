"""What has changed, asked once for all live pages of a process: only those it concerns look.

The audit trail says it: whatever changes what people see is an entry. Beside it are asked the CA's
own tables, while somebody looks at requests, and whether workstations of those who listen came,
went, or see another card. What is in none of these, pages find when they look by themselves.
"""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from sqlalchemy.ext.asyncio import AsyncSession

from cardflow.ca.embedded import requests
from cardflow.db import register_live as register
from cardflow.sql import Sessions, looking

PAUSE = 0.5  # seconds between two looks, and the longest that a page waits for one
FORGOTTEN = 30.0  # seconds without a look; then nobody knows any more what was seen before
MOST_ENTRIES = 500
OF_THE_CA = frozenset({"requests", "request", "certificate"})
OF_THE_TRAIL = frozenset({"everything", "work"})  # the same for every reader


@dataclass(frozen=True)
class News:
    """Whom and what the changes since the last look concern."""

    people: frozenset[str] = frozenset()
    updates: frozenset[str] = frozenset()
    cards: frozenset[str] = frozenset()
    trail: bool = False  # any entry at all
    rest: bool = False  # an entry that names no update: it may concern anybody
    ca: bool = False


@dataclass(eq=False)
class Listener:
    """One live page: whose it is, what it shows, and whether that may have changed."""

    person_id: str
    topic: str
    moved: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def kind(self) -> str:
        """What sort of page it is."""
        return self.topic.partition(":")[0]

    def is_concerned(self, news: News) -> bool:
        """Tell whether what the page shows may have changed."""
        if news.rest or self.person_id in news.people:
            return True
        thing = self.topic.partition(":")[2].partition(":")[0]
        match self.kind:
            case "update":
                return thing in news.updates
            case "request":
                return news.ca or thing in news.updates
            case "card":
                return thing in news.cards
            case "mine" | "agents":
                return False  # only by who it is
            case "requests":
                return news.ca
            case "everything":
                return news.trail
        return news.ca or bool(news.updates)


@dataclass(frozen=True)
class Seen:
    """What the last look saw."""

    newest: int = 0
    ca: object = None
    workstations: Mapping[str, frozenset[str]] = field(default_factory=dict)


class Pulse:
    """The shared look of a process, taken by whichever page asks first after a pause."""

    def __init__(self) -> None:
        self._listeners: set[Listener] = set()
        self._looking, self._answering = asyncio.Lock(), asyncio.Lock()
        self._looked_at = -math.inf
        self._seen = Seen()
        self._answers: dict[str, str] = {}

    @contextmanager
    def listening(self, person_id: str, topic: str) -> Iterator[Listener]:
        """Yield a listener, which is told of news until it leaves."""
        listener = Listener(person_id, topic)
        self._listeners.add(listener)
        try:
            yield listener
        finally:
            self._listeners.discard(listener)

    async def look(self, sessions: Sessions) -> None:
        """Have everybody told of what is new, unless somebody looked a moment ago."""
        async with self._looking:
            since = time.monotonic() - self._looked_at
            if since < PAUSE:
                return
            listeners = set(self._listeners)
            async with looking(sessions) as session:
                now, entries = await self._see(session, listeners, anew=since > FORGOTTEN)
                news = await self._news(session, now, entries, anew=since > FORGOTTEN)
            # From here on nothing is waited for: whoever looks may be gone at any moment.
            self._looked_at, self._seen = time.monotonic(), now
            if news.trail or news.rest:
                self._answers = {}
            for listener in listeners:
                if listener.is_concerned(news):
                    listener.moved.set()

    async def once(self, topic: str, look: Callable[[], Awaitable[str | None]]) -> str | None:
        """Return what somebody found since the last entry of the trail, or look."""
        async with self._answering:
            answers = self._answers  # another one, once there is news
            if topic not in answers and (found := await look()) is not None:
                answers[topic] = found
            return answers.get(topic)

    async def _see(
        self, session: AsyncSession, listeners: Collection[Listener], *, anew: bool
    ) -> tuple[Seen, list[register.Told]]:
        ca = self._seen.ca
        if any(one.kind in OF_THE_CA for one in listeners):
            ca = await requests.version(session)
        people = {one.person_id for one in listeners}
        found = await register.workstations_of(session, people)
        workstations = {person: found.get(person, frozenset()) for person in people}
        if anew:
            return Seen(await register.newest_entry(session), ca, workstations), []
        entries = await register.entries_after(session, self._seen.newest, limit=MOST_ENTRIES)
        newest = entries[-1].number if entries else self._seen.newest
        return Seen(newest, ca, workstations), entries

    async def _news(
        self, session: AsyncSession, now: Seen, entries: Collection[register.Told], *, anew: bool
    ) -> News:
        """Return what is new; of an entry that names no update nobody knows whom it concerns."""
        updates = frozenset(entry.update_id for entry in entries if entry.update_id)
        concerned = await register.concerned(session, updates)
        moved = {
            person
            for person, seen in now.workstations.items()
            if self._seen.workstations.get(person) != seen
        }
        return News(
            people=frozenset(
                moved | {one.holder_id for one in concerned} | {one.actor for one in entries}
            ),
            updates=updates,
            cards=frozenset(one.card_id for one in concerned),
            trail=bool(entries),
            rest=anew
            or len(entries) == MOST_ENTRIES
            or any(not entry.update_id and not entry.is_of_a_sign_in for entry in entries),
            ca=now.ca != self._seen.ca,
        )
