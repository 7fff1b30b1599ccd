"""Mail by the clock: Temporal's schedules start a short run each time, so no history grows."""

from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy

with workflow.unsafe.imports_passed_through():
    from activities.mail_out import MailRoundActivities
    from activities.orders import RoundOrder
    from cardflow.mail.trial import TrialAnswer, TrialOrder
    from cardflow.temporal import limits

A_WHILE = RetryPolicy(initial_interval=timedelta(seconds=2), maximum_interval=timedelta(minutes=2))
# The next round tries again what this one could not send.
ROUND = workflow.ActivityConfig(
    start_to_close_timeout=limits.ROUND,
    schedule_to_close_timeout=timedelta(minutes=10),
    retry_policy=A_WHILE,
)


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
