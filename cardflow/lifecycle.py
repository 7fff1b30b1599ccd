"""The life of an update as pure functions: a state and what happened give the next state.

Nothing here waits, asks or decides; the workflow does the waiting and ``policy`` the objecting.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from cardflow.model import (
    Action,
    CertificateKind,
    DocumentExchange,
    DocumentKind,
    DocumentRef,
    FormSignature,
    Kind,
    Lane,
    LanePlan,
    LaneStage,
    Mode,
    ObjectRef,
    OnRejection,
    Party,
    SignatureFound,
    SigningWay,
    Stage,
    UpdateInput,
    UpdateState,
    UpdateView,
    Verdict,
    Visit,
    Waiting,
)

CLOSED = frozenset(
    {
        LaneStage.CA_REJECTED,
        LaneStage.WRITTEN,
        LaneStage.REVOKED,
        LaneStage.CANCELLED,
        LaneStage.LAPSED,
    }
)
# What waits for an operator when a document came in.
REQUEST_FORM_CHECK = "the check of the request form"
CERTIFICATE_FORM_CHECK = "the check of the certificate form"
CHECKS = (REQUEST_FORM_CHECK, CERTIFICATE_FORM_CHECK)
ENDED = frozenset({Stage.COMPLETED, Stage.REJECTED, Stage.CANCELLED, Stage.LAPSED})

LABELS = {
    LaneStage.PREPARING: "Preparing",
    LaneStage.AWAITING_REQUEST_FORM: "Pending",
    LaneStage.CHECKING_REQUEST_FORM: "Pending",
    LaneStage.AT_CA: "Pending",
    LaneStage.CA_REJECTED: "Rejected",
    LaneStage.AWAITING_CERTIFICATE_FORM: "Valid",
    LaneStage.CHECKING_CERTIFICATE_FORM: "Valid",
    LaneStage.WRITTEN: "Valid, on card",
    LaneStage.REVOKED: "Revoked",
    LaneStage.CANCELLED: "Cancelled",
    LaneStage.LAPSED: "Lapsed",
}


def label(lane: Lane) -> str:
    """Return the word that the Contents tab shows for the lane's certificate."""
    if lane.stage is LaneStage.READY:
        return "Approved" if lane.plan.mode is Mode.REQUEST_FORM else "Valid"
    return LABELS[lane.stage]


def begin(update: UpdateInput) -> UpdateState:
    """Return the state of an update that was just opened."""
    lanes = tuple(Lane(plan, since=update.opened_at) for plan in update.plan.lanes)
    return UpdateState(lanes=lanes, debts=update.debts)


# Reading a state


def open_lanes(state: UpdateState) -> tuple[Lane, ...]:
    """Return the lanes that still have a way to go."""
    return tuple(lane for lane in state.lanes if lane.stage not in CLOSED)


def lane_of(state: UpdateState, name: str) -> Lane:
    """Return the lane called ``name``; a KeyError is a bug."""
    for lane in state.lanes:
        if lane.plan.lane == name:
            return lane
    raise KeyError(name)


def is_ready(state: UpdateState) -> bool:
    """Tell whether every open lane, and at least one, waits for nothing but the card."""
    lanes = open_lanes(state)
    return bool(lanes) and all(x.stage is LaneStage.READY and not x.attention for x in lanes)


def stage_of(state: UpdateState) -> Stage:
    """Return where the whole update stands."""
    if state.ended:
        return state.ended
    lanes = open_lanes(state)
    if any(lane.attention for lane in lanes):
        return Stage.NEEDS_ATTENTION
    if state.writing:
        return Stage.WRITING
    if is_ready(state):
        return Stage.READY
    if not lanes or any(lane.stage is LaneStage.PREPARING for lane in lanes):
        return Stage.PREPARING
    return Stage.PENDING


def due_at(update: UpdateInput) -> datetime:
    """Return the instant at which the update lapses."""
    return update.opened_at + timedelta(hours=update.policy.deadline_hours)


def waiting(update: UpdateInput, state: UpdateState) -> tuple[Waiting, ...]:
    """Return who is waited for, for what, since when and until when; empty only at the end."""
    if state.ended:
        return ()
    if state.visit:
        since = state.visit.started_at
        return (Waiting(Party.AGENT, "the visit at the workstation", "", since, due_at(update)),)
    lanes = open_lanes(state)
    if is_ready(state) or not lanes:
        since = state.ready_since or update.opened_at
        what = "Continue card update operation" if lanes else "the card at the workstation"
        return (Waiting(Party.HOLDER, what, "", since, due_at(update)),)
    return tuple(
        Waiting(
            *_awaited(update, lane), lane.plan.lane, lane.since or update.opened_at, due_at(update)
        )
        for lane in lanes
        if lane.stage is not LaneStage.READY or lane.attention
    )


