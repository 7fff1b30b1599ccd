"""Builders with sensible defaults: what a test does not name does not matter to it."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from cardflow import decisions, policy
from cardflow.decisions import Signer
from cardflow.model import (
    Act,
    Action,
    CertificateKind,
    CertificateOnCard,
    DocumentKind,
    DocumentRef,
    FormToSign,
    KeyType,
    Kind,
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
    UpdateView,
    Verdict,
    Visit,
    new_id,
)
from cardflow.model import Approval as CAApproval

HOLDER = "holder-1"
OPERATOR = "operator-1"
OPERATOR_2 = "operator-2"
OFFICER = "officer-1"
AGENT = "ws1"
SERIAL = "0123456789abcdef"


@cache
def root() -> Ed25519PrivateKey:
    """Return this test run's decision root."""
    return Ed25519PrivateKey.generate()


@cache
def signer() -> Signer:
    """Return a signing key under the root, for all times that a test may speak of."""
    yesterday = datetime.now(UTC) - timedelta(days=1)  # a long run's modules were loaded before now
    return decisions.issue_signer(root(), now=yesterday, days=36_500)  # clocks of tests leap


def a_profile(
    name: str, *, officer: bool = False, purpose: Purpose = Purpose.AUTHENTICATION
) -> Profile:
    """Return a profile as the CA would know it."""
    return Profile(
        name=name,
        title=name.title(),
        purpose=purpose,
        key_usage=("digitalSignature",),
        extended_key_usage=("1.3.6.1.5.5.7.3.2",),
        subject_alt_names=(),
        sid_extension=False,
        validity_days=365,
        approval=CAApproval.OFFICER if officer else CAApproval.AUTOMATIC,
    )


def a_policy(*entries: PolicyProfile, **changes: object) -> Policy:
    """Return a policy over ``entries``, by default one lane without forms."""
    base = Policy(
        name="staff",
        version=1,
        title="Staff",
        profiles=entries or (an_entry("logon"),),
        contact="Ask the service desk.",
    )
    return replace(base, **changes)  # type: ignore[arg-type]


def an_entry(profile: str, mode: Mode = Mode.NONE, **changes: object) -> PolicyProfile:
    """Return a policy's entry; P-256 keys because they are made quickly."""
    entry = PolicyProfile(profile=profile, mode=mode, key_type=KeyType.P_256)
    return replace(entry, **changes)  # type: ignore[arg-type]


def an_old_certificate(profile: str, *, not_after: datetime) -> CertificateOnCard:
    """Return a managed certificate that is on the card before the update."""
    return CertificateOnCard(
        ref=ObjectRef(f"{profile.encode().hex():0<40}"[:40], "0d" * 32, "5b" * 32),
        kind=CertificateKind.MANAGED,
        subject="CN=Ada",
        issuer="CN=CA",
        serial_number=f"old-{profile}",
        not_before=not_after.replace(year=not_after.year - 1),
        not_after=not_after,
        has_key=True,
        profile=profile,
    )


def an_update(
    of: Policy,
    *,
    officers: tuple[str, ...] = (),
    opened_at: datetime,
    replacing: bool = True,
    optional: tuple[str, ...] = (),
    started_by: str = HOLDER,
    debts: tuple[ObjectRef, ...] = (),
    on_card: Sequence[CertificateOnCard] | None = None,
    lanes: bool = True,
) -> UpdateInput:
    """Return a signed input for an update of one card under the policy ``of``."""
    update_id = new_id()
    profiles = {e.profile: a_profile(e.profile, officer=e.profile in officers) for e in of.profiles}
    old = [an_old_certificate(e.profile, not_after=opened_at) for e in of.profiles if e.mandatory]
    seen = on_card if on_card is not None else old if replacing else []
    situation = policy.Situation(update_id, seen, dict.fromkeys(profiles, "CN=Ada"), opened_at)
    plan = policy.make_plan(of, profiles, situation, policy.Selection(optional=optional))
    update = UpdateInput(
        update_id=update_id,
        kind=Kind.UPDATE,
        card_id=new_id(),
        token_serial=SERIAL,
        token_label="Ada's card",
        holder_id=HOLDER,
        started_by=started_by,
        opened_at=opened_at,
        policy=of,
        plan=plan if lanes else Plan(lanes=(), registers=plan.registers),
        debts=debts,
        decision_root=decisions.root_hex(root().public_key()),
    )
    return signed(update)


