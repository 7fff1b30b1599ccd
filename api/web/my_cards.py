"""My cards, and one card: what is on it, its documents, and what happened to it."""

from dataclasses import dataclass
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Request, Response
from sqlalchemy.ext.asyncio import AsyncSession

from api.auth import may
from api.authorize import Caller, Permission, grants
from api.cards import CardOut, Wanted, show_card, show_cards
from api.contents import ContentsOut, show_contents
from api.documents import DocumentOut, show_documents
from api.paging import Page, Paging
from api.problems import Problem
from api.routing import GuardedRoute, Reading
from api.shapes import Id
from api.state import Everything, State
from api.update_shapes import UpdateLine, UpdateOut
from api.updates import HappenedOut, show_timeline, show_update, show_updates
from api.visits import connection
from api.web.history import told
from api.web.live import version_of
from api.web.render import page

NEWEST = Paging(limit=1)
UPDATES_PER_PAGE = 5

router = APIRouter(route_class=GuardedRoute, include_in_schema=False)

Reader = Annotated[Caller, Depends(may(Permission.SEE_CARDS))]
Tab = Literal["contents", "documents", "history"]


@dataclass(frozen=True)
class Place:
    """Where a card is connected now, or why no visit can start."""

    host: str = ""
    reader: str = ""
    obstacle: str = ""


@dataclass(frozen=True)
class Shown:
    """A card as its holder sees it."""

    card: CardOut
    place: Place | None  # None: not for this reader
    newest: UpdateLine | None  # the newest update
    contents: ContentsOut | None
    hidden: str = ""  # why the contents are not shown, when they are not


@router.get("/cards", name="my_cards_page")
async def my_cards(
    request: Request,
    caller: Reader,
    session: Reading,
    state: Everything,
    paging: Annotated[Paging, Depends()],
) -> Response:
    """Return the person's own cards."""
    seen = await version_of(session, caller, "mine")
    cards = await show_cards(caller, session, paging, Wanted(holder=caller.id))
    shown = [await card_shown(card, caller, session) for card in cards.items]
    return page(
        request,
        "holder/cards.html",
        cards=shown,
        next=cards.next,
        seen=seen,
        titles=titles_of(state),
    )


@router.get("/cards/{card_id}", name="card_page")
async def card_page(
    *,
    request: Request,
    card_id: Id,
    caller: Reader,
    session: Reading,
    state: Everything,
    tab: Tab = "contents",
    cursor: str = "",
) -> Response:
    """Return a card with one of its tabs."""
    seen = await version_of(session, caller, f"card:{card_id}")
    shown = await card_shown(await show_card(card_id, caller, session), caller, session)
    line, update = shown.newest, None
    if line and (line.ended_at is None or tab == "contents"):
        update = await show_update(line.id, caller, session, state)
    past: Page[UpdateLine] = Page(items=[])
    if tab != "contents" and grants(caller, Permission.SEE_UPDATES):
        paging = Paging(cursor, UPDATES_PER_PAGE)
        past = await show_updates(caller=caller, session=session, paging=paging, card=card_id)
    return page(
        request,
        "holder/card.html",
        **shown.__dict__,
        seen=seen,
        tab=tab,
        update=update,
        titles=titles_of(state),
        past=[(line, await _of(tab, line, caller, session)) for line in past.items],
        next=past.next,
        told=told,
    )


def titles_of(state: State) -> dict[str, str]:
    """Return what people call each profile."""
    return {name: profile.title for name, profile in state.profiles.items()}


async def card_shown(card: CardOut, caller: Caller, session: AsyncSession) -> Shown:
    """Return the card with where it is and where its newest update stands."""
    contents, hidden, place = None, "", None
    try:
        if grants(caller, Permission.SEE_CONTENTS):
            place = await place_of(session, card.holder_id, card.token_serial)
            contents = await show_contents(card.id, caller, session)
    except Problem as problem:
        hidden = problem.detail
    newest = None
    if grants(caller, Permission.SEE_UPDATES):
        found = await show_updates(caller=caller, session=session, paging=NEWEST, card=card.id)
        newest = next(iter(found.items), None)
    return Shown(card, place, newest, contents, hidden)


async def place_of(session: AsyncSession, holder_id: str | None, token_serial: str) -> Place:
    """Return where the card is connected now."""
    if not holder_id:
        return Place(obstacle="the card is not assigned to anybody")
    here, obstacle = await connection(session, holder_id=holder_id, token_serial=token_serial)
    if here is None:
        return Place(obstacle=obstacle)
    return Place(here.agent.host, here.report.reader, obstacle)


async def _of(
    tab: Tab, line: UpdateLine | UpdateOut, caller: Caller, session: AsyncSession
) -> list[DocumentOut] | list[HappenedOut]:
    if tab == "documents" and grants(caller, Permission.SEE_DOCUMENTS):
        return (await show_documents(line.id, caller, session)).items
    if tab == "history":
        return (await show_timeline(line.id, caller, session)).items
    return []
