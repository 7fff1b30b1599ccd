"""Everything of ours that reads what somebody else wrote, and how it may say no."""

import io
import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from PIL import Image

from agent.job_tokens import verified_job
from agent.journal import Journal
from api.agent_caller import said
from api.agents import PresenceIn, ResultIn
from api.csv_import import read_table
from api.documents import clean_name
from api.paging import Paging
from api.people import PersonIn
from api.problems import Problem
from api.sealing import Sealer
from cardflow import checkpoints, decisions
from cardflow.checkpoint_files import read_tokens
from cardflow.documents import qr
from cardflow.documents.examiner import Limits
from cardflow.documents.examiner.upload import answered
from cardflow.enrolment import code_id
from cardflow.environment import SETTINGS_FILE
from cardflow.errors import Refused
from cardflow.evidence.archive import Archive
from cardflow.evidence.checks import verify
from cardflow.evidence.roots import Roots, load_roots
from cardflow.jobs import PreparedKey, WriteProof, whole
from cardflow.key_ring import KeyRing
from cardflow.mail import texts
from cardflow.mail.texts import Text
from cardflow.model import MailKind
from cardflow.policy_toml import import_policy
from cardflow.profiles import SAMPLES, load_profiles
from cardflow.proofs import key_objections, write_objections
from cardflow.settings import read_settings
from cardflow.x509 import (
    ascii_email,
    certificate_objections,
    csr_objections,
    facts_of_certificate,
    facts_of_csr,
    name_of,
    subject_objections,
)
from cardflow.x509.contents import contents_of_certificate
from cli.csv_parts import parts_of
from tests import build
from tests.agent import test_httpsig, test_job_tokens
from tests.ca.forging import der_of
from tests.ca.hostile import HOSTILE
from tests.ca.making import ALICE, a_csr
from tests.ca.replies import PROFILE, REPLIES, ca_pem, der, pem, the_csr
from tests.core.test_proofs import LANE, PROOF
from tests.documents.corpus.making import page_of, png, tiny_jpeg

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
PROFILES = load_profiles()
POLICIES = Path(__file__).parents[2] / "policies"
SLOW_TO_MAKE = ("ROCA", "close primes", "a squared prime", "a small factor")
LONGEST_SEED = 20_000


@dataclass(frozen=True)
class Parser:
    """A reader, the errors by which it refuses, and what it can read, to begin with."""

    name: str
    read: Callable[[bytes], Any]
    refuses: tuple[type[Exception], ...]
    seeds: Callable[[], list[bytes]]

    def feed(self, data: bytes) -> None:
        """Have it read the bytes; anything but an answer or a refusal is a bug and is raised."""
        try:
            self.read(data)
        except self.refuses:
            return


def text_of(data: bytes) -> str:
    """Return bytes as a text; what is no text becomes lone surrogates, as from a file's name."""
    return data.decode("utf-8", "surrogateescape")


def from_text(read: Callable[[str], Any]) -> Callable[[bytes], Any]:
    return lambda data: read(text_of(data))


@cache
def directory() -> Path:
    kept = tempfile.TemporaryDirectory(prefix="cardflow-fuzz-")
    directory.kept = kept  # type: ignore[attr-defined]  # it goes when the process does
    return Path(kept.name)


def from_file(name: str, read: Callable[[Path], Any], *, whole_directory: bool = False) -> Any:
    def read_file(data: bytes) -> Any:
        path = directory() / name / name
        path.parent.mkdir(exist_ok=True)
        path.touch(0o600)
        path.write_bytes(data)
        return read(path.parent if whole_directory else path)

    return read_file


# What is read


def policy(text: str) -> Any:
    return import_policy(text, version=1, profiles=PROFILES)


def request(data: bytes) -> Any:
    """Read a request whose headers stand one a line before an empty line and the body."""
    head, _, body = data.partition(b"\n\n")
    lines = [line.partition(": ") for line in head.decode("latin-1").split("\n")]
    return test_httpsig.verify({name: value for name, _, value in lines}, body=body)


def a_request() -> bytes:
    head = "\n".join(f"{name}: {value}" for name, value in test_httpsig.signed().items())
    return f"{head}\n\n".encode() + test_httpsig.BODY


def job(text: str) -> Any:
    return verified_job(text, test_job_tokens.ENROLMENT, now=test_job_tokens.NOW)


def action(text: str) -> Any:
    root = decisions.root_hex(build.root().public_key())
    return decisions.read(text, root), decisions.peek(text)


