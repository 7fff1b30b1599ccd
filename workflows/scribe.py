"""Publishes what happened: to the register, the audit trail, the mail, and Temporal's own pages."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, WorkflowAlreadyStartedError

with workflow.unsafe.imports_passed_through():
    from activities.records import RecordActivities
    from cardflow.lifecycle import label, slim
    from cardflow.model import UpdateView
    from cardflow.orders import MailOrder, Publication
    from cardflow.temporal import limits
    from cardflow.temporal import search_attributes as search
    from workflows.afterwork import Delivery
    from workflows.case import Case

FOREVER = RetryPolicy(initial_interval=timedelta(seconds=1), maximum_interval=timedelta(minutes=1))


class Scribe:
    """Takes events in order, one publication at a time, so copies never run ahead or back."""

    def __init__(self, case: Case) -> None:
        self._case = case
        self._shown = ("", "")
        # What was brought along is on record.
        self._told = {*case.state.answered, *case.state.decisions}
        self._busy = False

    async def run(self) -> None:
        """Publish for as long as the update lives."""
        while True:
            await workflow.wait_condition(lambda: self._case.may_publish)
            self._busy = True
            await self._publish()
            self._busy = False

    @property
    def is_done(self) -> bool:
        """Whether everything that happened is on record."""
        return not self._case.unpublished and not self._busy

    async def _publish(self) -> None:
        events = tuple(self._case.unpublished)
        self._case.unpublished.clear()
        view = slim(self._case.view())
        state = self._case.state
        said = Publication(view, events, self._news(state.answered), self._news(state.decisions))
        self._show(view)
        published = None
        while published is None:
            try:
                published = await workflow.execute_activity_method(
                    RecordActivities.publish,
                    said,
                    start_to_close_timeout=limits.WORK,
                    retry_policy=FOREVER,
                    summary=", ".join(event.kind for event in events),
                )
            except ActivityError:
                # Refused is a fault of ours; the update goes on when it is mended.
                await asyncio.sleep(60)
        if published.unsent:
            await self._deliver_later(published.unsent, events[-1].number)

    def _news(self, words: Mapping[str, str]) -> dict[str, str]:
        """Return what no publication has told yet."""
        news = {name: text for name, text in words.items() if name not in self._told}
        self._told.update(news)
        return news

    async def _deliver_later(self, mails: tuple[str, ...], number: int) -> None:
        with suppress(WorkflowAlreadyStartedError):  # by a run before a reset, and still at work
            await workflow.start_child_workflow(
                Delivery.run,
                MailOrder(mails),
                id=f"mail/{self._case.update.update_id}/{number}",
                parent_close_policy=workflow.ParentClosePolicy.ABANDON,
            )

    def _show(self, view: UpdateView) -> None:
        """Let the Temporal UI say where the update stands; ids and words only, stored in clear."""
        waiting = ", ".join(dict.fromkeys(entry.party for entry in view.waiting)) or "nobody"
        workflow.set_current_details(_table(view))
        if self._shown == (view.stage, waiting):
            return
        changes = [search.STAGE.value_set(view.stage), search.WAITING_FOR.value_set(waiting)]
        if not self._shown[0]:
            changes += [
                search.CARD_ID.value_set(view.card_id),
                search.HOLDER_ID.value_set(view.holder_id),
                search.POLICY.value_set(f"{view.policy_name} {view.policy_version}"),
                search.CA.value_set(self._case.update.ca),
            ]
            due = search.DUE_AT.value_set(view.due_at)
            workflow.upsert_search_attributes([*changes, due])
        else:
            workflow.upsert_search_attributes(changes)
        self._shown = (view.stage, waiting)


def _table(view: UpdateView) -> str:
    rows = [
        f"| {lane.plan.lane} | {lane.plan.mode} | {lane.stage} | {label(lane)} "
        f"| {lane.since:%F %H:%M} |"
        for lane in view.state.lanes
    ]
    waits = [
        f"- **{entry.party}**: {entry.what} {entry.lane} since {entry.since:%F %H:%M}, "
        f"until {entry.until:%F %H:%M} UTC"
        for entry in view.waiting
    ]
    trouble = [f"- {x.plan.lane}: {x.attention}" for x in view.state.lanes if x.attention]
    return "\n".join(
        [
            f"### {view.kind}: {view.stage}",
            "",
            *waits,
            *trouble,
            "",
            "| lane | mode | stage | shown | since (UTC) |",
            "|---|---|---|---|---|",
            *rows,
        ]
    )
