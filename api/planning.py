"""What an update of a card would do, worked out the same way for showing it and for doing it."""

from dataclasses import dataclass, replace

from sqlalchemy.ext.asyncio import AsyncSession

from api.authorize import Caller, Grant
from api.card_contents import Contents, contents_of
from api.problems import invalid, not_found, refused
from cardflow.db.ca_record import subject_of
from cardflow.db.register_cards import find_card, find_to_change
from cardflow.db.register_identity import find_person
from cardflow.db.register_policies import newest_version
from cardflow.db.register_updates import certificates_of, open_update_on, unpaid_debts
from cardflow.db.tables import Card, Person
from cardflow.decisions import utc_now
from cardflow.errors import Refused
from cardflow.model import (
    CardState,
    CertificateKind,
    Kind,
    ObjectRef,
    Plan,
    Policy,
    Profile,
    Subject,
)
from cardflow.policy import (
    Opening,
    Selection,
    Situation,
    canonical_digest,
    make_plan,
    opening_objections,
)
from cardflow.policy_toml import stored_policy
from cardflow.wire import to_json
from cardflow.x509 import subject_dn, subject_objections

CHANGED = "what would be done has changed since it was shown; look at it again"


@dataclass(frozen=True)
class Case:
    """A card with everything that a plan for it rests on."""

    card: Card
    policy: Policy
    holder: Person | None
    contents: Contents
    debts: tuple[ObjectRef, ...]
    is_open: bool


async def registered_card(session: AsyncSession, card_id: str, *, to_change: bool = False) -> Card:
    """Return the card, or raise Problem 404; one to change is nobody else's until then."""
    find = find_to_change if to_change else find_card
    card = await find(session, card_id)
    if card is None:
        raise not_found("card")
    return card


async def case_of(session: AsyncSession, card: Card) -> Case:
    """Return the card's case, or raise Problem 409 when no policy says what it must carry."""
    version = await newest_version(session, card.policy_name)
    if version is None:
        raise refused(["the card is under no policy; an administrator must choose one"])
    debts = await unpaid_debts(session, card.id)
    return Case(
        card=card,
        policy=stored_policy(version.document, version.version),
        holder=await find_person(session, card.holder_id) if card.holder_id else None,
        contents=contents_of(card, await certificates_of(session, card.id)),
        debts=tuple(ObjectRef(d.cka_id, d.certificate_sha256, d.spki_sha256) for d in debts),
        is_open=await open_update_on(session, card.id) is not None,
    )


def plan_update(
    case: Case,
    profiles: dict[str, Profile],
    selection: Selection,
    *,
    update_id: str,
    opening: Opening,
) -> Plan:
    """Return what the update would do, with every objection to it, whoever raises it."""
    found = _opening_objections(case, opening)
    subject = subject_of(case.holder) if case.holder else Subject("", "", "")
    names = {name: _dn(subject, profile) for name, profile in profiles.items()}
    seen, missing = case.contents.certificates, case.contents.missing
    situation = Situation(update_id, seen, names, utc_now(), missing)
    plan = make_plan(case.policy, profiles, situation, selection)
    if case.holder:
        found += _record_objections(subject, [profiles[lane.lane] for lane in plan.lanes])
    return replace(plan, objections=(*found, *plan.objections))


def plan_clearing(case: Case, *, opening: Opening) -> Plan:
    """Return what revoking and clearing the card would do: all that is ours goes."""
    ours = [c for c in case.contents.certificates if c.kind is CertificateKind.MANAGED]
    found = _opening_objections(case, opening)
    if not ours and not case.debts:
        found.append("nothing of ours is on the card")
    return Plan(
        lanes=(),
        keeps=tuple(c for c in case.contents.certificates if c not in ours),
        removes=tuple(c.ref for c in ours),
        removed_serial_numbers=tuple(c.serial_number for c in ours),
        objections=tuple(found),
    )


def opening_by(caller: Caller, grant: Grant, case: Case) -> Opening:
    """Return who wants to open an update, as the rules ask for it."""
    return Opening(
        actor=caller.person,
        role=grant.role,
        holder_id=case.card.holder_id or "",
        holder_active=case.holder is not None and case.holder.active,
        card_state=CardState(case.card.state),
    )


def shown(plan: Plan) -> Plan:
    """Return the plan as a person sees it: object ids are chosen when the update is opened."""
    return replace(plan, lanes=tuple(replace(lane, cka_id="") for lane in plan.lanes))


def plan_digest(policy: Policy, plan: Plan, kind: Kind = Kind.UPDATE) -> str:
    """Return the digest of what a person confirms; ids made at the opening are not in it."""
    return canonical_digest([kind, policy.name, policy.version, to_json(shown(plan))])


def check_confirmed(policy: Policy, plan: Plan, digest: str) -> None:
    """Return if the plan may be carried out and is the one that was confirmed, else raise."""
    if plan.objections:
        raise refused(plan.objections)
    if plan_digest(policy, plan) != digest:
        raise refused([CHANGED])


def check_serial(card: Card, confirm: str) -> None:
    """Return if the right card was named once more, else raise Problem 422."""
    if confirm != card.token_serial:
        remedy = "type the serial of the card that is to be cleared"
        raise invalid("confirm", "this is not the card's serial", remedy)


def _opening_objections(case: Case, opening: Opening) -> list[str]:
    found = opening_objections(opening, case.policy)
    if case.is_open:
        found.append("an update is already open on this card")
    return found


def _record_objections(subject: Subject, profiles: list[Profile]) -> list[str]:
    found = [o for profile in profiles for o in subject_objections(subject, profile)]
    return [f"the holder's record: {objection}" for objection in dict.fromkeys(found)]


def _dn(subject: Subject, profile: Profile) -> str:
    try:
        return subject_dn(subject, profile)
    except Refused:
        return ""  # the reasons are among the plan's objections
