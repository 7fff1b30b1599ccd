"""A workstation for tests: real cards in SoftHSM, a person who types, and a CA that signs."""

import hashlib
import secrets
import subprocess
import sys
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from agent.messages import Surroundings
from agent.visits import Visits
from cardflow.jobs import (
    CardJob,
    CertificateOrder,
    CleanUpJob,
    IssuedForm,
    JobKind,
    JobResult,
    KeyOrder,
    PreparedKey,
    PrepareJob,
    SignJob,
    WriteJob,
)
from cardflow.model import KeyType, ObjectRef, new_id
from cardflow.x509 import load_certificate, load_csr, sha256_of, spki_sha256

SOFTHSM = "/usr/lib/softhsm/libsofthsm2.so"
SO_PIN = "98765432"
PINENTRY = Path(__file__).with_name("pinentry.py")


class SoftHsmReader:
    """A reader into which SoftHSM cards are put; ``environment`` is what a module must inherit."""

    module = SOFTHSM

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.slots = folder / "tokens"
        self.drawer = folder / "drawer"
        self.slots.mkdir(parents=True)
        self.drawer.mkdir()
        config = folder / "softhsm2.conf"
        config.write_text(
            f"directories.tokendir = {self.slots}\nobjectstore.backend = file\nlog.level = ERROR\n"
        )
        self.environment = {"SOFTHSM2_CONF": str(config)}

    def new_card(self, label: str, pin: str) -> str:
        """Return the serial of a new card in the reader."""
        before = set(self.slots.iterdir())
        run(
            *["softhsm2-util", "--init-token", "--free", "--label", label],
            *["--so-pin", SO_PIN, "--pin", pin],
        )
        (made,) = set(self.slots.iterdir()) - before
        return made.name.replace("-", "")[-16:]

    def pull(self) -> None:
        for card in self.slots.iterdir():
            card.rename(self.drawer / card.name)

    def put_back(self) -> None:
        for card in self.drawer.iterdir():
            card.rename(self.slots / card.name)


def run(*command: str) -> bytes:
    done = subprocess.run(command, capture_output=True, check=False, timeout=60)
    assert done.returncode == 0, f"{command[0]}: {done.stderr.decode()}{done.stdout.decode()}"
    return done.stdout


@dataclass
class Person:
    """Who sits at the workstation: types into a pinentry what the test says."""

    folder: Path
    program: Path = field(init=False)

    def __post_init__(self) -> None:
        self.folder.mkdir()
        self.types()
        self.program = self.folder / "pinentry"
        self.program.write_text(f"#!/bin/sh\nexec {sys.executable} {PINENTRY} {self.folder}\n")
        self.program.chmod(0o755)

    def types(self, *pins: str) -> None:
        (self.folder / "pins").write_text("".join(f"{pin}\n" for pin in pins))

    def saw(self) -> str:
        shown = self.folder / "shown"
        return shown.read_text() if shown.exists() else ""

    def was_asked(self) -> int:
        return self.saw().splitlines().count("GETPIN")


class TestCA:
    """Signs what it is given; as a CA it does not belong to the agent's part."""

    __test__ = False

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())

    def issue(self, csr_pem: str) -> str:
        csr = load_csr(csr_pem)
        return self.certify(csr.public_key(), csr.subject)

    def certify(self, public_key, subject=x509.Name([])) -> str:
        now = datetime.now(UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(x509.Name.from_rfc4514_string("CN=Test CA"))
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(days=30))
            .sign(self._key, hashes.SHA256())
        )
        return certificate.public_bytes(Encoding.PEM).decode()


@dataclass
class Desk:
    """Everything at one workplace."""

    folder: Path
    reader: SoftHsmReader
    person: Person
    pin: str
    token_serial: str
    visits: Visits = field(default_factory=Visits)
    ca: TestCA = field(default_factory=TestCA)
    update: str = field(default_factory=new_id)
    module: str = ""  # which module the agent loads, when not the reader's own

    @property
    def around(self) -> Surroundings:
        return Surroundings(
            module_path=self.module or self.reader.module,
            server="https://cards.example",
            pinentry=str(self.person.program),
            prompt_seconds=20,
            journal=str(self.folder / "journal"),
        )

    def card(self, kind: JobKind, **changes) -> CardJob:
        card = CardJob(
            job_id=new_id(),
            kind=kind,
            update_id=self.update,
            card_id="card",
            token_serial=self.token_serial,
            visit_id=new_id(),
            code="4711 oak",
            holder_name="Ann Example",
        )
        return replace(card, **changes)

    async def run(self, job, form: IssuedForm | None = None) -> JobResult:
        return await self.visits.run(job, self.around, form)

    # Jobs

    def order(self, lane: str = "logon", key_type: KeyType = KeyType.P_256) -> KeyOrder:
        cka_id = hashlib.sha256(f"{self.update} {lane}".encode()).hexdigest()[:40]
        return KeyOrder(lane, cka_id, key_type, f"CN=Ann Example,O={lane}", f"Title of {lane}")

    def prepare_job(self, *orders: KeyOrder, debts=(), **card) -> PrepareJob:
        keys = orders or (self.order(),)
        return PrepareJob(self.card(JobKind.PREPARE, **card), tuple(debts), keys)

    def write_job(self, *certificates: CertificateOrder, debts=(), **card) -> WriteJob:
        nonce = secrets.token_hex(32)
        return WriteJob(self.card(JobKind.WRITE, **card), tuple(debts), certificates, nonce)

    def clean_up_job(self, *retire: ObjectRef, **card) -> CleanUpJob:
        return CleanUpJob(self.card(JobKind.CLEAN_UP, **card), retire)

    def sign_job(self, form: bytes, signer: ObjectRef, **card) -> SignJob:
        digest = hashlib.sha256(form).hexdigest()
        return SignJob(self.card(JobKind.SIGN_DOCUMENT, **card), "Request form", digest, signer)

    def certificate_for(self, key: PreparedKey) -> CertificateOrder:
        return CertificateOrder(key.lane, key.cka_id, self.ca.issue(key.csr_pem), "Log-on")

    # What an independent program sees on the card

    def tool(self, *arguments: str, pin: bool = True) -> bytes:
        login = ["--login", "--pin", self.pin] if pin else []
        return run("pkcs11-tool", "--module", self.reader.module, *login, *arguments)

    def contents(self) -> dict[str, list[str]]:
        """Return the CKA_IDs on the card, by kind of object."""
        found: dict[str, list[str]] = {"Certificate": [], "Private Key": [], "Public Key": []}
        kind = ""
        for text in self.tool("--list-objects").decode().splitlines():
            if not text.startswith(" "):
                kind = text.split(" Object")[0]
            elif text.split(":")[0].strip() == "ID" and kind in found:
                found[kind].append(text.split(":")[1].strip())
        return {name: sorted(ids) for name, ids in found.items()}

    def certificate(self, cka_id: str) -> bytes:
        return self.tool("--read-object", "--type", "cert", "--id", cka_id, pin=False)


def ref_of(cka_id: str, certificate_pem: str) -> ObjectRef:
    certificate = load_certificate(certificate_pem)
    der = certificate.public_bytes(Encoding.DER)
    return ObjectRef(cka_id, sha256_of(der), spki_sha256(certificate))
