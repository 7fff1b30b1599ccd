"""Mail that could not be sent at once, sent again until the relay takes it."""

from typing import TYPE_CHECKING

from temporalio import activity

from activities.orders import MailOrder
from cardflow.errors import Unavailable

if TYPE_CHECKING:
    from activities.mail.postman import Postman

SECONDS_FOR_MAIL = 30


class MailActivities:
    """Delivers queued mails; one that was sent, or refused for good, is skipped."""

    def __init__(self, postman: "Postman") -> None:
        self._postman = postman

    @activity.defn
    async def deliver(self, order: MailOrder) -> None:
        """Each mail is sent, under the Message-ID of its first try, or marked as refused."""
        unsent = await self._postman.send(order.mails, seconds=SECONDS_FOR_MAIL)
        if unsent:
            raise Unavailable(f"{len(unsent)} mails wait: the mail relay does not take them now")