def checkpoint(text: str) -> Any:
    return checkpoints.read(text, decisions.root_hex(build.root().public_key()))


def a_checkpoint() -> bytes:
    zeros = "0" * 64
    made = checkpoints.Checkpoint(1, zeros, datetime.now(UTC), 1, zeros, zeros)
    return checkpoints.sign(made, build.signer()).token.encode()


def an_action() -> bytes:
    return build.an_update(build.a_policy(), opened_at=datetime.now(UTC)).token.encode()


def evidence(data: bytes) -> Any:
    root = decisions.root_hex(build.root().public_key())
    checks = verify(io.BytesIO(data), Roots((root,), ()))
    assert any(not check.ok for check in checks)  # nothing here is a whole pack
    return checks


def a_pack() -> bytes:
    file = io.BytesIO()
    update = build.an_update(build.a_policy(), opened_at=datetime.now(UTC))
    with Archive(file, update.update_id, datetime.now(UTC)) as archive:
        archive.add("update.json", b"{}")
        archive.add("audit/links.txt", b"1 0 0 1 0 1\n")
        archive.add("audit/00000001.json", b'{"at": "2026-01-01T00:00:00+00:00"}')
        archive.add("actions/1.jws", update.token.encode())
        archive.add("documents/index.json", b"[]")
        archive.seal(build.signer())
    return file.getvalue()


def a_locked_pack() -> bytes:
    """Return a pack whose members say that they are encrypted (APPNOTE 4.4.4, bit 0)."""
    data = bytearray(a_pack())
    for mark, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = -1
        while (at := data.find(mark, at + 1)) >= 0:
            data[at + flags] |= 1
    return bytes(data)


def written(text: str) -> Any:
    proof = WriteProof("logon", PROOF.cka_id, text, text[:99])
    return write_objections(LANE, proof, nonce="00" * 32, token_serial="1")


def prepared(text: str) -> Any:
    return key_objections(LANE, PreparedKey("logon", LANE.plan.cka_id, text))


def certificate(data: bytes) -> Any:
    return issued(pem(data))


def issued(text: str) -> Any:
    found = certificate_objections(
        text,
        csr_pem=the_csr(),
        profile=PROFILE,
        subject=ALICE,
        issuer_chain_pem=[ca_pem()],
        now=NOW,
    )
    return found, facts_of_certificate(text), contents_of_certificate(text)


def csr(text: str) -> Any:
    if not (found := csr_objections(text, None)):
        facts_of_csr(text)
    return found


def csr_der(data: bytes) -> Any:
    return csr(pem(data, "CERTIFICATE REQUEST"))


def person(text: str) -> Any:
    names = ("common_name", "email", "given_name", "surname", "upn", "sid", "organization")
    given = dict(zip(names, text.split("\n"), strict=False))
    return subject_objections(replace(ALICE, **given),
                              PROFILES["smart-card-logon"])  # fmt: skip


def mail_text(text: str) -> Any:
    subject, _, body = text.partition("\n")
    told = texts.tidy(Text(subject, body))
    found = texts.objections(MailKind.DOCUMENT_NEEDED, told, "https://cards.example")
    return found, [list(texts.words_and_links(p, "https://cards.example"))
                   for p in texts.paragraphs(told.body)]  # fmt: skip


def a_public_key() -> bytes:
    return build.root().public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def upload(data: bytes) -> Any:
    usual = Image.MAX_IMAGE_PIXELS  # the examiner has a process of its own and lowers it there
    try:
        said = answered(data, Limits(max_pixels=100_000, max_objects=2_000), lambda _data: None)
    finally:
        Image.MAX_IMAGE_PIXELS = usual
    return json.dumps(said)


