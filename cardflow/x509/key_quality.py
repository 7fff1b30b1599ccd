"""Public keys that must not be certified: of the wrong kind, weak, or known to be broken."""

import math
from functools import cache

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

RSA_SIZES = (2048, 3072, 4096)
MIN_EXPONENT = 65_537
MAX_EXPONENT_BITS = 256  # FIPS 186-5 A.1.1: an odd e with 2^16 < e < 2^256
FERMAT_ROUNDS = 100
CURVES = ("secp256r1", "secp384r1")
SMALL_PRIMES_BELOW = 2_000
# CVE-2017-15361 (ROCA): Infineon's library made primes of the form k*M + (65537^a mod M), so the
# modulus is a power of 65537 modulo each of the small primes in M.
ROCA_PRIMES_UP_TO = 167
ROCA_GENERATOR = 65_537


def key_objections(key: PublicKeyTypes) -> list[str]:
    """Return every reason why the key must not be certified."""
    if isinstance(key, rsa.RSAPublicKey):
        return _rsa_objections(key)
    if isinstance(key, ec.EllipticCurvePublicKey):
        if key.curve.name in CURVES:
            return []
        return [f"the curve {key.curve.name} is not accepted; P-256 and P-384 are"]
    kind = type(key).__name__.removesuffix("PublicKey")
    return [f"keys of the kind {kind} are not accepted; RSA, P-256 and P-384 are"]


def _rsa_objections(key: rsa.RSAPublicKey) -> list[str]:
    numbers = key.public_numbers()
    found = []
    if key.key_size not in RSA_SIZES:
        found.append(f"RSA with {key.key_size} bits is not accepted; 2048, 3072 and 4096 are")
    if numbers.e < MIN_EXPONENT or numbers.e % 2 == 0:
        found.append("the RSA exponent must be odd and at least 65537")
    if numbers.e.bit_length() > MAX_EXPONENT_BITS:
        found.append("the RSA exponent is longer than 256 bits")
    if math.gcd(numbers.n, _small_primes_product()) > 1:
        found.append("the RSA modulus has a small factor")
    elif _has_close_primes(numbers.n):
        found.append("the RSA modulus is the product of two close primes")
    if _has_roca_fingerprint(numbers.n):
        found.append("the RSA key was made by a faulty library (ROCA, CVE-2017-15361)")
    return found


def _has_close_primes(n: int) -> bool:
    """Fermat's method finds both primes at once when they share their upper half."""
    a = math.isqrt(n - 1) + 1
    return any(_is_square((a + step) ** 2 - n) for step in range(FERMAT_ROUNDS))


def _is_square(n: int) -> bool:
    return math.isqrt(n) ** 2 == n


def _has_roca_fingerprint(n: int) -> bool:
    return all(n % prime in powers for prime, powers in _roca_powers().items())


@cache
def _roca_powers() -> dict[int, frozenset[int]]:
    odd = [prime for prime in _primes_below(ROCA_PRIMES_UP_TO + 1) if prime > 2]  # noqa: PLR2004
    return {p: frozenset(pow(ROCA_GENERATOR, a, p) for a in range(p)) for p in odd}


@cache
def _small_primes_product() -> int:
    return math.prod(_primes_below(SMALL_PRIMES_BELOW))


def _primes_below(limit: int) -> list[int]:
    return [n for n in range(2, limit) if all(n % d for d in range(2, math.isqrt(n) + 1))]
