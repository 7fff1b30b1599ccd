"""What is on a card, where it is connected, and why an update of it is due."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends
from sqlalchemy.ext.asyncio import AsyncSession

from api.auth import may
from api.authorize import Caller, Grant, Permission, authorize
from api.card_contents import Contents, contents_of
from api.planning import registered_card
from api.problems import Problem, problems
from api.routing import GuardedRoute, Reading
from api.shapes import Id, Out
from api.visits import connection
from cardflow.db.register_policies import newest_version
from cardflow.db.register_updates import certificates_of, open_update_on, unpaid_debts
from cardflow.db.tables import Card
from cardflow.decisions import utc_now
from cardflow.jobs import FoundKey
from cardflow.model import (
    CertificateKind,
    CertificateOnCard,
    Policy,
    Role,
    Stage,
)
from cardflow.policy import Selection, Situation, why_due
from cardflow.policy_toml import stored_policy

router = APIRouter(prefix="/cards", tags=["updates"], route_class=GuardedRoute)

Reader = Annotated[Caller, Depends(may(Permission.SEE_CONTENTS))]


class CertificateOut(Out):
    """A certificate on a card."""

    sha256: str
    cka_id: str
    subject: str
    issuer: str
    serial_number: str
    not_before: datetime
    not_after: datetime
    expired: bool
    revoked: bool
    has_key: bool
    profile: str
    key_type: str


class BareKeyOut(Out):
    """A key without a certificate, and what is known of it."""

    cka_id: str
    spki_sha256: str
    owed: bool  # it goes at the next visit


class ConnectedOut(Out):
    """The holder's workstation that reports the card now."""

    agent_id: str
    host: str
    reader: str
    unusable: str  # why it cannot be worked with, when it cannot


class DueOut(Out):
    """Why an update is due."""

    profile: str
    why: str


class ContentsOut(Out):
    """Everything that is known of a card's contents."""

    card_id: str
    token_serial: str
    seen_at: datetime | None
    managed: list[CertificateOut]
    tracked: list[CertificateOut]
    third_party: list[CertificateOut]
    missing: list[CertificateOut]  # ours, and not seen on the card
    keys_without_certificate: list[BareKeyOut]
    unreadable: int
    update_id: str | None
    update_stage: Stage | None
    connected: ConnectedOut | None
    not_connected: str  # the reason, when it is not
    update_due: list[DueOut]
    contact: str  # whom the holder asks


@router.get("/{card_id}/contents", operation_id="show_contents", responses=problems(404))
async def show_contents(card_id: Id, caller: Reader, session: Reading) -> ContentsOut:
    """Return what is on a card as last seen, where it is connected, and why an update is due."""
    card = await registered_card(session, card_id)
    grant = authorize(caller, Permission.SEE_CONTENTS, card)
    policy = await _policy(session, card)
    _check_may_look(grant, policy)
    contents = contents_of(card, await certificates_of(session, card.id))
    return await _contents(session, card, policy, contents)


async def _policy(session: AsyncSession, card: Card) -> Policy | None:
    version = await newest_version(session, card.policy_name)
    return stored_policy(version.document, version.version) if version else None


def _check_may_look(grant: Grant, policy: Policy | None) -> None:
    if grant.role is Role.HOLDER and policy and not policy.permissions.view_contents:
        raise Problem(403, f"the policy does not show holders what is on cards; {policy.contact}")


async def _contents(
    session: AsyncSession, card: Card, policy: Policy | None, contents: Contents
) -> ContentsOut:
    update = await open_update_on(session, card.id)
    owed = {debt.cka_id for debt in await unpaid_debts(session, card.id)}
    connected, reason = None, "the card is not assigned to anybody"
    if card.holder_id:
        here, reason = await connection(
            session, holder_id=card.holder_id, token_serial=card.token_serial
        )
        if here:
            connected = ConnectedOut(
                agent_id=here.agent.id,
                host=here.agent.host,
                reader=here.report.reader,
                unusable=reason,
            )
    of_kind = {kind: _certificates(contents.certificates, kind) for kind in CertificateKind}
    return ContentsOut(
        card_id=card.id,
        token_serial=card.token_serial,
        seen_at=card.seen_at,
        managed=of_kind[CertificateKind.MANAGED],
        tracked=of_kind[CertificateKind.TRACKED],
        third_party=of_kind[CertificateKind.THIRD_PARTY],
        missing=[_certificate(c) for c in contents.missing],
        keys_without_certificate=[_bare_key(k, owed) for k in contents.bare_keys],
        unreadable=contents.unreadable,
        update_id=update.id if update else None,
        update_stage=Stage(update.stage) if update else None,
        connected=connected,
        not_connected="" if connected else reason,
        update_due=_due(card, policy, contents),
        contact=policy.contact if policy else "",
    )


def _certificates(
    found: tuple[CertificateOnCard, ...], kind: CertificateKind
) -> list[CertificateOut]:
    return [_certificate(c) for c in found if c.kind is kind]


def _certificate(found: CertificateOnCard) -> CertificateOut:
    return CertificateOut(
        sha256=found.ref.certificate_sha256,
        cka_id=found.ref.cka_id,
        subject=found.subject,
        issuer=found.issuer,
        serial_number=found.serial_number,
        not_before=found.not_before,
        not_after=found.not_after,
        expired=found.not_after <= utc_now(),
        revoked=found.revoked,
        has_key=found.has_key,
        profile=found.profile,
        key_type=found.key_type,
    )


def _bare_key(key: FoundKey, owed: set[str]) -> BareKeyOut:
    return BareKeyOut(cka_id=key.cka_id, spki_sha256=key.spki_sha256, owed=key.cka_id in owed)


def _due(card: Card, policy: Policy | None, contents: Contents) -> list[DueOut]:
    found = [DueOut(profile="", why=card.update_due)] if card.update_due else []
    if policy is None:
        return found
    situation = Situation("", contents.certificates, {}, utc_now())
    reasons = ((e.profile, why_due(e, policy, situation, Selection())) for e in policy.profiles)
    return found + [DueOut(profile=profile, why=why) for profile, why in reasons if why]
