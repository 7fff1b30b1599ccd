"""How tests and replays run workflows: in Temporal's sandbox, which fails what cannot be replayed.

Workers run them outside of it: to load a workflow's module anew for each update is a third of what
an update costs them, and what it finds it has found here.
"""

from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

# Deterministic modules that would be loaded anew for every workflow, and cryptography, which
# imports parts of itself at first use.
PASSED_THROUGH = ("cardflow", "activities", "cryptography")


def sandbox() -> SandboxedWorkflowRunner:
    """Return the runner."""
    restrictions = SandboxRestrictions.default.with_passthrough_modules(*PASSED_THROUGH)
    return SandboxedWorkflowRunner(restrictions=restrictions)
