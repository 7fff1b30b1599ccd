"""The embedded CA beside the record: what was asked, issued and revoked, each way round."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.exceptions import WorkflowAlreadyStartedError

from cardflow import lifecycle
from cardflow.ca.tables import CaCertificate, CaRequest, State
from cardflow.db.ca_record import CARecord
from cardflow.db.memories import state_of
from cardflow.db.tables import Certificate, Update
from cardflow.db.views import input_of
from cardflow.decisions import utc_now
from cardflow.model import Lane, LaneStage, UpdateInput, UpdateState
from cardflow.orders import AfterworkOrder, afterwork
from cardflow.reconcile.findings import Difference, Finding
from cardflow.reconcile.installation import Installation
from cardflow.sql import transaction

PAGE = 500
TAKEN_WITHIN = timedelta(hours=2)  # an update polls the CA every hour at least
AFTERWORK = "Afterwork"
UNDECIDED = (State.PENDING, State.APPROVED, State.SIGNING)


@dataclass(frozen=True)
class AtCA:
    """A request at the CA and the certificate that came of it."""

    request: CaRequest
    certificate: CaCertificate | None

    @property
    def update_id(self) -> str:
        """The update that the request was for, by its name."""
        return self.request.request_id.partition(":")[0]

    @property
    def lane(self) -> str:
        """The lane that the request was for, by its name."""
        return self.request.request_id.rpartition(":")[2]

    @property
    def is_good(self) -> bool:
        """Whether somebody could use the certificate."""
        one = self.certificate
        return one is not None and one.revoked_at is None and one.not_after > utc_now()


@dataclass(frozen=True)
class OnRecord:
    """An update as it is on record."""

    update: UpdateInput
    state: UpdateState
    has_ended: bool

    def lane(self, name: str) -> Lane | None:
        """Return a lane, if the update has it."""
        return next((lane for lane in self.state.lanes if lane.plan.lane == name), None)


async def compare_ca(there: Installation) -> list[Finding]:
    """Return every difference between the CA's own tables and the record."""
    found: list[Finding] = []
    after = ""
    while page := await _page(there, after):
        after = page[-1].request.request_id
        found += await _page_findings(there, page)
    return found + await _certificates_on_record(there)


async def _page(there: Installation, after: str) -> list[AtCA]:
    query = (
        select(CaRequest, CaCertificate)
        .join(
            CaCertificate, col(CaCertificate.request_id) == col(CaRequest.request_id), isouter=True
        )
        .where(col(CaRequest.request_id) > after)
        .order_by(col(CaRequest.request_id))
        .limit(PAGE)
    )
    async with transaction(there.sessions) as session:
        return [AtCA(*row) for row in (await session.execute(query)).all()]


async def _page_findings(there: Installation, page: list[AtCA]) -> list[Finding]:
    async with transaction(there.sessions) as session:
        on_record = await _on_record(session, {one.update_id for one in page})
    found = [
        difference for one in page if (difference := _difference(one, on_record.get(one.update_id)))
    ]
    return found + await _owed(there, page, on_record)


async def _on_record(session: AsyncSession, ids: Iterable[str]) -> dict[str, OnRecord]:
    rows = (await session.scalars(select(Update).where(col(Update.id).in_(ids)))).all()
    return {
        row.id: OnRecord(input_of(row), await state_of(session, row), row.ended_at is not None)
        for row in rows
    }


# From the CA's side


def _difference(one: AtCA, known: OnRecord | None) -> Finding | None:
    lane = known.lane(one.lane) if known else None
    if known is None or lane is None:
        return _unknown(one)
    if one.is_good and one.certificate and lane.serial_number != one.certificate.serial_number:
        return _not_taken(one, known, lane)
    return None


def _unknown(one: AtCA) -> Finding | None:
    request = one.request
    if one.is_good and one.certificate:
        number = one.certificate.serial_number
        return Finding(
            Difference.CERTIFICATE_UNKNOWN,
            number,
            f"The CA issued certificate {number} for request {request.request_id}, and no update "
            "on record asked for it.",
            f"look whose card has it; if none: cardflow ca revoke {number} --reason "
            "cessationOfOperation",
        )
    if request.state in UNDECIDED:
        return Finding(
            Difference.REQUEST_UNKNOWN,
            request.request_id,
            f"Request {request.request_id} waits at the CA, and no update on record made it.",
            "an officer rejects it at the CA",
        )
    return None


def _not_taken(one: AtCA, known: OnRecord, lane: Lane) -> Finding | None:
    """A certificate of a lane that has none is taken at the next poll; not if that was long ago."""
    assert one.certificate is not None  # noqa: S101 it is good
    number, since = one.certificate.serial_number, one.certificate.not_before
    if lane.stage is LaneStage.AT_CA and since > utc_now() - TAKEN_WITHIN:
        return None
    if known.has_ended and lifecycle.may_be_at_ca(lane):
        return None  # what was left to be done at the CA says more
    remedy = "continue or retry the update: it looks at the CA before it asks again"
    if known.has_ended:
        remedy = f"cardflow ca revoke {number} --reason cessationOfOperation"
    return Finding(
        Difference.CERTIFICATE_NOT_TAKEN,
        number,
        f"The CA issued certificate {number} for {one.request.request_id}, whose update is "
        f"{'over' if known.has_ended else lane.stage} and does not know it.",
        remedy,
    )


