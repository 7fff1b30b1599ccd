"""A lane's way through the certificate authority: ask, wait for its answer, believe only the CA."""

from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError, CancelledError

with workflow.unsafe.imports_passed_through():
    from activities.ca import CAActivities
    from activities.orders import AnswerKind, CAAnswer, PollOrder
    from cardflow import lifecycle
    from cardflow.model import EventKind, Lane, LaneStage, MailKind, Mode
    from cardflow.orders import order_for
    from cardflow.temporal import limits
    from workflows.case import Case

POLL_BY_DEFAULT = timedelta(minutes=1)
POLL_AT_LEAST = timedelta(seconds=1)
POLL_AT_MOST = timedelta(hours=1)
BUDGET = workflow.ActivityConfig(
    start_to_close_timeout=limits.WORK,
    schedule_to_close_timeout=timedelta(hours=1),
    retry_policy=RetryPolicy(
        initial_interval=timedelta(seconds=1), maximum_interval=timedelta(minutes=5)
    ),
    cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
)


class LaneAtCA:
    """Drives one lane whenever it stands at the CA, until the lane is closed."""

    def __init__(self, case: Case, name: str) -> None:
        self._case = case
        self._name = name
        self._nudged = False

    def nudge(self) -> None:
        """Make the next poll happen now: somebody says that the CA has answered."""
        self._nudged = True

    async def run(self) -> None:
        """Ask the CA each time that the lane comes to it."""
        while True:
            await workflow.wait_condition(lambda: self._is_at_ca or self._lets_go)
            if self._lets_go:
                return
            try:
                await self._ask()
            except ActivityError as error:
                if isinstance(error.cause, CancelledError):
                    return
                self._give_up(error)

    @property
    def _is_at_ca(self) -> bool:
        lane = self._case.lane(self._name)
        return lane.stage is LaneStage.AT_CA and not lane.attention

    @property
    def _lets_go(self) -> bool:
        return self._is_closed or self._case.draining

    @property
    def _is_closed(self) -> bool:
        stage = self._case.lane(self._name).stage
        return stage in lifecycle.CLOSED or self._case.state.ended is not None

    async def _ask(self) -> None:
        lane = self._case.lane(self._name)
        order = order_for(self._case.update, lane)
        if not lane.ca_handle:
            return self._take(
                await workflow.execute_activity_method(CAActivities.submit, order, **BUDGET)
            )
        await self._wait_for_turn(lane)
        if self._lets_go:
            return None
        self._nudged = False
        poll = PollOrder(lane.ca_handle, order)
        return self._take(await workflow.execute_activity_method(CAActivities.poll, poll, **BUDGET))

    async def _wait_for_turn(self, lane: Lane) -> None:
        """Wait for a nudge, or until the CA's floor and our own schedule let us ask."""
        wait = lane.ca_poll_at - self._case.now if lane.ca_poll_at else POLL_BY_DEFAULT
        try:
            await workflow.wait_condition(
                lambda: self._nudged or self._lets_go,
                timeout=min(max(wait, POLL_AT_LEAST), POLL_AT_MOST),
                timeout_summary=f"{self._name}: poll the CA",
            )
        except TimeoutError:
            return

    def _take(self, answer: CAAnswer) -> None:
        case, name = self._case, self._name
        if self._is_closed:
            return  # the update ended meanwhile; what the CA made of it is withdrawn at the close
        match answer.kind:
            case AnswerKind.PENDING:
                self._wait_on(answer)
            case AnswerKind.REJECTED:
                case.state = lifecycle.ca_rejected(
                    case.update, case.state, name, reason=answer.reason, now=case.now
                )
                facts = {"reason": answer.reason}
                case.note(
                    EventKind.CA_REJECTED, lane=name, facts=facts, mail=MailKind.UPDATE_REJECTED
                )
            case AnswerKind.ISSUED:
                self._issued(answer)

    def _wait_on(self, answer: CAAnswer) -> None:
        first = not self._case.lane(self._name).ca_handle
        self._case.state = lifecycle.pending_at_ca(
            self._case.state, self._name, handle=answer.handle, poll_at=answer.poll_at
        )
        if first:
            self._case.note(EventKind.SUBMITTED_TO_CA, lane=self._name)

    def _issued(self, answer: CAAnswer) -> None:
        case, name = self._case, self._name
        assert answer.not_after is not None  # noqa: S101 an issued answer has its certificate's dates
        plan = case.lane(name).plan
        case.state = lifecycle.issued(
            case.state,
            name,
            certificate_pem=answer.certificate_pem,
            certificate_sha256=answer.certificate_sha256,
            serial_number=answer.serial_number,
            not_after=answer.not_after,
            now=case.now,
        )
        facts = {
            "certificate_pem": answer.certificate_pem,
            "certificate_sha256": answer.certificate_sha256,
            "serial_number": answer.serial_number,
        }
        approved = plan.needs_officer or plan.mode in (Mode.REQUEST_FORM, Mode.BOTH)
        mail = MailKind.UPDATE_APPROVED if approved else None
        case.note(EventKind.CERTIFICATE_ISSUED, lane=name, facts=facts, mail=mail)
        if case.lane(name).stage is LaneStage.AWAITING_CERTIFICATE_FORM:
            # In mode RF the mail above already says what comes next.
            mail = MailKind.DOCUMENT_NEEDED if not approved else None
            case.note(
                EventKind.DOCUMENT_NEEDED, lane=name, facts={"form": "certificate_form"}, mail=mail
            )

    def _give_up(self, error: ActivityError) -> None:
        cause = error.cause
        why = "the CA could not be reached for an hour"
        if isinstance(cause, ApplicationError) and cause.type == "Refused":
            why = cause.message
        attention = f"{why}. Retry when the cause is mended, or cancel the update."
        self._case.state = lifecycle.troubled(self._case.state, self._name, attention)
        facts = {"reason": attention}
        self._case.note(
            EventKind.NEEDS_ATTENTION, lane=self._name, facts=facts, mail=MailKind.ESCALATION
        )
