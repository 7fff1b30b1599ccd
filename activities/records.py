"""What happened, on record: the projection that people read and the audit chain.

The database is injected, so a workflow that names these activities imports none of it.
"""

from typing import TYPE_CHECKING

from temporalio import activity

from activities.orders import Opened, OpenOrder, Published
from cardflow.orders import Publication

if TYPE_CHECKING:
    from activities.mail.postman import Postman
    from cardflow.db.update_record import UpdateRecord

SECONDS_FOR_MAIL = 5  # people wait for this activity; what is not sent by then goes later


class RecordActivities:
    """Writes updates down and sends the mails that their events ask for."""

    def __init__(self, record: "UpdateRecord", postman: "Postman") -> None:
        self._record = record
        self._postman = postman

    @activity.defn
    async def open_update(self, order: OpenOrder) -> Opened:
        """The update is on record, unless its OPEN token is not ours or not for this input."""
        workflow_id = activity.info().workflow_id or ""
        return Opened(tuple(await self._record.open(order.update, workflow_id)))

    @activity.defn
    async def publish(self, publication: Publication) -> Published:
        """The events and the state after them are on record; their mails are sent or queued."""
        mails = await self._record.publish(publication)
        unsent = await self._postman.send(mails, seconds=SECONDS_FOR_MAIL)
        return Published(tuple(unsent))
