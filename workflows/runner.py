"""How workers, tests and replays run our workflows: in the sandbox, the core passed through."""

from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

# Deterministic modules that would be loaded anew for every workflow, and cryptography, which
# imports parts of itself at first use.
PASSED_THROUGH = ("cardflow", "activities", "cryptography")


def runner() -> SandboxedWorkflowRunner:
    """Return the workflow runner of Cardflow."""
    restrictions = SandboxRestrictions.default.with_passthrough_modules(*PASSED_THROUGH)
    return SandboxedWorkflowRunner(restrictions=restrictions)
