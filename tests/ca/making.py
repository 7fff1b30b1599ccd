"""What tests of the CA are made of: keys, CSRs, people, requests, and a CA in a directory."""

import itertools
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlmodel import SQLModel

from cardflow.ca import CertificateRequest, Issued, Pending
from cardflow.ca.embedded import CaNames, EmbeddedCA, Secrets, init_ca, open_issuing_key
from cardflow.model import Profile, Subject, Verdict, new_id
from cardflow.profiles import load_profiles
from cardflow.secret_files import write_secret
from cardflow.settings import Settings
from cardflow.sql import create_engine

PUBLIC_URL = "http://localhost:8000"
ALICE = Subject(
    person_id="0199c0de-0000-7000-8000-000000000001",
    common_name="Alice Díaz",
    email="alice@example.test",
    given_name="Alice",
    surname="Díaz",
    upn="alice@corp.example.test",
    sid="S-1-5-21-1004336348-1177238915-682003330-512",
    organization="Example Organisation",
)
BOB = replace(
    ALICE,
    person_id="0199c0de-0000-7000-8000-000000000002",
    common_name="Bob Stone",
    email="bob@example.test",
    given_name="Bob",
    surname="Stone",
    upn="bob@corp.example.test",
    sid="S-1-5-21-1004336348-1177238915-682003330-513",
)
PROFILES = load_profiles()
AUTOMATIC = "tls-client"
OFFICER = "smart-card-logon"
TWO_OFFICERS = "document-signing"

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


def now() -> datetime:
    """Return the instant."""
    return datetime.now(UTC)


def a_key(kind: str = "P-256") -> Key:
    """Return a new key of a policy's key type."""
    if kind.startswith("RSA-"):
        return rsa.generate_private_key(65_537, int(kind.removeprefix("RSA-")))
    return ec.generate_private_key({"P-256": ec.SECP256R1(), "P-384": ec.SECP384R1()}[kind])


def a_csr(key: Key | None = None, *, name: str = "CN=whatever", **extensions: Any) -> str:
    """Return a CSR as PEM."""
    builder = x509.CertificateSigningRequestBuilder()
    builder = builder.subject_name(x509.Name.from_rfc4514_string(name))
    for extension in extensions.values():
        builder = builder.add_extension(extension, critical=False)
    signed = builder.sign(key or a_key(), hashes.SHA256())
    return signed.public_bytes(Encoding.PEM).decode()


def a_request(profile: str = AUTOMATIC, **changes: Any) -> CertificateRequest:
    """Return a request of Alice's under a new id, with a new key."""
    request = CertificateRequest(
        request_id=f"{new_id()}:{profile}:1",
        csr_pem=changes.get("csr_pem") or a_csr(),
        profile=profile,
        subject=ALICE,
        requested_by=ALICE.person_id,
    )
    return replace(request, **changes)


class KeyBetween(ec.EllipticCurvePrivateKey):
    """Stands between the CA and its key; a subclass does something of its own when it signs."""

    def __init__(self, key: ec.EllipticCurvePrivateKey) -> None:
        self._key = key

    def sign(self, data, signature_algorithm):
        return self._key.sign(data, signature_algorithm)

    def public_key(self):
        return self._key.public_key()

    @property
    def curve(self):
        return self._key.curve

    @property
    def key_size(self):
        return self._key.key_size

    def exchange(self, algorithm, peer_public_key):
        raise NotImplementedError

    def private_numbers(self):
        raise NotImplementedError

    def private_bytes(self, encoding, format, encryption_algorithm):
        raise NotImplementedError

    def __copy__(self):
        return self

    def __deepcopy__(self, memo):
        return self


@dataclass(frozen=True)
class Home:
    """Where a CA lives: its directory, its secrets, its database."""

    path: Path

    @property
    def directory(self) -> Path:
        return self.path / "ca"

    @property
    def secrets(self) -> Secrets:
        return Secrets(root=self.path / "root-secret", issuing=self.path / "issuing-secret")

    @property
    def database(self) -> str:
        return Settings(state_dir=self.path).database_url

    def make(self, **options: Any) -> "Home":
        """Leave a new CA here."""
        for secret in (self.secrets.root, self.secrets.issuing):
            write_secret(secret, b"correct horse battery staple, and a stable\n")
        init_ca(
            self.directory,
            names=CaNames("Example Organisation"),
            public_url=PUBLIC_URL,
            secrets=self.secrets,
            **options,
        )
        return self

    async def engine(self) -> AsyncEngine:
        """Return an engine whose database has the CA's tables."""
        engine = create_engine(self.database)
        tables = [t for t in SQLModel.metadata.sorted_tables if t.name.startswith("ca_")]
        async with engine.begin() as connection:
            await connection.run_sync(SQLModel.metadata.create_all, tables=tables)
        return engine

    def ca(
        self,
        engine: AsyncEngine,
        *,
        signs: bool = True,
        profiles: dict[str, Profile] = PROFILES,
        **options: Any,
    ) -> EmbeddedCA:
        """Return the CA over ``engine``; without ``signs`` as the API opens it."""
        if signs:
            key = open_issuing_key(self.directory, self.secrets.issuing)
            options.setdefault("issuing_key", key)
        return EmbeddedCA(engine, self.directory, profiles, public_url=PUBLIC_URL, **options)


async def approve(ca: EmbeddedCA, request_id: str) -> None:
    """Have as many officers approve as the profile asks for."""
    for number in itertools.count(1):
        facts = await ca.request(request_id)
        if facts.state != "pending":
            return
        await ca.decide(request_id, f"officer-{number}", Verdict.APPROVE, "", facts.digest)


async def issue(ca: EmbeddedCA, request: CertificateRequest | None = None) -> str:
    """Return the certificate that the CA issues, approved by officers where it must be."""
    request = request or a_request()
    answer = await ca.submit(request)
    if isinstance(answer, Pending):
        await approve(ca, answer.handle)
        answer = await ca.poll(answer.handle)
    assert isinstance(answer, Issued)
    return answer.certificate_pem
