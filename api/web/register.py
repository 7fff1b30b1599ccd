"""The register as operators see it: cards, their updates, and what is done for a holder."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Query, Request, Response
from sqlalchemy.ext.asyncio import AsyncSession

from api.auth import Proof, may
from api.authorize import Caller, Permission, grants
from api.card_updates import PlanOut, UpdateIn, show_plan, start_update
from api.cards import CardPatch, Wanted, change_card, show_card, show_cards
from api.contents import show_contents
from api.documents import show_documents
from api.paging import Paging
from api.policies import show_policies
from api.problems import Problem, invalid
from api.routing import Reading
from api.shapes import Id
from api.state import Everything, State
from api.updates import (
    NothingIn,
    ReasonIn,
    cancel_update,
    retry_update,
    show_update,
    show_updates,
)
from api.web.desk import Key, Short, Text
from api.web.live import version_of
from api.web.render import go, page
from api.web.step_up import PageRoute
from api.web.tongue import N_
from cardflow.db.register_identity import find_person, person_by_login
from cardflow.db.register_policies import newest_version
from cardflow.db.register_updates import names_of
from cardflow.model import CardState, Policy, Stage
from cardflow.policy_toml import stored_policy
from cardflow.sql import transaction

FEW = Paging(limit=10)
ALL = Paging(limit=200)
VIEWS: dict[str, dict[str, Any]] = {
    "attention": {"stage": Stage.NEEDS_ATTENTION},
    "open": {"open": True},
    "ended": {"open": False},
    "all": {},
}

router = APIRouter(route_class=PageRoute, include_in_schema=False)

CardReader = Annotated[Caller, Depends(may(Permission.SEE_CARDS))]
Keeper = Annotated[Caller, Depends(may(Permission.MANAGE_CARDS))]
Opener = Annotated[Caller, Depends(may(Permission.OPEN_UPDATE))]
Reader = Annotated[Caller, Depends(may(Permission.SEE_UPDATES))]
Canceller = Annotated[Caller, Depends(may(Permission.CANCEL_UPDATE))]
Retrier = Annotated[Caller, Depends(may(Permission.RETRY_UPDATE))]
Chosen = Annotated[list[str], Query(max_length=200)]
Picked = Annotated[list[str], Form(max_length=200)]


@router.get("/register/cards", name="cards_page")
async def cards_page(
    *,
    request: Request,
    caller: CardReader,
    session: Reading,
    paging: Annotated[Paging, Depends()],
    holder: Annotated[str, Query(max_length=36)] = "",
    state: Annotated[str, Query(max_length=20)] = "",
    policy: Annotated[str, Query(max_length=100)] = "",
    due: bool = False,
    search: Annotated[str, Query(max_length=100)] = "",
) -> Response:
    """Return the list of cards."""
    # A form's "any" arrives as an empty word, which is no state.
    wanted = Wanted(
        holder, CardState(state) if state in set(CardState) else None, policy, due, search
    )
    found = await show_cards(caller, session, paging, wanted)
    names = await names_of(session, {card.holder_id for card in found.items if card.holder_id})
    return page(
        request,
        "operator/cards.html",
        cards=found,
        names=names,
        wanted=wanted,
        states=list(CardState),
        policies=await _policies(caller, session),
    )


async def _policies(caller: Caller, session: AsyncSession) -> list[str]:
    return [policy.name for policy in (await show_policies(caller, session, ALL)).items]


@router.get("/register/cards/{card_id}", name="card_page_of_register")
async def card_page(
    request: Request, card_id: Id, caller: CardReader, session: Reading
) -> Response:
    """Return everything about a card."""
    return await _card(request, caller, session, card_id)


@router.post(
    "/register/cards/{card_id}",
    name="card_form",
    dependencies=[Depends(may(Permission.MANAGE_CARDS, Proof.FRESH))],
)
async def change(
    *,
    request: Request,
    card_id: Id,
    caller: Keeper,
    session: Reading,
    state: Everything,
    login: Short = "",
    label: Short = "",
    policy: Short = "",
    disabled: Short = "",
) -> Response:
    """Assign, label, disable or enable the card, or put it under another policy."""
    given = {"login": login, "label": label, "policy": policy}
    try:
        async with transaction(state.sessions) as changing:
            body = await _patch(changing, caller, card_id, given, disabled)
            await change_card(card_id, body, caller, changing)
    except Problem as problem:
        return await _card(request, caller, session, card_id, problem=problem, given=given)
    return go(request, f"/register/cards/{card_id}", N_("The card is changed."))


async def _patch(
    session: AsyncSession, caller: Caller, card_id: str, given: dict[str, str], disabled: str
) -> CardPatch:
    if disabled:
        return CardPatch(disabled=disabled == "yes")
    holder_id = None
    if login := given["login"].strip():
        holder = await person_by_login(session, login)
        if holder is None:
            raise invalid("login", "nobody has this login")
        holder_id = holder.id
    card = await show_card(card_id, caller, session)
    changes: dict[str, Any] = {"policy_name": given["policy"], "token_label": given["label"]}
    if holder_id != card.holder_id:
        changes["holder_id"] = holder_id
    try:
        return CardPatch(**changes)
    except ValueError:
        raise invalid("label", "one line of at most 200 characters") from None


async def _card(
    request: Request,
    caller: Caller,
    session: AsyncSession,
    card_id: str,
    *,
    problem: Problem | None = None,
    given: dict[str, str] | None = None,
) -> Response:
    seen = await version_of(session, caller, f"card:{card_id}")
    card = await show_card(card_id, caller, session)
    contents = documents = None
    if grants(caller, Permission.SEE_CONTENTS):
        contents = await show_contents(card_id, caller, session)
    updates = (await show_updates(caller=caller, session=session, paging=FEW, card=card_id)).items
    if updates and grants(caller, Permission.SEE_DOCUMENTS):
        documents = await show_documents(updates[0].id, caller, session)
    holder = await find_person(session, card.holder_id) if card.holder_id else None
    now = {"login": holder.login if holder else "", "label": card.token_label}
    return page(
        request,
        "operator/card.html",
        problem=problem,
        given=given or {**now, "policy": card.policy_name},
        seen=seen,
        card=card,
        holder=holder,
        contents=contents,
        updates=updates,
        documents=documents,
        policies=await _policies(caller, session),
    )


@router.get("/register/cards/{card_id}/update", name="start_page")
async def start_page(
    *,
    request: Request,
    card_id: Id,
    caller: Opener,
    session: Reading,
    state: Everything,
    optional: Chosen = [],  # noqa: B006 FastAPI copies it
    third_party: Chosen = [],  # noqa: B006 FastAPI copies it
) -> Response:
    """Return what an update would do, to be confirmed."""
    return await _plan(
        request, caller, session, state, card_id=card_id, optional=optional, third_party=third_party
    )


@router.post("/register/cards/{card_id}/update", name="start_form")
async def start(
    *,
    request: Request,
    card_id: Id,
    caller: Opener,
    session: Reading,
    state: Everything,
    plan_digest: Short = "",
    optional: Picked = [],  # noqa: B006 FastAPI copies it
    third_party: Picked = [],  # noqa: B006 FastAPI copies it
    key: Key = "",
) -> Response:
    """Open the update; its holder continues at the workstation."""
    try:
        try:
            body = UpdateIn(optional=optional, third_party=third_party, plan_digest=plan_digest)
        except ValueError:
            raise invalid("plan_digest", "the plan cannot be read", "look at it again") from None
        opened = await start_update(card_id, body, caller, state, key or None)
    except Problem as problem:
        return await _plan(
            request,
            caller,
            session,
            state,
            card_id=card_id,
            optional=optional,
            third_party=third_party,
            problem=problem,
        )
    notice = N_("The update is open. Its holder continues at the workstation.")
    return go(request, f"/updates/{opened.id}", notice)


async def _plan(
    request: Request,
    caller: Caller,
    session: AsyncSession,
    state: State,
    *,
    card_id: str,
    optional: list[str],
    third_party: list[str],
    problem: Problem | None = None,
) -> Response:
    card = await show_card(card_id, caller, session)
    policy = await _policy(session, card.policy_name)
    planned: PlanOut | None = None
    try:
        planned = await show_plan(
            card_id=card_id, caller=caller, session=session, state=state,
            optional=optional, third_party=third_party,
        )  # fmt: skip
    except Problem as refusal:
        if refusal.status == 404:  # noqa: PLR2004 HTTP's own number
            raise
        problem = problem or refusal
    holder = await find_person(session, card.holder_id) if card.holder_id else None
    contents = await show_contents(card_id, caller, session)
    return page(
        request,
        "operator/start.html",
        problem=problem,
        card=card,
        holder=holder,
        policy=policy,
        planned=planned,
        contents=contents,
        titles={name: profile.title for name, profile in state.profiles.items()},
        optional=optional,
        third_party=third_party,
    )


async def _policy(session: AsyncSession, name: str) -> Policy | None:
    version = await newest_version(session, name)
    return stored_policy(version.document, version.version) if version else None


@router.get("/updates", name="updates_page")
async def updates_page(
    *,
    request: Request,
    caller: Reader,
    session: Reading,
    paging: Annotated[Paging, Depends()],
    view: Annotated[str, Query(max_length=20)] = "",
    stage: Annotated[str, Query(max_length=20)] = "",
    policy: Annotated[str, Query(max_length=100)] = "",
    search: Annotated[str, Query(max_length=100)] = "",
) -> Response:
    """Return the list of updates; those that need attention come first."""
    seen = await version_of(session, caller, "work")
    troubled = await show_updates(
        caller=caller, session=session, paging=Paging(limit=1), stage=Stage.NEEDS_ATTENTION
    )
    if view not in VIEWS:
        view = "attention" if troubled.items and not (stage or policy or search) else "open"
    wanted = dict(VIEWS[view])
    if stage in set(Stage) and view != "attention":
        wanted["stage"] = Stage(stage)
    found = await show_updates(
        caller=caller, session=session, paging=paging, policy=policy, search=search, **wanted
    )
    return page(
        request,
        "operator/updates.html",
        seen=seen,
        updates=found,
        view=view,
        views=list(VIEWS),
        troubled=bool(troubled.items),
        wanted={"stage": stage, "policy": policy, "search": search},
        stages=[one for one in Stage if one is not Stage.NEEDS_ATTENTION],
        policies=await _policies(caller, session),
    )


@router.get("/register/updates/{update_id}/cancel", name="cancel_page")
async def cancel_page(
    request: Request, update_id: Id, caller: Canceller, session: Reading, state: Everything
) -> Response:
    """Return the page that asks why an update is to be cancelled."""
    update = await show_update(update_id, caller, session, state)
    return page(request, "operator/cancel.html", update=update)


@router.post("/register/updates/{update_id}/cancel", name="cancel_form")
async def cancel(
    *,
    request: Request,
    update_id: Id,
    caller: Canceller,
    session: Reading,
    state: Everything,
    reason: Text = "",
    key: Key = "",
) -> Response:
    """Cancel an update for its holder."""
    try:
        body = ReasonIn(reason=reason.strip()) if 0 < len(reason.strip()) <= 1000 else None  # noqa: PLR2004
        if body is None:
            raise invalid("reason", "say why in at most 1000 characters; the holder reads it")
        await cancel_update(update_id, body, caller, state, key or None)
    except Problem as problem:
        update = await show_update(update_id, caller, session, state)
        given = {"reason": reason}
        return page(request, "operator/cancel.html", problem=problem, given=given, update=update)
    return go(request, f"/updates/{update_id}", N_("The update is cancelled."))


@router.post("/register/updates/{update_id}/retry", name="retry_form")
async def retry(
    request: Request,
    update_id: Id,
    caller: Retrier,
    state: Everything,
    key: Key = "",
) -> Response:
    """Order another try of what needs attention."""
    await retry_update(update_id, NothingIn(), caller, state, key or None)
    return go(request, f"/updates/{update_id}", N_("Another try is ordered."))
