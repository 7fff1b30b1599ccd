"""Forms on their way to the card and back: fetched and handed in by the agent that signs them.

Their bytes pass here and never through Temporal. What is signed where is asked of the workflow
itself: only the agent of the visit that is open now gets the form, and only its form comes back.
"""

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Query, Request

from api.agent_caller import admitted, said, takes
from api.agents import AtDesk, opened_task, over
from api.authorize import Caller
from api.form_printing import box_of, forms_of
from api.handing_in import Arrival
from api.long_term import hand_in_signed
from api.problems import FieldProblem, Problem, public_problems
from api.sealing import LONGEST, SEALED
from api.state import Everything, State
from api.update_views import Looked, look
from cardflow.db.register_updates import find_update
from cardflow.db.tables import Document
from cardflow.errors import Refused
from cardflow.jobs import IssuedForm, SignedForm, in_pieces, whole
from cardflow.lifecycle import lane_of
from cardflow.model import FormToSign, Lane, Means, Role, Visit
from cardflow.sql import transaction

router = APIRouter(prefix="/agent/v1", tags=["agent door"])


@dataclass(frozen=True)
class Signing:
    """A visit that signs, as its workflow tells of it now."""

    looked: Looked
    visit: Visit
    form: FormToSign

    @property
    def lane(self) -> Lane:
        """The lane whose form is signed."""
        return lane_of(self.looked.view.state, self.form.lane)


@router.get(
    "/form",
    operation_id="fetch_form",
    responses=public_problems(401, 403, 410, 413, 422, 426, 503),
)
async def fetch_form(
    request: Request,
    state: Everything,
    desk: AtDesk,
    task: Annotated[str, Query(max_length=LONGEST, pattern=SEALED)],
) -> IssuedForm:
    """Return the form that a sign job names, and where and with which certificates it is signed."""
    async with admitted(request, state) as call:
        opened = opened_task(desk, call, task)
        agent_id = call.agent.id
    signing = await _signing(state, agent_id, opened.update_id, opened.visit_id)
    issued = await _issued(state, signing)
    *between, _root = await state.ca.authority().ca_certificates()
    content = await state.store.get(issued.sha256)
    return IssuedForm(in_pieces(content), tuple(between), box_of(issued))


@router.post(
    "/form",
    operation_id="send_signed_form",
    responses=public_problems(401, 403, 409, 410, 413, 422, 426, 503),
    openapi_extra=takes(SignedForm),
)
async def send_signed_form(request: Request, state: Everything, desk: AtDesk) -> dict[str, str]:
    """Hand the signed form in, by the same way as everybody's uploads; a repeat changes nothing."""
    async with admitted(request, state) as call:
        message = said(SignedForm, call.body)
        opened = opened_task(desk, call, message.task)
        agent_id = call.agent.id
    signing = await _signing(state, agent_id, opened.update_id, opened.visit_id)
    arrival = Arrival(
        caller=_holder(signing.visit),
        role=Role.HOLDER,
        means=Means.ELECTRONIC,
        content=_content(message),
        file_name=f"{signing.form.lane}.{signing.form.kind}.signed.pdf",
        key=f"visit {signing.visit.id}",
    )
    done = await hand_in_signed(state, signing.looked, signing.lane, arrival)
    return {"message": done.taken.reply.message}


async def _signing(state: State, agent_id: str, update_id: str, visit_id: str) -> Signing:
    """Return the visit if it is the one that is open now, with this agent; else raise 410."""
    async with transaction(state.reads) as session:
        row = await find_update(session, update_id) if update_id else None
    if row is None:
        raise over()
    looked = await look(state, row)
    visit = looked.view.state.visit
    if visit is None or visit.signs is None or (visit.id, visit.agent_id) != (visit_id, agent_id):
        raise over()
    return Signing(looked, visit, visit.signs)


async def _issued(state: State, signing: Signing) -> Document:
    for document in await forms_of(state, signing.looked, signing.lane):
        if document.sha256 == signing.form.sha256:
            return document
    raise over()


def _holder(visit: Visit) -> Caller:
    """Return the person whose click started the visit, and who typed the PIN."""
    roles = frozenset({Role.HOLDER})
    return Caller(id=visit.started_by, login="", name="", roles=roles, language="")


def _content(message: SignedForm) -> bytes:
    try:
        return whole(message.content)
    except Refused as refusal:
        raise Problem(422, str(refusal), FieldProblem(field="content", reason=str(refusal))) from (
            refusal
        )
