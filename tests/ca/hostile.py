"""CSRs that somebody may send to get what they should not, each made here from scratch."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tests.ca.forging import (
    CA_TRUE,
    CHALLENGE,
    ECDSA_SHA256,
    NULL,
    POISON,
    RSA,
    a_certificate_as_csr,
    bits,
    close_primes,
    compressed_point,
    csr,
    der_of,
    ec_spki,
    edwards,
    explicit_parameters,
    extension_request,
    flipped,
    indefinite,
    integer,
    long_form,
    modulus_of,
    named,
    named_in,
    negative_modulus,
    odd_bits,
    off_curve,
    oid,
    own,
    pem,
    pss,
    roca,
    rsa_by_hand,
    rsa_spki,
    sequence,
    signed_and_more,
    signed_by_another,
    signed_with,
    small_factor,
    spki_of,
    squared,
    tlv,
    with_private_key,
)
from tests.ca.making import BOB, a_csr, a_key


@dataclass(frozen=True)
class Hostile:
    """A CSR, and the word by which its refusal is known; none means it is harmless."""

    name: str
    make: Callable[[], str]
    refused: str = ""
    source: str = ""  # where this kind of request is described

    @cache  # noqa: B019 the table lives as long as the run
    def csr(self) -> str:
        """Return the CSR, made once because some take a second."""
        return self.make()


UNREADABLE = "cannot be read"
FORM = "exactly one PEM block"
POSSESSION = "does not fit its key"

HOSTILE = [
    # Form
    Hostile("nothing", lambda: "", FORM, source="RFC 7468 2"),
    Hostile("text", lambda: "please certify me", FORM, source="RFC 7468 2"),
    Hostile("two CSRs", lambda: a_csr() + a_csr(), FORM, source="RFC 7468 2"),
    Hostile("text before the CSR", lambda: "Subject: x\n" + a_csr(), FORM, source="RFC 7468 5.2"),
    Hostile("a private key behind the CSR", with_private_key, FORM, source="CWE-522"),
    Hostile("another label", lambda: a_csr().replace(" REQUEST", ""), FORM, source="RFC 7468 7"),
    Hostile(
        "no base64",
        lambda: pem(b"").replace("\n-----END", "\n?!\n-----END"),
        UNREADABLE,
        source="RFC 4648 3.3",
    ),
    Hostile("no DER", lambda: pem(b"\xff" * 40), UNREADABLE, source="X.690 8"),
    Hostile("empty DER", lambda: pem(b""), UNREADABLE, source="X.690 8"),
    Hostile("truncated", lambda: pem(der_of(a_csr())[:-10]), UNREADABLE, source="X.690 8.1.3"),
    Hostile(
        "bytes behind the DER", lambda: pem(der_of(a_csr()) + b"\0"), UNREADABLE, source="X.690 10"
    ),
    Hostile("a megabyte", lambda: pem(b"\x30" * 1_000_000), "longer than", source="CWE-770"),
    Hostile("version 2", lambda: own(version=1), UNREADABLE, source="RFC 2986 4.1"),
    # Possession
    Hostile("one bit flipped", flipped, POSSESSION, source="RFC 2986 4.2"),
    Hostile("signed by another key", signed_by_another, POSSESSION, source="RFC 4211 4"),
    Hostile(
        "no signature",
        lambda: csr(spki_of(a_key()), lambda _: b""),
        POSSESSION,
        source="RFC 2986 4.2",
    ),
    Hostile(
        "SHA-1",
        lambda: signed_with("1.2.840.10045.4.1", hashes.SHA1()),  # noqa: S303 an attacker's
        "signed with sha1",
        source="CA/B BR 7.1.3.2",
    ),
    Hostile(
        "SHA-224",
        lambda: signed_with("1.2.840.10045.4.3.1", hashes.SHA224()),
        "signed with sha224",
        source="CA/B BR 7.1.3.2",
    ),
    Hostile(
        "an unknown signature algorithm",
        lambda: signed_with("1.3.6.1.4.1.32473.5", hashes.SHA256()),
        "algorithm of the certificate request is unknown",
        source="RFC 5280 4.1.1.2",
    ),
    # RSA
    Hostile(
        "RSA-1024",
        lambda: a_csr(a_key("RSA-1024")),
        "1024 bits is not accepted",
        source="NIST SP 800-131A 2",
    ),
    Hostile(
        "RSA-512",
        lambda: csr(rsa_spki(modulus_of(512))),
        "512 bits is not accepted",
        source="CVE-2015-0204 (FREAK)",
    ),
    Hostile(
        "RSA-2056",
        lambda: a_csr(a_key("RSA-2056")),
        "2056 bits is not accepted",
        source="NIST SP 800-131A 3",
    ),
    Hostile(
        "RSA-16384",
        lambda: csr(rsa_spki(modulus_of(16_384))),
        "16384 bits is not accepted",
        source="CVE-2023-6237, CWE-400",
    ),
    Hostile(
        "exponent 3",
        lambda: a_csr(rsa.generate_private_key(3, 2_048)),
        "exponent must be odd",
        source="FIPS 186-5 A.1.1",
    ),
    Hostile(
        "exponent 1", lambda: csr(rsa_spki(modulus_of(2_048), 1)), "valid one", source="CWE-326"
    ),
    Hostile(
        "an even exponent",
        lambda: csr(rsa_spki(modulus_of(2_048), 65_538)),
        "valid one",
        source="FIPS 186-5 A.1.1",
    ),
    Hostile(
        "an endless exponent",
        lambda: csr(rsa_spki(modulus_of(2_048), 2**300 + 1)),
        "longer than 256 bits",
        source="FIPS 186-5 A.1.1",
    ),
    Hostile(
        "an even modulus",
        lambda: csr(rsa_spki(modulus_of(2_048, odd=0))),
        "small factor",
        source="FIPS 186-5 5.1",
    ),
    Hostile(
        "a small factor",
        small_factor,
        "small factor",
        source="Heninger, Mining your Ps and Qs (2012)",
    ),
    Hostile("close primes", close_primes, "close primes", source="CVE-2022-26320 (Fermat)"),
    Hostile("ROCA", roca, "ROCA", source="CVE-2017-15361"),
    # Elliptic curves and other kinds
    Hostile(
        "P-521",
        lambda: a_csr(ec.generate_private_key(ec.SECP521R1())),
        "secp521r1 is not accepted",
        source="policy of the profiles",
    ),
    Hostile(
        "Bitcoin's curve",
        lambda: a_csr(ec.generate_private_key(ec.SECP256K1())),
        "secp256k1 is not accepted",
        source="SEC 2 2.4.1",
    ),
    Hostile(
        "P-224",
        lambda: a_csr(ec.generate_private_key(ec.SECP224R1())),
        "secp224r1 is not accepted",
        source="NIST SP 800-186",
    ),
    Hostile("a point off the curve", off_curve, "valid one", source="CVE-2015-7940"),
    Hostile(
        "the point at infinity",
        lambda: csr(ec_spki(b"\0")),
        "valid one",
        source="NIST SP 800-56A 5.6.2.3",
    ),
    Hostile(
        "a curve spelled out",
        explicit_parameters,
        "valid one",
        source="CVE-2020-0601, RFC 5480 2.1.1",
    ),
    Hostile(
        "Ed25519",
        lambda: edwards(ed25519.Ed25519PrivateKey.generate()),
        "Ed25519",
        source="RFC 8410",
    ),
    Hostile("Ed448", lambda: edwards(ed448.Ed448PrivateKey.generate()), "Ed448", source="RFC 8410"),
    Hostile(
        "DSA",
        lambda: a_csr(dsa.generate_private_key(1_024)),  # noqa: S505 an attacker's
        "kind DSA",
        source="FIPS 186-5 4",
    ),
    # Wishes: the certificate must be as if they had not been spoken
    Hostile("no names", own, source="RFC 2986 4.1"),
    Hostile(
        "another person's name",
        lambda: a_csr(name=f"CN={BOB.common_name}"),
        source="CVE-2026-105818",
    ),
    Hostile(
        "a NUL in the name",
        lambda: named((NameOID.COMMON_NAME, "admin\0.example.test")),
        source="CVE-2009-2408",
    ),
    Hostile(
        "a name read backwards",
        lambda: named((NameOID.COMMON_NAME, "\u202enimda")),
        source="UTR 36 3.1.1",
    ),
    Hostile(
        "thirty names",
        lambda: named(*[(NameOID.COMMON_NAME, f"n{n}") for n in range(30)]),
        source="RFC 4514 2.2",
    ),
    Hostile(
        "another person's addresses",
        lambda: a_csr(names=x509.SubjectAlternativeName([x509.RFC822Name(BOB.email)])),
        source="ESC1, CVE-2022-26923",
    ),
    Hostile(
        "to be a CA",
        lambda: a_csr(ca=x509.BasicConstraints(ca=True, path_length=None)),
        source="CVE-2002-0862",
    ),
    Hostile(
        "any usage",
        lambda: a_csr(usage=x509.ExtendedKeyUsage([ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE])),
        source="ESC2",
    ),
    Hostile("an extension of its own", lambda: a_csr(poison=POISON), source="RFC 5280 4.2"),
    Hostile(
        "the same extension twice",
        lambda: own(attributes=extension_request(CA_TRUE, CA_TRUE)),
        source="RFC 5280 4.2",
    ),
    Hostile(
        "extensions that are no extensions",
        lambda: own(attributes=extension_request(NULL)),
        source="RFC 2985 5.4.2",
    ),
    Hostile(
        "a challenge password",
        lambda: own(attributes=sequence(oid(CHALLENGE), tlv(0x31, tlv(0x0C, b"letmein")))),
        source="RFC 2985 5.4.1",
    ),
    Hostile("a PSS signature", pss, source="RFC 4055 3.1"),
    # Form, for strict readers
    Hostile("no definite length", indefinite, UNREADABLE, "X.690 8.1.3.6"),
    Hostile("a length longer than needed", long_form, UNREADABLE, "X.690 10.1"),
    Hostile("bits that do not count", odd_bits, UNREADABLE, "X.690 11.2, RFC 5480 2.2"),
    Hostile("a certificate under a CSR's label", a_certificate_as_csr, UNREADABLE, "RFC 7468 7"),
    Hostile("a version beyond all", lambda: own(version=2**80), UNREADABLE, "CWE-190"),
    Hostile(
        "a NUL in the base64", lambda: a_csr().replace("M", "\0", 1), UNREADABLE, "RFC 4648 3.3"
    ),
    Hostile(
        "a letter that looks like another",
        lambda: a_csr().replace("M", "\u041c", 1),
        UNREADABLE,
        "UTS 39",
    ),
    Hostile(
        "a signature algorithm with anything behind it",
        lambda: rsa_by_hand(
            RSA, signature=sequence(oid("1.2.840.113549.1.1.11"), tlv(4, b"x" * 40))
        ),
        UNREADABLE,
        "RFC 4055 5, Bleichenbacher (2006)",
    ),
    # Possession, for lax verifiers
    Hostile(
        "a signature of zeros",
        lambda: csr(spki_of(a_key()), lambda _: sequence(integer(0), integer(0))),
        POSSESSION,
        "CVE-2022-21449",
    ),
    Hostile("a signature and more", signed_and_more, POSSESSION, "RFC 3279 2.2.3"),
    Hostile(
        "an RSA key's signature named ECDSA",
        lambda: rsa_by_hand(RSA, signature=ECDSA_SHA256),
        POSSESSION,
        "CWE-347",
    ),
    # Keys of other kinds
    Hostile("a squared prime", squared, "close primes", "CVE-2022-26320"),
    Hostile("a negative modulus", negative_modulus, "valid one", "X.690 8.3"),
    Hostile("no modulus", lambda: csr(rsa_spki(0)), "valid one", "CWE-369"),
    Hostile("no exponent", lambda: csr(rsa_spki(modulus_of(2_048), 0)), "valid one", "CWE-369"),
    Hostile(
        "a curve left out", lambda: csr(ec_spki(b"\4" * 65, NULL)), "valid one", "RFC 5480 2.1.1"
    ),
    Hostile(
        "P-192",
        lambda: csr(ec_spki(b"\4" + bytes(48), oid("1.2.840.10045.3.1.1"))),
        "valid one",
        "NIST SP 800-186",
    ),
    Hostile(
        "a Brainpool curve",
        lambda: a_csr(ec.generate_private_key(ec.BrainpoolP256R1())),
        "brainpoolP256r1 is not accepted",
        "RFC 5639",
    ),
    Hostile(
        "a key that can only agree",
        lambda: csr(sequence(sequence(oid("1.3.101.110")), bits(bytes(range(32))))),
        "X25519",
        "RFC 8410",
    ),
    Hostile(
        "ML-DSA",
        lambda: csr(sequence(sequence(oid("2.16.840.1.101.3.4.3.17")), bits(bytes(1_312)))),
        "MLDSA44",
        "FIPS 204",
    ),
    # Harmless: read, and certified as the profile says
    Hostile("a compressed point", compressed_point, source="RFC 5480 2.2"),
    Hostile(
        "an RSA key without its NULL",
        lambda: rsa_by_hand(sequence(oid("1.2.840.113549.1.1.1"))),
        source="RFC 3279 2.3.1",
    ),
    Hostile(
        "an RSA key for PSS only",
        lambda: rsa_by_hand(sequence(oid("1.2.840.113549.1.1.10"))),
        source="RFC 4055 1.2",
    ),
    Hostile("a name in a string of 1984", lambda: named_in(tlv(0x14, b"al\xefce")), source="T.61"),
    Hostile("a name that is no text", lambda: named_in(tlv(0x0C, b"\xff\xfe")), source="CWE-176"),
    Hostile("a name that is a number", lambda: named_in(integer(7)), source="RFC 5280 A.1"),
]
