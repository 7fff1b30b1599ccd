"""PKCS#11 modules and the tokens in their slots; one module per process, used by one thread.

python-pkcs11 0.10.1 initialises modules for a single thread and frees the GIL while it calls them,
so a second thread crashes SoftHSM. That is why every process here has exactly one.
"""

import ctypes
from collections.abc import Iterator
from dataclasses import dataclass

import pkcs11
from pkcs11 import Mechanism, MechanismFlag, TokenFlag
from pkcs11 import exceptions as p11

from agent.drivers.failures import CardFailure
from cardflow.jobs import Outcome

LONGEST_PIN = 255
_GENERATE = (Mechanism.RSA_PKCS_KEY_PAIR_GEN, Mechanism.EC_KEY_PAIR_GEN)


@dataclass(frozen=True)
class TokenFacts:
    """What a token says of itself, read fresh; ``slot`` is good for this moment only."""

    serial: str
    label: str
    manufacturer: str
    model: str
    reader: str
    flags: tuple[str, ...]
    generates_keys: bool
    shortest_pin: int
    longest_pin: int

    def pin_flags(self) -> tuple[str, ...]:
        """Return what the token says about the tries that are left."""
        about_tries = ("USER_PIN_COUNT_LOW", "USER_PIN_FINAL_TRY", "USER_PIN_LOCKED")
        return tuple(flag for flag in self.flags if flag in about_tries)


class Module:
    """A loaded module."""

    def __init__(self, path: str) -> None:
        try:
            self._library = pkcs11.lib(path)
        except p11.PKCS11Error as error:
            raise CardFailure(
                Outcome.CARD_FAILED, f"the card module could not be loaded ({type(error).__name__})"
            ) from None
        self._token_info = _token_info_function(path)

    def restart(self) -> None:
        """Forget every session, login and cached slot of this process."""
        self._library.reinitialize()

    def tokens(self) -> Iterator[tuple[pkcs11.Token, TokenFacts]]:
        """Yield what is in the slots now; a sick reader is passed over, not fatal."""
        for slot in self._library.get_slots(token_present=True):
            try:
                token = slot.get_token()
                facts = self._facts(slot, token)
            except p11.PKCS11Error:
                continue
            if "TOKEN_INITIALIZED" in facts.flags:
                yield token, facts

    def find(self, token_serial: str) -> tuple[pkcs11.Token, TokenFacts]:
        """Return the token with this serial; slots are listed anew because modules cache them."""
        others = False
        for token, facts in self.tokens():
            if facts.serial == token_serial and token_serial:
                return token, facts
            others = True
        if others:
            raise CardFailure(Outcome.WRONG_CARD, "another card is in the reader")
        raise CardFailure(Outcome.CARD_ABSENT, "the card is not in the reader")

    def _facts(self, slot: pkcs11.Slot, token: pkcs11.Token) -> TokenFacts:
        shortest, longest = self._token_info(slot.slot_id)
        return TokenFacts(
            serial=printable(token.serial.decode("utf-8", errors="replace")),
            label=printable(token.label),
            manufacturer=printable(token.manufacturer_id),
            model=printable(token.model),
            reader=printable(slot.slot_description),
            flags=tuple(flag.name for flag in TokenFlag if flag.name and flag in token.flags),
            generates_keys=any(_generates(slot, mechanism) for mechanism in _GENERATE),
            shortest_pin=shortest,
            longest_pin=longest,
        )


def _generates(slot: pkcs11.Slot, mechanism: Mechanism) -> bool:
    try:
        info = slot.get_mechanism_info(mechanism)
    except p11.PKCS11Error:
        return False
    return MechanismFlag.GENERATE_KEY_PAIR in info.flags


def printable(text: str) -> str:
    """Return what is fit to be shown and sent of a text that a card wrote."""
    return "".join(c for c in text if c.isprintable()).strip()


class _TokenInfo(ctypes.Structure):
    """CK_TOKEN_INFO (PKCS#11 v2.40, 3.2); python-pkcs11 does not pass the PIN lengths on."""

    _fields_ = (
        ("texts", ctypes.c_ubyte * 96),
        ("flags", ctypes.c_ulong),
        ("sessions", ctypes.c_ulong * 4),
        ("longest_pin", ctypes.c_ulong),
        ("shortest_pin", ctypes.c_ulong),
        ("rest", ctypes.c_ubyte * 64),
    )


class _TokenInfoFunction:
    """Asks the module itself for the PIN lengths of the token in a slot."""

    POSITION = 7  # C_GetTokenInfo in CK_FUNCTION_LIST, whose first word is the version

    def __init__(self, path: str) -> None:
        table = ctypes.POINTER(ctypes.c_void_p)()
        library = ctypes.CDLL(path)
        library.C_GetFunctionList(ctypes.byref(table))
        prototype = ctypes.CFUNCTYPE(ctypes.c_ulong, ctypes.c_ulong, ctypes.c_void_p)
        self._call = prototype(table[self.POSITION] or 0)

    def __call__(self, slot_id: int) -> tuple[int, int]:
        info = _TokenInfo()
        if self._call(slot_id, ctypes.addressof(info)) != 0:
            return 1, LONGEST_PIN
        longest = info.longest_pin if 0 < info.longest_pin <= LONGEST_PIN else LONGEST_PIN
        return max(1, min(info.shortest_pin, longest)), longest


_token_info_function = _TokenInfoFunction
