"""Cards whose certificates the organisation's own CA issued, and others that only look like it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from fastapi import FastAPI

from cardflow.ca.embedded import EmbeddedCA
from cardflow.db.tables import Card, Certificate, Person
from cardflow.decisions import utc_now
from cardflow.model import CardState, CertificateKind, new_id
from cardflow.settings import Settings
from cardflow.sql import transaction
from cardflow.x509 import facts_of_certificate
from cli.up import prepare
from tests.api.conftest import NOBODY
from tests.ca.making import AUTOMATIC, a_csr, a_key, a_request, issue
from tests.databases import Databases
from worker import build_ca

CLIENT_AUTH = [ExtendedKeyUsageOID.CLIENT_AUTH]


@dataclass
class CardInHand:
    """A certificate, its key, and whose card it is on."""

    pem: str
    key: ec.EllipticCurvePrivateKey
    card_id: str = ""
    person: Person | None = None

    @property
    def der(self) -> bytes:
        return x509.load_pem_x509_certificate(self.pem.encode()).public_bytes(Encoding.DER)

    def files(self, directory: Path) -> tuple[str, str]:
        """Leave certificate and key where a TLS client finds them."""
        name = new_id()
        certificate, key = directory / f"{name}.pem", directory / f"{name}-key.pem"
        certificate.write_text(self.pem)
        key.write_bytes(self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return str(certificate), str(key)


@pytest.fixture(scope="session")
async def prepared(tmp_path_factory: pytest.TempPathFactory, databases: Databases) -> Path:
    """Return an installation that has a CA, to be copied by each test."""
    directory = tmp_path_factory.mktemp("prepared")
    databases.furnish(directory)
    await prepare(Settings(state_dir=directory))
    return directory


@pytest.fixture(scope="session")
def fresh_installation(prepared: Path) -> Path:
    """Return what the settings of this folder's tests begin with."""
    return prepared


@pytest.fixture(scope="module")
def one_house(
    fresh_installation: Path, databases: Databases, tmp_path_factory: pytest.TempPathFactory
) -> Settings:
    """Return the settings of one installation for a module's tests; each brings its own people."""
    directory = tmp_path_factory.mktemp("house") / "state"
    databases.copy_installation(fresh_installation, directory)
    return Settings(state_dir=directory, temporal_address=NOBODY)


@pytest.fixture
async def ca(app: FastAPI, settings: Settings):
    """Yield the CA with its key, as the worker has it."""
    ca = build_ca(settings, app.state.cardflow.engine)
    yield ca
    ca.close()


Hand = Callable[..., Awaitable[CardInHand]]


@pytest.fixture
def hand(app: FastAPI, register: Any, ca: EmbeddedCA) -> Hand:
    """Return what registers a person and gives them a card with a certificate on it."""

    async def give(login: str, pem: str = "", **changes: Any) -> CardInHand:
        person, key = await register(f"{login}-{new_id()}"), a_key()
        if not pem:
            request = a_request(AUTOMATIC, csr_pem=a_csr(key))
            subject = replace(request.subject, person_id=person.id)
            pem = await issue(ca, replace(request, subject=subject))
        card = CardInHand(pem, key, new_id(), person)
        await put(app, card, **changes)
        return card

    return give


async def put(
    app: FastAPI, card: CardInHand, state: CardState = CardState.ISSUED, certificate="on_card"
) -> None:
    """Leave the certificate in the register, on the person's card."""
    facts, now = facts_of_certificate(card.pem), utc_now()
    async with transaction(app.state.cardflow.sessions) as session:
        holder = card.person.id if card.person else None
        session.add(
            Card(
                id=card.card_id,
                token_serial=new_id()[:16],
                holder_id=holder,
                state=state,
                created_at=now,
            )
        )
        await session.flush()
        session.add(
            Certificate(
                sha256=facts.sha256,
                card_id=card.card_id,
                kind=CertificateKind.MANAGED,
                state=certificate,
                cka_id="01",
                spki_sha256=facts.spki_sha256,
                serial_number=facts.serial_number,
                subject=facts.subject,
                issuer=facts.issuer,
                not_before=facts.not_before,
                not_after=facts.not_after,
                pem=card.pem,
                created_at=now,
            )
        )


@dataclass
class Authority:
    """A CA that signs anything at all."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @classmethod
    def new(cls, name: str = "Somebody else's CA") -> "Authority":
        """Return a CA of somebody's own."""
        key = a_key()
        return cls(key, _signed(key, name, key, name, ca=True))

    def issue(self, key: Any, usages: list[Any] | None = None, *, days: int = 1) -> str:
        """Return a certificate that ends in so many days; before today, if they are negative."""
        mine = self.certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value
        certificate = _signed(key, "Hilda", self.key, str(mine), usages=usages, days=days)
        return certificate.public_bytes(Encoding.PEM).decode()


def _signed(
    key: Any,
    name: str,
    by: Any,
    issuer: str,
    *,
    usages: Any = None,
    days: int = 1,
    ca: bool = False,
) -> x509.Certificate:
    now = utc_now()
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(_name(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=10))
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca, None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(by.public_key()), critical=False
        )
        .add_extension(_usage(ca), critical=True)
    )
    if usages:
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
    return builder.sign(by, hashes.SHA256())


def _usage(ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=ca,
        crl_sign=ca,
        encipher_only=False,
        decipher_only=False,
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])
