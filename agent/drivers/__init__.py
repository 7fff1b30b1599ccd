"""The card families: what a driver can do, and which driver fits the token at hand."""

from typing import Protocol

from agent.drivers.contents import inventory
from agent.drivers.failures import CardFailure
from agent.drivers.freeform import FreeForm
from agent.drivers.keys import CardKey, sign_sha256
from agent.drivers.modules import Module, TokenFacts
from cardflow.model import KeyType, ObjectRef


class TokenDriver(Protocol):
    """One card family over one logged-in session; each call looks first and may be repeated."""

    def ensure_key(self, cka_id: bytes, key_type: KeyType, label: str) -> tuple[CardKey, bool]: ...

    def ensure_certificate(
        self, cka_id: bytes, der: bytes, label: str
    ) -> tuple[bytes, CardKey]: ...

    def retire(self, ref: ObjectRef) -> None: ...

    def signing_key(self, ref: ObjectRef) -> tuple[bytes, CardKey]: ...


def unsupported(facts: TokenFacts) -> str:
    """Return why the token cannot be updated; empty when ``FreeForm`` fits it.

    Decided by what the token is and can do. Its label is whatever somebody wrote there.
    """
    if not facts.serial:
        return "the card reports no serial number, so it cannot be told from another card"
    if "TOKEN_INITIALIZED" not in facts.flags:
        return "the card is not initialised"
    if facts.manufacturer.startswith(("Yubico", "piv_II")):
        return "PIV cards keep keys in fixed slots; this version does not write to them"
    if "WRITE_PROTECTED" in facts.flags:
        return "the card is write protected"
    if not facts.generates_keys:
        return "the card's module cannot generate keys on the card: it is read only"
    if "USER_PIN_INITIALIZED" not in facts.flags:
        return "the card has no user PIN yet"
    return ""


__all__ = [
    "CardFailure",
    "CardKey",
    "FreeForm",
    "Module",
    "TokenDriver",
    "TokenFacts",
    "inventory",
    "sign_sha256",
    "unsupported",
]
