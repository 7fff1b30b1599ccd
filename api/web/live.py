"""Pages that wait look again by themselves: a stream tells them when there is something new.

Events carry no contents. A page that hears one fetches itself again, with its reader's own rights
and language. While anybody listens at all, a process asks its database twice a second what is new,
once for all of them (`api.pulse`); a page looks when that concerns it, and every four seconds.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from functools import partial
from hashlib import sha256
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query, Request
from fastapi.sse import EventSourceResponse, ServerSentEvent
from sqlalchemy.ext.asyncio import AsyncSession

from api.auth import identify_again, may
from api.authorize import Caller, Permission, Scope, authorize
from api.planning import registered_card
from api.problems import Problem, not_found
from api.pulse import OF_THE_TRAIL, PAUSE
from api.pulse import Listener as Page
from api.routing import GuardedRoute
from api.state import Everything, State
from api.update_views import visible_update
from cardflow.ca.embedded import requests
from cardflow.ca.embedded.listing import find_certificate
from cardflow.db import register_live as register
from cardflow.db.register_trail import list_checks
from cardflow.db.register_updates import find_update, registered_certificate
from cardflow.sql import transaction

CHECK_EVERY = 8  # pauses; whoever was signed out or disabled hears nothing more after 4 seconds
# Few people's, and what they show moves without an entry in the audit trail: they look each time.
RESTLESS = frozenset({"checks", "workstations"})
LONGEST_TOPIC = 160  # "request:" and the id of an update, a revision, a lane
LONGEST = 1_200  # pauses; the browser comes back by itself
RETRY_MILLISECONDS = 2_000

Version = Callable[[AsyncSession, Caller, str], Awaitable[object]]

router = APIRouter(route_class=GuardedRoute, include_in_schema=False)

Listener = Annotated[Caller, Depends(may(Permission.OWN_ACCOUNT))]


async def _everything(session: AsyncSession, _caller: Caller, _id: str) -> object:
    return await register.newest_entry(session)


async def _update(session: AsyncSession, caller: Caller, update_id: str) -> object:
    row = await visible_update(session, caller, update_id)
    here = await register.connected_serials(session, row.holder_id)
    documents = await register.documents_on(session, row.id)
    claims = await register.claims_on(session, row.id)
    return row.events, row.stage, str(row.ended_at), here, documents, claims


async def _work(session: AsyncSession, _caller: Caller, _id: str) -> object:
    return await register.newest_about_work(session)


async def _card(session: AsyncSession, caller: Caller, card_id: str) -> object:
    card = await registered_card(session, card_id)
    authorize(caller, Permission.SEE_CARDS, card)
    here = await register.connected_serials(session, card.holder_id or "")
    inventory = sha256(card.inventory.encode()).hexdigest()
    return (
        card.state,
        card.update_due,
        inventory,
        here,
        await register.open_update(session, card.id),
    )


async def _mine(session: AsyncSession, caller: Caller, _id: str) -> object:
    here = await register.connected_serials(session, caller.id)
    return here, await register.cards_and_updates(session, caller.id)


async def _agents(session: AsyncSession, caller: Caller, _id: str) -> object:
    return await register.agents_of(session, caller.id)


async def _requests(session: AsyncSession, caller: Caller, _id: str) -> object:
    authorize(caller, Permission.SEE_REQUESTS)
    return await requests.version(session)


async def _request(session: AsyncSession, caller: Caller, request_id: str) -> object:
    authorize(caller, Permission.SEE_REQUESTS)
    update_id = request_id.partition(":")[0]
    row = await find_update(session, update_id)
    documents = await register.documents_on(session, update_id) if row else ()
    return await requests.version_of(session, request_id), row and row.events, documents


async def _certificate(session: AsyncSession, caller: Caller, serial_number: str) -> object:
    authorize(caller, Permission.SEE_CERTIFICATES)
    found = await find_certificate(session, serial_number)
    registered = await registered_certificate(session, serial_number)
    return found and (str(found.revoked_at), found.on_crl), registered and registered.state


async def _checks(session: AsyncSession, caller: Caller, _id: str) -> object:
    authorize(caller, Permission.SEE_AUDIT)
    newest = await list_checks(session, before="", limit=1)
    return [(check.id, check.checked, str(check.finished_at)) for check in newest]


async def _workstations(session: AsyncSession, caller: Caller, _id: str) -> object:
    if authorize(caller, Permission.SEE_AGENTS).scope is Scope.OWN:
        return await register.agents_of(session, caller.id)
    return await register.newest_entry(session), await register.agents_heard_of(session)


TOPICS: dict[str, Version] = {
    "agents": _agents,
    "everything": _everything,
    "work": _work,
    "update": _update,
    "card": _card,
    "mine": _mine,
    "requests": _requests,
    "request": _request,
    "certificate": _certificate,
    "checks": _checks,
    "workstations": _workstations,
}


async def version_of(session: AsyncSession, caller: Caller, topic: str) -> str:
    """Return a word that changes when what ``topic`` ("update:ID", "mine" …) shows has changed."""
    name, _, thing = topic.partition(":")
    if name not in TOPICS:
        raise not_found("topic")
    found = await TOPICS[name](session, caller, thing)
    return sha256(repr(found).encode()).hexdigest()[:16]


@router.get("/events", response_class=EventSourceResponse, name="events")
async def tell(
    *,
    request: Request,
    caller: Listener,
    state: Everything,
    of: Annotated[str, Query(max_length=LONGEST_TOPIC)],
    seen: Annotated[str, Query(max_length=16)] = "",
    last_event_id: Annotated[str, Header(max_length=16)] = "",
) -> AsyncIterator[ServerSentEvent]:
    """Tell a page each time that what it shows has changed."""
    last = last_event_id or seen
    with state.pulse.listening(caller.id, of) as page:
        for pause in range(LONGEST):
            if state.ending.is_set():
                return  # the browser comes back by itself, to another process
            await state.pulse.look(state.reads)
            if pause % CHECK_EVERY == 0 and not await identify_again(request):
                return
            if pause % CHECK_EVERY == 0 or page.kind in RESTLESS or page.moved.is_set():
                page.moved.clear()  # before the look: what comes meanwhile is looked at again
                if (current := await _answer(state, caller, of)) is None:
                    return
                if current != last:
                    yield _changed(current)
                    last = current
            if pause % 30 == 0:
                yield ServerSentEvent(comment="here")
            await _news_or_a_pause(page)


def _changed(version: str) -> ServerSentEvent:
    return ServerSentEvent(event="changed", data={}, id=version, retry=RETRY_MILLISECONDS)


async def _news_or_a_pause(page: Page) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(PAUSE):
            await page.moved.wait()


async def _answer(state: State, caller: Caller, topic: str) -> str | None:
    """Return the topic's version; what is the same for every reader is looked for once."""
    look = partial(_look, state, caller, topic)
    return await (state.pulse.once(topic, look) if topic in OF_THE_TRAIL else look())


async def _look(state: State, caller: Caller, topic: str) -> str | None:
    try:
        async with transaction(state.reads) as session:
            return await version_of(session, caller, topic)
    except Problem:
        return None
