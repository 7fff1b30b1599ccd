"""The certificates: asked for with the key, issued under the CA's root, proven on the card."""

from collections.abc import Iterator, Sequence
from functools import partial

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding

from cardflow.chain import AHEAD
from cardflow.evidence.contents import Contents, Named, Objections
from cardflow.evidence.record import Happened, proven
from cardflow.model import EventKind
from cardflow.x509 import (
    load_certificate,
    load_csr,
    sha256_of,
    spki_sha256,
    verify_signature,
)


def checks(contents: Contents) -> Iterator[Named]:
    """Yield the checks of certificates: what the trail says there is must be there, and true."""
    judged = {
        EventKind.KEY_PREPARED: ("request", _request_objections),
        EventKind.CERTIFICATE_ISSUED: ("certificate", _certificate_objections),
        EventKind.WRITTEN: ("proof", _proof_objections),
    }
    last = {(entry.kind, entry.lane): entry for entry in contents.story if entry.kind in judged}
    for (kind, lane), entry in last.items():
        what, judge = judged[EventKind(kind)]
        yield f"{what} of {lane}", partial(judge, contents, entry)
    yield "answers of the CA", partial(_answer_objections, contents)


def _request_objections(contents: Contents, entry: Happened) -> Objections:
    pem = contents.text(f"lanes/{entry.lane}/request.pem")
    csr = load_csr(pem)
    found = []
    if pem != entry.facts["csr_pem"]:
        found.append("it is not the one that the audit trail keeps")
    if not csr.is_signature_valid:
        found.append("it is not signed by its own key")
    if spki_sha256(csr) != entry.facts["spki_sha256"]:
        found.append("its key is not the one that was prepared on the card")
    return found


def _certificate_objections(contents: Contents, entry: Happened) -> Objections:
    certificate = _certificate(contents, entry.lane)
    csr = load_csr(contents.text(f"lanes/{entry.lane}/request.pem"))
    found = []
    if _fingerprint(certificate) != entry.facts["certificate_sha256"]:
        found.append("it is not the one that the audit trail says was issued")
    if spki_sha256(certificate) != spki_sha256(csr):
        found.append("it is for another key than the request")
    if not certificate.not_valid_before_utc <= entry.at + AHEAD:
        found.append("it was issued before it began to be valid")
    return [*found, *_chain_objections(contents, certificate)]


def _chain_objections(contents: Contents, certificate: x509.Certificate) -> Objections:
    """Return why the chain does not lead to a root, at the instant from which it is valid."""
    chain = x509.load_pem_x509_certificates(contents.read("ca/chain.pem"))
    at = certificate.not_valid_before_utc
    child = certificate
    for issuer in [*chain, *contents.roots.ca]:
        if child in contents.roots.ca:
            return []
        if child == issuer or not _issued(child, issuer):
            continue
        if not issuer.not_valid_before_utc <= at <= issuer.not_valid_after_utc:
            return [f"{_name(issuer)} was not valid when it was issued"]
        child = issuer
    if child in contents.roots.ca:
        return []
    return ["its chain does not lead to a root that you trust"]


def _issued(child: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        child.verify_directly_issued_by(issuer)
        constraints = issuer.extensions.get_extension_for_class(x509.BasicConstraints)
    except (ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound):
        return False
    return constraints.value.ca


def _proof_objections(contents: Contents, entry: Happened) -> Objections:
    certificate = _certificate(contents, entry.lane)
    message = contents.read(f"lanes/{entry.lane}/proof.bin")
    signature = contents.read(f"lanes/{entry.lane}/proof.sig")
    found = []
    if message != proven(entry):
        found.append("it is not the one that the audit trail keeps")
    if entry.facts["certificate_sha256"] != _fingerprint(certificate):
        found.append("it is for another certificate")
    if entry.facts["token_serial"] != contents.update.token_serial:
        found.append("it is of another card")
    if not verify_signature(certificate.public_key(), signature, message):
        found.append("the certified key did not sign it")
    return found


def _answer_objections(contents: Contents) -> Objections:
    found = []
    for answer in contents.json("ca/requests.json"):
        issued = answer["state"] == "issued"
        name = f"lanes/{answer['lane']}/certificate.pem"
        if issued and name in contents.listed:
            serial = format(_certificate(contents, answer["lane"]).serial_number, "x")
            if serial != answer["serial_number"].lower().lstrip("0"):
                found.append(f"{answer['id']}: {name} has another serial number")
        found += _words_objections(contents, answer)
    return found


def _words_objections(contents: Contents, answer: dict[str, object]) -> Objections:
    """Return which of the officers' words are not signed."""
    signed = {(a.actor, str(a.verdict), a.digest) for a in contents.actions.values()}
    words: Sequence[dict[str, str]] = answer["words"]  # type: ignore[assignment]
    return [
        f"{answer['id']}: the word of officer {word['officer']} is not signed"
        for word in words
        if (word["officer"], word["verdict"], word["digest"]) not in signed
    ]


def _certificate(contents: Contents, lane: str) -> x509.Certificate:
    return load_certificate(contents.text(f"lanes/{lane}/certificate.pem"))


def _fingerprint(certificate: x509.Certificate) -> str:
    return sha256_of(certificate.public_bytes(Encoding.DER))


def _name(certificate: x509.Certificate) -> str:
    return certificate.subject.rfc4514_string()
