"""What a CA may send instead of the certificate that was asked for, each made here from DER."""

import base64
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.hazmat.primitives.serialization.pkcs7 import serialize_certificates
from cryptography.x509.oid import ExtendedKeyUsageOID

from cardflow.model import Subject
from cardflow.x509 import subject_alt_names, subject_name
from cardflow.x509.naming import sid_extension
from tests.ca.forging import ECDSA_SHA256, bits, integer, oid, sequence, spki_of, tlv
from tests.ca.making import ALICE, AUTOMATIC, BOB, PROFILES, a_csr, a_key

PROFILE = PROFILES[AUTOMATIC]
USAGE = [
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
]
NOT_BEFORE, NOT_AFTER = b"260501000000Z", b"270301000000Z"  # now is 2026-06-01


@cache
def ca_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@cache
def card_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@cache
def the_csr() -> str:
    return a_csr(card_key())


def name(subject: Subject = ALICE, *more: bytes) -> bytes:
    """Return a subject's name as DER, with RDNs behind it."""
    return sequence(_body(subject_name(subject, PROFILE).public_bytes()), *more)


def rdn(attribute: str, value: bytes, tag: int = 0x0C) -> bytes:
    return tlv(0x31, sequence(oid(attribute), tlv(tag, value)))


CA_NAME = sequence(rdn("2.5.4.3", b"Other CA"))


def extension(number: str, value: bytes, *, critical: bool = False) -> bytes:
    return sequence(oid(number), tlv(1, b"\xff") if critical else b"", tlv(4, value))


def usage(*bits_set: str) -> bytes:
    flags = {flag: flag in bits_set for flag in USAGE}
    return extension("2.5.29.15", x509.KeyUsage(**flags).public_bytes(), critical=True)


def extended(*uses: x509.ObjectIdentifier) -> bytes:
    return extension("2.5.29.37", x509.ExtendedKeyUsage(uses).public_bytes())


def others(*names: x509.GeneralName) -> bytes:
    return extension("2.5.29.17", x509.SubjectAlternativeName(names).public_bytes())


OWN_NAMES = subject_alt_names(ALICE, PROFILE)
PARTS = {
    "names": others(*OWN_NAMES),
    "usage": usage("digital_signature"),
    "extended": extended(ExtendedKeyUsageOID.CLIENT_AUTH),
}


def signature(to_be_signed: bytes, algorithm: hashes.HashAlgorithm | None = None) -> bytes:
    return ca_key().sign(to_be_signed, ec.ECDSA(algorithm or hashes.SHA256()))


def der(
    *more: bytes,
    version: bytes | None = None,
    serial: bytes = integer(4711),
    inner: bytes = ECDSA_SHA256,
    outer: bytes | None = None,
    issuer: bytes = CA_NAME,
    validity: tuple[bytes, bytes] = (tlv(0x17, NOT_BEFORE), tlv(0x17, NOT_AFTER)),
    subject: bytes | None = None,
    spki: bytes | None = None,
    sign: Callable[[bytes], bytes] = signature,
    unique: bytes = b"",
    extensions: bytes | None = None,
    **parts: bytes,
) -> bytes:
    """Return the certificate that was asked for, with some of it exchanged; ``more`` are added."""
    each = b"".join(({**PARTS, **parts} | dict(enumerate(more))).values())
    to_be_signed = sequence(
        tlv(0xA0, integer(2)) if version is None else version,
        serial,
        inner,
        issuer,
        sequence(*validity),
        name() if subject is None else subject,
        spki_of(card_key()) if spki is None else spki,
        unique,
        tlv(0xA3, sequence(each)) if extensions is None else extensions,
    )
    return sequence(to_be_signed, inner if outer is None else outer, bits(sign(to_be_signed)))


def pem(data: bytes, label: str = "CERTIFICATE") -> str:
    return f"-----BEGIN {label}-----\n{base64.encodebytes(data).decode()}-----END {label}-----\n"


def reply(*more: bytes, **changes: object) -> Callable[[], str]:
    return lambda: pem(der(*more, **changes))  # type: ignore[arg-type]


@cache
def ca_pem() -> str:
    """Return the CA's own certificate."""
    return pem(
        der(
            extension("2.5.29.19", sequence(tlv(1, b"\xff")), critical=True),
            subject=CA_NAME,
            spki=spki_of(ca_key()),
            names=b"",
            extended=b"",
            usage=usage("key_cert_sign", "crl_sign"),
        )
    )


def _body(data: bytes) -> bytes:
    return data[2 + (data[1] & 0x7F if data[1] & 0x80 else 0) :]


