"""A register with a few people and a card, and what a test looks for in it."""

from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from sqlalchemy import select

from cardflow.db.tables import AuditEntry, Card, Person
from cardflow.model import CardState, Role, UpdateInput
from cardflow.sql import transaction
from tests import build

NOW = datetime.now(UTC).replace(microsecond=0)  # signing keys of tests are new
ADMIN = "admin-1"
PEOPLE = {
    build.HOLDER: [Role.HOLDER],
    build.OPERATOR: [Role.OPERATOR],
    build.OPERATOR_2: [Role.HOLDER, Role.OPERATOR],
    build.OFFICER: [Role.OFFICER],
    ADMIN: [Role.ADMIN],
}


def a_person(person_id, roles, **changes):
    """Return a row for a person whose address is their id."""
    given = {
        "id": person_id,
        "login": person_id,
        "name": person_id.title(),
        "email": f"{person_id}@example.org",
        "roles": list(roles),
        "created_at": NOW,
    }
    return Person(**{**given, **changes})


def a_card(update: UpdateInput, **changes):
    """Return the row of the card that ``update`` is about."""
    given = {
        "id": update.card_id,
        "token_serial": update.token_serial,
        "holder_id": update.holder_id,
        "state": CardState.ASSIGNED,
        "created_at": NOW,
    }
    return Card(**{**given, **changes})


async def store(sessions, *rows):
    """Leave the rows in the database."""
    async with transaction(sessions) as session:
        for row in rows:
            session.add(row)
            await session.flush()


async def populate(sessions, update: UpdateInput, **card):
    """Leave the people and the card of ``update`` in the register."""
    people = [a_person(person_id, roles) for person_id, roles in PEOPLE.items()]
    await store(sessions, *people, a_card(update, **card))


async def found(sessions, table, **wanted):
    """Return the rows that match, in the order of their keys."""
    async with transaction(sessions) as session:
        query = select(table).order_by(*table.__table__.primary_key)
        return list((await session.scalars(query.filter_by(**wanted))).all())


async def the(sessions, table, **wanted):
    """Return the one row that matches."""
    (row,) = await found(sessions, table, **wanted)
    return row


async def audit_kinds(sessions):
    """Return the kinds of all entries of the audit trail, in order."""
    return [entry.kind for entry in await found(sessions, AuditEntry)]


def a_certificate_pem(name="Ada", *, not_after=NOW + timedelta(days=365)):
    """Return a self-signed certificate; nothing here checks who signed it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(not_after - timedelta(days=366))
        .not_valid_after(not_after)
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(Encoding.PEM).decode()
