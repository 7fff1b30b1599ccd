"""The card update: one workflow per card, the truth about it while it is open."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import timedelta

from temporalio import workflow
from temporalio.common import RawValue, RetryPolicy
from temporalio.exceptions import ApplicationError, WorkflowAlreadyStartedError

with workflow.unsafe.imports_passed_through():
    from dataclasses import dataclass, replace

    from activities.orders import OpenOrder
    from activities.records import RecordActivities
    from cardflow import decisions, lifecycle, policy
    from cardflow.errors import Refused
    from cardflow.model import (
        Action,
        EventKind,
        Kind,
        LaneStage,
        MailKind,
        ObjectRef,
        Reply,
        Stage,
        UpdateInput,
        UpdateView,
    )
    from cardflow.orders import afterwork
    from cardflow.temporal import limits
    from cardflow.temporal.foreign import text_in
    from workflows.actions import take
    from workflows.afterwork import Afterwork
    from workflows.at_the_ca import LaneAtCA
    from workflows.case import Case
    from workflows.changes import goes_new_way
    from workflows.clock import Clock
    from workflows.scribe import Scribe
    from workflows.visits import AtTheCard

END_EVENTS = {
    Stage.COMPLETED: (EventKind.COMPLETED, MailKind.COMPLETED),
    Stage.REJECTED: (EventKind.REJECTED, None),  # the CA's answer already sent its mail
    Stage.CANCELLED: (EventKind.CANCELLED, MailKind.CANCELLED),
    Stage.LAPSED: (EventKind.LAPSED, MailKind.CANCELLED),
}
ACT, CA_ANSWERED = "act", "ca_answered"  # the messages that count

security = workflow.LoggerAdapter(logging.getLogger("cardflow.security"), None)


def workflow_id(card_id: str) -> str:
    """Return the one workflow id of a card: Temporal itself allows one open update."""
    return f"card-update/{card_id}"


@dataclass(frozen=True)
class Sent:
    """A signed action, and the token that proves it."""

    action: Action
    token: str


@workflow.defn
class CardUpdate:
    """Runs one card update, or clears a card, from the click to the end."""

    @workflow.init
    def __init__(self, update: UpdateInput) -> None:
        self._update = update
        self._case = Case(update)
        self._scribe = Scribe(self._case)
        self._broken: Exception | None = None
        self._lanes = {
            x.plan.lane: LaneAtCA(self._case, x.plan.lane) for x in self._case.state.lanes
        }

    @workflow.run
    async def run(self, update: UpdateInput) -> Stage:
        """Return how the update ended; every business outcome is a value."""
        if workflow.info().continued_run_id is None:
            if update.resumed is not None and not update.resumed.resumption:
                raise ApplicationError("a new update cannot begin with a state", type="Refused")
            await self._open()
        scribe = asyncio.create_task(self._watched(self._scribe.run))
        lanes = [asyncio.create_task(self._watched(lane.run)) for lane in self._lanes.values()]
        clock = asyncio.create_task(self._watched(Clock(self._case).run))

        while not self._is_done and not self._is_long:
            await self._until(
                lambda: self._is_done or self._is_long or self._case.state.visit is not None
            )
            if visit := self._case.state.visit:
                await AtTheCard(self._case, visit).run()

        self._case.closing = self._is_done
        self._case.draining = not self._is_done
        clock.cancel()
        await self._let_go(lanes)
        is_over = self._is_done
        if is_over:
            await self._close()
        self._case.closing = False
        await self._until(lambda: self._scribe.is_done and workflow.all_handlers_finished())
        scribe.cancel()
        if not is_over:  # what ended it since then is closed by the next run
            workflow.continue_as_new(replace(update, resumed=self._case.state))
        return lifecycle.stage_of(self._case.state)

    async def _watched(self, part: Callable[[], Awaitable[None]]) -> None:
        """Carry out what goes on beside ``run``; it cannot break unnoticed."""
        try:
            await part()
        except Exception as error:
            self._broken = error

    async def _until(self, reached: Callable[[], bool]) -> None:
        """Wait; a part that broke fails the workflow's task, which is tried until it is mended."""
        await workflow.wait_condition(lambda: reached() or self._broken is not None)
        if self._broken:
            raise RuntimeError("a part of the update broke") from self._broken

    # Beginning and end

    async def _open(self) -> None:
        """Put the update on record, unless its start or its state was not signed by us."""
        opened = await workflow.execute_activity_method(
            RecordActivities.open_update,
            OpenOrder(self._update),
            start_to_close_timeout=limits.WORK,
            retry_policy=RetryPolicy(maximum_interval=timedelta(seconds=30)),
        )
        if opened.objections:
            raise ApplicationError("; ".join(opened.objections), type="Refused")
        if self._update.resumed is None:
            actor = self._update.started_by
            self._case.note(EventKind.OPENED, actor=actor, token=self._update.token,
                            mail=MailKind.OPERATION_STARTED)  # fmt: skip
        else:
            token = self._update.resumed.resumption
            self._case.state = replace(self._case.state, resumption="")
            self._case.note(EventKind.RESUMED, token=token)

    @property
    def _is_done(self) -> bool:
        if self._case.state.visit is not None:
            return False
        return self._case.is_over or self._nothing_is_left_to_do

    @property
    def _nothing_is_left_to_do(self) -> bool:
        """Whether an update without lanes has removed, or cleared, all that it was to remove."""
        if self._case.state.lanes:
            return False
        if self._update.kind is Kind.CLEAR:
            return not lifecycle.to_retire(self._update, self._case.state)
        return set(self._update.plan.removes) <= set(self._case.state.removed)

    @property
    def _is_long(self) -> bool:
        info = workflow.info()
        return (
            info.get_current_history_length() > limits.EVENTS_PER_RUN
            or info.is_continue_as_new_suggested()
        ) and self._case.state.visit is None

    async def _let_go(self, lanes: list["asyncio.Task[None]"]) -> None:
        """Return when no lane is asking the CA any more; a try that is running is waited for.

        Older runs that were to go on in another waited for all tries, an hour where the CA is away.
        """
        if self._is_done or goes_new_way("a-run-that-ends-asks-no-more"):
            for lane in lanes:
                lane.cancel()
        await asyncio.gather(*lanes, return_exceptions=True)

    async def _close(self) -> None:
        state = self._case.state
        ended = state.ended or lifecycle.outcome(self._update, state) or Stage.COMPLETED
        self._case.state = replace(state, ended=ended)
        if debts := self._remaining_debts():
            self._case.note(EventKind.DEBTS_RECORDED, refs=debts)
        await self._order_afterwork()
        kind, mail = END_EVENTS[ended]
        facts = {"reason": state.ended_because, "rejected": ", ".join(self._rejected())}
        self._case.note(kind, facts=facts, mail=mail)

    def _remaining_debts(self) -> tuple[ObjectRef, ...]:
        """Return what the next visit of any kind must remove and no earlier update has recorded."""
        owed = self._case.state.debts
        if lifecycle.has_written(self._case.state) or not self._case.state.lanes:
            owed = lifecycle.to_retire(self._update, self._case.state)
        return tuple(ref for ref in owed if ref not in self._update.debts)

    def _rejected(self) -> list[str]:
        return [x.plan.lane for x in self._case.state.lanes if x.stage is LaneStage.CA_REJECTED]

    async def _order_afterwork(self) -> None:
        """Hand the CA's part over to a workflow of its own: the update closes without waiting."""
        order = afterwork(self._update, self._case.state)
        if not order.revoke and not order.withdraw:
            return
        with suppress(WorkflowAlreadyStartedError):  # by a run before a reset, and still at work
            await workflow.start_child_workflow(
                Afterwork.run,
                order,
                id=f"afterwork/{self._update.update_id}",
                parent_close_policy=workflow.ParentClosePolicy.ABANDON,
            )

    # What people do. Messages are taken raw: Temporal lets its operators send anything, and what
    # cannot be read must be refused like what is not signed, and neither break nor stall the run.

    @workflow.update(dynamic=True, description="Do what a signed action says, or say why not")
    def on_update(self, name: str, said: Sequence[RawValue]) -> Reply:
        """Take a signed action; a repeat of its id gets the same answer and changes nothing."""
        return self._take(self._read(name, said))

    @on_update.validator
    def _may_act(self, name: str, said: Sequence[RawValue]) -> None:
        try:
            sent = self._read(name, said)
            decisions.refuse_unless_current(sent.token, self._update.decision_root, workflow.now())
            found, kind = self._objections(sent.action), "not_allowed"
        except Refused as refused:
            found, kind = refused.objections, "not_signed"
            security.error("an unsigned update was refused: %s", "; ".join(found))
        if found:
            counter = workflow.metric_meter().create_counter("cardflow_refused_actions")
            counter.add(1, {"reason": kind})
            workflow.logger.info("an action was refused: %s", "; ".join(found))
            raise ApplicationError("; ".join(found), *found, type="Refused")
        if self._is_full:
            # Whoever acts without a pause would keep the run from ending; the next one takes it.
            raise ApplicationError("the update has too much to record", type="Busy")

    @property
    def _is_full(self) -> bool:
        return workflow.info().get_current_history_length() > limits.EVENTS_AT_MOST

    @workflow.signal(dynamic=True, description="Take a signed action, or poll the CA")
    def on_signal(self, name: str, said: Sequence[RawValue]) -> None:
        """Take a service's signed action, or the CA's nudge; what does not count is on record."""
        lane = text_in(said)
        if name == CA_ANSWERED and lane in self._lanes:
            # The answer itself comes from the CA alone.
            self._lanes[lane].nudge()
            return
        try:
            sent = self._read(name, said)
            self._check_current(sent.token)
            found = self._objections(sent.action)
        except Refused as refused:
            found = refused.objections
        if not found:
            self._take(sent)
        elif self._was_always_recorded(name, said):
            security.error("a signal was refused: %s", "; ".join(found))
            facts = {"reason": "; ".join(found)[:500]}
            self._case.note(EventKind.MESSAGE_REFUSED, facts=facts)

    def _check_current(self, token: str) -> None:
        """Raise Refused if the signing key has ended; older runs took what it signed before."""
        try:
            decisions.refuse_unless_current(token, self._update.decision_root, workflow.now())
        except Refused:
            if goes_new_way("no-signals-by-keys-that-have-ended"):
                raise

    def _was_always_recorded(self, name: str, said: Sequence[RawValue]) -> bool:
        """Older runs passed over what was no text for ``act``; their histories must replay."""
        is_text_for_act = name == ACT and text_in(said) is not None
        return is_text_for_act or goes_new_way("every-refused-signal-is-recorded")

    @workflow.query
    def view(self) -> UpdateView:
        """The whole state."""
        return self._case.view()

    def _read(self, name: str, said: Sequence[RawValue]) -> Sent:
        """Return the signed action in a message, or raise Refused."""
        token = text_in(said)
        if name != ACT or token is None:
            raise Refused("the message carries no signed action")
        return Sent(decisions.read(token, self._update.decision_root), token)

    def _objections(self, action: Action) -> list[str]:
        if action.id in self._case.state.answered:
            return []
        return policy.objections(self._update, self._case.state, action)

    def _take(self, sent: Sent) -> Reply:
        action = sent.action
        if earlier := self._case.state.answered.get(action.id):
            return Reply(lifecycle.stage_of(self._case.state), earlier, action.id)
        message = take(self._case, action, sent.token)
        self._case.state = lifecycle.answered(self._case.state, action.id, message)
        return Reply(lifecycle.stage_of(self._case.state), message, action.id)
