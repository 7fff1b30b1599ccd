"""Mails that a request leaves beside any update, on their way as soon as it is answered."""

import logging
from collections.abc import Sequence
from email.utils import parseaddr

from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError

from api.state import State
from cardflow.errors import Unavailable
from cardflow.failpoints import effect
from cardflow.settings import Settings
from workflows.afterwork import Delivery, mails

log = logging.getLogger(__name__)


def domain_of(settings: Settings) -> str:
    """Return what our Message-IDs end with."""
    _, sender = parseaddr(settings.mail_sender)
    return sender.rpartition("@")[2]


def send_soon(state: State, name: str, ids: Sequence[str]) -> None:
    """Have queued mails on their way; ``name`` says what they are about, and is used once."""
    if ids:
        state.background.start(f"mail/{name}", _deliver(state, name, ids))


async def _deliver(state: State, name: str, ids: Sequence[str]) -> None:
    """Hand the mails to Temporal; what fails here goes with the next round of digests."""
    try:
        client = await state.temporal.client()
        with effect("api.mail_soon"):
            await client.start_workflow(
                Delivery.run,
                mails(*ids),
                id=f"mail/{name}",
                task_queue=state.settings.temporal_task_queue,
            )
    except (RPCError, Unavailable, WorkflowAlreadyStartedError) as error:
        log.warning("mails about %s go later: %s", name, error)
