"""CSRs that somebody may send to get what they should not, each made here from scratch."""

import base64
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from math import lcm

from cryptography import x509
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tests.ca.making import BOB, a_csr, a_key

# DER by hand, for what no library would make


def tlv(tag: int, *parts: bytes) -> bytes:
    """Return one DER element."""
    body = b"".join(parts)
    size = len(body)
    if size < 128:
        return bytes([tag, size]) + body
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 128 + len(length)]) + length + body


def sequence(*parts: bytes) -> bytes:
    return tlv(0x30, *parts)


def integer(value: int) -> bytes:
    return tlv(2, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def bits(content: bytes) -> bytes:
    return tlv(3, b"\0", content)


def oid(dotted: str) -> bytes:
    return asn1.encode_der(x509.ObjectIdentifier(dotted))


NULL = b"\x05\x00"
RSA = sequence(oid("1.2.840.113549.1.1.1"), NULL)
EC_KEY = "1.2.840.10045.2.1"
P_256 = oid("1.2.840.10045.3.1.7")
ECDSA_SHA256 = sequence(oid("1.2.840.10045.4.3.2"))


def pem(der: bytes) -> str:
    """Return bytes as a PEM block of a CSR."""
    text = base64.encodebytes(der).decode()
    return f"-----BEGIN CERTIFICATE REQUEST-----\n{text}-----END CERTIFICATE REQUEST-----\n"


def csr(
    spki: bytes,
    sign: Callable[[bytes], bytes] = lambda _: b"\x30\x06\x02\x01\x01\x02\x01\x01",
    *,
    algorithm: bytes = ECDSA_SHA256,
    version: int = 0,
    attributes: bytes = b"",
) -> str:
    """Return a CSR over any SubjectPublicKeyInfo with any signature."""
    info = sequence(integer(version), sequence(), spki, tlv(0xA0, attributes))
    return pem(sequence(info, algorithm, bits(sign(info))))


def der_of(csr_pem: str) -> bytes:
    return x509.load_pem_x509_csr(csr_pem.encode()).public_bytes(Encoding.DER)


def spki_of(key) -> bytes:
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


# RSA keys that are broken by construction


def is_prime(n: int) -> bool:
    """Tell whether n is probably prime (Miller and Rabin)."""
    odd, twos = n - 1, 0
    while odd % 2 == 0:
        odd, twos = odd // 2, twos + 1
    for _ in range(8):
        x = pow(secrets.randbelow(n - 3) + 2, odd, n)
        if x in (1, n - 1):
            continue
        for _ in range(twos - 1):
            x = x * x % n
            if x == n - 1:
                break
        else:
            return False
    return True


def next_prime(n: int) -> int:
    """Return the first prime from n on that leaves 2 modulo 3, not 1."""
    n |= 1
    while n % 3 == 0 or any(n % p == 0 for p in (5, 7, 11, 13, 17, 19, 23)) or not is_prime(n):
        n += 2
    return n


def rsa_spki(n: int, e: int = 65_537) -> bytes:
    return sequence(RSA, bits(sequence(integer(n), integer(e))))


def rsa_csr(p: int, q: int, e: int = 65_537) -> str:
    """Return a properly signed CSR for the key that two primes make."""
    d = pow(e, -1, lcm(p - 1, q - 1))
    numbers = rsa.RSAPrivateNumbers(
        p, q, d, d % (p - 1), d % (q - 1), pow(q, -1, p), rsa.RSAPublicNumbers(e, p * q)
    )
    return a_csr(numbers.private_key())


def close_primes() -> str:
    p = next_prime(secrets.randbits(1_024) | 3 << 1_022)
    return rsa_csr(p, next_prime(p + 2))


def roca() -> str:
    """Return a CSR whose primes have the form that CVE-2017-15361 describes."""
    return rsa_csr(roca_prime(), roca_prime())


def roca_prime() -> int:
    product, count, n = 1, 0, 2
    while count < 126:
        if all(n % d for d in range(2, int(n**0.5) + 1)):
            product, count = product * n, count + 1
        n += 1
    low = (3 << 1_022) // product
    while True:
        k = low + secrets.randbelow(low // 4)
        candidate = k * product + pow(65_537, secrets.randbits(64), product)
        if candidate.bit_length() == 1_024 and is_prime(candidate):
            return candidate


def small_factor() -> str:
    return csr(rsa_spki(1_009 * (secrets.randbits(2_038) | 1 << 2_037 | 1)))


def modulus_of(size: int, *, odd: int = 1) -> int:
    return secrets.randbits(size) >> 1 << 1 | 1 << size - 1 | odd


# Elliptic curve keys


def ec_spki(point: bytes, parameters: bytes = P_256) -> bytes:
    return sequence(sequence(oid(EC_KEY), parameters), bits(point))


def off_curve() -> str:
    return csr(ec_spki(b"\x04" + secrets.token_bytes(64)))


def explicit_parameters() -> str:
    """Return a CSR whose key spells P-256 out instead of naming it (CVE-2020-0601 came so)."""
    p = 2**256 - 2**224 + 2**192 + 2**96 - 1
    b = bytes.fromhex("5ac635d8aa3a93e7b3ebbd55769886bc651d06b0cc53b0f63bce3c3e27d2604b")
    n = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    key = ec.generate_private_key(ec.SECP256R1())
    point = key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    field = sequence(oid("1.2.840.10045.1.1"), integer(p))
    curve = sequence(tlv(4, (p - 3).to_bytes(32, "big")), tlv(4, b))
    parameters = sequence(integer(1), field, curve, tlv(4, point), integer(n), integer(1))
    return csr(ec_spki(point, parameters), lambda info: key.sign(info, ec.ECDSA(hashes.SHA256())))


def signed_with(algorithm: str, hashed: hashes.HashAlgorithm) -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    return csr(
        spki_of(key),
        lambda info: key.sign(info, ec.ECDSA(hashed)),
        algorithm=sequence(oid(algorithm)),
    )


def signed_by_another() -> str:
    key, other = a_key(), a_key()
    return csr(spki_of(key), lambda info: other.sign(info, ec.ECDSA(hashes.SHA256())))


def own(**options: object) -> str:
    """Return a CSR made by hand that is signed by its own key."""
    key = a_key()
    return csr(spki_of(key), lambda i: key.sign(i, ec.ECDSA(hashes.SHA256())), **options)


def edwards(key: ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey) -> str:
    return (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([]))
        .sign(key, None)
        .public_bytes(Encoding.PEM)
        .decode()
    )


def flipped() -> str:
    der = bytearray(der_of(a_csr()))
    der[-1] ^= 1
    return pem(bytes(der))


def pss() -> str:
    signed = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([]))
        .sign(
            a_key("RSA-2048"),
            hashes.SHA256(),
            rsa_padding=padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH),
        )
    )
    return signed.public_bytes(Encoding.PEM).decode()


