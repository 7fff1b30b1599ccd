"""The electronic signature in a PDF (PAdES, ETSI EN 319 142-1), as far as bytes alone can tell.

Loaded only for files that carry one, and before the process is confined: from then on it can load
nothing, open nothing and ask nobody.
"""

import asyncio
import base64
import codecs
import io
import logging
import stringprep
import warnings
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime

from asn1crypto import pem
from asn1crypto.x509 import Certificate
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.backends.openssl import backend
from cryptography.x509 import load_der_x509_certificate, load_pem_x509_certificate
from lxml import etree  # allowed: xml: loaded for libraries that a confined process cannot load
from pyhanko.pdf_utils import filters
from pyhanko.pdf_utils.misc import PdfError
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.sign.diff_analysis import ModificationLevel
from pyhanko.sign.general import SigningError
from pyhanko.sign.validation import async_validate_pdf_signature, async_validate_pdf_timestamp
from pyhanko.sign.validation.errors import SignatureValidationError
from pyhanko.sign.validation.pdf_embedded import EmbeddedPdfSignature
from pyhanko.sign.validation.settings import KeyUsageConstraints
from pyhanko.sign.validation.status import PdfSignatureStatus, SignatureCoverageLevel
from pyhanko_certvalidator import ValidationContext

from cardflow.documents.examiner import SignatureSeen, Trust
from cardflow.documents.examiner.image import damaged
from cardflow.errors import Refused

# At the first signature, the first address, the first metadata that were added to.
_LOADED_EARLY = (backend, stringprep, etree, filters)
for _name in ("ascii", "cp1252", "idna", "latin-1", "utf-8", "utf-16-be", "utf-32-be", "teletex"):
    codecs.lookup(_name)  # what texts in certificates are written in
_LOOP = asyncio.new_event_loop()  # at once: a confined process has no descriptor left for one
# An untrusted chain is a verdict here, not an incident.
logging.getLogger("pyhanko").setLevel(logging.CRITICAL)
logging.getLogger("pyhanko_certvalidator").setLevel(logging.CRITICAL)
_UNREADABLE = (PdfError, SignatureValidationError, SigningError, ValueError, TypeError, KeyError)
UNUSUAL = "this kind of electronic signature cannot be checked here; sign the form with your card"
CHANGED = "the PDF was changed after it was signed; sign the form again, as it was issued"


def examine_signature(data: bytes, trust: Trust) -> SignatureSeen | None:
    """Return what the last signature says; None when there is none. Refuse what was changed."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _LOOP.run_until_complete(_examine(data, trust))
    except (OSError, ImportError) as error:
        # It wants what a confined process cannot load: nothing that a card's signature needs.
        raise Refused(UNUSUAL) from error
    except _UNREADABLE as error:
        raise damaged("electronic signature") from error


async def _examine(data: bytes, trust: Trust) -> SignatureSeen | None:
    reader = PdfFileReader(io.BytesIO(data))
    signatures = reader.embedded_regular_signatures
    if not signatures:
        return None
    status = await async_validate_pdf_signature(
        signatures[-1],  # the one that covers the others, if there are any
        _context(trust, trust.roots),
        ts_validation_context=_context(trust, trust.stamp_roots),
        key_usage_settings=KeyUsageConstraints(
            key_usage={"digital_signature", "non_repudiation"}, match_all_key_usages=False
        ),
    )
    if not _is_whole(status):
        raise Refused(CHANGED)
    stamped_at = await _time_stamped(reader.embedded_timestamp_signatures, trust)
    return SignatureSeen(
        certificate_pem=pem.armor("CERTIFICATE", status.signing_cert.dump()).decode(),
        signed_at=_text(status.signer_reported_dt),
        stamped_at=_text(stamped_at or _stamp_within(status)),
        has_stamp=bool(reader.embedded_timestamp_signatures or status.timestamp_validity),
        known_issuer=_is_known(status.signing_cert.dump(), trust),
        trusted=status.trusted,
        problem=status.trust_problem_indic.standard_name if status.trust_problem_indic else "",
        signatures=len(signatures),
    )


def _is_known(der: bytes, trust: Trust) -> bool:
    """Tell whether one of the authorities issued the certificate; pyHanko tells it in many ways."""
    certificate = load_der_x509_certificate(der)
    for text in (*trust.roots, *trust.intermediates):
        authority = load_pem_x509_certificate(text.encode())
        with suppress(ValueError, TypeError, InvalidSignature):
            certificate.verify_directly_issued_by(authority)
            return authority.subject != certificate.subject
    return False


def _is_whole(status: PdfSignatureStatus) -> bool:
    """Tell whether nothing but proof of the same signature was added to what was signed.

    pyHanko's own ``bottom_line`` also takes bytes that belong to no revision.
    """
    if not (status.intact and status.valid):
        return False
    if status.coverage is SignatureCoverageLevel.ENTIRE_FILE:
        return True
    is_revision = status.coverage is SignatureCoverageLevel.ENTIRE_REVISION
    return is_revision and status.modification_level is ModificationLevel.LTA_UPDATES


async def _time_stamped(stamps: list[EmbeddedPdfSignature], trust: Trust) -> datetime | None:
    """Return the instant of the first document time stamp that a known authority made."""
    for stamp in stamps:
        status = await async_validate_pdf_timestamp(stamp, _context(trust, trust.stamp_roots))
        if status.intact and status.valid and status.trusted:
            return status.timestamp
    return None


def _stamp_within(status: PdfSignatureStatus) -> datetime | None:
    within = status.timestamp_validity
    return within.timestamp if within and within.valid and within.trusted else None


def _context(trust: Trust, roots: Iterable[str]) -> ValidationContext:
    # Without 'require' a certificate that names no CRL counts as good although the CRL lists it.
    is_stamp = roots is trust.stamp_roots
    return ValidationContext(
        trust_roots=[_certificate(root) for root in roots],
        other_certs=[_certificate(text) for text in trust.intermediates],
        crls=[] if is_stamp else [base64.b64decode(crl) for crl in trust.crls],
        allow_fetching=False,
        revocation_mode="soft-fail" if is_stamp else "require",
    )


def _certificate(text: str) -> Certificate:
    return Certificate.load(pem.unarmor(text.encode())[2])


def _text(instant: datetime | None) -> str:
    return instant.astimezone(UTC).isoformat() if instant else ""
