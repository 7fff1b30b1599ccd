"""A card visit on SoftHSM, P-256, beside the same steps by other means.

Once by pkcs11-tool and openssl, a process each; once as a bare loop of the PKCS#11 calls by ctypes.

From login to the last read-back: look, make a key pair, sign a CSR, write the certificate, read it
back, sign the nonce, remove the old pair, look again. The PIN prompt is excluded on both sides; the
start of the helper process has a row of its own, and so has the sum: the tools start ten times.
"""

import os
import subprocess
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from agent.card import CardWork
from agent.drivers import FreeForm, Module, inventory
from agent.journal import Journal
from benchmarks.raw_visit import RawVisit
from benchmarks.table import Row, is_quick, quantile, show
from cardflow.jobs import (
    CardJob,
    CertificateOrder,
    CleanUpJob,
    JobKind,
    JobResult,
    KeyOrder,
    Outcome,
    PrepareJob,
    WriteJob,
)
from cardflow.model import KeyType, ObjectRef, new_id
from cardflow.x509 import load_certificate, sha256_of, spki_sha256
from tests.agent.desk import SOFTHSM, SoftHsmReader
from tests.ca.making import a_key

PIN = "246810"
VISITS = 15


def issue(csr_pem: str) -> str:
    """Return a certificate for the CSR's key."""
    csr = x509.load_pem_x509_csr(csr_pem.encode())
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(csr.subject).issuer_name(csr.subject)
    builder = builder.public_key(csr.public_key()).serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(now).not_valid_after(now + timedelta(days=1))
    return builder.sign(a_key(), hashes.SHA256()).public_bytes(Encoding.PEM).decode()


class OurVisit:
    """The product's card work in this process, one login."""

    def __init__(self, serial: str, folder: Path) -> None:
        self._serial = serial
        self._module = Module(SOFTHSM)
        self._journal = Journal(folder / "journal")
        self._old: tuple[ObjectRef, ...] = ()

    def run(self) -> float:
        """Return the seconds at the card; issuing the certificate in between is excluded."""
        cka_id = os.urandom(20).hex()
        before = time.perf_counter()
        session = self._module.find(self._serial)[0].open(rw=True, user_pin=PIN)
        inventory(session, logged_in=True)
        order = KeyOrder("logon", cka_id, KeyType.P_256, "CN=Ada", "logon")
        prepared = self._work(session, PrepareJob(self._card(JobKind.PREPARE), (), (order,)))
        at_the_card = time.perf_counter() - before
        certificate = issue(prepared.keys[0].csr_pem)
        before = time.perf_counter()
        write = CertificateOrder("logon", cka_id, certificate, "logon")
        nonce = os.urandom(32).hex()
        self._work(session, WriteJob(self._card(JobKind.WRITE), (), (write,), nonce))
        self._work(session, CleanUpJob(self._card(JobKind.CLEAN_UP), self._old))
        inventory(session, logged_in=True)
        session.close()
        loaded = load_certificate(certificate)
        digest = sha256_of(loaded.public_bytes(Encoding.DER))
        self._old = (ObjectRef(cka_id, digest, spki_sha256(loaded)),)
        return at_the_card + time.perf_counter() - before

    def _work(self, session: object, job: PrepareJob | WriteJob | CleanUpJob) -> JobResult:
        done = JobResult(Outcome.DONE, token_serial=self._serial)
        work = CardWork(FreeForm(session), self._journal, lambda: None, done)  # type: ignore[arg-type]
        work.carry_out(job)
        return work.result

    def _card(self, kind: JobKind) -> CardJob:
        return CardJob(new_id(), kind, "update", "card", self._serial, "visit", "4711 apple")


