"""What an update of a card would do, and opening one."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from pydantic import Field, StringConstraints
from sqlalchemy.ext.asyncio import AsyncSession

from api.auth import Proof, may
from api.authorize import Caller, Permission, authorize
from api.idempotency import GivenKey, id_for
from api.opening import Opened, Wish, begun, earlier, keep_yes, open_update
from api.planning import (
    Case,
    case_of,
    check_confirmed,
    check_serial,
    opening_by,
    plan_clearing,
    plan_digest,
    plan_update,
    registered_card,
    shown,
)
from api.problems import problems, refused
from api.routing import GuardedRoute, Reading
from api.shapes import Filled, Id, In, Out, Reason
from api.state import Everything, State
from api.update_shapes import OpenedOut
from api.update_views import shown_update, shown_visit
from cardflow.model import Action, CertificateKind, CertificateOnCard, Kind, Plan, Policy, new_id
from cardflow.policy import Selection
from cardflow.sql import looking

router = APIRouter(prefix="/cards", tags=["updates"], route_class=GuardedRoute)

Opener = Annotated[Caller, Depends(may(Permission.OPEN_UPDATE))]
Clearer = Annotated[Caller, Depends(may(Permission.CLEAR_CARD))]
Revoker = Annotated[Caller, Depends(may(Permission.CLEAR_CARD, Proof.FRESH))]
ProfileName = Annotated[str, StringConstraints(max_length=64)]
Digest = Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")]
Optional = Annotated[list[ProfileName], Query(max_length=50)]
ThirdParty = Annotated[list[Digest], Query(max_length=200)]


class OptionalOut(Out):
    """A profile that whoever opens the update may choose."""

    profile: str
    title: str
    chosen: bool


class ThirdPartyOut(Out):
    """A certificate of somebody else's on the card that may be registered for tracking."""

    sha256: str
    subject: str
    issuer: str
    not_after: datetime
    chosen: bool


class PlanOut(Out):
    """What an update would do, the digest that confirms exactly this, and what can be chosen."""

    plan: Plan
    digest: str
    on_card: list[CertificateOnCard]  # as last seen: what the plan's references name
    seen_at: datetime | None
    titles: dict[str, str]  # of profiles
    optional: list[OptionalOut] = Field(default_factory=list)
    third_party: list[ThirdPartyOut] = Field(default_factory=list)
    contact: str


class UpdateIn(In):
    """A confirmed plan."""

    optional: Annotated[list[ProfileName], Field(default_factory=list, max_length=50)]
    third_party: Annotated[list[Digest], Field(default_factory=list, max_length=200)]
    plan_digest: Digest


class ClearIn(In):
    """Why everything of ours is to be revoked and removed, and from which card."""

    reason: Annotated[Reason, Filled]
    confirm: Annotated[str, StringConstraints(max_length=64)]


@router.get("/{card_id}/plan", operation_id="plan_update", responses=problems(404, 409))
async def show_plan(
    *,
    card_id: Id,
    caller: Opener,
    session: Reading,
    state: Everything,
    optional: Optional = [],  # noqa: B006 FastAPI copies it
    third_party: ThirdParty = [],  # noqa: B006 FastAPI copies it
) -> PlanOut:
    """Return what an update would add, replace, keep and remove, and every reason against it."""
    card = await registered_card(session, card_id)
    grant = authorize(caller, Permission.OPEN_UPDATE, card)
    case = await case_of(session, card)
    selection = _selection(optional, third_party)
    opening = opening_by(caller, grant, case)
    plan = plan_update(case, state.profiles, selection, update_id=new_id(), opening=opening)
    offer = _offer(state, case, plan, Kind.UPDATE)
    offer.optional = _optional(case.policy, selection, offer.titles)
    offer.third_party = _third_party(case, selection)
    return offer


