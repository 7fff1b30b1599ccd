"""What Temporal knows of updates: the state of those that run, and what their histories told.

A history holds each publication whole, so what a database has lost can be told to it again.
"""

from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, TypeVar

from temporalio.api.common.v1 import Payload
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import (
    Client,
    WorkflowExecution,
    WorkflowExecutionStatus,
    WorkflowHandle,
    WorkflowQueryFailedError,
)
from temporalio.service import RPCError, RPCStatusCode

from cardflow.errors import Refused
from cardflow.lifecycle import ENDED
from cardflow.model import UpdateInput, UpdateView
from cardflow.orders import Publication
from cardflow.reconcile.installation import WORKFLOW

PATIENCE = timedelta(seconds=10)
PUBLISH = "publish"
T = TypeVar("T")


@dataclass(frozen=True)
class Asked:
    """How the workflow of a card answered: not there, silent, or with its state."""

    is_open: bool
    view: UpdateView | None = None


@dataclass(frozen=True)
class Told:
    """An update as its runs told it: what it was started with, and every publication, in order."""

    workflow_id: str
    update: UpdateInput
    is_open: bool
    said: tuple[Publication, ...] = ()

    @property
    def events(self) -> int:
        """The number of the last event that was told."""
        return max((said.view.state.events for said in self.said), default=0)

    @property
    def has_ended(self) -> bool:
        """Whether the last publication told the end."""
        return bool(self.said) and self.said[-1].view.stage in ENDED


async def ask(client: Client, workflow_id: str) -> Asked:
    """Return what the workflow that runs now says of itself."""
    handle = client.get_workflow_handle(workflow_id, result_type=str)
    try:
        described = await handle.describe(rpc_timeout=PATIENCE)
        if described.status is not WorkflowExecutionStatus.RUNNING:
            return Asked(is_open=False)
        view = await _view(handle)
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            return Asked(is_open=False)
        raise
    return Asked(is_open=True, view=view)


async def _view(handle: WorkflowHandle[Any, Any]) -> UpdateView | None:
    try:
        view: UpdateView = await handle.query("view", result_type=UpdateView, rpc_timeout=PATIENCE)
    except WorkflowQueryFailedError:
        return None
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            raise
        return None  # no worker runs, or the workflow's task fails
    return view


async def runs(
    client: Client, query: str = ""
) -> AsyncIterator[tuple[WorkflowExecution, UpdateInput]]:
    """Yield every run of a card update that Temporal keeps, with its input."""
    wanted = f'WorkflowType = "{WORKFLOW}"' + (f" AND {query}" if query else "")
    async for run in client.list_workflows(wanted):
        handle = client.get_workflow_handle(run.id, run_id=run.run_id)
        first = await anext(aiter(handle.fetch_history_events(page_size=1)), None)
        if first and (update := await _input(client, first)):
            yield run, update


async def told_by(client: Client, workflow_id: str, update_id: str) -> Told | None:
    """Return what Temporal still knows of an update, from all of its runs."""
    found = [
        (run, update)
        async for run, update in runs(client, f'WorkflowId = "{workflow_id}"')
        if update.update_id == update_id
    ]
    found.sort(key=lambda pair: pair[0].start_time)
    if not found:
        return None
    said = [one for run, _ in found for one in await _publications(client, run)]
    newest, update = found[-1]
    is_open = newest.status is WorkflowExecutionStatus.RUNNING
    return Told(workflow_id, replace(update, resumed=None), is_open, tuple(said))


async def _publications(client: Client, run: WorkflowExecution) -> list[Publication]:
    handle = client.get_workflow_handle(run.id, run_id=run.run_id)
    scheduled = [
        event.activity_task_scheduled_event_attributes
        async for event in handle.fetch_history_events()
        if event.HasField("activity_task_scheduled_event_attributes")
    ]
    ours = [one for one in scheduled if one.activity_type.name == PUBLISH]
    return [await _decoded(client, one.input.payloads, Publication) for one in ours]


async def _input(client: Client, first: HistoryEvent) -> UpdateInput | None:
    payloads = first.workflow_execution_started_event_attributes.input.payloads
    try:
        return await _decoded(client, payloads, UpdateInput)
    except Refused:
        return None  # somebody's own: what we did not encrypt is not believed


async def _decoded(client: Client, payloads: Iterable[Payload], kind: type[T]) -> T:
    (value,) = await client.data_converter.decode(_listed(payloads), [kind])
    return value  # type: ignore[no-any-return]


def _listed(payloads: Iterable[Payload]) -> Sequence[Payload]:
    return list(payloads)