def with_private_key() -> str:
    key = a_key()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return a_csr(key) + private


# Names and powers that the CSR asks for

EXTENSION_REQUEST = "1.2.840.113549.1.9.14"
CHALLENGE = "1.2.840.113549.1.9.7"
POISON = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.32473.99"), b"\x05\x00")


def named(*attributes: tuple[x509.ObjectIdentifier, str]) -> str:
    name = x509.Name([x509.NameAttribute(oid, value) for oid, value in attributes])
    builder = x509.CertificateSigningRequestBuilder().subject_name(name)
    return builder.sign(a_key(), hashes.SHA256()).public_bytes(Encoding.PEM).decode()


def extension_request(*extensions: bytes) -> bytes:
    return sequence(oid(EXTENSION_REQUEST), tlv(0x31, sequence(*extensions)))


CA_TRUE = sequence(oid("2.5.29.19"), tlv(4, sequence(tlv(1, b"\xff"))))


@dataclass(frozen=True)
class Hostile:
    """A CSR, and the word by which its refusal is known; none means it is harmless."""

    name: str
    make: Callable[[], str]
    refused: str = ""

    @cache  # noqa: B019 the table lives as long as the run
    def csr(self) -> str:
        """Return the CSR, made once because some take a second."""
        return self.make()


UNREADABLE = "cannot be read"
FORM = "exactly one PEM block"
POSSESSION = "does not fit its key"

