"""What the machine tells people of an electronic signature: who, when, with what, and why not.

Everything must speak for a signature before nothing speaks against it: a doubt goes to a person.
"""

from dataclasses import dataclass, replace

from cardflow.documents.examiner import SignatureSeen
from cardflow.model import SignatureFound
from cardflow.x509 import facts_of_certificate

REWRITTEN = (
    "the file does not begin with the form that was issued, byte by byte: it is another document,"
    " or another program has rewritten it; compare it with the form"
)
NOT_ISSUED_HERE = "the certificate was not issued by this organisation"
UNKNOWN = "whether the certificate is revoked cannot be found out now"
PROBLEMS = {  # ETSI EN 319 102-1 table 3
    "REVOKED_NO_POE": "the certificate is revoked",
    "REVOKED": "the certificate is revoked",
    "REVOKED_CA_NO_POE": "the certificate's authority is revoked",
    "OUT_OF_BOUNDS_NO_POE": "the certificate has expired or is not valid yet",
    "OUT_OF_BOUNDS_NOT_REVOKED": "the certificate has expired or is not valid yet",
    "CHAIN_CONSTRAINTS_FAILURE": "the certificate is not for signing documents",
    "CERTIFICATE_CHAIN_GENERAL_FAILURE": UNKNOWN,
    "TRY_LATER": UNKNOWN,
}
NOT_GOOD = "the certificate is not good"


@dataclass(frozen=True)
class SignerCertificate:
    """The certificate that signed."""

    subject: str
    issuer: str
    serial_number: str
    sha256: str
    not_before: str  # RFC 3339, as every instant here: findings are kept as JSON
    not_after: str


@dataclass(frozen=True)
class SignatureFindings:
    """An electronic signature as it was found; ``reasons`` say why the verdict is not good."""

    verdict: SignatureFound
    reasons: tuple[str, ...]
    signed_at: str  # by the signer's clock
    stamped_at: str  # by a time-stamping authority that is known here; empty: by none
    certificate: SignerCertificate
    is_issued_form: bool  # the file is the issued form and nothing before its last byte differs
    person_id: str = ""  # whose certificate it is, by our register
    person_name: str = ""


@dataclass(frozen=True)
class KnownSigner:
    """What the register knows of the certificate that signed."""

    person_id: str
    person_name: str
    is_revoked: bool


def findings_of(seen: SignatureSeen, *, is_issued: bool) -> SignatureFindings:
    """Return what the file and the authorities' own records tell."""
    facts = facts_of_certificate(seen.certificate_pem)
    found = []
    if not is_issued:
        found.append(REWRITTEN)
    if seen.signatures > 1:
        found.append(f"the file carries {seen.signatures} signatures; one is expected")
    if not seen.known_issuer:
        found.append(NOT_ISSUED_HERE)
    elif not seen.trusted:
        found.append(PROBLEMS.get(seen.problem, NOT_GOOD))
    if seen.has_stamp and not seen.stamped_at:
        found.append("the time stamp is by an authority that is not known here")
    return SignatureFindings(
        verdict=_verdict(found),
        reasons=tuple(found),
        signed_at=seen.signed_at,
        stamped_at=seen.stamped_at,
        certificate=SignerCertificate(
            subject=facts.subject,
            issuer=facts.issuer,
            serial_number=facts.serial_number,
            sha256=facts.sha256,
            not_before=facts.not_before.isoformat(),
            not_after=facts.not_after.isoformat(),
        ),
        is_issued_form=is_issued,
    )


def judged(
    findings: SignatureFindings, signer: KnownSigner | None, *, holder_id: str
) -> SignatureFindings:
    """Return the findings with what the register says against them."""
    found = list(findings.reasons)
    if signer is None:
        found.append("the certificate is not in our register: whose it is cannot be told")
    elif signer.person_id != holder_id:
        found.append("the certificate belongs to somebody else than the card's holder")
    if signer and signer.is_revoked and PROBLEMS["REVOKED"] not in found:
        found.append(PROBLEMS["REVOKED"])  # more recent than the newest CRL
    return replace(
        findings,
        verdict=_verdict(found),
        reasons=tuple(found),
        person_id=signer.person_id if signer else "",
        person_name=signer.person_name if signer else "",
    )


def _verdict(found: list[str]) -> SignatureFound:
    return SignatureFound.DOUBTFUL if found else SignatureFound.GOOD