@router.post(
    "/{card_id}/updates",
    status_code=201,
    operation_id="open_update",
    responses=problems(404, 409, 413),
)
async def start_update(
    card_id: Id, body: UpdateIn, caller: Opener, state: Everything, key: GivenKey
) -> OpenedOut:
    """Open an update as confirmed; a holder's starts at the workstation and asks for the PIN."""
    update_id = id_for(caller, key)
    await begun(state, update_id, card_id)
    async with looking(state.reads) as session:
        card = await registered_card(session, card_id)
        grant = authorize(caller, Permission.OPEN_UPDATE, card)
        if first := await earlier(session, update_id, card.id, body.plan_digest):
            return await _again(state, session, caller, first)
        case = await case_of(session, card)
    selection = _selection(body.optional, body.third_party)
    opening = opening_by(caller, grant, case)
    plan = plan_update(case, state.profiles, selection, update_id=update_id, opening=opening)
    check_confirmed(case.policy, plan, body.plan_digest)
    opened = await open_update(state, Wish(caller, grant, case, plan, update_id, key=key))
    return await _opened(state, caller, opened)


@router.get("/{card_id}/clear", operation_id="plan_clearing", responses=problems(404, 409))
async def show_clearing(
    card_id: Id, caller: Clearer, session: Reading, state: Everything
) -> PlanOut:
    """Return what revoking and clearing the card would remove, and every reason against it."""
    card = await registered_card(session, card_id)
    grant = authorize(caller, Permission.CLEAR_CARD, card)
    case = await case_of(session, card)
    plan = plan_clearing(case, opening=opening_by(caller, grant, case))
    return _offer(state, case, plan, Kind.CLEAR)


@router.post(
    "/{card_id}/clear",
    status_code=201,
    operation_id="clear_card",
    responses=problems(404, 409, 413),
)
async def clear_card(
    card_id: Id, body: ClearIn, caller: Revoker, state: Everything, key: GivenKey
) -> OpenedOut:
    """Revoke every certificate of ours on the card and remove it; third-party objects stay."""
    update_id = id_for(caller, key)
    await begun(state, update_id, card_id)
    async with looking(state.reads) as session:
        card = await registered_card(session, card_id)
        grant = authorize(caller, Permission.CLEAR_CARD, card)
        check_serial(card, body.confirm)
        if first := await earlier(session, update_id, card.id, ""):
            return await _again(state, session, caller, first)
        case = await case_of(session, card)
    plan = plan_clearing(case, opening=opening_by(caller, grant, case))
    if plan.objections:
        raise refused(plan.objections)
    wish = Wish(caller, grant, case, plan, update_id, Kind.CLEAR, body.reason, key)
    return await _opened(state, caller, await open_update(state, wish))


def _offer(state: State, case: Case, plan: Plan, kind: Kind) -> PlanOut:
    return PlanOut(
        plan=shown(plan),
        digest=plan_digest(case.policy, plan, kind),
        on_card=list(case.contents.certificates),
        seen_at=case.card.seen_at,
        titles={name: profile.title for name, profile in state.profiles.items()},
        contact=case.policy.contact,
    )


def _optional(policy: Policy, chosen: Selection, titles: dict[str, str]) -> list[OptionalOut]:
    if not policy.permissions.select_optional:
        return []
    return [
        OptionalOut(
            profile=entry.profile,
            title=titles.get(entry.profile, entry.profile),
            chosen=entry.profile in chosen.optional,
        )
        for entry in policy.profiles
        if not entry.mandatory
    ]


def _third_party(case: Case, chosen: Selection) -> list[ThirdPartyOut]:
    if not (case.policy.search_third_party and case.policy.select_third_party):
        return []
    return [
        ThirdPartyOut(
            sha256=found.ref.certificate_sha256,
            subject=found.subject,
            issuer=found.issuer,
            not_after=found.not_after,
            chosen=found.ref.certificate_sha256 in chosen.third_party,
        )
        for found in case.contents.certificates
        if found.kind is CertificateKind.THIRD_PARTY
    ]


def _selection(optional: list[str], third_party: list[str]) -> Selection:
    return Selection(tuple(dict.fromkeys(optional)), tuple(dict.fromkeys(third_party)))


async def _again(state: State, session: AsyncSession, caller: Caller, action: Action) -> OpenedOut:
    """The same request, again: the update that it opened, as it stands now."""
    await keep_yes(state, action)
    update = await shown_update(state, session, caller, action.update_id)
    return OpenedOut(update=update, id=update.id, message="the update is open", visit=update.visit)


async def _opened(state: State, caller: Caller, opened: Opened) -> OpenedOut:
    async with looking(state.reads) as session:
        update = await shown_update(state, session, caller, opened.update_id)
        visit = await shown_visit(session, opened.visit) if opened.visit else None
    return OpenedOut(update=update, id=opened.update_id, message=opened.message, visit=visit)
