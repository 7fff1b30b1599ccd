"""What happens at the card: declared here, carried out by a workstation agent.

The agent takes these from its own task queue ``agent-<id>`` through ``api/agents.py``; no worker of
ours registers them.
"""

from temporalio import activity

from cardflow.jobs import (
    CleanUpJob,
    ClearJob,
    InspectJob,
    JobResult,
    PrepareJob,
    SignJob,
    WriteJob,
)


def _at_the_card() -> JobResult:
    raise RuntimeError("card activities are carried out by an agent, never by a worker")


class CardActivities:
    """One method per kind of job; the names are ``cardflow.jobs.JobKind``."""

    @activity.defn(name="inspect")
    async def inspect(self, job: InspectJob) -> JobResult:
        """The card's public contents were read."""
        return _at_the_card()

    @activity.defn(name="prepare")
    async def prepare(self, job: PrepareJob) -> JobResult:
        """Debts are paid and each lane's key is on the card."""
        return _at_the_card()

    @activity.defn(name="write")
    async def write(self, job: WriteJob) -> JobResult:
        """Each certificate is on the card beside its key, read back and proven."""
        return _at_the_card()

    @activity.defn(name="clean_up")
    async def clean_up(self, job: CleanUpJob) -> JobResult:
        """The objects named are gone from the card."""
        return _at_the_card()

    @activity.defn(name="clear")
    async def clear(self, job: ClearJob) -> JobResult:
        """Everything of ours is gone from the card."""
        return _at_the_card()

    @activity.defn(name="sign_document")
    async def sign_document(self, job: SignJob) -> JobResult:
        """The form is signed by the card and handed in."""
        return _at_the_card()
