"""An agent that lies gets nowhere: what it sends is checked against what was issued and asked.

Each lie is what a workstation in the wrong hands could answer; the update never believes it.
"""

import base64
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from temporalio import activity

from cardflow.jobs import (
    CleanUpJob,
    FoundCertificate,
    Inventory,
    JobResult,
    PreparedKey,
    PrepareJob,
    WriteJob,
    WriteProof,
    write_message,
)
from cardflow.model import EventKind, LaneStage, ObjectRef, Stage, new_id
from cardflow.x509 import load_certificate, sha256_of
from tests.build import a_policy, an_entry, continuing, signed
from tests.fakes import FakeAgent
from tests.workflows.conftest import World

EVES = ec.generate_private_key(ec.SECP256R1())


def proven(agent: "Liar", job: WriteJob, proof: WriteProof, **said: object) -> WriteProof:
    """Return the proof with a signature over what is said instead of the truth."""
    der = load_certificate(proof.certificate_pem).public_bytes(Encoding.DER)
    truth = {"nonce": job.nonce, "serial": job.card.token_serial, "key": agent.keys[proof.cka_id]}
    told = truth | said
    message = write_message(told["nonce"], bytes.fromhex(sha256_of(der)), told["serial"])
    signature = told["key"].sign(message, ec.ECDSA(hashes.SHA256()))
    return replace(proof, signature=base64.b64encode(signature).decode())


def other_bytes(agent: "Liar", job: WriteJob, proof: WriteProof) -> WriteProof:
    """Read back a certificate for the same key that somebody else made."""
    theirs = load_certificate(proof.certificate_pem)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(theirs.subject)
        .issuer_name(theirs.issuer)
        .public_key(theirs.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(theirs.not_valid_before_utc)
        .not_valid_after(theirs.not_valid_after_utc)
        .sign(EVES, hashes.SHA256())
    )
    pem = certificate.public_bytes(Encoding.PEM).decode()
    return proven(agent, job, replace(proof, certificate_pem=pem))


Lie = Callable[["Liar", WriteJob, WriteProof], WriteProof | None]
ABOUT_WRITING: dict[str, tuple[Lie, str]] = {
    "it was another card": (
        lambda a, job, proof: proven(a, job, proof, serial="another card"),
        "did not sign the proof",
    ),
    "the card holds other bytes than were issued": (
        other_bytes,
        "is not the one that was issued",
    ),
    "an old nonce": (
        lambda a, job, proof: proven(a, job, proof, nonce="00" * 32),
        "did not sign the proof",
    ),
    "another key signed": (
        lambda a, job, proof: proven(a, job, proof, key=EVES),
        "did not sign the proof",
    ),
    "the certificate lies in another place": (
        lambda _a, _job, proof: replace(proof, cka_id="ab" * 20),
        "under another id than was ordered",
    ),
    "no signature at all": (
        lambda _a, _job, proof: replace(proof, signature=""),
        "did not sign the proof",
    ),
    "nothing that can be read": (
        lambda _a, _job, proof: replace(proof, certificate_pem="a certificate", signature="?"),
        "cannot be read",
    ),
    "written, without any proof": (lambda _a, _job, _proof: None, ""),
}


def csr(signing: ec.EllipticCurvePrivateKey) -> x509.CertificateSigningRequest:
    name = x509.Name.from_rfc4514_string("CN=Ada")
    return x509.CertificateSigningRequestBuilder().subject_name(name).sign(signing, hashes.SHA256())


def for_another_key(agent: "Liar", key: PreparedKey) -> PreparedKey:
    """Put a key that did not sign the request into it (RFC 2986 4: proof of possession)."""
    theirs = csr(EVES).public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    ours = csr(agent.keys[key.cka_id])
    own = ours.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    der = ours.public_bytes(Encoding.DER).replace(own, theirs)
    pem = x509.load_der_x509_csr(der).public_bytes(Encoding.PEM).decode()
    return replace(key, csr_pem=pem)


ABOUT_KEYS: dict[str, tuple[Callable[["Liar", PreparedKey], PreparedKey], str]] = {
    "a request for another key": (for_another_key, "signature"),
    "a key in another place": (
        lambda _a, key: replace(key, cka_id="ab" * 20),
        "under another id than was ordered",
    ),
    "no request": (lambda _a, key: replace(key, csr_pem="a request"), "CERTIFICATE REQUEST"),
}


