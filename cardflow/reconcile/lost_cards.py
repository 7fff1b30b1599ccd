"""Cards that are reported lost, and of which something goes on as if they were not.

The report blocks the card first; the server may die before it has ended the update and ordered the
revocations, and whoever reported may not do it again.
"""

from dataclasses import replace
from datetime import timedelta

from sqlalchemy import select
from sqlmodel import col

from cardflow.ca import RevocationReason
from cardflow.db.register_cards import unrevoked_on
from cardflow.db.register_updates import open_update_on
from cardflow.db.tables import Card
from cardflow.decisions import utc_now
from cardflow.orders import revocations
from cardflow.reconcile.afterwork import AFTERWORK, good_at_ca
from cardflow.reconcile.findings import Difference, Finding
from cardflow.reconcile.installation import Installation
from cardflow.sql import looking

AT_WORK = timedelta(minutes=1)  # a report that is younger is just being carried out


async def compare_lost_cards(there: Installation) -> list[Finding]:
    """Return the cards whose report was not carried out to the end."""
    query = select(col(Card.id)).where(col(Card.lost_at) < utc_now() - AT_WORK)
    async with looking(there.sessions) as session:
        cards = (await session.scalars(query.order_by(col(Card.id)))).all()
    return [found for card_id in cards for found in await _unfinished(there, card_id)]


async def _unfinished(there: Installation, card_id: str) -> list[Finding]:
    async with looking(there.sessions) as session:
        update = await open_update_on(session, card_id)
        numbers = await unrevoked_on(session, card_id, now=utc_now())
    found = [_open(card_id, update.id)] if update else []
    if good := sorted(await good_at_ca(there, set(numbers))):
        found.append(await _trusted(there, card_id, good))
    return found


def _open(card_id: str, update_id: str) -> Finding:
    return Finding(
        Difference.LOST_CARD_OPEN,
        update_id,
        f"Card {card_id} is reported lost, and its update {update_id} is open.",
        "report the card lost again: that ends the update",
    )


async def _trusted(there: Installation, card_id: str, numbers: list[str]) -> Finding:
    found = Finding(
        Difference.LOST_CARD_TRUSTED,
        card_id,
        f"Card {card_id} is reported lost, and at the CA still stands: {', '.join(numbers)}.",
        "`--apply` has it revoked",
    )
    if not there.apply:
        return found
    order = revocations(RevocationReason.KEY_COMPROMISE, tuple(numbers))
    if await there.order(AFTERWORK, order, id=f"lost/{card_id}/again"):
        return replace(found, mended="it was ordered")
    return replace(found, mended="the workflow that does it is at work")
