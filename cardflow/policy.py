"""The rules: pure functions that return every reason against, so that nothing means yes."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from cardflow.lifecycle import document_kind, form_signature, open_lanes
from cardflow.model import (
    Act,
    Action,
    Approval,
    CardState,
    CertificateKind,
    CertificateOnCard,
    DocumentExchange,
    DocumentRef,
    FormSignature,
    Lane,
    LanePlan,
    LaneStage,
    Means,
    Mode,
    ObjectRef,
    Plan,
    Policy,
    PolicyProfile,
    Profile,
    Purpose,
    Role,
    SignatureFound,
    UpdateInput,
    UpdateState,
    Verdict,
)

AWAITING = (LaneStage.AWAITING_REQUEST_FORM, LaneStage.AWAITING_CERTIFICATE_FORM)
CHECKING = (LaneStage.CHECKING_REQUEST_FORM, LaneStage.CHECKING_CERTIFICATE_FORM)
AT_WORK = "the operation is already running at the workstation"
ON_PAPER = "this form is signed on paper; print it, sign it by hand and upload the scan"
WITH_THE_CARD = (
    "this form is signed electronically; sign it with your card, or upload the form itself as a"
    " signed PDF (PAdES), not a scan"
)
NOT_IN_POLICY = "the policy no longer has it"


# Policies


def policy_objections(policy: Policy, profiles: Mapping[str, Profile]) -> list[str]:
    """Return every reason why the policy cannot be used, each naming its key."""
    found = []
    if not policy.profiles:
        found.append("profiles: a policy needs at least one")
    names = [entry.profile for entry in policy.profiles]
    found += [f"profiles: {name} stands there twice" for name in sorted(_repeated(names))]
    for entry in policy.profiles:
        found += _entry_objections(entry, profiles)
        found += _signature_objections(entry, policy)
    if not policy.contact.strip():
        found.append("contact: say whom a holder can ask")
    for key, least in (("reminder_hours", 1), ("escalation_hours", 1), ("deadline_hours", 1)):
        if getattr(policy, key) < least:
            found.append(f"{key}: must be at least {least}")
    if policy.deadline_hours <= policy.reminder_hours:
        found.append("deadline_hours: must be later than the first reminder (reminder_hours)")
    if policy.renew_before_days < 0:
        found.append("renew_before_days: must not be negative")
    if policy.select_third_party and not policy.search_third_party:
        found.append("select_third_party: needs search_third_party")
    return found


def _entry_objections(entry: PolicyProfile, profiles: Mapping[str, Profile]) -> list[str]:
    where = f"profiles.{entry.profile}"
    profile = profiles.get(entry.profile)
    if profile is None:
        known = ", ".join(sorted(profiles))
        return [f"{where}: there is no such profile; there are {known}"]
    found = []
    if entry.mode is Mode.CERTIFICATE_FORM and profile.approval is Approval.OFFICER:
        found.append(f"{where}.mode: F needs a CA that issues at once, and an officer decides here")
    if entry.precheck and entry.mode not in (Mode.REQUEST_FORM, Mode.BOTH):
        found.append(f"{where}.precheck: only modes R and RF have a request form to check")
    if not 1 <= entry.approvals_needed <= 5:  # noqa: PLR2004 a quorum, not a parliament
        found.append(f"{where}.approvals_needed: must be between 1 and 5")
    return found


def _signature_objections(entry: PolicyProfile, policy: Policy) -> list[str]:
    where, found = f"profiles.{entry.profile}", []
    forms = {
        "request_form_signature": entry.request_form_signature,
        "certificate_form_signature": entry.certificate_form_signature,
    }
    electronic = [key for key, way in forms.items() if way is not FormSignature.PAPER]
    if policy.document_exchange is DocumentExchange.OUTSIDE:
        found += [
            f'{where}.{key}: needs document_exchange = "portal", through which a signed form comes'
            for key in electronic
        ]
    if entry.approve_signed and not electronic:
        found.append(f"{where}.approve_signed: no form of this profile is signed electronically")
    if entry.approve_signed and entry.approvals_needed > 1:
        found.append(
            f"{where}.approve_signed: {entry.approvals_needed} people must approve here, and a"
            " machine is none; set approvals_needed = 1, or leave approve_signed out"
        )
    return found


def _repeated(names: Iterable[str]) -> set[str]:
    seen: set[str] = set()
    return {name for name in names if name in seen or seen.add(name)}  # type: ignore[func-returns-value]


# Opening an update


@dataclass(frozen=True)
class Opening:
    """Who wants to open an update on which card."""

    actor: str
    role: Role
    holder_id: str
    holder_active: bool
    card_state: CardState


def opening_objections(opening: Opening, policy: Policy) -> list[str]:
    """Return every reason why the update cannot be opened."""
    found = []
    if not opening.holder_id:
        found.append("the card is not assigned to anybody")
    if not opening.holder_active:
        found.append("the card's holder is disabled")
    if opening.card_state in (CardState.DISABLED, CardState.REVOKED):
        found.append(f"the card is {opening.card_state.lower()}")
    if opening.role is Role.HOLDER:
        if opening.actor != opening.holder_id:
            found.append("the card belongs to somebody else")
        if not policy.permissions.update:
            found.append("the policy does not let holders update their cards; ask your operator")
    elif opening.role is not Role.OPERATOR:
        found.append("only the holder or an operator opens an update")
    return found


@dataclass(frozen=True)
class Selection:
    """What a person picked for an update."""

    optional: tuple[str, ...] = ()
    third_party: tuple[str, ...] = ()  # SHA-256 of certificates to register


@dataclass(frozen=True)
class Situation:
    """What a plan is made from: the card as last seen, and the names for its certificates."""

    update_id: str
    on_card: Sequence[CertificateOnCard]
    subjects: Mapping[str, str]  # profile -> RFC 4514 subject
    now: datetime
    missing: Sequence[
        CertificateOnCard
    ] = ()  # ours by the register, and not seen: too new, or gone


def make_plan(
    policy: Policy, profiles: Mapping[str, Profile], situation: Situation, selection: Selection
) -> Plan:
    """Return what an update would do to the card, with every objection to doing it."""
    if lost := [e.profile for e in policy.profiles if e.profile not in profiles]:
        words = "the policy names profiles that do not exist any more"
        remedy = "an administrator must change the policy"
        return Plan(lanes=(), objections=(f"{words}: {', '.join(lost)}; {remedy}",))
    lanes = tuple(
        _lane_plan(entry, why, policy, profiles[entry.profile], situation)
        for entry in policy.profiles
        if (why := why_due(entry, policy, situation, selection))
    )
    replaced = {ref for lane in lanes for ref in lane.replaces}
    dropped = _dropped(policy, profiles, situation)
    kept = tuple(c for c in situation.on_card if c.ref not in replaced and c not in dropped)
    registers, objections = _third_party(policy, situation, selection)
    objections += _selection_objections(policy, selection)
    if not lanes and not dropped and not registers:
        objections.append("the card has everything that its policy asks for: nothing to update")
    return Plan(
        lanes=lanes,
        keeps=kept,
        removes=tuple(c.ref for c in dropped),
        removed_serial_numbers=tuple(c.serial_number for c in dropped),
        registers=registers,
        objections=tuple(objections),
    )


def what_is_due(
    policy: Policy, profiles: Mapping[str, Profile], situation: Situation
) -> dict[str, str]:
    """Return by profile why the card needs an update, even if nobody chooses anything."""
    lanes = {
        entry.profile: why
        for entry in policy.profiles
        if (why := why_due(entry, policy, situation, Selection()))
    }
    gone = {c.profile: NOT_IN_POLICY for c in _dropped(policy, profiles, situation)}
    return lanes | gone


def why_due(
    entry: PolicyProfile, policy: Policy, situation: Situation, selection: Selection
) -> str:
    """Return why the profile needs a new certificate, in words; empty when it does not."""
    chosen = entry.profile in selection.optional
    if not entry.mandatory and not chosen:
        return ""
    current = [c for c in situation.on_card if _is_managed(c, entry.profile)]
    if not current:
        return "not on the card yet"
    good = [c for c in current if not c.revoked]
    if not good:
        return "revoked"
    newest = max(good, key=lambda c: c.not_after)
    if newest.not_after <= situation.now:
        return f"expired on {newest.not_after:%Y-%m-%d}"
    if newest.not_after <= situation.now + timedelta(days=policy.renew_before_days):
        return f"expires on {newest.not_after:%Y-%m-%d}"
    if newest.key_type and newest.key_type != entry.key_type:
        return f"the policy now asks for {entry.key_type} keys"
    return "chosen" if chosen else ""


def _is_managed(certificate: CertificateOnCard, profile: str) -> bool:
    return certificate.kind is CertificateKind.MANAGED and certificate.profile == profile


def _lane_plan(
    entry: PolicyProfile, why: str, policy: Policy, profile: Profile, situation: Situation
) -> LanePlan:
    ours = (*situation.on_card, *situation.missing)
    replaced = [c for c in ours if _is_managed(c, entry.profile)]
    keeps_old = profile.purpose is Purpose.ENCRYPTION and policy.keep_old_encryption
    name = f"{situation.update_id}\0{entry.profile}"
    return LanePlan(
        lane=entry.profile,
        mode=entry.mode,
        key_type=entry.key_type,
        mandatory=entry.mandatory,
        precheck=entry.precheck,
        approvals_needed=entry.approvals_needed,
        needs_officer=profile.approval is Approval.OFFICER,
        subject=situation.subjects[entry.profile],
        cka_id=hashlib.sha256(name.encode()).hexdigest()[:40],
        why=why,
        replaces=tuple(c.ref for c in replaced),
        retires=() if keeps_old else tuple(c.ref for c in replaced),
        replaced_serial_numbers=tuple(c.serial_number for c in replaced),
        request_form_signature=entry.request_form_signature,
        certificate_form_signature=entry.certificate_form_signature,
        approve_signed=entry.approve_signed,
    )


def _dropped(
    policy: Policy, profiles: Mapping[str, Profile], situation: Situation
) -> list[CertificateOnCard]:
    """Managed certificates whose profile the policy no longer has; old encryption may stay."""
    wanted = {entry.profile for entry in policy.profiles}
    return [
        c
        for c in (*situation.on_card, *situation.missing)
        if c.kind is CertificateKind.MANAGED
        and c.profile not in wanted
        and not (
            policy.keep_old_encryption
            and c.profile in profiles
            and profiles[c.profile].purpose is Purpose.ENCRYPTION
        )
    ]


def _third_party(
    policy: Policy, situation: Situation, selection: Selection
) -> tuple[tuple[ObjectRef, ...], list[str]]:
    foreign = {
        c.ref.certificate_sha256: c.ref
        for c in situation.on_card
        if c.kind is CertificateKind.THIRD_PARTY
    }
    if not policy.search_third_party:
        refused = ["the policy does not register third-party certificates"]
        return (), refused if selection.third_party else []
    if not policy.select_third_party:
        return tuple(foreign.values()), []
    unknown = [digest for digest in selection.third_party if digest not in foreign]
    chosen = [foreign[digest] for digest in selection.third_party if digest in foreign]
    return tuple(chosen), [f"no third-party certificate {d} is on the card" for d in unknown]


def _selection_objections(policy: Policy, selection: Selection) -> list[str]:
    optional = {entry.profile for entry in policy.profiles if not entry.mandatory}
    found = [f"{name} is not an optional profile of this policy" for name in selection.optional
             if name not in optional]  # fmt: skip
    if selection.optional and not policy.permissions.select_optional:
        found.append("the policy does not let you choose optional profiles")
    return found


# Digests: what a person was shown


def canonical_digest(value: object) -> str:
    """Return the SHA-256 (hex) of the value as JSON with sorted keys and no spaces."""
    return hashlib.sha256(canonical_text(value).encode()).hexdigest()


def canonical_text(value: object) -> str:
    """Return the value as JSON with sorted keys and no spaces."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def decision_digest(update: UpdateInput, lane: Lane) -> str:
    """Return the digest of what is shown to whoever decides; any change of it voids it."""
    return canonical_digest(decision_facts(update, lane))


