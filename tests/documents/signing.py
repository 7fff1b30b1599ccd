"""Holders, an authority and software keys that sign forms, for the tests of signatures."""

import asyncio
import base64
import functools
import io
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from asn1crypto import keys as asn1_keys
from asn1crypto.tsp import TimeStampReq
from asn1crypto.x509 import Certificate as Asn1Certificate
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import (
    AuthorityInformationAccessOID,
    ExtendedKeyUsageOID,
    NameOID,
)
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.sign import fields, signers
from pyhanko.sign.timestamps import DummyTimeStamper
from pyhanko_certvalidator.registry import SimpleCertificateStore

from cardflow.documents.examiner import Trust
from tests.documents.build import form

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
NOW = datetime.now(UTC).replace(microsecond=0)


@dataclass(frozen=True)
class Issued:
    """A key and its certificate."""

    key: Key
    certificate: x509.Certificate

    @property
    def pem(self) -> str:
        return self.certificate.public_bytes(Encoding.PEM).decode()

    @property
    def sha256(self) -> str:
        return self.certificate.fingerprint(hashes.SHA256()).hex()

    @property
    def asn1(self) -> Asn1Certificate:
        return Asn1Certificate.load(self.certificate.public_bytes(Encoding.DER))

    @property
    def asn1_key(self) -> asn1_keys.PrivateKeyInfo:
        der = self.key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        return asn1_keys.PrivateKeyInfo.load(der)


def certified(
    name: str,
    issuer: Issued | None = None,
    *,
    ca: bool = False,
    key: Key | None = None,
    usage: str = "digital_signature",
    stamps: bool = False,
    points_to: str = "",
    until: datetime = NOW + timedelta(days=365),
) -> Issued:
    """Return a key with a certificate by the issuer; without one, by itself."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    flags = dict.fromkeys(
        ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment",
         "key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only"), False
    )  # fmt: skip
    used = {"key_cert_sign": True, "crl_sign": True} if ca else {usage: True}
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - timedelta(days=366))
        .not_valid_after(until)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(**(flags | used)), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    if stamps:
        eku = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING])
        builder = builder.add_extension(eku, critical=True)
    for pointer in pointers(points_to) if points_to else ():
        builder = builder.add_extension(pointer, critical=False)
    signing = issuer.key if issuer else key
    return Issued(key, builder.sign(signing, hashes.SHA256()))


def pointers(url: str) -> list[x509.ExtensionType]:
    """Return every extension of a certificate by which it sends its reader somewhere."""
    uri = x509.UniformResourceIdentifier(url)
    point = x509.DistributionPoint([uri], None, None, None)
    methods = (AuthorityInformationAccessOID.OCSP, AuthorityInformationAccessOID.CA_ISSUERS)
    return [
        x509.CRLDistributionPoints([point]),
        x509.FreshestCRL([point]),
        x509.AuthorityInformationAccess([x509.AccessDescription(one, uri) for one in methods]),
    ]


def crl(issuer: Issued, *revoked: Issued) -> str:
    """Return a current CRL, DER in base64."""
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.certificate.subject)
        .last_update(NOW - timedelta(minutes=5))
        .next_update(NOW + timedelta(days=1))
    )
    for one in revoked:
        entry = x509.RevokedCertificateBuilder().serial_number(one.certificate.serial_number)
        builder = builder.add_revoked_certificate(
            entry.revocation_date(NOW - timedelta(hours=1)).build()
        )
    signed = builder.sign(issuer.key, hashes.SHA256())
    return base64.b64encode(signed.public_bytes(Encoding.DER)).decode()


@functools.cache
def root() -> Issued:
    return certified("Example Root CA", ca=True)


@functools.cache
def issuing() -> Issued:
    return certified("Example Issuing CA", root(), ca=True)


@functools.cache
def holder() -> Issued:
    return certified("Zoe", issuing())


@functools.cache
def stamper() -> Issued:
    """Return a time-stamping authority of its own."""
    return certified("Example TSA", stamps=True, key=rsa.generate_private_key(65_537, 2048))


def trust(*revoked: Issued, **changes: list[str]) -> Trust:
    """Return what an installation judges by; the CRL lists ``revoked``."""
    given = {
        "roots": [root().pem],
        "intermediates": [issuing().pem],
        "crls": [crl(root()), crl(issuing(), *revoked)],
        "stamp_roots": [stamper().pem],
    }
    return Trust(**(given | changes))


def time_stamper() -> DummyTimeStamper:
    """Return the authority at work."""
    authority = stamper()
    return DummyTimeStamper(
        tsa_cert=authority.asn1, tsa_key=authority.asn1_key, fixed_dt=NOW - timedelta(minutes=1)
    )


def signed(
    by: Issued,
    pdf: bytes | None = None,
    *,
    field: str = "CardHolder",
    stamper: DummyTimeStamper | None = None,
) -> bytes:
    """Return the form as an independent program signs it."""

    def sign() -> bytes:
        return asyncio.run(_sign(by, pdf or form(), field, stamper))

    with ThreadPoolExecutor(1) as pool:  # whether or not a loop runs here
        return pool.submit(sign).result()


async def _sign(by: Issued, pdf: bytes, field: str, stamper: DummyTimeStamper | None) -> bytes:
    others = SimpleCertificateStore()
    others.register(issuing().asn1)
    signer = signers.SimpleSigner(by.asn1, by.asn1_key, others)
    metadata = signers.PdfSignatureMetadata(
        field_name=field, md_algorithm="sha256", subfilter=fields.SigSeedSubFilter.PADES
    )
    out = io.BytesIO()
    await signers.PdfSigner(metadata, signer=signer, timestamper=stamper).async_sign_pdf(
        IncrementalPdfFileWriter(io.BytesIO(pdf)), output=out
    )
    return out.getvalue()


async def asked(query: bytes) -> bytes:
    """Answer a time-stamp query (RFC 3161) as the authority does."""
    response = await time_stamper().async_request_tsa_response(TimeStampReq.load(query))
    return response.dump()
