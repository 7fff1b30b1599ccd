"""What an event changes in the register besides the update itself; each is applied once.

Certificates only move on: issued, on_card, retired, revoked. So a late event never takes one back.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import exists, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from cardflow.db import tracking
from cardflow.db.register_cards import cards_to_change
from cardflow.db.tables import Card, Certificate, Debt, Document, Update, UpdateLane
from cardflow.lifecycle import is_checked
from cardflow.model import (
    CardState,
    CertificateKind,
    DocumentKind,
    DocumentRef,
    Event,
    EventKind,
    LanePlan,
    LaneStage,
    ObjectRef,
    SignatureFound,
    Stage,
    UpdateInput,
    UpdateView,
    new_id,
)
from cardflow.x509 import facts_of_certificate


@dataclass(frozen=True)
class Happening:
    """An event of an update, with everything that its effects depend on."""

    row: Update
    update: UpdateInput
    view: UpdateView
    event: Event

    @property
    def plan(self) -> LanePlan:
        """What the event's lane is to do; a KeyError is a bug."""
        return {plan.lane: plan for plan in self.update.plan.lanes}[self.event.lane]


async def apply(session: AsyncSession, happening: Happening) -> None:
    """Leave the register as it is after the event."""
    if effect := EFFECTS.get(happening.event.kind):
        await effect(session, happening)


# Keys and certificates


async def _key_prepared(session: AsyncSession, now: Happening) -> None:
    lane = await session.get_one(UpdateLane, (now.row.id, now.event.lane))
    lane.csr_pem = now.event.facts["csr_pem"]


async def _issued(session: AsyncSession, now: Happening) -> None:
    pem = now.event.facts["certificate_pem"]
    facts = facts_of_certificate(pem)
    lane = await session.get_one(UpdateLane, (now.row.id, now.event.lane))
    lane.certificate_pem = pem
    if await session.get(Certificate, (facts.sha256, now.row.card_id)):
        return
    certificate = Certificate(
        sha256=facts.sha256,
        card_id=now.row.card_id,
        kind=CertificateKind.MANAGED,
        # The event of the writing may have been recorded first.
        state="on_card" if lane.stage == LaneStage.WRITTEN else "issued",
        profile=now.event.lane,
        key_type=now.plan.key_type,
        update_id=now.row.id,
        lane=now.event.lane,
        cka_id=now.plan.cka_id,
        spki_sha256=facts.spki_sha256,
        serial_number=facts.serial_number,
        subject=facts.subject,
        issuer=facts.issuer,
        not_before=facts.not_before,
        not_after=facts.not_after,
        pem=pem,
        created_at=now.event.at,
    )
    session.add(certificate)


async def _written(session: AsyncSession, now: Happening) -> None:
    await session.execute(
        update(Certificate)
        .where(
            col(Certificate.update_id) == now.row.id,
            col(Certificate.lane) == now.event.lane,
            col(Certificate.state) == "issued",
        )
        .values(state="on_card")
    )


async def _removed(session: AsyncSession, now: Happening) -> None:
    for ref in now.event.refs:
        await _pay(session, now.row.card_id, ref, now.event.at)
    gone = [ref.certificate_sha256 for ref in now.event.refs if ref.certificate_sha256]
    await _retire(session, now.row.card_id, gone)


async def _pay(session: AsyncSession, card_id: str, ref: ObjectRef, at: datetime) -> None:
    debts = update(Debt).where(
        col(Debt.card_id) == card_id,
        col(Debt.cka_id) == ref.cka_id,
        col(Debt.certificate_sha256) == ref.certificate_sha256,
        col(Debt.paid_at).is_(None),
    )
    await session.execute(debts.values(paid_at=at))


async def _retire(session: AsyncSession, card_id: str, sha256: list[str]) -> None:
    await session.execute(
        update(Certificate)
        .where(
            col(Certificate.card_id) == card_id,
            col(Certificate.sha256).in_(sha256),
            col(Certificate.state) == "on_card",
        )
        .values(state="retired")
    )


async def _debts_recorded(session: AsyncSession, now: Happening) -> None:
    for ref in now.event.refs:
        if not await _is_owed(session, now.row.card_id, ref):
            session.add(
                Debt(
                    id=new_id(),
                    card_id=now.row.card_id,
                    update_id=now.row.id,
                    cka_id=ref.cka_id,
                    certificate_sha256=ref.certificate_sha256,
                    spki_sha256=ref.spki_sha256,
                    recorded_at=now.event.at,
                )
            )
            await session.flush()


