"""From PAdES B-B to B-LT (ETSI EN 319 142-1 6): the proofs of a signature, kept in its own file.

The certificates and CRLs go into the document security store, then a document time stamp covers
everything: what was good then can be shown to have been good when the certificates are long gone.
"""

import base64
import io
from collections.abc import Awaitable, Callable

from asn1crypto import pem
from asn1crypto.crl import CertificateList
from asn1crypto.tsp import TimeStampReq, TimeStampResp
from asn1crypto.x509 import Certificate
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.pdf_utils.misc import PdfError
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.sign.signers import PdfTimeStamper
from pyhanko.sign.timestamps import TimeStamper, TimestampRequestError
from pyhanko.sign.validation import DocumentSecurityStore

from cardflow.documents.examiner import Trust
from cardflow.errors import Unavailable

Ask = Callable[[bytes], Awaitable[bytes]]


class _Authority(TimeStamper):
    """Asks a time-stamping authority (RFC 3161) by whatever way ``ask`` goes."""

    def __init__(self, ask: Ask) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._ask = ask

    async def async_request_tsa_response(self, req: TimeStampReq) -> TimeStampResp:
        return TimeStampResp.load(await self._ask(req.dump()))


async def with_long_term_proof(signed: bytes, trust: Trust, ask: Ask) -> bytes:
    """Return the file with its proofs after its last byte; what is no signed PDF is returned as is.

    Whether the signature is good is judged later, of this file like of any other.
    """
    try:
        signatures = PdfFileReader(io.BytesIO(signed)).embedded_regular_signatures
    except (PdfError, ValueError):
        return signed
    if not signatures:
        return signed
    chains = [_certificate(text) for text in (*trust.intermediates, *trust.roots)]
    writer = IncrementalPdfFileWriter(io.BytesIO(signed))
    DocumentSecurityStore.supply_dss_in_writer(
        writer,
        None,  # no VRI: EN 319 142-1 5.4.3 advises against it
        certs=[signatures[-1].signer_cert, *chains],
        crls=[CertificateList.load(base64.b64decode(crl)) for crl in trust.crls],
    )
    try:
        stamped = await PdfTimeStamper(_Authority(ask)).async_timestamp_pdf(writer, "sha256")
    except (TimestampRequestError, ValueError) as error:
        raise Unavailable("the time-stamping authority's answer is not usable") from error
    return bytes(stamped.getvalue())


def _certificate(text: str) -> Certificate:
    return Certificate.load(pem.unarmor(text.encode())[2])
