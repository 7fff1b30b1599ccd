"""Several documents decided together: one word on each, each bound to what the list showed.

The choice stays on the server until it is decided, so nothing is lost without JavaScript either.
"""

import json
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Request, Response

from api.auth import Proof, may
from api.authorize import Caller, Permission
from api.problems import NOT_DONE, Problem, invalid, problem_of
from api.routing import Reading
from api.shapes import Id
from api.state import Everything, State
from api.updates import DecisionIn, decide_document, show_update
from api.web import drafts
from api.web.progress import carried_out
from api.web.render import go, page
from api.web.step_up import PageRoute
from api.web.tongue import N_
from cardflow.model import Verdict
from cardflow.sql import transaction

KIND = "decisions"
MOST = 50

router = APIRouter(prefix="/together", route_class=PageRoute, include_in_schema=False)

Decider = Annotated[Caller, Depends(may(Permission.DECIDE_DOCUMENT))]
# "update lane digest", as the work list gives them
Chosen = Annotated[list[Annotated[str, Form(max_length=200)]], Form(max_length=MOST)]
Reason = Annotated[str, Form(max_length=1000)]
Short = Annotated[str, Form(max_length=10)]


@router.post("", name="choose_together_form")
async def choose(
    request: Request,
    caller: Decider,
    state: Everything,
    chosen: Chosen = [],  # noqa: B006
) -> Response:
    """Keep which documents were chosen, and show them together."""
    parts = [one.split(" ") for one in dict.fromkeys(chosen)]
    named = [part for part in parts if len(part) == 3]  # noqa: PLR2004 update, lane, digest
    if not named or len(named) < len(parts):
        return go(request, "/work", N_("Choose documents in the list first."))
    async with transaction(state.sessions) as session:
        row = await drafts.keep(session, caller, KIND, json.dumps(named).encode())
    return go(request, f"/together/{row.id}")


@router.get("/{draft_id}", name="together_page")
async def together(
    request: Request, draft_id: Id, caller: Decider, session: Reading, state: Everything
) -> Response:
    """Show the chosen documents, or what became of them."""
    return await _shown(request, draft_id, caller, session, state)


@router.post(
    "/{draft_id}",
    name="decide_together_form",
    dependencies=[Depends(may(Permission.DECIDE_DOCUMENT, Proof.IN_PERSON))],
)
async def decide(
    *,
    request: Request,
    draft_id: Id,
    caller: Decider,
    session: Reading,
    state: Everything,
    verdict: Short = "",
    reason: Reason = "",
) -> Response:
    """Say yes or no to each of the chosen documents."""
    try:
        word = _word(verdict, reason.strip())
    except Problem as problem:
        given = {"reason": reason}
        return await _shown(request, draft_id, caller, session, state, problem=problem, given=given)
    await drafts.draft_of(session, caller, KIND, draft_id)
    steps = _steps(state, caller, draft_id, word, reason.strip())
    return await carried_out(
        request, steps, f"/together/{draft_id}", N_("Every document is dealt with.")
    )


def _word(verdict: str, reason: str) -> Verdict:
    if verdict not in tuple(Verdict):
        raise invalid("verdict", "say approve or reject")
    if verdict == Verdict.REJECT and not reason:
        raise invalid("reason", "a rejection needs a reason", "say what the holders must mend")
    return Verdict(verdict)


async def _steps(
    state: State, caller: Caller, draft_id: str, verdict: Verdict, reason: str
) -> AsyncIterator[tuple[int, int]]:
    async with transaction(state.sessions) as session:  # no failpoint: what is left waits on
        row = await drafts.draft_of(session, caller, KIND, draft_id, alone=True)
        chosen: list[list[str]] = json.loads(row.content)
        # Taken before the first decision: a second click finds it done.
        drafts.finish(row, {"verdict": verdict, "told": []})
    told = []
    for number, (update_id, lane, digest) in enumerate(chosen, start=1):
        said = await _decided(
            state,
            caller,
            update_id,
            lane,
            DecisionIn(verdict=verdict, reason=reason, digest=digest),
        )
        told.append({"update_id": update_id, "lane": lane, **said})
        yield number, len(chosen)
    async with transaction(state.sessions) as session:  # no failpoint: documents say it too
        row = await drafts.draft_of(session, caller, KIND, draft_id)
        drafts.finish(row, {"verdict": verdict, "told": told})


async def _decided(
    state: State, caller: Caller, update_id: str, lane: str, word: DecisionIn
) -> dict[str, Any]:
    """Return what came of one decision; a refusal of one does not hold up the others."""
    try:
        reply = await decide_document(
            update_id=update_id, lane=lane, body=word, caller=caller, state=state, key=None
        )
    except NOT_DONE as error:
        return {"ok": False, "said": problem_of(error).detail}
    return {"ok": True, "said": reply.message}


async def _shown(
    request: Request,
    draft_id: str,
    caller: Caller,
    session: Reading,
    state: State,
    **again: Any,
) -> Response:
    row = await drafts.draft_of(session, caller, KIND, draft_id)
    result = drafts.result_of(row)
    named = [(one["update_id"], one["lane"]) for one in result.get("told", [])]
    if not row.done_at:
        named = [(update_id, lane) for update_id, lane, _ in json.loads(row.content)]
    found = []
    for update_id, name in named:
        update = await show_update(update_id, caller, session, state)
        lane = next((lane for lane in update.lanes if lane.lane == name), None)
        found.append((update, lane))
    return page(
        request, "operator/together.html", draft=row, found=found, told=result.get("told"), **again
    )
