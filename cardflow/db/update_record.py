"""The record of updates: what the workflow's activities may do to the register."""

from cardflow.db import mail_queue, opening, projection
from cardflow.db.mail_queue import Postage
from cardflow.failpoints import effect
from cardflow.model import UpdateInput
from cardflow.orders import Publication
from cardflow.sql import Sessions, transaction


class UpdateRecord:
    """Opens updates and publishes what happened to them, one transaction each."""

    def __init__(
        self, sessions: Sessions, *, decision_root: str, mail_domain: str, digest_above: int = 10
    ) -> None:
        self._sessions = sessions
        self._decision_root = decision_root
        self._postage = Postage(mail_domain, digest_above)

    async def open(self, update: UpdateInput, workflow_id: str) -> list[str]:
        """Leave the update on record, or only the refusal, and return why it was refused."""
        with effect("record.open"):
            async with transaction(self._sessions) as session:
                found = await opening.opening_objections(
                    session, update, workflow_id=workflow_id, decision_root=self._decision_root
                )
                if found:
                    await opening.refuse(session, update, workflow_id, found)
                else:
                    await opening.register(session, update)
        return found

    async def publish(self, said: Publication) -> list[str]:
        """Leave events and state on record; return the mails of these events that wait."""
        with effect("record.publish"):
            async with transaction(self._sessions) as session:
                await projection.publish(session, said, postage=self._postage)
                waiting = await mail_queue.queued_for(session, said.view.update_id, said.events)
        return waiting