def decision_facts(update: UpdateInput, lane: Lane) -> dict[str, object]:
    """Return what is shown to whoever decides on the lane's document, as JSON types."""
    return {
        "update": update.update_id,
        "lane": lane.plan.lane,
        "revision": lane.revision,
        "subject": lane.plan.subject,
        "spki": lane.spki_sha256,
        "certificate": lane.certificate_sha256,
        "policy": [update.policy.name, update.policy.version],
        "document": [lane.document.id, lane.document.sha256] if lane.document else [],
    }


# Actions on an open update


def objections(update: UpdateInput, state: UpdateState, action: Action) -> list[str]:
    """Return every reason why the action cannot be taken now; none means it counts."""
    if action.update_id != update.update_id:
        return ["the action is for another update"]
    if state.ended:
        return [f"this update has ended: {state.ended}"]
    match action.act:
        case Act.SIGN_DOCUMENT:
            return _sign_objections(update, state, _lane(state, action), action)
        case Act.SUBMIT_DOCUMENT:
            return _submit_objections(update, _lane(state, action), action)
        case Act.WITHDRAW_DOCUMENT:
            return _withdraw_objections(update, _lane(state, action), action)
        case Act.DECIDE_DOCUMENT:
            return _decide_objections(update, state, _lane(state, action), action)
    return _whole_objections(update, state, action)