class ToolVisit:
    """The same steps by pkcs11-tool and openssl, a process each."""

    def __init__(self, folder: Path, label: str) -> None:
        self._folder = folder
        self._label = label
        self._old = ""

    def run(self) -> float:
        """Return the seconds at the card."""
        cka_id = os.urandom(20).hex()
        tbs, der, out = (self._folder / name for name in ("tbs", "cert.der", "out"))
        tbs.write_bytes(os.urandom(32))
        before = time.perf_counter()
        self._tool("-O")
        self._tool("--keypairgen", "--key-type", "EC:prime256v1", "--id", cka_id)
        self._sign(cka_id, tbs, out)
        self._tool("--read-object", "--type", "pubkey", "--id", cka_id, "-o", str(out))
        self._openssl("pkey", "-pubin", "-inform", "DER", "-in", str(out), "-noout")
        at_the_card = time.perf_counter() - before
        pem = x509.load_pem_x509_certificate(issue(_self_signed_csr()).encode())
        der.write_bytes(pem.public_bytes(Encoding.DER))
        before = time.perf_counter()
        self._tool("--write-object", str(der), "--type", "cert", "--id", cka_id)
        self._tool("--read-object", "--type", "cert", "--id", cka_id, "-o", str(out))
        self._openssl("x509", "-inform", "DER", "-in", str(out), "-noout")
        self._sign(cka_id, tbs, out)
        if self._old:
            for kind in ("cert", "privkey", "pubkey"):
                self._tool("--delete-object", "--type", kind, "--id", self._old)
        self._tool("-O")
        self._old = cka_id
        return at_the_card + time.perf_counter() - before

    def _sign(self, cka_id: str, data: Path, out: Path) -> None:
        files = ("-i", str(data), "-o", str(out))
        self._tool("--sign", "--mechanism", "ECDSA", "--id", cka_id, *files)

    def _tool(self, *arguments: str) -> None:
        command = ["pkcs11-tool", "--module", SOFTHSM, "--token-label", self._label]
        _run([*command, "--login", "--pin", "env:BENCH_PIN", *arguments])

    def _openssl(self, *arguments: str) -> None:
        _run(["openssl", *arguments])


def _self_signed_csr() -> str:
    from tests.ca.making import a_csr

    return a_csr()


def _run(command: list[str]) -> None:
    subprocess.run(command, check=True, capture_output=True)


def spawn() -> float:
    """Return the seconds until a helper process has loaded what a visit needs."""
    from sys import executable

    before = time.perf_counter()
    _run([executable, "-c", "import agent.visit"])
    return time.perf_counter() - before


def main() -> None:
    """Measure in turns and show the medians."""
    visits = 3 if is_quick() else VISITS
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["BENCH_PIN"] = PIN  # noqa: TID251 for pkcs11-tool, which takes no other way
        reader = SoftHsmReader(folder / "reader")
        os.environ |= reader.environment  # noqa: TID251 the module reads it when it is loaded
        serial, another = reader.new_card("Ada", PIN), reader.new_card("Ben", PIN)
        ours, tools = OurVisit(serial, folder), ToolVisit(folder, "Ada")
        raw = RawVisit(SOFTHSM, another, PIN, _a_certificate)
        each = [
            (ours.run(), tools.run(), spawn(), raw.run(time.perf_counter)) for _ in range(visits)
        ]
    figures = [quantile([visit[n] for visit in each[1:]], 0.5) * 1000 for n in range(4)]
    show("visit", rows_of(*figures))


def _a_certificate() -> bytes:
    pem = issue(_self_signed_csr())
    return x509.load_pem_x509_certificate(pem.encode()).public_bytes(Encoding.DER)


def rows_of(ours: float, tools: float, spawned: float, raw: float) -> list[Row]:
    """Return the rows."""
    what, by_tools = "card visit, P-256, from login to the last look", "pkcs11-tool and openssl"
    return [
        Row(what, ours, "ms", by_tools, tools, higher_is_better=False, reach_ratio=3),
        Row(what, ours, "ms", "a loop of the PKCS#11 calls, ctypes", raw, higher_is_better=False,
            reach_ratio=1 / 1.3),
        Row("start of the visit's process", spawned, "ms", higher_is_better=False),
        Row("both together", ours + spawned, "ms", by_tools, tools, higher_is_better=False),
    ]  # fmt: skip


if __name__ == "__main__":
    main()
