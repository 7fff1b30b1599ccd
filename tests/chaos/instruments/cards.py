"""A card with a past, copied for each case, and the server's side of an update of it.

On the card: the pair that the update replaces, a key that an earlier update left (a debt), and
objects of third parties: a whole pair, two of them under the old pair's own CKA_ID, and data.
"""

import base64
import hashlib
import shutil
import subprocess
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from agent.messages import job_message
from cardflow.jobs import (
    CertificateOrder,
    CleanUpJob,
    IssuedForm,
    Job,
    JobResult,
    Outcome,
    PrepareJob,
    WriteJob,
    write_message,
)
from cardflow.model import ObjectRef, new_id
from cardflow.wire import from_json, to_json
from cardflow.x509 import load_certificate, load_csr, sha256_of, spki_sha256, verify_signature
from tests.agent.desk import SOFTHSM, Desk, Person, SoftHsmReader, ref_of
from tests.chaos.instruments.zygote import Zygote

PIN = "246810"
THEIRS = "be" * 20
SOURCE = Path(__file__).with_name("pkcs11_shim.c")
PINENTRY = """#!/bin/sh
# Types the PIN, and counts how often it was asked for it.
echo OK
while read -r command _; do
    if [ "$command" = GETPIN ]; then echo asked >> {folder}/asked; echo "D {pin}"; fi
    echo OK
done
"""


def compiled_shim(folder: Path) -> Path:
    """Return the shim as a module."""
    module = folder / "pkcs11_shim.so"
    options = ["-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", f'-DSOFTHSM="{SOFTHSM}"']
    subprocess.run(["gcc", *options, "-o", module, SOURCE, "-ldl"], check=True)
    return module


class Typist(Person):
    """A person who always types the right PIN, without the start of a Python in between."""

    def __post_init__(self) -> None:
        self.folder.mkdir()
        self.program = self.folder / "pinentry"
        self.program.write_text(PINENTRY.format(folder=self.folder, pin=PIN))
        self.program.chmod(0o755)

    def was_asked(self) -> int:
        asked = self.folder / "asked"
        return len(asked.read_text().splitlines()) if asked.exists() else 0


@dataclass
class Card:
    """One card, the agent's helper beside it, and the fault on order."""

    folder: Path
    zygote: Zygote
    shim: Path
    serial: str = ""
    kept: "dict[str, str]" = field(default_factory=dict)  # files of third parties, with digests
    old: tuple[CertificateOrder, ...] = ()
    debt: ObjectRef | None = None
    desk: Desk = field(init=False)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        reader = SoftHsmReader(self.folder / "reader")
        person = Typist(self.folder / "person")
        self.desk = Desk(self.folder, reader, person, PIN, self.serial)
        self.module = self.folder / "module.so"
        self.module.symlink_to(self.shim)
        self.desk.module = str(self.module)

    def copy(self, folder: Path) -> "Card":
        """Return the same card with a life of its own."""
        other = Card(folder, self.zygote, self.shim, self.serial, self.kept, self.old, self.debt)
        shutil.copytree(self.desk.reader.slots, other.desk.reader.slots, dirs_exist_ok=True)
        other.desk.ca, other.desk.update = self.desk.ca, self.desk.update
        return other

    # The fault

    def order(self, function: str, n: int, effect: str, number: int = 0) -> None:
        """The fault is to happen at the n-th call of the function in the next helper process."""
        self._beside("order").write_text(f"{function} {n} {effect} {number:x}\n")

    def has_fired(self) -> bool:
        return not self._beside("order").exists()

    def calls(self) -> list[str]:
        """Return the functions of the module that were called so far."""
        calls = self._beside("calls")
        return calls.read_text().split()[::2] if calls.exists() else []

    def _beside(self, what: str) -> Path:
        return self.module.with_name(f"{self.module.name}.{what}")

    # The helper

    def sitting(self) -> "Sitting":
        """Return a new visit process."""
        return Sitting(self)

    def look_by_agent(self) -> Any:
        """Return what the agent's inspector reports, in no order, or None when it died."""
        watched = {"name": "shim", "path": self.desk.module}
        line = self.zygote.fork("inspector", self.desk.reader.environment, watched)
        line.send({"thorough": True})
        answer = line.receive()
        line.close()
        return None if answer is None else _unordered(answer["tokens"])

    # The oracle

    def look(self, *cka_ids: str) -> dict[str, Any]:
        """Return what the real module shows under the ids."""
        question = {"serial": self.serial, "pin": PIN, "ids": cka_ids}
        line = self.zygote.fork("look", self.desk.reader.environment, question)
        answer = line.receive()
        line.close()
        assert answer is not None, "the card cannot be looked at"
        return answer

    def files(self) -> dict[str, str]:
        """Return the files of the card's objects, with their digests; a login writes another."""
        (token,) = [path for path in self.desk.reader.slots.iterdir() if path.is_dir()]
        files = set(token.glob("*.object")) - {token / "token.object"}
        return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def furnished(folder: Path, zygote: Zygote, shim: Path) -> Card:
    """Return a new card with everything on it that a case may find there."""
    card = Card(folder, zygote, shim)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in card.desk.reader.environment.items():
            patch.setenv(name, value)
        card.serial = card.desk.token_serial = card.desk.reader.new_card("Ann's card", PIN)
        card.old = (_whole_pair(card, "old"),)
        card.debt = _key_alone(card, "ended")
        ours = card.files()
        _add_what_others_own(card, card.old[0].cka_id)
    card.kept = {name: digest for name, digest in card.files().items() if name not in ours}
    return card


def _whole_pair(card: Card, lane: str) -> CertificateOrder:
    (key,) = _done(card, card.desk.prepare_job(card.desk.order(lane))).keys
    order = card.desk.certificate_for(key)
    _done(card, card.desk.write_job(order))
    return order


