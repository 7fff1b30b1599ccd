"""Whether the process lives, whether it can work, and how it is doing."""

import asyncio
from collections.abc import Awaitable, Callable

from fastapi import APIRouter, Depends, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel
from sqlalchemy import text

from api.auth import anybody
from api.problems import FieldProblem, Problem, public_problems
from api.routing import GuardedRoute
from api.state import Everything, State

PATIENCE_SECONDS = 3.0

router = APIRouter(tags=["health"], route_class=GuardedRoute, dependencies=[Depends(anybody)])


class Health(BaseModel):
    """All is well."""

    status: str = "ok"


@router.get("/healthz", operation_id="show_liveness", responses=public_problems())
async def show_liveness() -> Health:
    """Return when the process can answer at all."""
    return Health()


@router.get("/readyz", operation_id="show_readiness", responses=public_problems(503))
async def show_readiness(state: Everything) -> Health:
    """Return when everything that the API needs answers; else say what does not."""
    checks = {"database": _database, "temporal": _temporal}
    answers = await asyncio.gather(*(_try(check, state) for check in checks.values()))
    silent = [name for name, answered in zip(checks, answers, strict=True) if not answered]
    if silent:
        errors = (FieldProblem(field=name, reason="does not answer") for name in silent)
        raise Problem(503, f"not ready: {', '.join(silent)}", *errors)
    return Health()


@router.get(
    "/metrics",
    operation_id="show_metrics",
    response_class=Response,
    responses={200: {"content": {CONTENT_TYPE_LATEST: {}}}, **public_problems()},
)
async def show_metrics() -> Response:
    """Return the process's metrics in Prometheus' text format."""
    return Response(generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})


async def _try(check: Callable[[State], Awaitable[None]], state: State) -> bool:
    try:
        await asyncio.wait_for(check(state), PATIENCE_SECONDS)
    except Exception:
        return False
    return True


async def _database(state: State) -> None:
    async with state.engine.connect() as connection:
        await connection.execute(text("SELECT 1"))


async def _temporal(state: State) -> None:
    client = await state.temporal.client()
    await client.service_client.check_health()