# What ended updates left to be done


async def _owed(
    there: Installation, page: list[AtCA], on_record: Mapping[str, OnRecord]
) -> list[Finding]:
    by_update: dict[str, list[AtCA]] = defaultdict(list)
    for one in page:
        by_update[one.update_id].append(one)
    found = []
    for update_id, requests in by_update.items():
        known = on_record.get(update_id)
        if known and known.has_ended and (owed := await _still_owed(there, known, requests)):
            found.append(await _afterwork(there, update_id, owed))
    return found


async def _still_owed(
    there: Installation, known: OnRecord, requests: list[AtCA]
) -> AfterworkOrder | None:
    order = afterwork(known.update, known.state)
    open_requests = {one.request.request_id for one in requests if _is_open(one)}
    numbers = [number for one in order.revoke for number in one.serial_numbers]
    good = await _good(there, numbers)
    revoke = [replace(x, serial_numbers=tuple(good & {*x.serial_numbers})) for x in order.revoke]
    still = AfterworkOrder(
        revoke=tuple(x for x in revoke if x.serial_numbers),
        withdraw=tuple(x for x in order.withdraw if x.request_id in open_requests),
    )
    return still if still.revoke or still.withdraw else None


def _is_open(one: AtCA) -> bool:
    return one.request.state in UNDECIDED or one.is_good


async def _good(there: Installation, numbers: list[str]) -> set[str]:
    query = select(col(CaCertificate.serial_number)).where(
        col(CaCertificate.serial_number).in_(numbers),
        col(CaCertificate.revoked_at).is_(None),
        col(CaCertificate.not_after) > utc_now(),
    )
    async with transaction(there.sessions) as session:
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
    try:
        await there.client.start_workflow(
            AFTERWORK,
            owed,
            id=f"afterwork/{update_id}",
            task_queue=there.task_queue,
            id_conflict_policy=WorkflowIDConflictPolicy.FAIL,
        )
    except WorkflowAlreadyStartedError:
        return replace(found, mended="the workflow that does it is at work")
    return replace(found, mended="it was ordered")


# From the record's side


async def _certificates_on_record(there: Installation) -> list[Finding]:
    found: list[Finding] = []
    after = ("", "")
    while rows := await _certificates(there, after):
        after = (rows[-1].sha256, rows[-1].card_id)
        found += await _beside_ca(there, rows)
    return found


async def _certificates(there: Installation, after: tuple[str, str]) -> list[Certificate]:
    place = (col(Certificate.sha256), col(Certificate.card_id))
    query = (
        select(Certificate)
        .where(
            col(Certificate.kind) == "managed",
            col(Certificate.update_id) != "",
            (place[0] > after[0]) | ((place[0] == after[0]) & (place[1] > after[1])),
        )
        .order_by(*place)
        .limit(PAGE)
    )
    async with transaction(there.sessions) as session:
        return list((await session.scalars(query)).all())


async def _beside_ca(there: Installation, rows: list[Certificate]) -> list[Finding]:
    numbers = [row.serial_number for row in rows]
    query = select(col(CaCertificate.serial_number), col(CaCertificate.revoked_at)).where(
        col(CaCertificate.serial_number).in_(numbers)
    )
    async with transaction(there.sessions) as session:
        at_ca = {row.serial_number: row.revoked_at for row in await session.execute(query)}
    return [one for row in rows if (one := await _certificate(there, row, at_ca))]


async def _certificate(
    there: Installation, row: Certificate, at_ca: Mapping[str, datetime | None]
) -> Finding | None:
    if row.serial_number not in at_ca:
        return Finding(
            Difference.CERTIFICATE_NOT_AT_CA,
            row.serial_number,
            f"Certificate {row.serial_number} of card {row.card_id} is on record and the CA does "
            "not know it: its tables were restored from an older copy.",
            "update the card's contents anew; the CA can neither vouch for this one nor revoke it",
        )
    revoked = at_ca[row.serial_number] is not None
    if revoked and row.state != "revoked":
        return await _revocation_missing(there, row)
    if row.state == "revoked" and not revoked and row.not_after > utc_now():
        return Finding(
            Difference.REVOCATION_UNDONE,
            row.serial_number,
            f"Certificate {row.serial_number} is revoked on record and good at the CA.",
            f"cardflow ca revoke {row.serial_number} --reason cessationOfOperation",
        )
    return None


async def _revocation_missing(there: Installation, row: Certificate) -> Finding:
    found = Finding(
        Difference.REVOCATION_MISSING,
        row.serial_number,
        f"Certificate {row.serial_number} is revoked at the CA and the record says {row.state}.",
        "`--apply` puts it on record",
    )
    if not there.apply:
        return found
    await CARecord(there.sessions).revoked(row.serial_number, row.update_id, "found at the CA")
    return replace(found, mended="it is on record")
