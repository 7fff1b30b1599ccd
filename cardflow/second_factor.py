"""One-time codes (RFC 6238) and the recovery codes for whoever has lost what makes them."""

import base64
import hashlib
import secrets
from datetime import datetime

from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor import InvalidToken
from cryptography.hazmat.primitives.twofactor.totp import TOTP

SECRET_BYTES = 20  # RFC 4226 4, R6: 160 bits
DIGITS, STEP_SECONDS = 6, 30  # what every authenticator app takes
RECOVERY_CODES, RECOVERY_GROUPS = 10, 6
ALPHABET = "23456789abcdefghjkmnpqrstuvwxyz"  # nothing that looks like something else


def new_secret() -> bytes:
    """Return a secret that codes are made from."""
    return secrets.token_bytes(SECRET_BYTES)


def in_base32(secret: bytes) -> str:
    """Return the secret as people type it into an app."""
    return base64.b32encode(secret).decode()


def setup_uri(secret: bytes, *, login: str, issuer: str) -> str:
    """Return what the QR code says to an authenticator app."""
    return _totp(secret).get_provisioning_uri(login, issuer)


def code_at(secret: bytes, at: datetime) -> str:
    """Return the code of an instant."""
    return _totp(secret).generate(int(at.timestamp())).decode()


def step_of(secret: bytes, code: str, *, now: datetime, after: int, drift: int) -> int | None:
    """Return the time step that the code is of; none when it is wrong, or counted before.

    It may be ``drift`` steps early or late (RFC 6238 5.2).
    """
    current = int(now.timestamp()) // STEP_SECONDS
    near = sorted(range(current - drift, current + drift + 1), key=lambda step: abs(step - current))
    found = [step for step in near if _is_of(secret, code, step)]
    return next((step for step in found if step > after), None)


def _is_of(secret: bytes, code: str, step: int) -> bool:
    try:
        _totp(secret).verify(code.encode(), step * STEP_SECONDS)
    except InvalidToken:
        return False
    return True


def _totp(secret: bytes) -> TOTP:
    # Apps know no other hash for certain; HMAC-SHA-1 is sound (RFC 6194 3.3).
    return TOTP(secret, DIGITS, SHA1(), STEP_SECONDS)  # noqa: S303 # allowed: weak-hash: HMAC


def new_recovery_codes() -> list[str]:
    """Return codes as people copy them, in groups of four: 118 bits each, so a hash keeps them."""
    return ["-".join(_group() for _ in range(RECOVERY_GROUPS)) for _ in range(RECOVERY_CODES)]


def _group() -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(4))


def recovery_digest(code: str) -> str:
    """Return what is kept of a recovery code, however it was typed."""
    typed = "".join(code.lower().replace("-", "").split())
    return hashlib.sha256(typed.encode()).hexdigest()