def _whole_objections(update: UpdateInput, state: UpdateState, action: Action) -> list[str]:
    match action.act:
        case Act.CONTINUE:
            return _continue_objections(update, state, action)
        case Act.CANCEL:
            return _cancel_objections(update, state, action)
        case Act.RETRY:
            return _retry_objections(state, action)
        case Act.REPORT_LOST:
            return _report_objections(update, action)
    return [f"{action.act} is not an action on an open update"]


def _lane(state: UpdateState, action: Action) -> Lane | None:
    return next((lane for lane in state.lanes if lane.plan.lane == action.lane), None)


def _continue_objections(update: UpdateInput, state: UpdateState, action: Action) -> list[str]:
    found = []
    if action.actor != update.holder_id:
        found.append("only the card's holder can continue at the workstation")
    if action.visit is None:
        found.append("the card is not connected")
    elif action.visit.signs:
        found.append("a visit that signs a form does nothing else")
    if state.visit:
        found.append(AT_WORK)
    if not has_work_at_the_card(state):
        found.append("there is nothing to do at the card yet")
    return found


def has_work_at_the_card(state: UpdateState) -> bool:
    """Tell whether a visit would have something to do now."""
    lanes = open_lanes(state)
    if not lanes:
        # Clearing a card, or an update that only removes or registers, never had any.
        return not state.lanes
    if any(lane.stage is LaneStage.PREPARING for lane in lanes):
        return True
    return all(lane.stage is LaneStage.READY and not lane.attention for lane in lanes)