async def _is_owed(session: AsyncSession, card_id: str, ref: ObjectRef) -> bool:
    query = select(col(Debt.id)).where(
        col(Debt.card_id) == card_id,
        col(Debt.cka_id) == ref.cka_id,
        col(Debt.certificate_sha256) == ref.certificate_sha256,
        col(Debt.paid_at).is_(None),
    )
    return await session.scalar(query.limit(1)) is not None


async def _cleared(session: AsyncSession, now: Happening) -> None:
    await _removed(session, now)
    ours = select(col(Certificate.sha256)).where(
        col(Certificate.card_id) == now.row.card_id,
        col(Certificate.kind) == CertificateKind.MANAGED,
    )
    await _retire(session, now.row.card_id, list((await session.scalars(ours)).all()))


# Documents


async def _received(session: AsyncSession, now: Happening) -> None:
    document = await _document(session, now)
    if document is None:
        return
    earlier = update(Document).where(
        col(Document.update_id) == now.row.id,
        col(Document.lane) == now.event.lane,
        col(Document.kind) == document.kind,
        col(Document.direction) == "received",
        col(Document.state) == "checking",
        col(Document.id) != document.id,
    )
    await session.execute(earlier.values(state="replaced"))
    ref = DocumentRef(
        document.id, DocumentKind(document.kind), document.sha256,
        signature=SignatureFound(now.event.facts.get("signature", SignatureFound.NONE)),
    )  # fmt: skip
    checked = is_checked(now.plan, ref)
    document.state = "checking" if checked else "accepted"


async def _withdrawn(session: AsyncSession, now: Happening) -> None:
    if document := await _document(session, now):
        document.state = "withdrawn"


async def _approved(session: AsyncSession, now: Happening) -> None:
    if now.event.facts.get("complete") == "no":
        return  # others must approve too
    if document := await _document(session, now):
        document.state = "accepted"


async def _rejected(session: AsyncSession, now: Happening) -> None:
    if document := await _document(session, now):
        document.state = "rejected"


async def _document(session: AsyncSession, now: Happening) -> Document | None:
    return await session.get(Document, now.event.facts.get("document_id", ""))


# The card


async def _card(session: AsyncSession, now: Happening) -> Card:
    cards = await cards_to_change(session, [now.row.card_id])
    return cards[now.row.card_id]


async def _blocked(session: AsyncSession, now: Happening) -> None:
    card = await _card(session, now)
    if card.state != CardState.REVOKED:
        card.state = CardState.DISABLED


# The end


async def _ended(session: AsyncSession, now: Happening) -> None:
    now.row.ended_at = now.event.at
    card = await _card(session, now)
    if now.event.kind is EventKind.COMPLETED:
        await tracking.register(session, card, now.update, now.event.at)
    card.update_due = _update_due(now, card.update_due)
    if card.state == CardState.PENDING:
        card.state = await _state_after(session, card)


def _update_due(now: Happening, before: str) -> str:
    rejected = [
        lane.plan.lane
        for lane in now.view.state.lanes
        if lane.plan.mandatory and lane.stage is LaneStage.CA_REJECTED
    ]
    if rejected:
        return f"rejected by the CA: {', '.join(rejected)}"[:200]
    return "" if now.view.stage is Stage.COMPLETED else before


async def _state_after(session: AsyncSession, card: Card) -> CardState:
    await session.flush()
    carries = exists().where(
        col(Certificate.card_id) == card.id,
        col(Certificate.kind) == CertificateKind.MANAGED,
        col(Certificate.state) == "on_card",
    )
    if await session.scalar(select(carries)):
        return CardState.ISSUED
    return CardState.ASSIGNED if card.holder_id else CardState.CLEAN


EFFECTS: dict[EventKind, Callable[[AsyncSession, Happening], Awaitable[None]]] = {
    EventKind.KEY_PREPARED: _key_prepared,
    EventKind.CERTIFICATE_ISSUED: _issued,
    EventKind.WRITTEN: _written,
    EventKind.RETIRED: _removed,
    EventKind.DEBTS_PAID: _removed,
    EventKind.DEBTS_RECORDED: _debts_recorded,
    EventKind.CARD_CLEARED: _cleared,
    EventKind.DOCUMENT_RECEIVED: _received,
    EventKind.DOCUMENT_WITHDRAWN: _withdrawn,
    EventKind.DOCUMENT_APPROVED: _approved,
    EventKind.DOCUMENT_REJECTED: _rejected,
    EventKind.REPORTED_LOST: _blocked,
    EventKind.COMPLETED: _ended,
    EventKind.REJECTED: _ended,
    EventKind.CANCELLED: _ended,
    EventKind.LAPSED: _ended,
}
