"""What mail asks for by the clock: digests, and warnings before certificates expire."""

from datetime import datetime, timedelta

from temporalio.client import Client

from activities.mail.postman import Postman
from cardflow.db.digests import Rhythm, queue_digests
from cardflow.db.expiry import queue_warnings
from cardflow.db.mail_queue import left_of_updates, queued_beside_updates
from cardflow.settings import Settings
from cardflow.sql import Sessions, looking, transaction
from cardflow.temporal.deliveries import LATE, updates_with_delivery

MOST_UPDATES = 100  # the next round takes the others


class Rounds:
    """Each round queues what is due and sends it; what the relay did not take waits for the next.

    A round may run twice: what it queues has a natural key, what it sends a Message-ID that stays.
    """

    def __init__(self, sessions: Sessions, postman: Postman, rhythm: Rhythm) -> None:
        self._sessions = sessions
        self._postman = postman
        self._rhythm = rhythm

    async def digests(self, now: datetime, *, seconds: float) -> int:
        """Return how many mails still wait after the digests that are due went out."""
        async with transaction(self._sessions) as session:  # no failpoint: the activity has one
            await queue_digests(session, now, self._rhythm, domain=self._postman.domain)
        return await self._send(seconds)

    async def warnings(self, now: datetime, *, seconds: float) -> int:
        """Return how many mails still wait after the warnings that are due went out."""
        async with transaction(self._sessions) as session:  # no failpoint: the activity has one
            await queue_warnings(session, now, domain=self._postman.domain)
        return await self._send(seconds)

    async def left(self, now: datetime, client: Client) -> dict[str, tuple[str, ...]]:
        """Return by update the mails that nothing delivers: whoever was to do it has died."""
        async with looking(self._sessions) as session:
            waiting = await left_of_updates(session, now - LATE)
        under_way = await updates_with_delivery(client) if waiting else set()
        left = [(key, tuple(ids)) for key, ids in waiting.items() if key not in under_way]
        return dict(left[:MOST_UPDATES])

    async def _send(self, seconds: float) -> int:
        async with looking(self._sessions) as session:
            mails = await queued_beside_updates(session)
        return len(await self._postman.send(mails, seconds=seconds))


def build_rounds(settings: Settings, sessions: Sessions, postman: Postman) -> Rounds:
    """Return the rounds of this installation."""
    rhythm = Rhythm(
        timedelta(hours=settings.digest_hours),
        settings.digest_daily_hour,
        settings.default_time_zone,
    )
    return Rounds(sessions, postman, rhythm)