class Liar(FakeAgent):
    """Does what it is told, and says something else."""

    def __init__(self) -> None:
        super().__init__()
        self.about_writing: Lie = lambda _a, _job, proof: proof
        self.about_keys: Callable[[Liar, PreparedKey], PreparedKey] = lambda _a, key: key
        self.swaps_lanes = False
        self.shows: Inventory | None = None
        self.claims: tuple[ObjectRef, ...] = ()

    @activity.defn
    async def prepare(self, job: PrepareJob) -> JobResult:
        """Lie about keys."""
        told = await super().prepare(job)
        keys = [self.about_keys(self, key) for key in told.keys]
        if self.swaps_lanes:
            lanes = [key.lane for key in keys]
            keys = [replace(k, lane=lane) for k, lane in zip(keys, lanes[::-1], strict=True)]
        return replace(told, keys=tuple(keys))

    @activity.defn
    async def write(self, job: WriteJob) -> JobResult:
        """Lie about what was written."""
        told = await super().write(job)
        proofs = (self.about_writing(self, job, proof) for proof in told.proofs)
        return replace(told, proofs=tuple(filter(None, proofs)))

    @activity.defn
    async def clean_up(self, job: CleanUpJob) -> JobResult:
        """Lie about what was removed."""
        told = await super().clean_up(job)
        return replace(told, inventory=self.shows, removed=(*told.removed, *self.claims))


@pytest.fixture
def agent() -> Liar:
    """The agent of these tests."""
    return Liar()


@pytest.mark.parametrize("lie", ABOUT_WRITING)
async def test_a_lie_about_writing_writes_nothing(world: World, agent: Liar, lie: str) -> None:
    agent.about_writing, reason = ABOUT_WRITING[lie]
    await world.open(a_policy())
    view = await world.visit()

    assert view.stage is (Stage.NEEDS_ATTENTION if reason else Stage.READY)
    assert reason in view.state.lanes[0].attention
    assert view.state.lanes[0].stage is LaneStage.READY
    assert world.records.of(EventKind.WRITTEN) == []
    assert agent.removed == []  # the old pair stays


@pytest.mark.parametrize("lie", ABOUT_KEYS)
async def test_a_lie_about_keys_brings_nothing_to_the_ca(
    world: World, agent: Liar, lie: str
) -> None:
    agent.about_keys, reason = ABOUT_KEYS[lie]
    await world.open(a_policy())
    view = await world.visit()

    assert reason in view.state.last_visit
    assert view.state.lanes[0].stage is LaneStage.PREPARING
    assert world.ca.submissions == []


async def test_keys_that_were_swapped_between_lanes_are_not_taken(
    world: World, agent: Liar
) -> None:
    agent.swaps_lanes = True
    await world.open(a_policy(an_entry("logon"), an_entry("mail")))
    view = await world.visit()

    assert "under another id than was ordered" in view.state.last_visit
    assert world.ca.submissions == []


async def test_what_is_said_to_be_gone_and_shown_to_be_there_stays_a_debt(
    world: World, agent: Liar
) -> None:
    await world.open(a_policy())
    (old,) = world.update.plan.lanes[0].retires
    certificate = a_certificate()
    old = replace(old, certificate_sha256=sha256_of(certificate.public_bytes(Encoding.DER)))
    lane = replace(world.update.plan.lanes[0], retires=(old,), replaces=(old,))
    update = replace(world.update, card_id=new_id(), update_id=new_id())
    await world.begin(signed(replace(update, plan=replace(update.plan, lanes=(lane,)))))
    pem = certificate.public_bytes(Encoding.PEM).decode()
    agent.shows = Inventory(True, (FoundCertificate(old.cka_id, "", pem, has_key=True),))
    await world.act(continuing(world.update))
    assert await world.handle.result() is Stage.COMPLETED

    assert world.records.of(EventKind.RETIRED) == []
    (recorded,) = world.records.of(EventKind.DEBTS_RECORDED)
    assert recorded.refs == (old,)


async def test_what_nobody_asked_to_be_removed_is_not_put_on_record(
    world: World, agent: Liar
) -> None:
    await world.open(a_policy())
    agent.claims = (ObjectRef("cd" * 20, "00" * 32),)
    await world.act(continuing(world.update))
    assert await world.handle.result() is Stage.COMPLETED

    (retired,) = world.records.of(EventKind.RETIRED)
    assert retired.refs == world.update.plan.lanes[0].retires


def a_certificate() -> x509.Certificate:
    name = x509.Name.from_rfc4514_string("CN=Ada")
    now = datetime(2026, 1, 1, tzinfo=UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(EVES.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now.replace(year=2027))
        .sign(EVES, hashes.SHA256())
    )
