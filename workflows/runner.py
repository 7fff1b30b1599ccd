"""How workers, tests and replays run our workflows: in the sandbox, the core passed through."""

from typing import Any

from temporalio.api.enums.v1 import CommandType
from temporalio.converter import StorageDriverStoreContext
from temporalio.worker import WorkflowInstance, WorkflowInstanceDetails
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

# Deterministic modules that would be loaded anew for every workflow, and cryptography, which
# imports parts of itself at first use.
PASSED_THROUGH = ("cardflow", "activities", "cryptography")
OF_ACTIVITIES = (CommandType.COMMAND_TYPE_SCHEDULE_ACTIVITY_TASK,)
NOWHERE = StorageDriverStoreContext(target=None)


class OneContext(WorkflowInstance):
    """A workflow whose payloads are bound to it alike, whichever activity they are for.

    The sandbox would be entered four times for each payload to learn the activity, at which no
    converter of ours looks: a tenth of the worker's processor time.
    """

    def __init__(self, inner: WorkflowInstance) -> None:
        self._inner = inner
        self._own: Any = None

    def activate(self, act: Any) -> Any:
        """Take what has happened; return what is to be done."""
        return self._inner.activate(act)

    def get_serialization_context(self, command_info: Any) -> Any:
        """Return whose payload it is: this workflow's, but for what goes to another one."""
        if command_info is not None and command_info.command_type not in OF_ACTIVITIES:
            return self._inner.get_serialization_context(command_info)
        if self._own is None:
            self._own = self._inner.get_serialization_context(None)
        return self._own

    def get_external_store_context(self, command_info: Any) -> StorageDriverStoreContext:
        """Our payloads are stored in the history itself."""
        return NOWHERE

    def get_info(self) -> Any:
        """Return which workflow this is."""
        return self._inner.get_info()

    def get_thread_id(self) -> int | None:
        """Return the thread that runs it now."""
        return self._inner.get_thread_id()


class OneContextRunner(SandboxedWorkflowRunner):
    """Temporal's sandbox, for payloads of one context."""

    def create_instance(self, det: WorkflowInstanceDetails) -> WorkflowInstance:
        """Return one workflow in its sandbox."""
        return OneContext(super().create_instance(det))


def runner() -> SandboxedWorkflowRunner:
    """Return the workflow runner of Cardflow."""
    restrictions = SandboxRestrictions.default.with_passthrough_modules(*PASSED_THROUGH)
    return OneContextRunner(restrictions=restrictions)
