"""Electronic signatures at intake: what is good, what a person must look at, what is refused."""

import io
import subprocess
import threading
from collections.abc import Callable
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import ClassVar

import httpx2
import pikepdf
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from pyhanko.pdf_utils import generic
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.pdf_utils.reader import PdfFileReader

from cardflow.documents.examiner import Trust
from cardflow.documents.examiner.examination import examine
from cardflow.documents.examiner.signature import CHANGED, examine_signature
from cardflow.documents.intake import IntakeFindings, inspect_upload
from cardflow.documents.long_term import with_long_term_proof
from cardflow.documents.signatures import (
    PROBLEMS,
    REWRITTEN,
    KnownSigner,
    SignatureFindings,
    findings_of,
    judged,
)
from cardflow.errors import Refused, Unavailable
from cardflow.model import SignatureFound
from tests.documents.build import AWAITED, KEY, form, page, saved
from tests.documents.signing import (
    NOW,
    Issued,
    asked,
    certified,
    crl,
    holder,
    issuing,
    root,
    signed,
    time_stamper,
    trust,
)
from tests.documents.test_intake import LIMITS


async def inspected(data: bytes, judged_by: Trust | None = None) -> IntakeFindings:
    return await inspect_upload(
        data, expected=AWAITED, qr_keys=[KEY], limits=LIMITS, issued=[form()],
        trust=judged_by or trust(),
    )  # fmt: skip


def found_in(data: bytes, judged_by: Trust | None = None) -> SignatureFindings:
    """Return the findings as the confined process would make them."""
    examine(data, LIMITS)
    seen = examine_signature(data, judged_by or trust())
    assert seen is not None
    return findings_of(seen, is_issued=data.startswith(form()))


# Good


@pytest.mark.parametrize(
    "key",
    [
        pytest.param(lambda: ec.generate_private_key(ec.SECP256R1()), id="P-256"),
        pytest.param(lambda: ec.generate_private_key(ec.SECP384R1()), id="P-384"),
        pytest.param(lambda: rsa.generate_private_key(65_537, 2048), id="RSA-2048"),
    ],
)
async def test_the_holders_signature_over_the_issued_form_is_good(key: Callable) -> None:
    by = certified("Zoe", issuing(), key=key())
    found = await inspected(signed(by))

    assert found.qr == "matches"
    assert found.signature is not None
    assert (found.signature.verdict, found.signature.reasons) == (SignatureFound.GOOD, ())
    assert found.signature.certificate.sha256 == by.sha256
    assert found.signature.certificate.subject == "CN=Zoe"
    assert found.signature.signed_at
    assert found.signature.stamped_at == ""


async def test_a_time_stamp_tells_when_by_somebody_elses_clock() -> None:
    found = (await inspected(signed(holder(), stamper=time_stamper()))).signature

    assert found is not None
    assert found.verdict is SignatureFound.GOOD
    assert found.stamped_at == (NOW - timedelta(minutes=1)).isoformat()


async def test_a_scan_has_no_signature() -> None:
    assert (await inspected(saved(page(), "PNG"))).signature is None
    assert (await inspected(form())).signature is None


# Doubtful: for a person


def rewritten(data: bytes) -> bytes:
    """Return the form as another program saves it before it signs."""
    out = io.BytesIO()
    with pikepdf.open(io.BytesIO(data)) as pdf:
        pdf.save(out)
    return out.getvalue()