def _sign_objections(
    update: UpdateInput, state: UpdateState, lane: Lane | None, action: Action
) -> list[str]:
    if lane is None:
        return [f"the update has no lane {action.lane}"]
    if lane.stage not in (*AWAITING, *CHECKING):
        return ["no form is to be signed here now"]
    found = []
    if action.actor != update.holder_id:
        found.append("only the card's holder can sign with the card")
    if form_signature(lane.plan, document_kind(lane.stage)) is FormSignature.PAPER:
        found.append(ON_PAPER)
    if state.visit:
        found.append(AT_WORK)
    return found + _form_objections(lane, action)


def _form_objections(lane: Lane, action: Action) -> list[str]:
    form = action.visit.signs if action.visit else None
    if form is None:
        return ["the card is not connected"]
    shown = (lane.plan.lane, lane.revision, document_kind(lane.stage), action.digest)
    if (form.lane, form.revision, form.kind, form.sha256) != shown:
        return ["the form changed since it was shown; look at it again"]
    return []


def _submit_objections(update: UpdateInput, lane: Lane | None, action: Action) -> list[str]:
    if lane is None:
        return [f"the update has no lane {action.lane}"]
    if lane.stage not in (*AWAITING, *CHECKING) or action.document is None:
        return ["no document is awaited here now"]
    found = []
    if action.document.kind != lane.stage.removeprefix("awaiting_").removeprefix("checking_"):
        found.append(f"a {action.document.kind} is not what is awaited now")
    found += _way_objections(lane, action.document)
    if action.role is Role.OPERATOR:
        if action.actor == update.holder_id:
            found.append("nobody records a document on their own card")
        if action.document.means in (Means.PORTAL, Means.ELECTRONIC):
            found.append("say by which means the document came")
        return found
    if action.actor != update.holder_id:
        found.append("only the card's holder or an operator can hand in this document")
    if update.policy.document_exchange is DocumentExchange.OUTSIDE:
        found.append(f"documents are not uploaded here; {update.policy.contact}")
    return found


