"""What is ordered by the workflows, and by `cardflow reconcile` where a workflow was lost."""

from dataclasses import dataclass, field

from cardflow import lifecycle
from cardflow.model import Event, Kind, Lane, UpdateInput, UpdateState, UpdateView


@dataclass(frozen=True)
class Publication:
    """Events in order, with the (slim) view after the last of them, and what it leaves out.

    ``answers`` and ``decisions`` are those that no earlier publication brought.
    """

    view: UpdateView
    events: tuple[Event, ...]
    answers: dict[str, str] = field(default_factory=dict)
    decisions: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class MailOrder:
    """Deliver these queued mails."""

    mails: tuple[str, ...]


@dataclass(frozen=True)
class SubmitOrder:
    """Ask the CA for the lane's certificate; ``request_id`` is ``<update>:<revision>:<lane>``."""

    request_id: str
    csr_pem: str
    profile: str
    subject: str  # as the forms showed it: a person's record that changed since then is refused
    holder_id: str
    requested_by: str


@dataclass(frozen=True)
class RevokeOrder:
    """Have the certificates revoked; already revoked is success."""

    update_id: str
    reason: str  # a value of cardflow.ca.RevocationReason
    serial_numbers: tuple[str, ...] = ()


@dataclass(frozen=True)
class WithdrawOrder:
    """See to it that nothing comes of these requests: cancelled at the CA, or revoked if issued."""

    requests: tuple[SubmitOrder, ...]
    reason: str = "cessationOfOperation"  # a value of cardflow.ca.RevocationReason


@dataclass(frozen=True)
class AfterworkOrder:
    """What must happen at the CA after an update, however long the CA is away."""

    revoke: tuple[RevokeOrder, ...] = ()
    withdraw: tuple[SubmitOrder, ...] = ()
    reason: str = "cessationOfOperation"  # for what came of withdrawn requests after all


def revocations(reason: str, serial_numbers: tuple[str, ...]) -> AfterworkOrder:
    """Return the order to revoke certificates beside any update."""
    return AfterworkOrder(revoke=(RevokeOrder("", reason, serial_numbers),))


def request_id(update: UpdateInput, lane: Lane) -> str:
    """Return the name of the lane's request at the CA: the same at every try."""
    return f"{update.update_id}:{lane.revision}:{lane.plan.lane}"


def order_for(update: UpdateInput, lane: Lane) -> SubmitOrder:
    """Return what the CA is asked for."""
    return SubmitOrder(
        request_id=request_id(update, lane),
        csr_pem=lane.csr_pem,
        profile=lane.plan.lane,
        subject=lane.plan.subject,
        holder_id=update.holder_id,
        requested_by=update.started_by,
    )


def afterwork(update: UpdateInput, state: UpdateState) -> AfterworkOrder:
    """Return what an update that has ended leaves to be done at the CA."""
    return AfterworkOrder(
        revoke=tuple(x for x in _revocations(update, state) if x.serial_numbers),
        withdraw=tuple(order_for(update, x) for x in state.lanes if lifecycle.may_be_at_ca(x)),
        reason="keyCompromise" if state.lost else "cessationOfOperation",
    )


def _revocations(update: UpdateInput, state: UpdateState) -> list[RevokeOrder]:
    if state.lost:
        everything = lifecycle.all_serial_numbers(update, state)
        return [RevokeOrder(update.update_id, "keyCompromise", everything)]
    superseded = "superseded" if update.kind is Kind.UPDATE else "cessationOfOperation"
    replaced = lifecycle.replaced_serial_numbers(update, state)
    return [
        RevokeOrder(update.update_id, "cessationOfOperation", lifecycle.to_revoke(state)),
        RevokeOrder(update.update_id, superseded, replaced),
    ]
