"""DER and keys made by hand, for CSRs that no library would make."""

import base64
import secrets
from collections.abc import Callable
from datetime import timedelta
from math import lcm

from cryptography import x509
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from tests.ca.making import a_csr, a_key, now

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


# What a strict reader and a lax one read differently (ITU-T X.690)


def indefinite() -> str:
    return pem(b"\x30\x80" + _body(der_of(a_csr())) + b"\0\0")


def long_form() -> str:
    body = _body(der_of(a_csr()))
    return pem(b"\x30\x84" + len(body).to_bytes(4, "big") + body)


def _body(der: bytes) -> bytes:
    return der[2 + (der[1] & 0x7F if der[1] & 0x80 else 0) :]


def odd_bits() -> str:
    key = a_key()
    spki = spki_of(key).replace(b"\x03\x42\x00\x04", b"\x03\x42\x03\x04")
    return csr(spki, lambda info: key.sign(info, ec.ECDSA(hashes.SHA256())))


def a_certificate_as_csr() -> str:
    key, name = a_key(), x509.Name([])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).serial_number(1)
    builder = builder.public_key(key.public_key()).not_valid_before(now())
    signed = builder.not_valid_after(now() + timedelta(days=1)).sign(key, hashes.SHA256())
    return pem(signed.public_bytes(Encoding.DER))


# Keys and signatures that libraries have taken for each other


def rsa_by_hand(algorithm: bytes, *, signature: bytes = b"") -> str:
    """Return a CSR of an RSA key whose AlgorithmIdentifiers are made by hand."""
    key = a_key("RSA-2048")
    numbers = key.public_key().public_numbers()
    return csr(
        sequence(algorithm, bits(sequence(integer(numbers.n), integer(numbers.e)))),
        lambda info: key.sign(info, padding.PKCS1v15(), hashes.SHA256()),
        algorithm=signature or sequence(oid("1.2.840.113549.1.1.11"), NULL),
    )


def signed_and_more() -> str:
    key = a_key()
    return csr(spki_of(key), lambda info: key.sign(info, ec.ECDSA(hashes.SHA256())) + b"\0")


def squared() -> str:
    prime = next_prime(secrets.randbits(1_024) | 3 << 1_022)
    return csr(rsa_spki(prime * prime))


def compressed_point() -> str:
    key = a_key()
    point = key.public_key().public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
    return csr(ec_spki(point), lambda info: key.sign(info, ec.ECDSA(hashes.SHA256())))


def negative_modulus() -> str:
    modulus = tlv(2, b"\x80" + secrets.token_bytes(255))
    return csr(sequence(RSA, bits(sequence(modulus, integer(65_537)))))


def named_in(string: bytes) -> str:
    """Return a CSR whose common name is a string of any type, or no string."""
    key = a_key()
    name = sequence(tlv(0x31, sequence(oid("2.5.4.3"), string)))
    info = sequence(integer(0), name, spki_of(key), tlv(0xA0))
    return pem(sequence(info, ECDSA_SHA256, bits(key.sign(info, ec.ECDSA(hashes.SHA256())))))
