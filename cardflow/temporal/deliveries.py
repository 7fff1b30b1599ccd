"""Deliveries of mail about updates: how they are named, and which are at work."""

from datetime import timedelta

from temporalio.client import Client

DELIVERY = "Delivery"
LATE = timedelta(hours=1)  # a mail that waits longer is not just being sent for the first time


def once_more(update_id: str) -> str:
    """Return the name of the delivery of what was left; it is at work once at a time."""
    return f"mail/{update_id}/again"


async def updates_with_delivery(client: Client) -> set[str]:
    """Return the updates for which a delivery runs: its id is ``mail/<update id>/<number>``."""
    running = f'WorkflowType = "{DELIVERY}" AND ExecutionStatus = "Running"'
    return {run.id.split("/")[1] async for run in client.list_workflows(running)}
