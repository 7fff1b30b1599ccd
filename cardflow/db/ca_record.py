"""What the CA's activities need of the register, and what they leave in it."""

from datetime import UTC, datetime

from sqlalchemy import select
from sqlmodel import col

from cardflow.db import audit
from cardflow.db.tables import Certificate, Person, Update
from cardflow.db.views import view_of
from cardflow.errors import Refused
from cardflow.failpoints import effect
from cardflow.lifecycle import lane_of
from cardflow.model import Subject
from cardflow.sql import Sessions, looking, transaction


def subject_of(person: Person) -> Subject:
    """Return the person's names as the register has them now."""
    return Subject(
        person_id=person.id,
        common_name=person.name,
        email=person.email,
        given_name=person.given_name,
        surname=person.surname,
        upn=person.upn,
        sid=person.sid,
        organization=person.organization,
    )


class CARecord:
    """The register as the CA's activities see it."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    async def subject_of(self, person_id: str) -> Subject:
        """Return the names that a certificate for this person carries."""
        async with looking(self._sessions) as session:
            person = await session.get(Person, person_id)
        if person is None:
            raise Refused("the card's holder is not registered any more")
        return subject_of(person)

    async def holder_objections(self, person_id: str) -> list[str]:
        """Return why nothing new is issued to this person; who has left may have come back."""
        async with looking(self._sessions) as session:
            person = await session.get(Person, person_id)
        is_here = person is None or person.active  # whoever is not registered is refused elsewhere
        return [] if is_here else ["the card's holder is disabled; nothing new is issued to them"]

    async def waiting_since(self, request_id: str) -> datetime:
        """Return since when the lane of a request is at the CA, as far as is on record."""
        update_id, _, lane = request_id.split(":", 2)
        async with looking(self._sessions) as session:
            update = await session.get(Update, update_id)
        since = lane_of(view_of(update).state, lane).since if update else None
        return since or datetime.now(UTC)

    async def revoked(self, serial_number: str, update_id: str, reason: str) -> None:
        """Leave the certificate marked as revoked; the audit trail says so once."""
        with effect("record.revoked"):
            await self._revoked(serial_number, update_id, reason)

    async def _revoked(self, serial_number: str, update_id: str, reason: str) -> None:
        async with transaction(self._sessions) as session:  # no failpoint: the caller has one
            query = select(Certificate).where(
                col(Certificate.serial_number) == serial_number,
                col(Certificate.kind) == "managed",
                col(Certificate.state) != "revoked",
            )
            # Whoever revokes it at the same moment waits, and then finds nothing left to do.
            found = (await session.scalars(query.with_for_update())).all()
            for certificate in found:
                certificate.state = "revoked"
            facts = {"serial_number": serial_number, "reason": reason}
            now = datetime.now(UTC)
            entry = audit.Entry("certificate_revoked", now, update_id=update_id, facts=facts)
            await audit.append_all(session, [entry] * len(found))
