"""What electronic signatures are judged by here: the CA's own records, and the register's."""

import base64
from dataclasses import replace
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from api.state import State
from cardflow.db.register_updates import signer_of
from cardflow.documents.examiner import Trust
from cardflow.documents.intake import IntakeFindings
from cardflow.documents.signatures import KnownSigner, judged
from cardflow.errors import Unavailable
from cardflow.model import SignatureFound
from cardflow.sql import transaction


async def trust_of(state: State) -> Trust:
    """Return the roots and CRLs of this moment, or raise Unavailable."""
    authority = state.ca.authority()
    *intermediates, root = await authority.ca_certificates()
    crls = [authority.root_crl_der(), await authority.crl_der()]
    return Trust(
        roots=[root],
        intermediates=list(intermediates),
        crls=[base64.b64encode(crl).decode() for crl in crls],
        stamp_roots=stamp_roots(state.settings.tsa_root_file),
    )


def stamp_roots(file: Path | None) -> list[str]:
    """Return the roots of time-stamping authorities that are believed, PEM."""
    if file is None:
        return []
    try:
        roots = x509.load_pem_x509_certificates(file.read_bytes())
    except (OSError, ValueError) as error:
        raise Unavailable(f"{file} holds no readable certificates; restore it") from error
    return [root.public_bytes(Encoding.PEM).decode() for root in roots]


async def with_signer(state: State, found: IntakeFindings, holder_id: str) -> IntakeFindings:
    """Return the findings with who signed, by the register, and what it says against them."""
    if found.signature is None:
        return found
    async with transaction(state.reads) as session:
        known = await signer_of(session, found.signature.certificate.sha256)
    signer = None
    if known:
        certificate, person = known
        signer = KnownSigner(person.id, person.name, certificate.state == "revoked")
    return replace(found, signature=judged(found.signature, signer, holder_id=holder_id))


def verdict_of(found: IntakeFindings) -> SignatureFound:
    """Return the word under which the update hears of the signature."""
    return found.signature.verdict if found.signature else SignatureFound.NONE
