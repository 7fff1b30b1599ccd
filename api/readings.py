"""Who reads decoded histories: told to the audit trail before the first is shown."""

import time
from collections import OrderedDict

from api.authorize import Caller
from cardflow.db import audit
from cardflow.decisions import utc_now
from cardflow.sql import Sessions, transaction

READING_SECONDS = 900.0
MOST_READERS = 1_000


class Readings:
    """Who reads histories now. The first request of a reading is put on record, not each.

    Temporal's pages ask for every event of a history by itself and do not say whose it is.
    """

    def __init__(self) -> None:
        self._until: OrderedDict[str, float] = OrderedDict()

    async def note(self, caller: Caller, sessions: Sessions, namespace: str) -> None:
        """The reading is in the audit trail before anything is decoded."""
        now = time.monotonic()
        if self._until.get(caller.token_sha256, 0.0) > now:
            return
        facts = {"namespace": namespace, "minutes": int(READING_SECONDS // 60)}
        async with transaction(sessions) as session:
            entry = audit.Entry("histories_read", utc_now(), actor=caller.id, facts=facts)
            await audit.append(session, entry)
        self._until[caller.token_sha256] = now + READING_SECONDS
        while len(self._until) > MOST_READERS:
            self._until.popitem(last=False)