def _awaited(update: UpdateInput, lane: Lane) -> tuple[Party, str]:
    if lane.attention:
        return Party.OPERATOR, "an operator's action: retry or cancel"
    outside = update.policy.document_exchange is DocumentExchange.OUTSIDE
    match lane.stage:
        case LaneStage.PREPARING:
            return Party.HOLDER, "the card at the workstation"
        case LaneStage.AWAITING_REQUEST_FORM:
            return Party.OPERATOR if outside else Party.HOLDER, "the signed request form"
        case LaneStage.AWAITING_CERTIFICATE_FORM:
            return Party.OPERATOR if outside else Party.HOLDER, "the signed certificate form"
        case LaneStage.CHECKING_REQUEST_FORM:
            return Party.OPERATOR, REQUEST_FORM_CHECK
        case LaneStage.CHECKING_CERTIFICATE_FORM:
            return Party.OPERATOR, CERTIFICATE_FORM_CHECK
        case _ if lane.plan.needs_officer:
            return Party.OFFICER, "the decision at the CA"
    return Party.CA, "the certificate authority's answer"


def view(update: UpdateInput, state: UpdateState) -> UpdateView:
    """Return the whole state as people, the projection and the query see it."""
    return UpdateView(
        update_id=update.update_id,
        kind=update.kind,
        card_id=update.card_id,
        holder_id=update.holder_id,
        started_by=update.started_by,
        policy_name=update.policy.name,
        policy_version=update.policy.version,
        stage=stage_of(state),
        opened_at=update.opened_at,
        due_at=due_at(update),
        state=state,
        waiting=waiting(update, state),
    )


# Changing a state


def visit_begun(state: UpdateState, visit: Visit) -> UpdateState:
    """The holder is at the workstation; from now on the card may have been touched."""
    return replace(state, visit=visit, visited=True, last_visit="")


def visit_over(state: UpdateState, words: str) -> UpdateState:
    """The visit is over; ``words`` say why it did not do its work, if it did not."""
    return replace(state, visit=None, writing=False, last_visit=words)


def _change(state: UpdateState, name: str, change: Callable[[Lane], Lane]) -> UpdateState:
    lanes = tuple(change(lane) if lane.plan.lane == name else lane for lane in state.lanes)
    return replace(state, lanes=lanes)


def _enter(lane: Lane, stage: LaneStage, now: datetime, **changes: object) -> Lane:
    return replace(lane, stage=stage, since=now, **changes)  # type: ignore[arg-type]


def prepared(
    state: UpdateState, name: str, *, csr_pem: str, spki_sha256: str, now: datetime
) -> UpdateState:
    """The lane's key is on the card and its CSR is here."""

    def change(lane: Lane) -> Lane:
        with_form = lane.plan.mode in (Mode.REQUEST_FORM, Mode.BOTH)
        stage = LaneStage.AWAITING_REQUEST_FORM if with_form else LaneStage.AT_CA
        return _enter(lane, stage, now, csr_pem=csr_pem, spki_sha256=spki_sha256)

    return _change(state, name, change)


def submitted(state: UpdateState, action: Action) -> UpdateState:
    """A document came in; one that was under check is replaced and its approvals are void."""

    def change(lane: Lane) -> Lane:
        document = action.document
        if document is None or is_checked(lane.plan, document):
            checking = LaneStage(f"checking_{document_kind(lane.stage)}")
            return _enter(lane, checking, action.at, document=document, approvals=(), reason="")
        return _enter(lane, LaneStage.AT_CA, action.at, document=document, reason="")

    return _change(state, action.lane, change)


def is_checked(plan: LanePlan, document: DocumentRef) -> bool:
    """Tell whether the document is checked before the lane goes on; a doubtful one always is."""
    if document.kind is DocumentKind.CERTIFICATE_FORM or plan.precheck:
        return True
    return document.signature is SignatureFound.DOUBTFUL


def form_signature(plan: LanePlan, kind: DocumentKind) -> FormSignature:
    """Return which ways of signing the form the lane takes."""
    if kind is DocumentKind.REQUEST_FORM:
        return plan.request_form_signature
    return plan.certificate_form_signature


def ways_to_sign(lane: Lane) -> tuple[SigningWay, ...]:
    """Return how the form that the lane is about may be signed."""
    way = form_signature(lane.plan, document_kind(lane.stage))
    if way is FormSignature.EITHER:
        return (SigningWay.PAPER, SigningWay.ELECTRONIC)
    return (SigningWay(way.value),)


def approves_itself(lane: Lane) -> bool:
    """Tell whether the policy has the machine approve the document under check."""
    return (
        lane.plan.approve_signed
        and lane.plan.approvals_needed == 1
        and lane.document is not None
        and lane.document.signature is SignatureFound.GOOD
    )


