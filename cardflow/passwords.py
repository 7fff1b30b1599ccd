"""Local accounts' passwords, kept as argon2id (RFC 9106) and never otherwise."""

from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from cardflow.errors import Refused

SHORTEST = 12
LONGEST = 200
_hasher = PasswordHasher()  # the library's defaults are RFC 9106's second recommendation


def hash_password(password: str) -> str:
    """Return what is kept of a password, or refuse one that is too weak to keep."""
    if found := password_objections(password):
        raise Refused(*found)
    return _hasher.hash(password)


def password_objections(password: str) -> list[str]:
    """Return every reason why this password cannot be used."""
    if not SHORTEST <= len(password) <= LONGEST:
        return [f"a password has {SHORTEST} to {LONGEST} characters"]
    if len(set(password)) < SHORTEST // 3:
        return ["the password repeats itself too much"]
    return []


def verify_password(kept: str, password: str) -> bool:
    """Tell whether the password is right; an account without one takes as long to be refused."""
    try:
        _hasher.verify(kept or _nobodys(), password)
    except (VerificationError, InvalidHashError):
        return False
    return bool(kept)


@cache
def _nobodys() -> str:
    return _hasher.hash("nobody has this password")
