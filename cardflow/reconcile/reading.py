"""What is read of both sides to be compared: requests at the embedded CA, updates on record."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, select
from sqlmodel import col

from cardflow.ca.tables import CaCertificate, CaRequest, State
from cardflow.db.memories import states_of
from cardflow.db.tables import Update
from cardflow.db.views import input_of
from cardflow.decisions import utc_now
from cardflow.model import Lane, UpdateInput, UpdateState
from cardflow.reconcile.installation import Installation
from cardflow.sql import looking

PAGE = 500
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
    def is_undecided(self) -> bool:
        """Whether the CA may still make something of the request."""
        return self.request.state in UNDECIDED

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


async def at_ca(there: Installation, which: ColumnElement[bool]) -> list[AtCA]:
    """Return a page of requests at the CA, in the order of their names."""
    query = (
        select(CaRequest, CaCertificate)
        .join(
            CaCertificate, col(CaCertificate.request_id) == col(CaRequest.request_id), isouter=True
        )
        .where(which)
        .order_by(col(CaRequest.request_id))
        .limit(PAGE)
    )
    async with looking(there.sessions) as session:
        return [AtCA(*row) for row in (await session.execute(query)).all()]


async def on_record(there: Installation, which: ColumnElement[bool]) -> dict[str, OnRecord]:
    """Return a page of updates, in the order of their ids."""
    query = select(Update).where(which).order_by(col(Update.id)).limit(PAGE)
    async with looking(there.sessions) as session:
        rows: Sequence[Update] = (await session.scalars(query)).all()
        states = await states_of(session, rows)
    return {
        row.id: OnRecord(input_of(row), states[row.id], row.ended_at is not None) for row in rows
    }
