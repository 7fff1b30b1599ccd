"""An update as somebody sees it: where it stands, who is waited for, and what they may do now."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import timedelta

from sqlalchemy.ext.asyncio import AsyncSession
from temporalio.client import WorkflowQueryFailedError, WorkflowQueryRejectedError
from temporalio.service import RPCError

from api.authorize import Caller, Permission, Scope, authorize, grants, owner_of
from api.problems import not_found
from api.signers import signer_on_card
from api.state import State
from api.update_shapes import (
    DocumentRefOut,
    LaneOut,
    PersonRef,
    UpdateLine,
    UpdateOut,
    VisitOut,
    WaitingOut,
)
from cardflow.db.register_agents import find_agent
from cardflow.db.register_updates import find_update, names_of
from cardflow.db.tables import Update
from cardflow.db.views import input_of, view_of
from cardflow.decisions import utc_now
from cardflow.errors import Unavailable
from cardflow.lifecycle import document_kind, label, ways_to_sign
from cardflow.model import (
    Act,
    Action,
    DocumentRef,
    FormToSign,
    Kind,
    Lane,
    Means,
    ObjectRef,
    Role,
    SigningWay,
    UpdateInput,
    UpdateView,
    Verdict,
    Visit,
)
from cardflow.policy import (
    AWAITING,
    CHECKING,
    as_it_may_be_signed,
    decision_digest,
    objections,
)
from cardflow.sql import let_go
from workflows.card_update import CardUpdate, workflow_id

PATIENCE = timedelta(seconds=3)
ON_UPDATE = {
    Act.CONTINUE: Permission.CONTINUE_UPDATE,
    Act.CANCEL: Permission.CANCEL_UPDATE,
    Act.RETRY: Permission.RETRY_UPDATE,
}
ON_LANE = {
    Act.SUBMIT_DOCUMENT: Permission.SUBMIT_DOCUMENT,
    Act.WITHDRAW_DOCUMENT: Permission.WITHDRAW_DOCUMENT,
    Act.DECIDE_DOCUMENT: Permission.DECIDE_DOCUMENT,
    Act.SIGN_DOCUMENT: Permission.CONTINUE_UPDATE,
}

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Looked:
    """An update's row, what it was started with, and its state as of now."""

    row: Update
    update: UpdateInput
    view: UpdateView
    live: bool


async def visible_update(session: AsyncSession, caller: Caller, update_id: str) -> Update:
    """Return the update if the caller may see it, else raise Problem 404."""
    row = await find_update(session, update_id)
    if row is None:
        raise not_found("update")
    authorize(caller, Permission.SEE_UPDATES, row)
    return row


async def look(state: State, row: Update) -> Looked:
    """Return the update's state from its workflow; from the copies when that cannot be asked."""
    asked = None if row.ended_at else await _ask(state, row)
    return Looked(row, input_of(row), asked or view_of(row), asked is not None)


async def _ask(state: State, row: Update) -> UpdateView | None:
    try:
        client = await state.temporal.client()
        handle = client.get_workflow_handle_for(CardUpdate.run, workflow_id(row.card_id))
        view = await handle.query(CardUpdate.view, rpc_timeout=PATIENCE)
    except (RPCError, WorkflowQueryFailedError, WorkflowQueryRejectedError, Unavailable) as error:
        log.info("update %s is shown from its copies: %s", row.id, type(error).__name__)
        return None
    # The end is told when it is on record: whoever hears of it may look at its effects.
    return view if view.update_id == row.id and not view.state.ended else None


async def shown_update(
    state: State, session: AsyncSession, caller: Caller, update_id: str
) -> UpdateOut:
    """Return the update as the caller sees it."""
    row = await visible_update(session, caller, update_id)
    await let_go(session)
    looked = await look(state, row)
    names = await names_of(session, _people(looked))
    can_sign = await _can_sign(state, session, caller, looked)
    return UpdateOut(
        **_line(looked.row, looked.view, names).__dict__,
        live=looked.live,
        token_serial=looked.update.token_serial,
        token_label=looked.update.token_label,
        started_by=_person(looked.update.started_by, names),
        contact=looked.update.policy.contact,
        document_exchange=looked.update.policy.document_exchange,
        rejection_reasons=list(looked.update.policy.rejection_reasons),
        last_visit=looked.view.state.last_visit,
        visit=await _visit(session, caller, looked),
        lanes=[
            _lane(state, caller, looked, lane, names=names, can_sign=can_sign)
            for lane in looked.view.state.lanes
        ],
        removes=list(looked.update.plan.removes),
        registers=list(looked.update.plan.registers),
        debts=list(looked.view.state.debts),
        may=[act for act, needed in ON_UPDATE.items() if _may(caller, looked, act, needed)],
    )


def shown_line(row: Update, names: dict[str, str]) -> UpdateLine:
    """Return the update as a list shows it."""
    return _line(row, view_of(row), names)


def _line(row: Update, view: UpdateView, names: dict[str, str]) -> UpdateLine:
    return UpdateLine(
        id=row.id,
        kind=Kind(row.kind),
        card_id=row.card_id,
        holder=_person(row.holder_id, names),
        policy_name=row.policy_name,
        policy_version=row.policy_version,
        stage=view.stage,
        opened_at=row.opened_at,
        due_at=view.due_at,
        ended_at=row.ended_at,
        ended_because=view.state.ended_because,
        waiting=[WaitingOut.model_validate(entry) for entry in view.waiting],
    )


