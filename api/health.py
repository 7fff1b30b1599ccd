"""Whether the process lives, whether it can work, and how it is doing."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from fastapi import APIRouter, Depends, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel

from api.auth import anybody
from api.problems import FieldProblem, Problem, public_problems
from api.routing import GuardedRoute
from api.state import Everything, State
from cardflow.db.migrate import database_objections

PATIENCE_SECONDS = 3.0

log = logging.getLogger(__name__)

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
    found = await asyncio.gather(*(_try(check, state) for check in checks.values()))
    reasons = [(name, r) for name, told in zip(checks, found, strict=True) for r in told]
    if reasons:
        errors = (FieldProblem(field=name, reason=reason) for name, reason in reasons)
        detail = "; ".join(f"{name}: {reason}" for name, reason in reasons)
        raise Problem(503, f"not ready: {detail}", *errors)
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


async def _try(check: Callable[[State], Awaitable[list[str]]], state: State) -> list[str]:
    try:
        return await asyncio.wait_for(check(state), PATIENCE_SECONDS)
    except Exception:
        # Whatever it is, it is the answer; its words may quote an address or an account.
        log.warning("a check for readiness failed", exc_info=True)
        return ["does not answer"]


async def _database(state: State) -> list[str]:
    return await database_objections(state.engine)


async def _temporal(state: State) -> list[str]:
    client = await state.temporal.client()
    return [] if await client.service_client.check_health() else ["is not serving"]
