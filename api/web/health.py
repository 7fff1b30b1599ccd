"""How the installation does, and the way from an empty one to a working one."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from api.auth import may
from api.authorize import Caller, Permission
from api.health_details import first_steps, show_health
from api.policy_preview import show_samples
from api.routing import GuardedRoute, Reading
from api.state import Everything
from api.web.live import version_of
from api.web.render import page

router = APIRouter(route_class=GuardedRoute, include_in_schema=False)

Admin = Annotated[Caller, Depends(may(Permission.MANAGE_POLICIES))]


@router.get("/health", name="health_page")
async def health_page(request: Request, caller: Admin, state: Everything) -> Response:
    """Return how everything stands now."""
    return page(request, "admin/health.html", health=await show_health(caller, state))


@router.get("/welcome", name="welcome_page")
async def welcome_page(request: Request, caller: Admin, session: Reading) -> Response:
    """Return what leads to a working installation, and what of it is done."""
    seen = await version_of(session, caller, "everything")
    steps = {step.name: step.done for step in await first_steps(session)}
    samples = (await show_samples(caller)).items
    return page(request, "admin/welcome.html", steps=steps, samples=samples, seen=seen)