async def _visit(session: AsyncSession, caller: Caller, looked: Looked) -> VisitOut | None:
    """The code belongs to whoever sits at the workstation: nobody else is shown it."""
    visit = looked.view.state.visit
    if visit is None or visit.started_by != caller.id:
        return None
    return await shown_visit(session, visit)


async def shown_visit(session: AsyncSession, visit: Visit) -> VisitOut:
    """Return the visit, and the workstation where it takes place."""
    agent = await find_agent(session, visit.agent_id)
    return VisitOut.of(visit, agent.host if agent else "")


async def _can_sign(state: State, session: AsyncSession, caller: Caller, looked: Looked) -> bool:
    """Whether the caller's card holds what signs; whether it is connected the click will tell."""
    if caller.id != looked.row.holder_id or looked.row.ended_at:
        return False
    if not any(SigningWay.ELECTRONIC in ways_to_sign(x) for x in looked.view.state.lanes):
        return False
    return await signer_on_card(state, session, looked.row.card_id) is not None


def _lane(
    state: State,
    caller: Caller,
    looked: Looked,
    lane: Lane,
    *,
    names: dict[str, str],
    can_sign: bool,
) -> LaneOut:
    plan = lane.plan
    profile = state.profiles.get(plan.lane)
    has_form = lane.stage in (*AWAITING, *CHECKING)
    return LaneOut(
        lane=plan.lane,
        title=profile.title if profile else plan.lane,
        label=label(lane),
        stage=lane.stage,
        since=lane.since,
        mode=plan.mode,
        key_type=plan.key_type,
        mandatory=plan.mandatory,
        precheck=plan.precheck,
        needs_officer=plan.needs_officer,
        why=plan.why,
        subject=plan.subject,
        revision=lane.revision,
        replaces=list(plan.replaces),
        retires=list(plan.retires),
        spki_sha256=lane.spki_sha256,
        certificate_sha256=lane.certificate_sha256,
        serial_number=lane.serial_number,
        not_after=lane.not_after,
        form=document_kind(lane.stage) if has_form else None,
        signing=list(ways_to_sign(lane)) if has_form else [],
        document=_document(lane.document, names) if lane.document else None,
        approvals=[_person(person, names) for person in lane.approvals],
        approvals_needed=plan.approvals_needed,
        reason=lane.reason,
        attention=lane.attention,
        decision_digest=decision_digest(looked.update, lane),
        may=[
            act
            for act, needed in ON_LANE.items()
            if (act is not Act.SIGN_DOCUMENT or can_sign)
            and _may(caller, looked, act, needed, lane)
        ],
    )


def _document(document: DocumentRef, names: dict[str, str]) -> DocumentRefOut:
    return DocumentRefOut(
        id=document.id,
        kind=document.kind,
        sha256=document.sha256,
        means=document.means,
        submitted_by=_person(document.submitted_by, names),
        submitted_at=document.submitted_at,
        signature=document.signature,
    )


def _person(person_id: str, names: dict[str, str]) -> PersonRef:
    return PersonRef(id=person_id, name=names.get(person_id, ""))


def _people(looked: Looked) -> set[str]:
    lanes = looked.view.state.lanes
    found: Iterable[str] = (
        *(person for lane in lanes for person in lane.approvals),
        *(lane.document.submitted_by for lane in lanes if lane.document),
    )
    return {looked.row.holder_id, looked.update.started_by, *found}


# What the caller may do: the rules themselves are asked, with an action that is never sent


def _may(
    caller: Caller, looked: Looked, act: Act, needed: Permission, lane: Lane | None = None
) -> bool:
    granted = grants(caller, needed)
    own = owner_of(looked.row) == caller.id
    roles = [grant.role for grant in granted if own or grant.scope is Scope.ANY]
    # As ``authorize`` does: on their own card people act as its holder.
    role = roles[-1] if own and roles else next(iter(roles), None)
    if role is None or looked.row.ended_at:
        return False
    return not objections(looked.update, looked.view.state, _trial(caller, looked, act, role, lane))


def _trial(caller: Caller, looked: Looked, act: Act, role: Role, lane: Lane | None) -> Action:
    now = utc_now()
    action = Action("", act, looked.row.id, caller.id, role, now)
    if act is Act.CONTINUE:
        return replace(action, visit=Visit("", "", "", now, caller.id))
    if lane is None:
        return action
    if act is Act.SIGN_DOCUMENT:
        return _signing(action, lane)
    means = Means.PORTAL if role is Role.HOLDER else Means.POST
    kind, signature = document_kind(lane.stage), as_it_may_be_signed(lane)
    document = DocumentRef("", kind, "", means, caller.id, now, signature)
    return replace(
        action,
        lane=lane.plan.lane,
        revision=lane.revision,
        digest=decision_digest(looked.update, lane),
        verdict=Verdict.APPROVE,
        document=document,
    )


def _signing(action: Action, lane: Lane) -> Action:
    form = FormToSign(
        lane.plan.lane, lane.revision, document_kind(lane.stage), "", "", ObjectRef("")
    )
    visit = Visit("", "", "", action.at, action.actor, signs=form)
    return replace(action, lane=lane.plan.lane, revision=lane.revision, visit=visit)
