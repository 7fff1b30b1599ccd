"""What goes on after an update has closed: revocations, withdrawals and late mail."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError

with workflow.unsafe.imports_passed_through():
    from activities.ca import CAActivities
    from activities.mail_out import MailActivities
    from cardflow.orders import AfterworkOrder, MailOrder, WithdrawOrder
    from cardflow.temporal import limits

PATIENT = RetryPolicy(initial_interval=timedelta(seconds=2), maximum_interval=timedelta(hours=1))


@workflow.defn
class Afterwork:
    """The CA's part of closing an update: a durable queue of revocations and withdrawals."""

    @workflow.run
    async def run(self, order: AfterworkOrder) -> None:
        """Every certificate named is revoked and nothing comes of the requests named."""
        options = workflow.ActivityConfig(
            start_to_close_timeout=limits.AFTERWORK, retry_policy=PATIENT
        )
        failures: list[ActivityError] = []
        if order.withdraw:
            with _collecting(failures):
                await workflow.execute_activity_method(
                    CAActivities.withdraw, WithdrawOrder(order.withdraw, order.reason), **options
                )
        for revocation in order.revoke:
            with _collecting(failures):
                await workflow.execute_activity_method(CAActivities.revoke, revocation, **options)
        if failures:
            raise failures[0]


@contextmanager
def _collecting(failures: list[ActivityError]) -> Iterator[None]:
    """Let what failed for good wait until everything else was done."""
    try:
        yield
    except ActivityError as error:
        failures.append(error)


@workflow.defn
class Delivery:
    """Mail that the relay would not take at once."""

    @workflow.run
    async def run(self, order: MailOrder) -> None:
        """Every mail named was sent, or is marked as failed for good after three days."""
        await workflow.execute_activity_method(
            MailActivities.deliver,
            order,
            start_to_close_timeout=limits.AFTERWORK,
            schedule_to_close_timeout=timedelta(days=3),
            retry_policy=PATIENT,
        )


def mails(*ids: str) -> MailOrder:
    """Return the order to deliver these mails."""
    return MailOrder(ids)
