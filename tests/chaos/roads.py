"""The ways that updates take in the matrix, and the errands that go on beside them."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.chaos.case import Case

Way = Callable[["Case"], Awaitable[None]]


async def travelled(case: "Case", road: str, errand: str) -> None:
    """The update is over, and the errand done."""
    if errand:
        await asyncio.gather(_travel(case, road), ERRANDS_BY_NAME[errand](case))
    else:
        await _travel(case, road)


async def _travel(case: "Case", road: str) -> None:
    if way := ROADS_BY_NAME.get(road):
        await way(case)
    else:
        await case.run(road)


async def cancelled_at_the_ca(case: "Case") -> None:
    """The holder gives up while an officer is waited for, and starts again."""
    update_id = await case.open("officer")
    await case.finish(update_id, until="at_ca")
    await case.cancel(update_id)
    await case.finish(update_id)
    await case.run("none")


ROADS_BY_NAME: dict[str, Way] = {"cancelled at the CA": cancelled_at_the_ca}


# Errands


async def _round(case: "Case", workflow: str) -> None:
    await case.world.temporal.execute_workflow(
        workflow, id=f"chaos/{workflow}/{case.seed}", task_queue="cardflow"
    )


async def digests(case: "Case") -> None:
    """It is time for the round of digests."""
    await _round(case, "Digests")


async def warnings(case: "Case") -> None:
    """It is time for the round of warnings."""
    await _round(case, "ExpiryWarnings")


async def code_for_a_workstation(case: "Case") -> None:
    """The holder asks for a code, and asks again when no answer comes."""
    desk = await case.desk()
    await desk.holder.post("/agents/codes")


ERRANDS_BY_NAME: dict[str, Way] = {
    "digests": digests,
    "warnings": warnings,
    "a code for a workstation": code_for_a_workstation,
}
