"""What is written down in a house, without anything that runs: database, CA, documents, trail."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from sqlalchemy import delete, select, update
from sqlmodel import SQLModel, col

from cardflow.ca.embedded import EmbeddedCA
from cardflow.ca.tables import CaCertificate, CaRequest
from cardflow.db.tables import Card, Certificate
from cardflow.model import EventKind, LaneStage, Stage
from cardflow.reconcile import Installation
from cardflow.reconcile.updates import compare_updates
from cardflow.reconcile.whole import COMPARISONS
from cardflow.sql import Sessions, transaction
from cardflow.x509 import facts_of_certificate
from tests import build
from tests.ca.making import AUTOMATIC, a_csr, a_request, issue
from tests.db.rows import the
from tests.db.test_projection import Story, a_story

READ = [compare for compare in COMPARISONS if compare is not compare_updates]


@dataclass
class Books:
    """The parts of an installation that are compared without Temporal."""

    there: Installation
    ca: EmbeddedCA

    @property
    def sessions(self) -> Sessions:
        """What opens sessions on the database."""
        return self.there.sessions

    async def look(self, *, apply=False, every_document=False):
        """Return every difference; with ``apply`` what can be mended is."""
        there = replace(self.there, apply=apply, every_document=every_document)
        return [one for compare in READ for one in await compare(there)]

    async def content(self):
        """Return every row of every table: what must not change."""
        return await rows_of_all_tables(self.sessions)

    async def opened(self) -> Story:
        """Return an update on record that is just being prepared."""
        policy = build.a_policy(build.an_entry(AUTOMATIC))
        return await a_story(self.sessions, build.an_update(policy, opened_at=datetime.now(UTC)))

    async def asked(self, story, profile=AUTOMATIC):
        """Ask the CA for the update's certificate, as its lane does; return its name and answer."""
        name = f"{story.update.update_id}:1:{AUTOMATIC}"
        return name, await issue(self.ca, a_request(profile, request_id=name))

    async def completed(self) -> tuple[Story, str]:
        """Return an update that put a certificate on the card, and the certificate's number."""
        story = await self.opened()
        await story.tell(EventKind.KEY_PREPARED, lane=AUTOMATIC, facts={"csr_pem": a_csr()})
        _, pem = await self.asked(story)
        number = facts_of_certificate(pem).serial_number
        facts = {"certificate_pem": pem}
        await story.tell(EventKind.CERTIFICATE_ISSUED, lane=AUTOMATIC, facts=facts)
        story.lane(AUTOMATIC, stage=LaneStage.WRITTEN, serial_number=number)
        await story.tell(EventKind.WRITTEN, lane=AUTOMATIC)
        story.end(Stage.COMPLETED)
        await story.tell(EventKind.COMPLETED)
        return story, number

    async def certificate(self, number) -> Certificate:
        """Return the row of a certificate on record."""
        return await the(self.sessions, Certificate, serial_number=number)

    async def set_certificate(self, number, **changes):
        """Leave the certificate's row changed."""
        query = update(Certificate).where(col(Certificate.serial_number) == number)
        async with transaction(self.sessions) as session:
            await session.execute(query.values(**changes))

    async def forgotten_by_ca(self, number):
        """Leave a CA whose tables were copied before it was asked for this certificate."""
        async with transaction(self.sessions) as session:
            where = col(CaCertificate.serial_number) == number
            row = await session.scalar(select(CaCertificate).where(where))
            await session.execute(delete(CaCertificate).where(where))
            name = col(CaRequest.request_id) == row.request_id
            await session.execute(delete(CaRequest).where(name))


def card_is_lost(card_id, *, ago=timedelta(minutes=5)):
    """Return what leaves a card that was reported lost a while ago."""
    lost_at = datetime.now(UTC) - ago
    return update(Card).where(col(Card.id) == card_id).values(state="disabled", lost_at=lost_at)


async def rows_of_all_tables(sessions):
    """Return every row of every table."""
    async with transaction(sessions) as session:
        return {
            table.name: sorted(map(repr, (await session.execute(select(table))).all()))
            for table in SQLModel.metadata.sorted_tables
        }