def approved_by_policy(state: UpdateState, name: str, *, digest: str, now: datetime) -> UpdateState:
    """The policy's word on a well signed document counts like an operator's, and as the first."""
    words = f"the policy approved its valid electronic signature at {now:%Y-%m-%d %H:%M} UTC"
    state = _change(state, name, lambda lane: _enter(lane, _onward(lane), now, reason=""))
    return replace(state, decisions={**state.decisions, digest: words})


def _onward(lane: Lane) -> LaneStage:
    form = document_kind(lane.stage)
    return LaneStage.AT_CA if form is DocumentKind.REQUEST_FORM else LaneStage.READY


def withdrawn(state: UpdateState, action: Action) -> UpdateState:
    """The document under check was taken back by whoever handed it in."""
    return _change(state, action.lane, lambda lane: _back(lane, action.at, ""))


def decided(state: UpdateState, action: Action) -> UpdateState:
    """An operator's word counts; a rejection sends the lane back, enough approvals move it on."""
    done = "approved" if action.verdict is Verdict.APPROVE else "rejected"
    words = f"{action.actor} {done} it on {action.at:%Y-%m-%d %H:%M} UTC"

    def change(lane: Lane) -> Lane:
        if action.verdict is Verdict.REJECT:
            return _back(lane, action.at, action.reason)
        approvals = (*lane.approvals, action.actor)
        if len(approvals) < lane.plan.approvals_needed:
            return replace(lane, approvals=approvals)
        return _enter(lane, _onward(lane), action.at, approvals=approvals, reason="")

    before = lane_of(state, action.lane)
    after = _change(state, action.lane, change)
    if lane_of(after, action.lane).stage is before.stage:
        return after  # the quorum is not complete: nothing is decided yet
    return replace(after, decisions={**state.decisions, action.digest: words})


def _back(lane: Lane, now: datetime, reason: str) -> Lane:
    awaiting = LaneStage(f"awaiting_{document_kind(lane.stage)}")
    return _enter(lane, awaiting, now, document=None, approvals=(), reason=reason)


def document_kind(stage: LaneStage) -> DocumentKind:
    """Return which form a lane in ``stage`` is about."""
    if stage in (LaneStage.AWAITING_REQUEST_FORM, LaneStage.CHECKING_REQUEST_FORM):
        return DocumentKind.REQUEST_FORM
    return DocumentKind.CERTIFICATE_FORM


def pending_at_ca(
    state: UpdateState, name: str, *, handle: str, poll_at: datetime | None
) -> UpdateState:
    """The CA has the request and has not decided."""
    return _change(state, name, lambda lane: replace(lane, ca_handle=handle, ca_poll_at=poll_at))


def issued(
    state: UpdateState,
    name: str,
    *,
    certificate_pem: str,
    certificate_sha256: str,
    serial_number: str,
    not_after: datetime,
    now: datetime,
) -> UpdateState:
    """The CA said yes: the certificate is here, not yet on the card."""

    def change(lane: Lane) -> Lane:
        with_form = lane.plan.mode in (Mode.CERTIFICATE_FORM, Mode.BOTH)
        stage = LaneStage.AWAITING_CERTIFICATE_FORM if with_form else LaneStage.READY
        return _enter(
            lane,
            stage,
            now,
            document=None if with_form else lane.document,
            approvals=(),
            certificate_pem=certificate_pem,
            certificate_sha256=certificate_sha256,
            serial_number=serial_number,
            not_after=not_after,
        )

    return _change(state, name, change)


def ca_rejected(
    update: UpdateInput, state: UpdateState, name: str, *, reason: str, now: datetime
) -> UpdateState:
    """The CA said no: this lane ends, and all of them if the policy says all or nothing."""

    def end(lane: Lane) -> Lane:
        return _enter(lane, LaneStage.CA_REJECTED, now, reason=reason, attention="")

    state = owing(_change(state, name, end), lane_of(state, name))
    if update.policy.on_rejection is OnRejection.ALL_OR_NOTHING:
        state = undone(state, LaneStage.CANCELLED, f"{name} was rejected by the CA", now)
    return state


def written(state: UpdateState, name: str, now: datetime) -> UpdateState:
    """The lane's certificate is on the card, read back and proven."""
    return _change(state, name, lambda lane: _enter(lane, LaneStage.WRITTEN, now, attention=""))


def troubled(state: UpdateState, name: str, attention: str) -> UpdateState:
    """A step of the lane failed for good; an operator must choose."""
    return _change(state, name, lambda lane: replace(lane, attention=attention))


def retried(state: UpdateState) -> UpdateState:
    """The operator ordered another try of everything that needed attention."""
    return replace(state, lanes=tuple(replace(lane, attention="") for lane in state.lanes))


