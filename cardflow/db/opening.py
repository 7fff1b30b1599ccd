"""The one gate into the register: an update whose start this organisation signed."""

from sqlalchemy.ext.asyncio import AsyncSession

from cardflow import decisions, lifecycle
from cardflow.db import audit
from cardflow.db.projection import write_view
from cardflow.db.register_cards import find_to_change
from cardflow.db.tables import Card, Update, UpdateLane
from cardflow.db.views import text_of
from cardflow.errors import Refused
from cardflow.model import Act, CardState, UpdateInput

EVENT_NUMBER = 0  # the workflow's own events are numbered from 1


async def opening_objections(
    session: AsyncSession, update: UpdateInput, *, workflow_id: str, decision_root: str
) -> list[str]:
    """Return every reason why a workflow with this input must not go on."""
    if found := token_objections(update, decision_root):
        return found
    if found := resumption_objections(update):
        return found
    if workflow_id != f"card-update/{update.card_id}":
        found.append("the workflow's id is not the card's: two updates could run on one card")
    card = await find_to_change(session, update.card_id)
    if card is None:
        return [*found, "there is no such card"]
    if card.token_serial != update.token_serial:
        found.append("the card's serial is another one")
    if card.holder_id != update.holder_id:
        found.append("the card belongs to somebody else now")
    stored = await session.get(Update, update.update_id)
    if stored is None and update.resumed is None:
        found += _card_objections(card)
    return found + _record_objections(stored, update)


def _card_objections(card: Card) -> list[str]:
    """A card can be lost or disabled between the order and the start; one that runs goes on."""
    found = []
    if card.state in (CardState.DISABLED, CardState.REVOKED):
        found.append(f"the card is {card.state.lower()}")
    if card.lost_at:
        found.append("the card was reported lost")
    return found


def _record_objections(stored: Update | None, update: UpdateInput) -> list[str]:
    if stored and stored.ended_at:
        return [f"this update has ended: {stored.stage}"]
    if update.resumed is None:
        return []
    if stored is None:
        return ["an update that was never opened here cannot go on"]
    if update.resumed.events < stored.events:
        return ["the state is older than the one on record"]
    return []


def token_objections(update: UpdateInput, decision_root: str) -> list[str]:
    """Return why the input's OPEN token does not vouch for the input."""
    if update.decision_root != decision_root:
        return ["the update trusts another decision root than this installation"]
    try:
        action = decisions.read(update.token, decision_root)
    except Refused as refused:
        return refused.objections
    if action.act is not Act.OPEN or action.update_id != update.update_id:
        return ["the token does not open this update"]
    if action.actor != update.started_by:
        return ["somebody else opened this update"]
    if action.digest != decisions.opening_digest(update):
        return ["the update is not the one that was confirmed"]
    return []


def resumption_objections(update: UpdateInput) -> list[str]:
    """Return why the state that the input brings along is not vouched for."""
    if update.resumed is None:
        return []
    if not update.resumed.resumption:
        return ["a new update has no state yet"]
    try:
        action = decisions.read(update.resumed.resumption, update.decision_root)
    except Refused as refused:
        return refused.objections
    if action.act is not Act.RESUME or action.update_id != update.update_id:
        return ["the token does not resume this update"]
    if action.digest != decisions.resuming_digest(update):
        return ["the state is not the one that was vouched for"]
    return []


async def register(session: AsyncSession, update: UpdateInput) -> None:
    """Leave the update, its lanes, who is waited for, and its first link of the audit chain."""
    if await session.get(Update, update.update_id):
        return
    view = lifecycle.slim(lifecycle.view(update, lifecycle.begin(update)))
    row = Update(
        id=update.update_id,
        kind=update.kind,
        card_id=update.card_id,
        holder_id=update.holder_id,
        started_by=update.started_by,
        policy_name=update.policy.name,
        policy_version=update.policy.version,
        stage=view.stage,
        opened_at=update.opened_at,
        due_at=view.due_at,
        input=text_of(update),
        view=text_of(view),
    )
    session.add(row)
    await session.flush()
    for lane in update.plan.lanes:
        session.add(UpdateLane(update_id=row.id, lane=lane.lane, mode=lane.mode, stage="preparing"))
    await write_view(session, row, view)
    (await session.get_one(Card, update.card_id)).state = CardState.PENDING
    await audit.append(session, _first_entry(update))


def _first_entry(update: UpdateInput) -> audit.Entry:
    facts = {
        "card_id": update.card_id,
        "holder_id": update.holder_id,
        "policy": f"{update.policy.name} {update.policy.version}",
        "input_sha256": decisions.opening_digest(update),
        "token": update.token,
    }
    return audit.Entry(
        "start_verified",
        update.opened_at,
        actor=update.started_by,
        update_id=update.update_id,
        event=EVENT_NUMBER,
        facts=facts,
    )


async def refuse(
    session: AsyncSession, update: UpdateInput, workflow_id: str, objections: list[str]
) -> None:
    """Leave the refused start in the audit trail."""
    entry = audit.Entry(
        "start_refused",
        decisions.utc_now(),
        facts={
            "workflow_id": workflow_id,
            "update_id": update.update_id,
            "objections": objections,
        },
    )
    await audit.append(session, entry)