def _signed_by_stranger(data: bytes) -> bytes:
    return a_key().sign(data, ec.ECDSA(hashes.SHA256()))


def in_pkcs7() -> bytes:
    return serialize_certificates([x509.load_der_x509_certificate(der())], Encoding.DER)


def revocation_list() -> str:
    issued = x509.load_pem_x509_certificate(ca_pem().encode())
    builder = x509.CertificateRevocationListBuilder().issuer_name(issued.subject)
    builder = builder.last_update(issued.not_valid_before_utc)
    signed = builder.next_update(issued.not_valid_after_utc).sign(ca_key(), hashes.SHA256())
    return signed.public_bytes(Encoding.PEM).decode()


def with_private_key() -> str:
    private = card_key().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return pem(der()) + private.decode()


@dataclass(frozen=True)
class Reply:
    """An answer of a CA's, and words of the objection to it; none: it is what was asked for."""

    name: str
    make: Callable[[], str]
    objection: str
    source: str


BLOCK, READ = "exactly one PEM block", "cannot be read"
KEY, SUBJECT, ADDRESSES = "another key", "another subject", "other alternative names"
UNSIGNED, SERIAL = "was not signed by", "serial number is not a positive"
CRITICAL, DATES = "critical extension is unknown", "has expired"
ANY_USE = ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE
SHA1 = sequence(oid("1.2.840.10045.4.1"))
SHA384 = sequence(oid("1.2.840.10045.4.3.3"))
SID = sid_extension(BOB.sid).public_bytes()

