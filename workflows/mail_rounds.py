"""Mail by the clock: Temporal's schedules start a short run each time, so no history grows."""

from contextlib import suppress
from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import WorkflowAlreadyStartedError

with workflow.unsafe.imports_passed_through():
    from activities.mail_out import MailRoundActivities
    from activities.orders import RoundOrder
    from cardflow.mail.trial import TrialAnswer, TrialOrder
    from cardflow.orders import MailOrder
    from cardflow.temporal import limits
    from cardflow.temporal.deliveries import once_more
    from workflows.afterwork import Delivery

A_WHILE = RetryPolicy(initial_interval=timedelta(seconds=2), maximum_interval=timedelta(minutes=2))
# The next round tries again what this one could not send.
ROUND = workflow.ActivityConfig(
    start_to_close_timeout=limits.ROUND,
    schedule_to_close_timeout=timedelta(minutes=10),
    retry_policy=A_WHILE,
)

BETWEEN_LOOKS = 2 * limits.WORK  # longer than a publication sends its own mails


@workflow.defn
class Digests:
    """One round of digests for operators with many waiting documents."""

    @workflow.run
    async def run(self) -> None:
        """Everybody whose digest is due has it."""
        now = RoundOrder(workflow.now())
        await workflow.execute_activity_method(MailRoundActivities.send_digests, now, **ROUND)


@workflow.defn
class ExpiryWarnings:
    """One round of warnings about certificates that expire soon."""

    @workflow.run
    async def run(self) -> None:
        """Every holder concerned has a warning."""
        now = RoundOrder(workflow.now())
        await workflow.execute_activity_method(MailRoundActivities.warn_of_expiry, now, **ROUND)


@workflow.defn
class LeftMails:
    """One round for mails of updates whose sender has died: each has a delivery again.

    Nothing that is just being sent is sent beside that: an update with a delivery has no second
    one, and what an update sends itself is over between the two looks.
    """

    @workflow.run
    async def run(self) -> None:
        """Every mail that was left is sent, or is marked as failed for good if it is too old."""
        now = RoundOrder(workflow.now())
        first = await _left(now)
        if not first:
            return
        await workflow.sleep(BETWEEN_LOOKS)
        for update_id, found in (await _left(now)).items():
            if mails := tuple(key for key in found if key in first.get(update_id, ())):
                with suppress(WorkflowAlreadyStartedError):  # by whoever reconciles
                    await workflow.start_child_workflow(
                        Delivery.run,
                        MailOrder(mails),
                        id=once_more(update_id),
                        parent_close_policy=workflow.ParentClosePolicy.ABANDON,
                    )


async def _left(now: RoundOrder) -> dict[str, tuple[str, ...]]:
    find = MailRoundActivities.find_left_mails
    return (await workflow.execute_activity_method(find, now, **ROUND)).mails


@workflow.defn
class MailTrial:
    """A mail with made-up contents to the person who asks for it; tried once."""

    @workflow.run
    async def run(self, order: TrialOrder) -> TrialAnswer:
        """Return what the relay said."""
        return await workflow.execute_activity_method(
            MailRoundActivities.send_trial,
            order,
            start_to_close_timeout=limits.WORK,
            retry_policy=RetryPolicy(maximum_attempts=1),
        )
