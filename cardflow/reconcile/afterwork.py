"""What updates that have ended left to be done at the CA, and that is not done."""

from dataclasses import replace

from sqlalchemy import select
from sqlmodel import col

from cardflow.ca.tables import CaCertificate, CaRequest
from cardflow.db.tables import Update
from cardflow.decisions import utc_now
from cardflow.orders import AfterworkOrder, afterwork
from cardflow.reconcile.findings import Difference, Finding
from cardflow.reconcile.installation import Installation
from cardflow.reconcile.reading import OnRecord, at_ca, on_record
from cardflow.sql import looking

AFTERWORK = "Afterwork"


async def compare_afterwork(there: Installation) -> list[Finding]:
    """Return the ended updates whose revocations and withdrawals still stand at the CA."""
    found: list[Finding] = []
    after = ""
    while known := await on_record(
        there, col(Update.ended_at).is_not(None) & (col(Update.id) > after)
    ):
        after = list(known)[-1]
        for update_id, one in known.items():
            if owed := await _still_owed(there, one):
                found.append(await _afterwork(there, update_id, owed))
    return found


async def _still_owed(there: Installation, known: OnRecord) -> AfterworkOrder | None:
    order = afterwork(known.update, known.state)
    good = await good_at_ca(there, {number for x in order.revoke for number in x.serial_numbers})
    asked = await _open_requests(there, {x.request_id for x in order.withdraw})
    revoke = [
        replace(x, serial_numbers=tuple(n for n in x.serial_numbers if n in good))
        for x in order.revoke
    ]
    still = replace(
        order,
        revoke=tuple(x for x in revoke if x.serial_numbers),
        withdraw=tuple(x for x in order.withdraw if x.request_id in asked),
    )
    return still if still.revoke or still.withdraw else None


async def _open_requests(there: Installation, names: set[str]) -> set[str]:
    if not names:
        return set()
    found = await at_ca(there, col(CaRequest.request_id).in_(names))
    return {one.request.request_id for one in found if one.is_undecided or one.is_good}


async def good_at_ca(there: Installation, numbers: set[str]) -> set[str]:
    """Return which of these serial numbers are of certificates that somebody could use."""
    if not numbers:
        return set()
    query = select(col(CaCertificate.serial_number)).where(
        col(CaCertificate.serial_number).in_(numbers),
        col(CaCertificate.revoked_at).is_(None),
        col(CaCertificate.not_after) > utc_now(),
    )
    async with looking(there.sessions) as session:
        return set((await session.scalars(query)).all())


async def _afterwork(there: Installation, update_id: str, owed: AfterworkOrder) -> Finding:
    numbers = [number for one in owed.revoke for number in one.serial_numbers]
    names = [*numbers, *(one.request_id for one in owed.withdraw)]
    found = Finding(
        Difference.AFTERWORK_OWED,
        update_id,
        f"Update {update_id} has ended, and at the CA still stands what was to be revoked or "
        f"withdrawn: {', '.join(names)}.",
        "`--apply` has it done",
    )
    if not there.apply:
        return found
    if await there.order(AFTERWORK, owed, id=f"afterwork/{update_id}"):
        return replace(found, mended="it was ordered")
    return replace(found, mended="the workflow that does it is at work")