REPLIES = [
    Reply("what was asked for", reply(), "", "RFC 5280 4.1"),
    # Another key
    Reply("another key", reply(spki=spki_of(a_key())), KEY, "threat T19"),
    Reply("the CA's own key", lambda: pem(der(spki=spki_of(ca_key()))), KEY, "threat T19"),
    Reply("a key that is none", reply(spki=sequence(ECDSA_SHA256, bits(b"x"))), KEY, "CWE-20"),
    Reply(
        "a key of another kind",
        lambda: pem(der(spki=spki_of(rsa.generate_private_key(65_537, 2_048)))),
        KEY,
        "threat T19",
    ),
    Reply("the CA's own certificate", ca_pem, "is a CA's", "cert-manager #2765"),
    # Another person
    Reply("another person", reply(subject=name(BOB)), SUBJECT, "threat T19"),
    Reply("nobody", reply(subject=sequence()), SUBJECT, "RFC 5280 4.1.2.6"),
    Reply("one more unit", reply(subject=name(ALICE, rdn("2.5.4.11", b"Admins"))), SUBJECT, "ESC9"),
    Reply(
        "a second common name",
        reply(subject=name(ALICE, rdn("2.5.4.3", b"admin"))),
        SUBJECT,
        "CVE-2009-2408",
    ),
    Reply(
        "a NUL in the name",
        reply(subject=name(ALICE, rdn("2.5.4.3", b"admin\0.test"))),
        SUBJECT,
        "CVE-2009-2408",
    ),
    Reply(
        "a name that is no text",
        reply(subject=sequence(rdn("2.5.4.3", b"\xff\xfe"))),
        SUBJECT,
        "CWE-176",
    ),
    Reply(
        "a name in the wrong alphabet",
        reply(subject=sequence(rdn("2.5.4.3", "Аlice Díaz".encode()))),
        SUBJECT,
        "UTS 39",
    ),
    Reply(
        "a name in the wrong string",
        reply(subject=sequence(rdn("2.5.4.3", b"al\xefce", 0x14))),
        SUBJECT,
        "RFC 5280 4.1.2.4",
    ),
    # Other names beside
    Reply("another address", reply(names=others(x509.RFC822Name(BOB.email))), ADDRESSES, "ESC1"),
    Reply(
        "one more host", reply(names=others(*OWN_NAMES, x509.DNSName("a.test"))), ADDRESSES, "ESC6"
    ),
    Reply(
        "one more principal name",
        reply(names=others(*OWN_NAMES, *subject_alt_names(BOB, PROFILES["smart-card-logon"]))),
        ADDRESSES,
        "CVE-2022-26923",
    ),
    Reply("no address", reply(names=b""), ADDRESSES, "RFC 5280 4.2.1.6"),
    Reply(
        "a name of a kind that nobody reads",  # an x400Address
        reply(names=extension("2.5.29.17", sequence(tlv(0xA3)))),
        READ,
        "RFC 5280 4.2.1.6",
    ),
    Reply("names that are none", reply(names=extension("2.5.29.17", b"\xff")), READ, "CWE-20"),
    Reply(
        "names twice",
        reply(others(*OWN_NAMES)),
        "extensions or key cannot be read",
        "RFC 5280 4.2",
    ),
    Reply(
        "another security identifier",
        reply(extension("1.3.6.1.4.1.311.25.2", SID)),
        "another security identifier",
        "CVE-2022-26931, MS-WCCE 2.2.2.7.7.4",
    ),
    # Other uses
    Reply(
        "to sign certificates",
        reply(usage=usage("digital_signature", "key_cert_sign")),
        "keyCertSign",
        "RFC 5280 4.2.1.3",
    ),
    Reply(
        "to encipher", reply(usage=usage("key_encipherment")), "keyEncipherment", "RFC 5280 4.2.1.3"
    ),
    Reply("for no use", reply(usage=b""), "has no key usage", "RFC 5280 4.2.1.3"),
    Reply(
        "a use that is no bits", reply(usage=extension("2.5.29.15", b"\x04\0")), READ, "X.690 8.6"
    ),
    Reply("for every use", reply(extended=extended(ANY_USE)), "2.5.29.37.0", "ESC2"),
    Reply(
        "for enrolling others",
        reply(extended=extended(ENROLLING := x509.ObjectIdentifier("1.3.6.1.4.1.311.20.2.1"))),
        ENROLLING.dotted_string,
        "ESC3",
    ),
    Reply(
        "for signing code too",
        reply(extended=extended(ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.CODE_SIGNING)),
        "1.3.6.1.5.5.7.3.3",
        "RFC 5280 4.2.1.12",
    ),
    Reply("for nothing named", reply(extended=b""), "none instead of", "ESC2, RFC 5280 4.2.1.12"),
    Reply(
        "an authority",
        reply(extension("2.5.29.19", sequence(tlv(1, b"\xff")), critical=True)),
        "is a CA's",
        "CVE-2002-0862",
    ),
    Reply(
        "an authority, said in passing",
        reply(extension("2.5.29.19", sequence(tlv(1, b"\xff"), integer(0)))),
        "is a CA's",
        "CVE-2021-3450",
    ),
    Reply("constraints that are none", reply(extension("2.5.29.19", b"\x05\0")), READ, "CWE-20"),
    # What nobody here understands
    Reply(
        "an unknown critical extension",
        reply(extension("1.3.6.1.4.1.32473.99", b"\x05\0", critical=True)),
        CRITICAL,
        "RFC 5280 4.2",
    ),
    Reply(
        "a precertificate",
        reply(extension("1.3.6.1.4.1.11129.2.4.3", b"\x05\0", critical=True)),
        CRITICAL,
        "RFC 6962 3.1",
    ),
    Reply(
        "names that it may not certify",
        reply(
            extension("2.5.29.30", sequence(tlv(0xA0, sequence(tlv(0x82, b"a")))), critical=True)
        ),
        CRITICAL,
        "RFC 5280 4.2.1.10",
    ),
    # Numbers and dates
    Reply("number zero", reply(serial=integer(0)), SERIAL, "RFC 5280 4.1.2.2"),
    Reply("a negative number", reply(serial=tlv(2, b"\x80")), SERIAL, "RFC 5280 4.1.2.2"),
    Reply("a number of 21 octets", reply(serial=integer(1 << 160)), SERIAL, "RFC 5280 4.1.2.2"),
    Reply("a number of no octets", reply(serial=tlv(2)), READ, "X.690 8.3.1"),
    Reply(
        "from tomorrow on",
        reply(validity=(tlv(0x17, b"260602120000Z"), tlv(0x17, NOT_AFTER))),
        "not valid yet",
        "RFC 5280 4.1.2.5",
    ),
    Reply(
        "until yesterday",
        reply(validity=(tlv(0x17, NOT_BEFORE), tlv(0x17, b"260531000000Z"))),
        DATES,
        "RFC 5280 4.1.2.5",
    ),
    Reply(
        "backwards",
        reply(validity=(tlv(0x17, NOT_BEFORE), tlv(0x17, b"250501000000Z"))),
        DATES,
        "RFC 5280 4.1.2.5",
    ),
    Reply(
        "for ever",
        reply(validity=(tlv(0x17, NOT_BEFORE), tlv(0x18, b"99991231235959Z"))),
        "more than 365 days",
        "RFC 5280 4.1.2.5",
    ),
    Reply(
        "from before there were computers",
        reply(validity=(tlv(0x18, b"00010101000000Z"), tlv(0x17, NOT_AFTER))),
        "more than 365 days|cannot be read",
        "RFC 5280 4.1.2.5.2",
    ),
    Reply(
        "on the 31st of June",
        reply(validity=(tlv(0x17, NOT_BEFORE), tlv(0x17, b"260631000000Z"))),
        READ,
        "X.690 11.8",
    ),
    Reply(
        "a time with an offset",
        reply(validity=(tlv(0x17, NOT_BEFORE), tlv(0x17, b"2612310000+0100"))),
        READ,
        "RFC 5280 4.1.2.5.1",
    ),
    # Whose word it is
    Reply("by a stranger", reply(sign=_signed_by_stranger), UNSIGNED, "threat T19"),
    Reply(
        "by a CA of another name",
        reply(issuer=sequence(rdn("2.5.4.3", b"Third CA"))),
        UNSIGNED,
        "RFC 5280 6.1.3",
    ),
    Reply(
        "by itself",
        reply(issuer=name(), sign=lambda d: card_key().sign(d, ec.ECDSA(hashes.SHA256()))),
        UNSIGNED,
        "RFC 5280 6.1",
    ),
    Reply("one bit flipped", lambda: pem(der()[:-1] + bytes([der()[-1] ^ 1])), UNSIGNED, "CWE-347"),
    Reply("no signature", reply(sign=lambda _: b""), UNSIGNED, "CWE-347"),
    Reply(
        "a signature of zeros",
        reply(sign=lambda _: sequence(integer(0), integer(0))),
        UNSIGNED,
        "CVE-2022-21449",
    ),
    Reply(
        "signed over SHA-1",
        reply(inner=SHA1, sign=lambda d: signature(d, hashes.SHA1())),  # noqa: S303 an attacker's
        "signed with sha1|not signed",
        "RFC 6194, SHAttered",
    ),
    Reply(
        "signed with what nobody knows",
        reply(inner=sequence(oid("1.3.6.1.4.1.32473.5"))),
        UNSIGNED,
        "CWE-327",
    ),
    Reply("two algorithms", reply(outer=SHA384), UNSIGNED, "RFC 5280 4.1.1.2, CVE-2014-8275"),
    # Form
    Reply("nothing", lambda: "", BLOCK, "EST, RFC 7030 4.2.3"),
    Reply("an error page", lambda: "<html>502 Bad Gateway</html>", BLOCK, "RFC 9110 15.6.3"),
    Reply("an error in JSON", lambda: '{"error": "denied"}', BLOCK, "RFC 9457"),
    Reply("the CSR again", the_csr, BLOCK, "RFC 7468 7"),
    Reply("two certificates", lambda: pem(der()) + ca_pem(), BLOCK, "RFC 7468 2"),
    Reply("a private key beside it", with_private_key, BLOCK, "CWE-522, RFC 7030 4.4"),
    Reply("a revocation list", revocation_list, BLOCK, "RFC 5280 5"),
    Reply("a PKCS#7 bundle", lambda: pem(in_pkcs7(), "PKCS7"), BLOCK, "RFC 7468 8"),
    Reply("a PKCS#7 bundle by another name", lambda: pem(in_pkcs7()), READ, "RFC 5652 5.1"),
    Reply("OpenSSL's trusted form", lambda: pem(der(), "TRUSTED CERTIFICATE"), BLOCK, "RFC 7468 5"),
    Reply("bare DER", lambda: der().decode("latin-1"), BLOCK, "RFC 7468"),
    Reply("bytes behind it", lambda: pem(der() + b"\0"), READ, "CVE-2014-8275"),
    Reply("half of it", lambda: pem(der()[:200]), READ, "X.690 8.1.3"),
    Reply(
        "no definite length",
        lambda: pem(b"\x30\x80" + _body(der()) + b"\0\0"),
        READ,
        "X.690 10.1",
    ),
    Reply(
        "version 1", reply(version=b"", extensions=b""), "no key usage|cannot be", "RFC 5280 4.1"
    ),
    Reply("version 5", reply(version=tlv(0xA0, integer(4))), READ, "RFC 5280 4.1.2.1"),
    Reply("unique identifiers", reply(unique=tlv(0x81, b"\0x")), "", "RFC 5280 4.1.2.8, harmless"),
    Reply("a megabyte", lambda: pem(b"\x30" * 1_000_000), "longer than", "CWE-770"),
    Reply("arrays without end", lambda: pem(b"\x30\x80" * 20_000), READ, "CVE-2023-0464, CWE-674"),
]
