"""A person as operators see them: their cards, updates, mails and workstations."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from sqlalchemy.ext.asyncio import AsyncSession

from api.agent_admin import show_agents
from api.auth import may
from api.authorize import Caller, Permission, grants
from api.cards import Wanted, show_cards
from api.paging import Paging
from api.people import show_mails_to, show_person
from api.routing import GuardedRoute, Reading
from api.shapes import Id
from api.state import AppSettings
from api.updates import show_updates
from api.web.render import page
from cardflow.settings import Settings

SOME = Paging(limit=20)

router = APIRouter(route_class=GuardedRoute, include_in_schema=False)

Reader = Annotated[Caller, Depends(may(Permission.SEE_PEOPLE))]


@router.get("/people/{person_id}", name="person_page")
async def person_page(
    request: Request, person_id: Id, caller: Reader, session: Reading, settings: AppSettings
) -> Response:
    """Return what is known of a person; nothing can be changed here."""
    seen = await about_person(session, caller, settings, person_id)
    return page(request, "operator/person.html", **seen)


async def about_person(
    session: AsyncSession, caller: Caller, settings: Settings, person_id: str
) -> dict[str, Any]:
    """Return what ``operator/holder.html`` shows of a person, as far as the caller may see it."""
    person = await show_person(person_id, caller, session)
    agents = None
    if grants(caller, Permission.SEE_AGENTS):
        agents = await show_agents(caller, session, settings, SOME, person.id)
    return {
        "person": person,
        "cards": await show_cards(caller, session, SOME, Wanted(holder=person.id)),
        "updates": await show_updates(
            caller=caller, session=session, paging=SOME, holder=person.id
        ),
        "mails": await show_mails_to(person.id, caller, session, SOME),
        "agents": agents,
    }