def doubts() -> dict[str, tuple[Callable[[], bytes], Callable[[], Trust], str]]:
    strangers_root = certified("Other Root", ca=True)
    stranger = certified("Zoe", strangers_root)
    expired = certified("Zoe", issuing(), until=NOW - timedelta(days=1))
    for_keys = certified("Zoe", issuing(), usage="key_encipherment")
    old = trust(crls=[crl(root())])
    return {
        "rewritten before it was signed": (
            lambda: signed(holder(), rewritten(form())), trust, REWRITTEN),
        "revoked": (lambda: signed(holder()), lambda: trust(holder()), PROBLEMS["REVOKED"]),
        "the authority revoked": (
            lambda: signed(holder()),
            lambda: trust(crls=[crl(root(), issuing()), crl(issuing())]),
            "revoked"),
        "by another authority": (lambda: signed(stranger), trust, "not issued by this"),
        "by itself": (lambda: signed(certified("Zoe")), trust, "not issued by this"),
        "expired": (lambda: signed(expired), trust, "has expired"),
        "not for signing": (lambda: signed(for_keys), trust, "not for signing documents"),
        "without a CRL": (lambda: signed(holder()), lambda: old, "cannot be found out"),
        "signed twice": (
            lambda: signed(holder(), signed(holder()), field="Again"), trust, "2 signatures"),
        "stamped by a stranger": (
            lambda: signed(holder(), stamper=time_stamper()),
            lambda: trust(stamp_roots=[]),
            "not known here"),
    }  # fmt: skip


@pytest.mark.parametrize("name", list(doubts()))
def test_what_speaks_against_a_signature_goes_to_a_person(name: str) -> None:
    make, judged_by, reason = doubts()[name]
    found = found_in(make(), judged_by())

    assert found.verdict is SignatureFound.DOUBTFUL
    assert len(found.reasons) == 1
    assert reason in found.reasons[0]


async def test_the_confined_process_sees_the_same_doubts() -> None:
    found = (await inspected(signed(holder(), rewritten(form())), trust(holder()))).signature

    assert found is not None
    assert found.reasons == (REWRITTEN, PROBLEMS["REVOKED"])
    assert found.is_issued_form is False


# Refused: no signature over what the file shows


def one_byte_changed() -> bytes:
    data = bytearray(signed(holder()))
    at = data.index(b"/Producer") if b"/Producer" in data else data.index(b"/Creator")
    data[at + 12] ^= 1
    return bytes(data)


def painted_over(data: bytes = b"") -> bytes:
    writer = IncrementalPdfFileWriter(io.BytesIO(data or signed(holder())))
    paint = generic.StreamObject(stream_data=b"0 0 0 rg 100 400 300 100 re f")
    writer.add_stream_to_page(0, writer.add_object(paint))
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


@pytest.mark.parametrize("make", [one_byte_changed, painted_over])
def test_what_was_changed_after_it_was_signed_is_refused(make: Callable[[], bytes]) -> None:
    data = make()
    with pytest.raises(Refused) as refused:
        found_in(data)
    assert str(refused.value) == CHANGED


async def test_bytes_after_the_end_are_refused() -> None:
    with pytest.raises(Refused, match="something follows the end"):
        await inspected(signed(holder()) + b"more")


async def test_a_change_is_refused_by_the_confined_process_too() -> None:
    with pytest.raises(Refused, match="changed after it was signed"):
        await inspected(painted_over())


def broken_signature() -> bytes:
    data = bytearray(signed(holder()))
    at = data.index(b"/Contents <") + 20
    data[at : at + 64] = b"0" * 64
    return bytes(data)


def test_a_signature_that_cannot_be_read_is_refused() -> None:
    with pytest.raises(Refused, match=r"electronic signature is damaged|changed after"):
        found_in(broken_signature())


# What the register adds


def of_somebody(person: str, *, revoked: bool = False) -> KnownSigner:
    return KnownSigner(person, person.title(), revoked)


@pytest.mark.parametrize(
    ("signer", "reason"),
    [
        (None, "not in our register"),
        (of_somebody("bob"), "somebody else than the card's holder"),
        (of_somebody("zoe", revoked=True), "is revoked"),
    ],
)
def test_the_register_may_speak_against_a_signature(
    signer: KnownSigner | None, reason: str
) -> None:
    found = judged(found_in(signed(holder())), signer, holder_id="zoe")

    assert found.verdict is SignatureFound.DOUBTFUL
    assert reason in found.reasons[0]


def test_the_register_names_who_signed() -> None:
    found = judged(found_in(signed(holder())), of_somebody("zoe"), holder_id="zoe")

    assert found.verdict is SignatureFound.GOOD
    assert (found.person_id, found.person_name) == ("zoe", "Zoe")


