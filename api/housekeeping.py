"""What a running API forgets by itself."""

import asyncio
import logging
from datetime import timedelta

from api.state import State
from cardflow.db.register_drafts import forget_drafts
from cardflow.db.register_identity import forget_what_is_over
from cardflow.decisions import utc_now
from cardflow.errors import Unavailable
from cardflow.sql import transaction

EVERY_SECONDS = 600.0

log = logging.getLogger(__name__)


async def keep_house(state: State) -> None:
    """Forget ended sign-ins, ended claims and old answers, now and again, until cancelled."""
    while True:
        try:
            await forget(state)
        except Unavailable as error:
            log.warning("nothing was forgotten: %s", error)
        except Exception:  # whatever it is: nobody would notice that this had ended
            log.exception("nothing was forgotten")
        await asyncio.sleep(EVERY_SECONDS)


async def forget(state: State) -> None:
    """Forget what is over now."""
    now, idle = utc_now(), timedelta(hours=state.settings.session_idle_hours)
    async with transaction(state.sessions) as session:
        await forget_what_is_over(session, now=now, idle=idle)
        await forget_drafts(session, now=now)
