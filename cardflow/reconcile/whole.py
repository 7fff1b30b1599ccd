"""The comparison from end to end, and the line of the audit trail that says what was mended."""

from collections import Counter

from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest

from cardflow.db import audit
from cardflow.decisions import utc_now
from cardflow.errors import Unavailable
from cardflow.reconcile import afterwork, authority, lost_cards, rest, updates
from cardflow.reconcile.findings import Finding
from cardflow.reconcile.installation import Installation
from cardflow.sql import transaction

# Updates first: what they bring back on record is what the others compare with.
COMPARISONS = (
    rest.compare_trail,
    updates.compare_updates,
    authority.compare_ca,
    afterwork.compare_afterwork,
    lost_cards.compare_lost_cards,
    rest.compare_requests,
    rest.compare_documents,
    rest.compare_mails,
)


async def reconcile(there: Installation) -> list[Finding]:
    """Return every difference; with ``apply`` whatever can be mended is."""
    await _refuse_without_worker(there)
    found = [one for compare in COMPARISONS for one in await compare(there)]
    if mended := Counter(one.difference.value for one in found if one.mended):
        facts = {"mended": dict(mended), "standing": sum(not one.mended for one in found)}
        async with transaction(there.sessions) as session:  # no failpoint: nothing follows
            await audit.append(session, audit.Entry("reconciled", utc_now(), facts=facts))
    return found


async def _refuse_without_worker(there: Installation) -> None:
    """Workflows answer through a worker: without one, every update would look silent."""
    request = DescribeTaskQueueRequest(
        namespace=there.client.namespace,
        task_queue=TaskQueue(name=there.task_queue),
        task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
    )
    if not (await there.client.workflow_service.describe_task_queue(request)).pollers:
        raise Unavailable(
            f"no worker takes work from the task queue {there.task_queue}; start one, then run "
            "this again"
        )