def test_a_doubt_is_said_once() -> None:
    found = judged(
        found_in(signed(holder()), trust(holder())), of_somebody("zoe", revoked=True),
        holder_id="zoe",
    )  # fmt: skip
    assert found.reasons == (PROBLEMS["REVOKED"],)


def test_an_issued_certificate_is_named_as_it_is() -> None:
    by: Issued = holder()
    certificate = found_in(signed(by)).certificate

    assert certificate.issuer == "CN=Example Issuing CA"
    assert certificate.not_after == (NOW + timedelta(days=365)).isoformat()


# Proofs for long (PAdES B-LT)


async def test_with_its_proofs_a_signature_stays_good_and_tells_when() -> None:
    before = signed(holder())
    data = await with_long_term_proof(before, trust(), asked)
    found = await inspected(data)

    assert data.startswith(before)
    assert found.signature is not None
    assert (found.signature.verdict, found.signature.reasons) == (SignatureFound.GOOD, ())
    assert found.signature.stamped_at == (NOW - timedelta(minutes=1)).isoformat()
    store = PdfFileReader(io.BytesIO(data)).root["/DSS"]
    assert (len(store["/Certs"]), len(store["/CRLs"])) == (3, 2)


async def test_what_is_painted_over_its_proofs_is_refused() -> None:
    data = painted_over(await with_long_term_proof(signed(holder()), trust(), asked))
    with pytest.raises(Refused, match="changed after it was signed"):
        await inspected(data)


async def test_proofs_by_an_authority_that_nobody_knows_are_doubtful() -> None:
    data = await with_long_term_proof(signed(holder()), trust(), asked)
    found = (await inspected(data, trust(stamp_roots=[]))).signature

    assert found is not None
    assert found.reasons == ("the time stamp is by an authority that is not known here",)


@pytest.mark.parametrize("data", [b"no PDF", form()])
async def test_what_is_not_signed_gets_no_proofs(data: bytes) -> None:
    assert await with_long_term_proof(data, trust(), asked) == data


async def test_an_authority_that_speaks_nonsense_is_not_believed() -> None:
    async def nonsense(_query: bytes) -> bytes:
        return b"nonsense"

    with pytest.raises(Unavailable, match="not usable"):
        await with_long_term_proof(signed(holder()), trust(), nonsense)


# Others agree


@pytest.mark.openssl
def test_poppler_finds_the_same_in_a_signed_form(tmp_path: Path) -> None:
    for name, data in (("good", signed(holder())), ("changed", one_byte_changed())):
        (tmp_path / name).write_bytes(data)

    def said(name: str) -> str:
        command = ["pdfsig", "-nocert", str(tmp_path / name)]
        environment = {"HOME": str(tmp_path), "PATH": "/usr/bin"}
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        return done.stdout

    assert "Signature is Valid" in said("good")
    assert "Total document signed" in said("good")
    assert "ETSI.CAdES.detached" in said("good")
    assert "Signer Certificate Common Name: Zoe" in said("good")
    assert "Digest Mismatch" in said("changed")


# Nothing that a certificate names is fetched


class Visited(BaseHTTPRequestHandler):
    """Notes who comes."""

    came: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.came.append(self.path)
        self.send_error(404)

    do_POST = do_GET  # noqa: N815 the standard library's name

    def log_message(self, *_: object) -> None:
        """Say nothing."""


async def test_no_address_in_a_certificate_is_visited() -> None:
    with HTTPServer(("127.0.0.1", 0), Visited) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/from-certificate"
        own = certified("Own", issuing(), points_to=url)
        foreign = certified("Foreign", certified("Other CA", ca=True, points_to=url), points_to=url)
        for by in (own, foreign):
            assert (await inspected(signed(by))).signature is not None
            await with_long_term_proof(signed(by), trust(), asked)
        httpx2.get(f"http://127.0.0.1:{server.server_port}/control", trust_env=False)
        server.shutdown()

    assert Visited.came == ["/control"]