def _key_alone(card: Card, lane: str) -> ObjectRef:
    (key,) = _done(card, card.desk.prepare_job(card.desk.order(lane))).keys
    return ObjectRef(key.cka_id, spki_sha256=spki_sha256(load_csr(key.csr_pem)))


def _done(card: Card, job: Job) -> JobResult:
    sitting = card.sitting()
    result = sitting.run(job)
    sitting.end()
    assert result is not None
    assert result.outcome is Outcome.DONE, result
    return result


def _add_what_others_own(card: Card, old_id: str) -> None:
    tool = card.desk.tool
    tool("--keypairgen", "--key-type", "EC:prime256v1", "--id", THEIRS, "--label", "theirs")
    file = card.folder / "theirs"
    foreign = load_certificate(
        card.desk.ca.certify(ec.generate_private_key(ec.SECP256R1()).public_key())
    )
    file.write_bytes(foreign.public_bytes(Encoding.DER))
    for cka_id in (THEIRS, old_id):
        tool("--write-object", str(file), "--type", "cert", "--id", cka_id, "--label", "theirs")
    file.write_bytes(
        foreign.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    )
    tool("--write-object", str(file), "--type", "pubkey", "--id", old_id, "--label", "theirs")
    tool("--write-object", str(file), "--type", "data", "--label", "theirs")


class Sitting:
    """A visit process, as the agent talks to it."""

    def __init__(self, card: Card) -> None:
        self.visit_id = new_id()
        self._card = card
        around = to_json(card.desk.around)
        self._line = card.zygote.fork("visit", card.desk.reader.environment, around)
        self.is_first = True
        self.signed: tuple[str, ...] = ()

    def run(self, job: Job, form: IssuedForm | None = None) -> JobResult | None:
        """Return how the job ended, or None when the process died over it."""
        self.is_first = False
        self._line.send(job_message(job, form))
        while (answer := self._line.receive()) is not None:
            if "result" in answer:
                self.signed = tuple(answer.get("signed") or ())
                return from_json(JobResult, answer["result"])
        return None

    def end(self) -> None:
        """The agent closes the line; the process logs out and ends."""
        self._line.close()


@dataclass
class Errand:
    """What the server knows of one update, and the job that it orders next."""

    card: Card
    prepared: bool = False
    written: bool = False
    cleaned: bool = False
    certificate: CertificateOrder | None = None
    issued: int = 0
    ended: list[str] = field(default_factory=list)  # how each job ended
    reached: dict[str, list[str]] = field(default_factory=dict)  # job -> functions called in it
    begun: set[str] = field(default_factory=set)  # jobs that were ordered at least once

    @cached_property
    def new_id(self) -> str:
        return self.card.desk.order("new").cka_id

    @property
    def old_refs(self) -> tuple[ObjectRef, ...]:
        return tuple(ref_of(old.cka_id, old.certificate_pem) for old in self.card.old)

    @property
    def is_over(self) -> bool:
        return self.cleaned

    def visit(self) -> None:
        """One click of the holder: jobs under one login, until one fails or all is done."""
        sitting = self.card.sitting()
        going_on = True
        while going_on and (job := self._next(sitting)) is not None:
            self.begun.add(job.card.kind)
            before = len(self.card.calls())
            result = sitting.run(job)
            self.reached[job.card.kind] = self.card.calls()[before:]
            self.ended.append(result.outcome if result else "died")
            going_on = result is not None and result.outcome is Outcome.DONE
            if result is not None and going_on:
                self._take(job, result)
        before = len(self.card.calls())
        sitting.end()
        self.reached["end"] = self.card.calls()[before:]

    def _next(self, sitting: Sitting) -> Job | None:
        desk = self.card.desk
        visit = {
            "visit_id": sitting.visit_id,
            "opens_visit": sitting.is_first,
            "hold_seconds": 60,
        }
        if not self.prepared:
            debts = [self.card.debt] if self.card.debt else []
            return desk.prepare_job(desk.order("new"), debts=debts, **visit)
        if not self.written and self.certificate:
            return desk.write_job(self.certificate, **visit)
        return None if self.cleaned else desk.clean_up_job(*self.old_refs, **visit)

    def _take(self, job: Job, result: JobResult) -> None:
        """Believe what is proven, as the workflow does, and go on."""
        match job:
            case PrepareJob():
                (key,) = result.keys
                assert load_csr(key.csr_pem).is_signature_valid
                self.certificate = self.card.desk.certificate_for(key)
                self.issued += 1
                self.prepared = True
            case WriteJob():
                self._check_proof(job, result)
                self.written = True
            case CleanUpJob():
                assert result.removed == job.retire
                self.cleaned = True

    def _check_proof(self, job: WriteJob, result: JobResult) -> None:
        (proof,) = result.proofs
        (order,) = job.certificates
        certificate = load_certificate(order.certificate_pem)
        digest = bytes.fromhex(sha256_of(certificate.public_bytes(Encoding.DER)))
        message = write_message(job.nonce, digest, self.card.serial)
        assert load_certificate(proof.certificate_pem) == certificate
        assert verify_signature(
            certificate.public_key(), base64.b64decode(proof.signature), message
        )


def _unordered(told: Any) -> Any:
    """Return the same with its lists sorted: SoftHSM lists a card's objects as it likes."""
    if isinstance(told, dict):
        return {key: _unordered(value) for key, value in told.items()}
    return sorted(map(_unordered, told), key=repr) if isinstance(told, list) else told


def digest_of(order: CertificateOrder) -> str:
    """Return the SHA-256 of the certificate's bytes."""
    return sha256_of(load_certificate(order.certificate_pem).public_bytes(Encoding.DER))