SEALER = Sealer(KeyRing.generate())
PEOPLE = b'login,name,roles\nada,Ada,holder admin\nben,"Ben, jr",holder\n'
PNG, JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
PARSERS = [
    Parser("people as CSV", lambda d: read_table(d, PersonIn, key="login"), (Problem,),
           lambda: [PEOPLE, PEOPLE.replace(b",", b";"), b"\xef\xbb\xbf" + PEOPLE]),
    Parser("CSV in parts", from_text(parts_of), (), lambda: [PEOPLE]),
    Parser("a policy", from_text(policy), (Refused,),
           lambda: [path.read_bytes() for path in sorted(POLICIES.glob("[fnr]*.toml"))]),
    Parser("profiles", from_file("profiles.toml", load_profiles), (Refused,),
           lambda: [SAMPLES.read_bytes()]),
    Parser("settings", from_file(SETTINGS_FILE, lambda p: read_settings(p.parent)), (Refused,),
           lambda: [b'organisation = "A"\nclaim_hours = 3\n[x]\ny = 1\n']),
    Parser("a key ring", from_file("ring.json", KeyRing.load), (Refused,),
           lambda: [KeyRing.generate().dump()]),
    Parser("roots", from_file("roots.pem", load_roots), (Refused,),
           lambda: [ca_pem().encode(), a_public_key()]),
    Parser("a signed request", request, (Refused,), lambda: [a_request()]),
    Parser("a job", from_text(job), (Refused,),
           lambda: [test_job_tokens.signed(test_job_tokens.CLAIMS).encode()]),
    Parser("an action", from_text(action), (Refused,), lambda: [an_action()]),
    Parser("a checkpoint", from_text(checkpoint), (Refused,), lambda: [a_checkpoint()]),
    Parser("checkpoint files", from_file("1.jws", read_tokens, whole_directory=True), (Refused,),
           lambda: [a_checkpoint() + b"\n"]),
    Parser("a pack of evidence", evidence, (), lambda: [a_pack(), a_locked_pack()]),
    Parser("a report of cards", lambda d: said(PresenceIn, d), (Problem,),
           lambda: [b'{"tokens": [{"token_serial": "1", "token_label": "", "manufacturer": "",'
                    b' "model": "", "reader": "", "module": "", "inventory": {"keys": []}}]}']),
    Parser("a result", lambda d: said(ResultIn, d), (Problem,),
           lambda: [b'{"task": "x", "result": {"outcome": "done", "inventory": {"damaged": 1}}}']),
    Parser("a form in pieces", from_text(lambda t: whole(tuple(t.split("\n")))), (Refused,),
           lambda: [b"AAAA\nBBBB"]),
    Parser("a sealed task", from_text(lambda t: SEALER.open(t, "a")), (Refused,),
           lambda: [SEALER.seal(b"token", "a").encode()]),
    Parser("a cursor", from_text(lambda t: (Paging(t).after("p"), Paging(t).after_number("p"))),
           (Problem,), lambda: [b"cAoxMg"]),
    Parser("an enrolment code", from_text(code_id), (Refused,),
           lambda: [b"AAAAA-BBBBB-CCCCC-DDDDD-EEEEE-A"]),
    Parser("a form's code", from_text(lambda t: qr.verify(t, keys=[bytes(32)])), (Refused,),
           lambda: [b"https://cards.example/d/019a1b2c.2.ABCDEFGHIJKLMNOP"]),
    Parser("a proof of writing", from_text(written), (), lambda: [PROOF.certificate_pem.encode()]),
    Parser("a prepared key", from_text(prepared), (), lambda: [the_csr().encode()]),
    Parser("a CSR", from_text(csr), (),
           lambda: [c.csr().encode() for c in HOSTILE if c.name not in SLOW_TO_MAKE]),
    Parser("a CSR's DER", csr_der, (), lambda: [der_of(a_csr())]),
    Parser("a CA's reply", from_text(issued), (Refused,),
           lambda: [reply.make().encode() for reply in REPLIES]),
    Parser("a certificate's DER", certificate, (Refused,), lambda: [der()]),
    Parser("a distinguished name", from_text(name_of), (Refused,),
           lambda: [b"CN=Ada\\, jr+UID=1,O=\\C3\\A9,2.5.4.3=#0c0141"]),
    Parser("a mail address", from_text(ascii_email), (Refused,),
           lambda: ["a@bücher.example".encode(), b"a@xn--bcher-kva.example"]),
    Parser("a person", from_text(person), (), lambda: [b"Ada\na@b.c\n\n\na@b"]),
    Parser("a mail's text", from_text(mail_text), (),
           lambda: [b"Hello {name}\nSee https://cards.example/x, {card}.\n\nBye"]),
    Parser("a file's name", from_text(clean_name), (), lambda: [b"..\\a/b\0.pdf"]),
    Parser("the agent's memory", from_file("journal", lambda p: Journal(p).csr("a", "b")), (),
           lambda: [b'\n{"cka_id": "a", "spki_sha256": "b", "csr_pem": "c"}\n']),
    Parser("an upload", upload, (),
           lambda: [page_of(b"/MediaBox [0 0 9 9]"), png(9, 9, b"x"), tiny_jpeg(8, 8)]),
]  # fmt: skip
