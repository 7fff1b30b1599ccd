"""The embedded CA beside the record: what was asked, issued and revoked, each way round."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlmodel import col

from cardflow import lifecycle
from cardflow.ca.tables import CaCertificate, CaRequest
from cardflow.db.ca_record import CARecord
from cardflow.db.tables import Certificate, Update
from cardflow.decisions import utc_now
from cardflow.model import Lane, LaneStage
from cardflow.reconcile.findings import Difference, Finding
from cardflow.reconcile.installation import Installation
from cardflow.reconcile.reading import PAGE, AtCA, OnRecord, at_ca, on_record
from cardflow.sql import looking

TAKEN_WITHIN = timedelta(hours=2)  # an update polls the CA every hour at least


async def compare_ca(there: Installation) -> list[Finding]:
    """Return every difference between the CA's own tables and the record."""
    found: list[Finding] = []
    after = ""
    while page := await _page(there, after):
        after = page[-1].request.request_id
        found += await _page_findings(there, page)
    return found + await _certificates_on_record(there)


async def _page(there: Installation, after: str) -> list[AtCA]:
    return await at_ca(there, col(CaRequest.request_id) > after)


async def _page_findings(there: Installation, page: list[AtCA]) -> list[Finding]:
    known = await on_record(there, col(Update.id).in_({one.update_id for one in page}))
    return [
        difference for one in page if (difference := _difference(one, known.get(one.update_id)))
    ]


# From the CA's side


def _difference(one: AtCA, known: OnRecord | None) -> Finding | None:
    lane = known.lane(one.lane) if known else None
    if known is None or lane is None:
        return _unknown(one)
    if one.is_good and one.certificate and lane.serial_number != one.certificate.serial_number:
        return _not_taken(one, known, lane)
    if known.has_ended and one.is_undecided and not lifecycle.may_be_at_ca(lane):
        return _unasked(one, "its update is over and does not know it")
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
    if one.is_undecided:
        return _unasked(one, "no update on record made it")
    return None


def _unasked(one: AtCA, why: str) -> Finding:
    return Finding(
        Difference.REQUEST_UNKNOWN,
        one.request.request_id,
        f"Request {one.request.request_id} waits at the CA, and {why}.",
        "an officer rejects it at the CA",
    )


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
    async with looking(there.sessions) as session:
        return list((await session.scalars(query)).all())


async def _beside_ca(there: Installation, rows: list[Certificate]) -> list[Finding]:
    numbers = [row.serial_number for row in rows]
    query = select(col(CaCertificate.serial_number), col(CaCertificate.revoked_at)).where(
        col(CaCertificate.serial_number).in_(numbers)
    )
    async with looking(there.sessions) as session:
        at_ca = {row.serial_number: row.revoked_at for row in await session.execute(query)}
    return [one for row in rows if (one := await _certificate(there, row, at_ca))]


async def _certificate(
    there: Installation, row: Certificate, at_ca: Mapping[str, datetime | None]
) -> Finding | None:
    if row.serial_number not in at_ca:
        is_in_use = row.state != "retired" and row.not_after > utc_now()
        return _not_at_ca(row) if is_in_use else None
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


def _not_at_ca(row: Certificate) -> Finding:
    return Finding(
        Difference.CERTIFICATE_NOT_AT_CA,
        row.serial_number,
        f"Certificate {row.serial_number} of card {row.card_id} is on record and the CA does "
        "not know it: its tables were restored from an older copy.",
        "update the card's contents anew; the CA can neither vouch for this one nor revoke it",
    )


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