def _way_objections(lane: Lane, document: DocumentRef) -> list[str]:
    """Return why a document that was signed in this way is not taken here."""
    way = form_signature(lane.plan, document_kind(lane.stage))
    is_signed = document.signature is not SignatureFound.NONE
    if way is FormSignature.ELECTRONIC and not is_signed:
        return [WITH_THE_CARD]
    return [ON_PAPER] if way is FormSignature.PAPER and is_signed else []


def as_it_may_be_signed(lane: Lane) -> SignatureFound:
    """Return a finding that the lane's policy takes, for asking before a document is examined."""
    way = form_signature(lane.plan, document_kind(lane.stage))
    return SignatureFound.GOOD if way is FormSignature.ELECTRONIC else SignatureFound.NONE


def _withdraw_objections(update: UpdateInput, lane: Lane | None, action: Action) -> list[str]:
    if lane is None or lane.stage not in CHECKING or lane.document is None:
        return ["there is no document under check that could be taken back"]
    found = []
    if lane.document.submitted_by != action.actor:
        found.append("the document was handed in by somebody else")
    if action.actor == update.holder_id and not update.policy.permissions.delete_documents:
        found.append("the policy does not let holders take documents back")
    return found


def _decide_objections(
    update: UpdateInput, state: UpdateState, lane: Lane | None, action: Action
) -> list[str]:
    if lane is None:
        return [f"the update has no lane {action.lane}"]
    if earlier := state.decisions.get(action.digest):
        return [f"too late: {earlier}"]
    if lane.stage not in CHECKING:
        return ["no document is waiting for a decision here"]
    found = four_eyes_objections(action.actor, (update.holder_id, update.started_by))
    if action.digest != decision_digest(update, lane):
        found.append("the document changed since it was shown; look at it again")
    if action.role is not Role.OPERATOR:
        found.append("documents are decided by operators")
    if action.actor in lane.approvals:
        found.append("you have already approved this document; another person must decide")
    if action.verdict is None:
        found.append("verdict: say approve or reject")
    if action.verdict is Verdict.REJECT and not action.reason.strip():
        found.append("reason: a rejection needs a reason")
    return found


def four_eyes_objections(actor: str, own: tuple[str, str]) -> list[str]:
    """Return why ``actor`` may not decide; ``own`` is the holder and whoever opened the request."""
    holder, started_by = own
    if actor == holder:
        return ["nobody decides on their own card"]
    return ["nobody decides on their own request"] if actor == started_by else []


def _cancel_objections(update: UpdateInput, state: UpdateState, action: Action) -> list[str]:
    found = []
    if state.writing:
        found.append("certificates are being written now; wait a moment")
    if action.role is Role.HOLDER:
        if action.actor != update.holder_id:
            found.append("the card belongs to somebody else")
        if not update.policy.permissions.cancel:
            found.append(f"the policy does not let holders cancel; {update.policy.contact}")
    elif action.role not in (Role.OPERATOR, Role.ADMIN):
        found.append("only the holder, an operator or an administrator can cancel")
    return found


def _retry_objections(state: UpdateState, action: Action) -> list[str]:
    found = []
    if action.role not in (Role.OPERATOR, Role.ADMIN):
        found.append("only an operator or an administrator can order another try")
    if not any(lane.attention for lane in state.lanes):
        found.append("nothing needs attention")
    return found


def _report_objections(update: UpdateInput, action: Action) -> list[str]:
    """A card is lost at any time; no policy and no running visit keeps it from being reported."""
    if action.role is Role.HOLDER:
        own = action.actor == update.holder_id
        return [] if own else ["the card belongs to somebody else"]
    if action.role in (Role.OPERATOR, Role.OFFICER, Role.ADMIN):
        return []
    return ["only the holder, an operator, a CA officer or an administrator reports a card lost"]