def undone(state: UpdateState, stage: LaneStage, reason: str, now: datetime) -> UpdateState:
    """Every unwritten lane ends as ``stage`` and what it put on the card becomes a debt."""
    for lane in open_lanes(state):
        state = owing(state, lane)
    lanes = tuple(
        lane if lane.stage in CLOSED else _enter(lane, stage, now, reason=reason, attention="")
        for lane in state.lanes
    )
    return replace(state, lanes=lanes)


def lost(state: UpdateState, reason: str, now: datetime) -> UpdateState:
    """The card is out of its holder's hands: the update ends, and no certificate of it is good."""
    state = undone(state, LaneStage.CANCELLED, reason, now)
    lanes = tuple(
        _enter(lane, LaneStage.REVOKED, now, reason=reason) if lane.serial_number else lane
        for lane in state.lanes
    )
    return replace(state, lanes=lanes, lost=True, ended=Stage.CANCELLED, ended_because=reason)


def owing(state: UpdateState, lane: Lane) -> UpdateState:
    """The key that the lane put on the card must go at the next visit of any kind.

    A lane that was still preparing owes its id too: a visit may have died after the key was made.
    """
    if not state.visited:
        return state
    debt = ObjectRef(lane.plan.cka_id, spki_sha256=lane.spki_sha256)
    return replace(state, debts=(*state.debts, debt))


def to_retire(update: UpdateInput, state: UpdateState) -> tuple[ObjectRef, ...]:
    """Return what must still go from the card now that its successors are there."""
    refs = [*update.plan.removes, *state.debts]
    for lane in state.lanes:
        if lane.stage is LaneStage.WRITTEN:
            refs += lane.plan.retires
    return tuple(dict.fromkeys(ref for ref in refs if ref not in state.removed))


def removed(state: UpdateState, refs: tuple[ObjectRef, ...]) -> UpdateState:
    """The objects are gone from the card; debts among them are paid."""
    debts = tuple(debt for debt in state.debts if debt not in refs)
    return replace(state, debts=debts, removed=(*state.removed, *refs))


def to_revoke(state: UpdateState) -> tuple[str, ...]:
    """Return the serial numbers of certificates that were issued and will never be written."""
    dead = CLOSED - {LaneStage.WRITTEN}
    return tuple(x.serial_number for x in state.lanes if x.stage in dead and x.serial_number)


def has_written(state: UpdateState) -> bool:
    """Tell whether any certificate of this update is on the card."""
    return any(lane.stage is LaneStage.WRITTEN for lane in state.lanes)


def replaced_serial_numbers(update: UpdateInput, state: UpdateState) -> tuple[str, ...]:
    """Return the certificates to revoke because their successors are on the card, or they went."""
    numbers: list[str] = []
    if update.policy.revoke_replaced or update.kind is Kind.CLEAR:
        if state.ended is Stage.COMPLETED:
            numbers += update.plan.removed_serial_numbers
        for lane in state.lanes:
            if lane.stage is LaneStage.WRITTEN:
                numbers += lane.plan.replaced_serial_numbers
    return tuple(dict.fromkeys(numbers))


def all_serial_numbers(update: UpdateInput, state: UpdateState) -> tuple[str, ...]:
    """Return every certificate of ours on the card, old and new, whatever the update made of it."""
    numbers = [lane.serial_number for lane in state.lanes if lane.serial_number]
    for plan in update.plan.lanes:
        numbers += plan.replaced_serial_numbers
    numbers += update.plan.removed_serial_numbers
    ours = (c for c in update.plan.keeps if c.kind is CertificateKind.MANAGED)
    return tuple(dict.fromkeys([*numbers, *(c.serial_number for c in ours)]))


def may_be_at_ca(lane: Lane) -> bool:
    """Tell whether the lane ended while the CA may hold, or make something of, its request."""
    dead = lane.stage in (LaneStage.CANCELLED, LaneStage.LAPSED)
    return dead and not lane.certificate_pem and bool(lane.csr_pem)


def outcome(update: UpdateInput, state: UpdateState) -> Stage | None:
    """Return how the update ends when no lane is open any more, else None."""
    if open_lanes(state) or update.kind is Kind.CLEAR or not state.lanes:
        return None
    return Stage.COMPLETED if has_written(state) else Stage.REJECTED


def answered(state: UpdateState, action_id: str, answer: str) -> UpdateState:
    """The action got its answer; a repeat gets the same one."""
    return replace(state, answered={**state.answered, action_id: answer})


def slim(whole: UpdateView) -> UpdateView:
    """Return the view without PEM texts and answered ids: what travels with each publication."""
    lanes = tuple(replace(lane, csr_pem="", certificate_pem="") for lane in whole.state.lanes)
    return replace(whole, state=replace(whole.state, lanes=lanes, answered={}, decisions={}))
