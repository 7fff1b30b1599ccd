"""Cards and CAs of strangers name things as they like: what they say never holds an update up."""

import base64
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from sqlalchemy import text

from cardflow.db.tables import LONGEST_NAME, Certificate, Debt, Update
from cardflow.db.views import text_of
from cardflow.jobs import FoundCertificate, Inventory
from cardflow.model import EventKind, ObjectRef, Stage
from cardflow.x509 import facts_of_certificate
from tests import build
from tests.ca.forging import ECDSA_SHA256, bits, integer, oid, sequence, tlv
from tests.db.rows import NOW, found, the
from tests.db.test_projection import POLICY, a_story, ended, registering

NO_END = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)  # RFC 5280 4.1.2.5: it has none

COMMON_NAME = oid("2.5.4.3")


def a_strange_pem(serial=1, name="Bank"):
    """Return a certificate that no library would make: nobody here checks who signed it."""
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    der = sequence(tlv(0x31, sequence(COMMON_NAME, tlv(0x0C, name.encode()))))
    validity = sequence(tlv(0x18, b"00010101000000Z"), tlv(0x18, b"99991231235959Z"))
    spki = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    version = tlv(0xA0, integer(2))
    signed = sequence(version, integer(serial), ECDSA_SHA256, der, validity, der, spki)
    body = base64.encodebytes(sequence(signed, ECDSA_SHA256, bits(b"\x30\x00"))).decode()
    return f"-----BEGIN CERTIFICATE-----\n{body}-----END CERTIFICATE-----\n"


async def completed(sessions, pem, cka_id="01"):
    """An update that registers the certificate comes to its end."""
    digest = facts_of_certificate(pem).sha256
    seen = Inventory(certificates=(FoundCertificate(cka_id, "", pem, True),))
    update = registering(build.an_update(POLICY, opened_at=NOW), digest)
    story = await a_story(sessions, update, inventory=text_of(seen))
    await ended(story, Stage.COMPLETED)
    assert (await the(sessions, Update)).stage == Stage.COMPLETED
    return await found(sessions, Certificate)


async def test_long_names_are_kept_whole(sessions):
    serial = 2 ** (LONGEST_NAME * 4) - 1
    pem = a_strange_pem(serial, "B" * 9_000)

    (row,) = await completed(sessions, pem, cka_id="f" * LONGEST_NAME)

    assert (row.cka_id, row.serial_number) == ("f" * LONGEST_NAME, f"{serial:x}")
    assert row.subject == "CN=" + "B" * 9_000


@pytest.mark.parametrize(
    ("serial", "cka_id"),
    [(LONGEST_NAME + 1, 2), (1, LONGEST_NAME + 2), (40_000, 60_000)],
)
async def test_a_certificate_whose_names_are_endless_is_not_watched(sessions, serial, cka_id):
    pem = a_strange_pem(16 ** (serial - 1))

    assert await completed(sessions, pem, cka_id="f" * cka_id) == []


async def test_what_is_owed_is_named_as_long_as_it_is(sessions):
    story = await a_story(sessions, build.an_update(POLICY, opened_at=NOW))
    long = ObjectRef("f" * LONGEST_NAME, certificate_sha256="aa" * 32)

    await story.tell(EventKind.DEBTS_RECORDED, refs=(long,))

    assert (await the(sessions, Debt)).cka_id == long.cka_id


@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "Pacific/Pago_Pago"])
async def test_what_has_no_end_is_read_back_wherever_the_database_is(engine, sessions, zone):
    if engine.dialect.name == "postgresql":
        async with engine.begin() as connection:
            name = engine.url.database
            await connection.execute(text(f"ALTER DATABASE {name} SET timezone TO '{zone}'"))
        await engine.dispose()

    (row,) = await completed(sessions, a_strange_pem())

    assert (row.not_before.year, row.not_after) == (1, NO_END)
