"""Which keys of the codec's ring Temporal still needs, and until when.

What Temporal has stored cannot be encrypted anew: a history is never rewritten. So a key stays
until everything that was written with it is gone.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from google.protobuf.message import Message
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import Client, WorkflowExecution
from temporalio.service import RPCError, RPCStatusCode

from cardflow.temporal.codec import ENCODING
from cardflow.temporal.payloads import payloads_in


@dataclass(frozen=True)
class KeyUse:
    """What needs a key: open workflows, closed ones that are still kept, schedules."""

    open: int = 0
    closed: int = 0
    schedules: int = 0
    kept_until: datetime | None = None  # the last of the closed ones


class _Uses(dict[str, KeyUse]):
    def __missing__(self, key_id: str) -> KeyUse:
        return KeyUse()


async def keys_in_use(client: Client) -> dict[str, KeyUse]:
    """Return the use of each key that anything in the namespace was written with."""
    uses, kept = _Uses(), await _retention(client)
    async for found in client.list_workflows():
        for key_id in _keys_of(await _history(client, found)):
            uses[key_id] = _with(uses[key_id], found, kept)
    async for listed in await client.list_schedules():
        described = await client.get_schedule_handle(listed.id).describe()
        for key_id in _keys_of([described.raw_description]):
            uses[key_id] = replace(uses[key_id], schedules=uses[key_id].schedules + 1)
    return dict(uses)


async def _history(client: Client, found: WorkflowExecution) -> Sequence[Message]:
    """Return the events of a listed workflow; none if it is listed only.

    The list is a store of its own: it is a little behind where histories end, and ahead of
    Temporal's own database where both were restored.
    """
    handle = client.get_workflow_handle(found.id, run_id=found.run_id)
    try:
        return (await handle.fetch_history()).events
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
        return ()


def _with(use: KeyUse, found: WorkflowExecution, kept: timedelta) -> KeyUse:
    if found.close_time is None:
        return replace(use, open=use.open + 1)
    until = max(found.close_time + kept, use.kept_until or datetime.min.replace(tzinfo=UTC))
    return replace(use, closed=use.closed + 1, kept_until=until)


def _keys_of(messages: Iterable[Message]) -> set[str]:
    payloads = (payload for message in messages for payload in payloads_in(message))
    return {
        payload.metadata["key-id"].decode(errors="replace")
        for payload in payloads
        if payload.metadata.get("encoding") == ENCODING
    }


async def _retention(client: Client) -> timedelta:
    request = DescribeNamespaceRequest(namespace=client.namespace)
    found = await client.workflow_service.describe_namespace(request)
    return found.config.workflow_execution_retention_ttl.ToTimedelta()
