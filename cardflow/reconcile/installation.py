"""What is compared: the parts of one installation, as this process reaches them."""

from dataclasses import dataclass, field
from pathlib import Path

from temporalio.client import Client
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.exceptions import WorkflowAlreadyStartedError

from cardflow.db.update_record import UpdateRecord
from cardflow.decisions import Signer
from cardflow.documents.store import DocumentStore
from cardflow.sql import Sessions

WORKFLOW = "CardUpdate"


@dataclass(frozen=True)
class Installation:
    """Everything that is looked at, and with ``apply`` acted on."""

    sessions: Sessions
    client: Client
    task_queue: str
    record: UpdateRecord
    decision_root: str
    signer: Signer = field(repr=False)
    documents: DocumentStore
    checkpoint_dir: Path
    apply: bool = False
    every_document: bool = False  # else those of open updates only

    async def order(self, workflow: str, order: object, *, id: str) -> bool:
        """Have it carried out by a workflow; False when that one is at work already."""
        policy = WorkflowIDConflictPolicy.FAIL
        try:
            await self.client.start_workflow(  # no failpoint: run again, it has that id
                workflow, order, id=id, task_queue=self.task_queue, id_conflict_policy=policy
            )
        except WorkflowAlreadyStartedError:
            return False
        return True


def workflow_id(card_id: str) -> str:
    """Return the one workflow id of a card."""
    return f"card-update/{card_id}"