HOSTILE = [
    # Form
    Hostile("nothing", lambda: "", FORM),
    Hostile("text", lambda: "please certify me", FORM),
    Hostile("two CSRs", lambda: a_csr() + a_csr(), FORM),
    Hostile("text before the CSR", lambda: "Subject: x\n" + a_csr(), FORM),
    Hostile("a private key behind the CSR", with_private_key, FORM),
    Hostile("another label", lambda: a_csr().replace(" REQUEST", ""), FORM),
    Hostile("no base64", lambda: pem(b"").replace("\n-----END", "\n?!\n-----END"), UNREADABLE),
    Hostile("no DER", lambda: pem(b"\xff" * 40), UNREADABLE),
    Hostile("empty DER", lambda: pem(b""), UNREADABLE),
    Hostile("truncated", lambda: pem(der_of(a_csr())[:-10]), UNREADABLE),
    Hostile("bytes behind the DER", lambda: pem(der_of(a_csr()) + b"\0"), UNREADABLE),
    Hostile("a megabyte", lambda: pem(b"\x30" * 1_000_000), "longer than"),
    Hostile("version 2", lambda: own(version=1), UNREADABLE),
    # Possession
    Hostile("one bit flipped", flipped, POSSESSION),
    Hostile("signed by another key", signed_by_another, POSSESSION),
    Hostile("no signature", lambda: csr(spki_of(a_key()), lambda _: b""), POSSESSION),
    Hostile("SHA-1", lambda: signed_with("1.2.840.10045.4.1", hashes.SHA1()), "signed with sha1"),  # noqa: S303 an attacker's
    Hostile(
        "SHA-224", lambda: signed_with("1.2.840.10045.4.3.1", hashes.SHA224()), "signed with sha224"
    ),
    Hostile(
        "an unknown signature algorithm",
        lambda: signed_with("1.3.6.1.4.1.32473.5", hashes.SHA256()),
        "algorithm of the certificate request is unknown",
    ),
    # RSA
    Hostile("RSA-1024", lambda: a_csr(a_key("RSA-1024")), "1024 bits is not accepted"),
    Hostile("RSA-512", lambda: csr(rsa_spki(modulus_of(512))), "512 bits is not accepted"),
    Hostile("RSA-2056", lambda: a_csr(a_key("RSA-2056")), "2056 bits is not accepted"),
    Hostile("RSA-16384", lambda: csr(rsa_spki(modulus_of(16_384))), "16384 bits is not accepted"),
    Hostile(
        "exponent 3", lambda: a_csr(rsa.generate_private_key(3, 2_048)), "exponent must be odd"
    ),
    Hostile("exponent 1", lambda: csr(rsa_spki(modulus_of(2_048), 1)), "valid one"),
    Hostile("an even exponent", lambda: csr(rsa_spki(modulus_of(2_048), 65_538)), "valid one"),
    Hostile(
        "an endless exponent",
        lambda: csr(rsa_spki(modulus_of(2_048), 2**300 + 1)),
        "longer than 256 bits",
    ),
    Hostile("an even modulus", lambda: csr(rsa_spki(modulus_of(2_048, odd=0))), "small factor"),
    Hostile("a small factor", small_factor, "small factor"),
    Hostile("close primes", close_primes, "close primes"),
    Hostile("ROCA", roca, "ROCA"),
    # Elliptic curves and other kinds
    Hostile(
        "P-521", lambda: a_csr(ec.generate_private_key(ec.SECP521R1())), "secp521r1 is not accepted"
    ),
    Hostile(
        "Bitcoin's curve",
        lambda: a_csr(ec.generate_private_key(ec.SECP256K1())),
        "secp256k1 is not accepted",
    ),
    Hostile(
        "P-224", lambda: a_csr(ec.generate_private_key(ec.SECP224R1())), "secp224r1 is not accepted"
    ),
    Hostile("a point off the curve", off_curve, "valid one"),
    Hostile("the point at infinity", lambda: csr(ec_spki(b"\0")), "valid one"),
    Hostile("a curve spelled out", explicit_parameters, "valid one"),
    Hostile("Ed25519", lambda: edwards(ed25519.Ed25519PrivateKey.generate()), "Ed25519"),
    Hostile("Ed448", lambda: edwards(ed448.Ed448PrivateKey.generate()), "Ed448"),
    Hostile("DSA", lambda: a_csr(dsa.generate_private_key(1_024)), "kind DSA"),  # noqa: S505 an attacker's
    # Wishes: the certificate must be as if they had not been spoken
    Hostile("no names", own),
    Hostile("another person's name", lambda: a_csr(name=f"CN={BOB.common_name}")),
    Hostile("a NUL in the name", lambda: named((NameOID.COMMON_NAME, "admin\0.example.test"))),
    Hostile("a name read backwards", lambda: named((NameOID.COMMON_NAME, "\u202enimda"))),
    Hostile("thirty names", lambda: named(*[(NameOID.COMMON_NAME, f"n{n}") for n in range(30)])),
    Hostile(
        "another person's addresses",
        lambda: a_csr(names=x509.SubjectAlternativeName([x509.RFC822Name(BOB.email)])),
    ),
    Hostile("to be a CA", lambda: a_csr(ca=x509.BasicConstraints(ca=True, path_length=None))),
    Hostile(
        "any usage",
        lambda: a_csr(usage=x509.ExtendedKeyUsage([ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE])),
    ),
    Hostile("an extension of its own", lambda: a_csr(poison=POISON)),
    Hostile(
        "the same extension twice",
        lambda: own(attributes=extension_request(CA_TRUE, CA_TRUE)),
    ),
    Hostile("extensions that are no extensions", lambda: own(attributes=extension_request(NULL))),
    Hostile(
        "a challenge password",
        lambda: own(attributes=sequence(oid(CHALLENGE), tlv(0x31, tlv(0x0C, b"letmein")))),
    ),
    Hostile("a PSS signature", pss),
]