def signed(update: UpdateInput) -> UpdateInput:
    """Return the input with the OPEN token that covers it."""
    action = Action(
        id=update.update_id,
        act=Act.OPEN,
        update_id=update.update_id,
        actor=update.started_by,
        role=Role.HOLDER,
        at=update.opened_at,
        digest=decisions.opening_digest(update),
    )
    return replace(update, token=signer().sign(action))


def to_clear(update: UpdateInput) -> UpdateInput:
    """Return an input that clears the card of what the update would have replaced."""
    refs = tuple(ref for lane in update.plan.lanes for ref in lane.replaces)
    serials = tuple(s for lane in update.plan.lanes for s in lane.replaced_serial_numbers)
    plan = Plan(lanes=(), removes=refs, removed_serial_numbers=serials)
    return signed(replace(update, kind=Kind.CLEAR, plan=plan, update_id=new_id()))


def an_action(update: UpdateInput, act: Act, actor: str, role: Role, **changes: object) -> Action:
    """Return an unsigned action on the update."""
    action = Action(
        id=new_id(),
        act=act,
        update_id=update.update_id,
        actor=actor,
        role=role,
        at=datetime.now(UTC),
    )
    return replace(action, **changes)  # type: ignore[arg-type]


def cancelling(update: UpdateInput, actor: str = HOLDER, role: Role = Role.HOLDER) -> Action:
    """The update is not wanted any more."""
    return an_action(update, Act.CANCEL, actor, role, reason="changed my mind")


def reporting_lost(update: UpdateInput, actor: str = HOLDER, role: Role = Role.HOLDER) -> Action:
    """The card is out of its holder's hands."""
    return an_action(update, Act.REPORT_LOST, actor, role, reason="left on the train")


def withdrawing(update: UpdateInput, lane: str) -> Action:
    """The holder takes a document back."""
    return an_action(update, Act.WITHDRAW_DOCUMENT, HOLDER, Role.HOLDER, lane=lane)


def retrying(update: UpdateInput) -> Action:
    """An operator orders another try."""
    return an_action(update, Act.RETRY, OPERATOR, Role.OPERATOR)


def a_visit() -> Visit:
    """Return a sitting of the holder at workstation ``AGENT``."""
    return Visit(new_id(), AGENT, "4711 apple", datetime.now(UTC), HOLDER)


def continuing(update: UpdateInput, actor: str = HOLDER) -> Action:
    """The holder clicks Continue."""
    return an_action(update, Act.CONTINUE, actor, Role.HOLDER, visit=a_visit())


def signing(update: UpdateInput, lane: str, kind: DocumentKind, actor: str = HOLDER) -> Action:
    """The holder clicks to sign the lane's form with the card."""
    form = FormToSign(lane, 1, kind, "A form", "f0" * 32, ObjectRef("c0" * 20, "ce" * 32))
    visit = replace(a_visit(), signs=form)
    changes = {"lane": lane, "digest": form.sha256, "visit": visit}
    return an_action(update, Act.SIGN_DOCUMENT, actor, Role.HOLDER, **changes)


def a_document(kind: DocumentKind, *, means: Means = Means.PORTAL, by: str = HOLDER) -> DocumentRef:
    """Return a document that came in."""
    return DocumentRef(new_id(), kind, "d0" * 32, means, by, datetime.now(UTC))


def handing_in(
    update: UpdateInput,
    lane: str,
    kind: DocumentKind,
    *,
    means: Means = Means.PORTAL,
    signature: SignatureFound = SignatureFound.NONE,
) -> Action:
    """The holder hands in a form, or an operator records one that came by other means."""
    is_holders = means in (Means.PORTAL, Means.ELECTRONIC)
    by, role = (HOLDER, Role.HOLDER) if is_holders else (OPERATOR, Role.OPERATOR)
    document = replace(a_document(kind, means=means, by=by), signature=signature)
    return an_action(update, Act.SUBMIT_DOCUMENT, by, role, lane=lane, document=document)


def deciding(
    update: UpdateInput,
    view: UpdateView,
    lane: str,
    verdict: Verdict,
    *,
    by: str = OPERATOR,
    reason: str = "",
) -> Action:
    """An operator decides on what the view shows."""
    shown = next(x for x in view.state.lanes if x.plan.lane == lane)
    digest = policy.decision_digest(update, shown)
    return an_action(
        update,
        Act.DECIDE_DOCUMENT,
        by,
        Role.OPERATOR,
        lane=lane,
        digest=digest,
        verdict=verdict,
        reason=reason,
    )


def of_version_60(der: bytes) -> bytes:
    """Return the certificate with a version that there is not (RFC 5280 4.1.2.1)."""
    version = bytes.fromhex("a003020102")
    return der.replace(version, version[:-1] + bytes([59]), 1)
