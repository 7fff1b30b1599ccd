"""Signing a form with the card: PAdES B-B (ETSI EN 319 142-1), over exactly the bytes named.

pyHanko is loaded for this job only: it takes longer to load than a card takes to sign.
"""

import hashlib
import io
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from agent.drivers import CardFailure, CardKey
from cardflow.errors import Refused
from cardflow.jobs import IssuedForm, Outcome, SignJob, whole
from cardflow.x509 import load_certificate

if TYPE_CHECKING:
    from pyhanko.sign.signers import Signer

FIELD = "CardHolder"
P_384_BITS = 384


def content_of(form: IssuedForm | None, job: SignJob) -> bytes:
    """Return the form's bytes, or raise ``CardFailure``: the job's signature vouches for them."""
    try:
        content = whole(form.content) if form else b""
    except Refused as refused:
        raise _refused(str(refused)) from None
    if hashlib.sha256(content).hexdigest() != job.sha256:
        raise _refused("the form that was fetched is not the one to be signed")
    return content


def check_form(form: IssuedForm | None, job: SignJob) -> None:
    """Refuse what cannot be signed, before a PIN is asked for."""
    _writer(content_of(form, job))


def sign_form(form: IssuedForm, job: SignJob, der: bytes, key: CardKey) -> bytes:
    """Return the form with the card's signature after its last byte; its own bytes stay."""
    from pyhanko.sign import fields, signers
    from pyhanko.stamp import TextStampStyle

    place = {}
    if box := form.box:
        place = {"on_page": box.page, "box": (box.left, box.bottom, box.right, box.top)}
    metadata = signers.PdfSignatureMetadata(
        field_name=FIELD,
        md_algorithm=_hash_for(key).name,
        subfilter=fields.SigSeedSubFilter.PADES,
    )
    signer = signers.PdfSigner(
        metadata,
        signer=_signer(der, key, form.certificates),
        stamp_style=TextStampStyle(stamp_text=_stamp(der), border_width=0),
        new_field_spec=fields.SigFieldSpec(FIELD, **place),  # type: ignore[arg-type]
    )
    signed = io.BytesIO()
    signer.sign_pdf(_writer(content_of(form, job)), output=signed)
    return signed.getvalue()


def _writer(content: bytes) -> Any:
    from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
    from pyhanko.pdf_utils.misc import PdfError

    try:
        writer = IncrementalPdfFileWriter(io.BytesIO(content))
        has_fields = "/AcroForm" in writer.root
    except (PdfError, ValueError, KeyError):
        raise _refused("the form cannot be read as a PDF") from None
    if has_fields:
        raise _refused("the form has fields, or a signature, already")
    return writer


def _signer(der: bytes, key: CardKey, chain: tuple[str, ...]) -> "Signer":
    from asn1crypto.x509 import Certificate
    from pyhanko.sign.signers import Signer
    from pyhanko_certvalidator.registry import SimpleCertificateStore

    class CardSigner(Signer):
        """Asks the card for the one signature."""

        async def async_sign_raw(
            self, data: bytes, digest_algorithm: str, dry_run: bool = False
        ) -> bytes:
            if dry_run:
                return bytes(key.key_size // 8 * 3)  # as long as any; an estimate of the size
            if isinstance(key, ec.EllipticCurvePrivateKey):
                return key.sign(data, ec.ECDSA(_hash_for(key)))
            return key.sign(data, PKCS1v15(), _hash_for(key))

    others = SimpleCertificateStore()  # type: ignore[no-untyped-call]
    for pem in chain:
        others.register(Certificate.load(load_certificate(pem).public_bytes(Encoding.DER)))
    return CardSigner(signing_cert=Certificate.load(der), cert_registry=others)


def _hash_for(key: CardKey) -> hashes.SHA256 | hashes.SHA384:
    is_p384 = isinstance(key, ec.EllipticCurvePrivateKey) and key.key_size == P_384_BITS
    return hashes.SHA384() if is_p384 else hashes.SHA256()


def _stamp(der: bytes) -> str:
    """Return what the box shows; the base fonts of PDF know Latin letters only (ISO 32000 D.1)."""
    names = x509.load_der_x509_certificate(der).subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    name = str(names[0].value) if names else ""
    shown = name.encode("ascii", errors="ignore").decode() == name
    # pyHanko reads a percent sign as the start of a name of its own.
    lines = ["Signed electronically with the card", *([name.replace("%", "%%")] if shown else [])]
    return "\n".join([*lines, "%(ts)s"])


def _refused(why: str) -> CardFailure:
    return CardFailure(Outcome.DOCUMENT_REFUSED, why)
