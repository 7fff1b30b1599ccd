"""People and cards from a file: looked at line by line first, then taken in.

The file stays on the server between the two, so nothing is lost without JavaScript either.
"""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, File, Query, Request, Response, UploadFile
from sqlalchemy.ext.asyncio import AsyncSession

from api import cards, people
from api.auth import Proof, may
from api.authorize import Caller, Permission
from api.csv_import import IMPORT_LIMIT, Import, ImportOut
from api.problems import Problem, invalid, refused
from api.routing import Reading
from api.shapes import Id, In
from api.state import Everything, State
from api.web import drafts
from api.web.progress import carried_out
from api.web.render import go, page
from api.web.step_up import PageRoute
from api.web.tongue import N_
from cardflow.sql import transaction

SHOWN = 100

router = APIRouter(prefix="/import", route_class=PageRoute, include_in_schema=False)

PeopleAdmin = Annotated[Caller, Depends(may(Permission.MANAGE_PEOPLE))]
CardsAdmin = Annotated[Caller, Depends(may(Permission.MANAGE_CARDS))]
Part = Annotated[int, Query(ge=0, le=20_000)]
Sort = Annotated[str, Query(max_length=10)]
Upload = Annotated[UploadFile | None, File()]


@dataclass(frozen=True)
class Register:
    """What a file can be imported into."""

    kind: str
    shape: type[In]
    read: Callable[[bytes, Caller, bool], Import[Any]]
    remember: Callable[[AsyncSession, Caller, bytes, ImportOut], Awaitable[None]]


PEOPLE = Register(
    "people",
    people.PersonIn,
    lambda content, caller, dry_run: people.people_in(content, caller, dry_run=dry_run),
    people.remember_import,
)
CARDS = Register(
    "cards",
    cards.CardLine,
    lambda content, _caller, dry_run: cards.cards_in(content, dry_run=dry_run),
    cards.remember_import,
)


@router.get("/people", name="import_people_page")
async def people_start(request: Request, _caller: PeopleAdmin) -> Response:
    """Ask for a file of people."""
    return _start(request, PEOPLE)


@router.post("/people", name="import_people_form")
async def people_file(
    request: Request, caller: PeopleAdmin, state: Everything, file: Upload = None
) -> Response:
    """Keep a file of people and show what it would do."""
    return await _kept(request, PEOPLE, caller, state, file)


@router.get("/people/{draft_id}", name="people_file_page")
async def people_seen(
    *, request: Request, draft_id: Id, caller: PeopleAdmin, session: Reading,
    what: Sort = "", start: Part = 0,
) -> Response:  # fmt: skip
    """Show what a file of people would do, or did."""
    return await _seen(request, PEOPLE, caller, session, draft_id, what=what, start=start)


@router.post(
    "/people/{draft_id}",
    name="take_people_form",
    dependencies=[Depends(may(Permission.MANAGE_PEOPLE, Proof.FRESH))],
)
async def people_taken(
    request: Request, draft_id: Id, caller: PeopleAdmin, state: Everything
) -> Response:
    """Take a file of people in."""
    return await _taken(request, PEOPLE, caller, state, draft_id)


@router.get("/cards", name="import_cards_page")
async def cards_start(request: Request, _caller: CardsAdmin) -> Response:
    """Ask for a file of cards."""
    return _start(request, CARDS)


@router.post("/cards", name="import_cards_form")
async def cards_file(
    request: Request, caller: CardsAdmin, state: Everything, file: Upload = None
) -> Response:
    """Keep a file of cards and show what it would do."""
    return await _kept(request, CARDS, caller, state, file)


@router.get("/cards/{draft_id}", name="cards_file_page")
async def cards_seen(
    *, request: Request, draft_id: Id, caller: CardsAdmin, session: Reading,
    what: Sort = "", start: Part = 0,
) -> Response:  # fmt: skip
    """Show what a file of cards would do, or did."""
    return await _seen(request, CARDS, caller, session, draft_id, what=what, start=start)


@router.post(
    "/cards/{draft_id}",
    name="take_cards_form",
    dependencies=[Depends(may(Permission.MANAGE_CARDS, Proof.FRESH))],
)
async def cards_taken(
    request: Request, draft_id: Id, caller: CardsAdmin, state: Everything
) -> Response:
    """Take a file of cards in."""
    return await _taken(request, CARDS, caller, state, draft_id)


def _start(request: Request, register: Register, problem: Problem | None = None) -> Response:
    fields = register.shape.model_fields
    columns = [(name, info.is_required()) for name, info in fields.items()]
    return page(request, "people/import.html", kind=register.kind, columns=columns, problem=problem)


async def _kept(
    request: Request, register: Register, caller: Caller, state: State, file: UploadFile | None
) -> Response:
    try:
        content = await _content(file)
        async with transaction(state.reads) as session:
            done = await register.read(content, caller, True).run(session)
        async with transaction(state.sessions) as session:
            row = await drafts.keep(session, caller, register.kind, content)
            row.result = done.model_dump_json()
    except Problem as problem:
        return _start(request, register, problem)
    return go(request, f"/import/{register.kind}/{row.id}")


async def _seen(
    request: Request, register: Register, caller: Caller, session: AsyncSession, draft_id: str,
    *, what: str, start: int,
) -> Response:  # fmt: skip
    row = await drafts.draft_of(session, caller, register.kind, draft_id)
    told = ImportOut.model_validate(drafts.result_of(row))
    lines = [line for line in told.lines if what in ("", line.what)]
    return page(
        request,
        "people/imported.html" if row.done_at else "people/preview.html",
        draft=row,
        kind=register.kind,
        told=told,
        lines=lines[start : start + SHOWN],
        following=start + SHOWN if len(lines) > start + SHOWN else None,
        what=what,
    )


async def _taken(
    request: Request, register: Register, caller: Caller, state: State, draft_id: str
) -> Response:
    async with transaction(state.reads) as session:
        row = await drafts.draft_of(session, caller, register.kind, draft_id)
        if row.done_at:
            raise refused([drafts.DONE])
    steps = _steps(register, caller, state, draft_id)
    return await carried_out(
        request, steps, f"/import/{register.kind}/{draft_id}", N_("The import is done.")
    )


async def _steps(
    register: Register, caller: Caller, state: State, draft_id: str
) -> AsyncIterator[tuple[int, int]]:
    async with transaction(state.sessions) as session:
        row = await drafts.draft_of(session, caller, register.kind, draft_id, alone=True)
        content = row.content
        work = register.read(content, caller, False)
        async for done, of in work.steps(session):
            yield done, of
        await register.remember(session, caller, content, work.done)
        drafts.finish(row, json.loads(work.done.model_dump_json()))


async def _content(file: UploadFile | None) -> bytes:
    if file is None or not file.filename:
        raise invalid("file", "no file was chosen", "choose a CSV file")
    content = await file.read(IMPORT_LIMIT + 1)
    if len(content) > IMPORT_LIMIT:
        raise invalid("file", "the file is larger than 5 MB", "send it in parts")
    return content
