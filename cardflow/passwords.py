"""Local accounts' passwords, kept as argon2id (RFC 9106) and never otherwise."""

import hashlib
from collections.abc import Collection
from functools import cache
from pathlib import Path

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from cardflow.errors import Refused

SHORTEST = 12
LONGEST = 200
LEFT_AT_LEAST = 8  # characters beside what anybody knows about the person
WORDS_OF_OURS = ("cardflow", "password", "passwort", "smartcard")
LEAKED_FILE = Path(__file__).with_name("leaked_passwords.bin")
DIGEST_BYTES = 5  # of 20,000, one in fifty million strangers is taken for a leaked one
_hasher = PasswordHasher()  # the library's defaults are RFC 9106's second recommendation


def hash_password(password: str) -> str:
    """Return what is kept of a password, or refuse one that is too weak to keep."""
    if found := password_objections(password):
        raise Refused(*found)
    return _hasher.hash(password)


def password_objections(password: str, about: Collection[str] = ()) -> list[str]:
    """Return every reason why this password cannot be used.

    ``about`` is what anybody knows of the person and the house: names, login, address.
    """
    if not SHORTEST <= len(password) <= LONGEST:
        return [f"a password has {SHORTEST} to {LONGEST} characters"]
    if len(set(password)) < SHORTEST // 3:
        return ["the password repeats itself too much"]
    if leaked_digest(password) in _leaked():
        return ["many people had this password, and it was leaked; take another"]
    if len(_without(password, about)) < LEFT_AT_LEAST:
        return ["the password is little more than what anybody knows; add words of your own"]
    return []


def leaked_digest(password: str) -> bytes:
    """Return under what a leaked password is kept; capitals make no other password of it."""
    return hashlib.sha256(password.casefold().encode()).digest()[:DIGEST_BYTES]


@cache
def _leaked() -> frozenset[bytes]:
    kept = LEAKED_FILE.read_bytes()
    return frozenset(kept[at : at + DIGEST_BYTES] for at in range(0, len(kept), DIGEST_BYTES))


def _without(password: str, about: Collection[str]) -> str:
    left = password.casefold()
    known = {*WORDS_OF_OURS, *(word for text in about for word in _words(text))}
    for word in sorted(known, key=len, reverse=True):
        left = left.replace(word, "")
    return left


def _words(text: str) -> list[str]:
    """Return the words of a name or an address that are long enough to be recognised."""
    parts = "".join(c if c.isalnum() else " " for c in text.casefold()).split()
    return [part for part in parts if len(part) > 3]  # noqa: PLR2004 "the" is in every sentence


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
