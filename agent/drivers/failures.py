"""What cards and modules answer when they cannot, as the named outcomes of ``cardflow.jobs``."""

from collections.abc import Iterator
from contextlib import contextmanager

from pkcs11 import exceptions as p11

from cardflow.errors import CardflowError
from cardflow.jobs import Outcome


class CardFailure(CardflowError):
    """A card step ended in a named state that is not DONE."""

    def __init__(self, outcome: Outcome, message: str, *, doubtful: bool = False) -> None:
        super().__init__(message)
        self.outcome = outcome
        self.doubtful = doubtful  # the same answer is given for a card that was pulled out


PLAIN: tuple[tuple[type[Exception], Outcome, str], ...] = (
    (p11.PinLocked, Outcome.PIN_LOCKED, "the card's PIN is locked"),
    (p11.PinExpired, Outcome.CARD_FAILED, "the card's PIN has expired and must be changed first"),
    (p11.PinIncorrect, Outcome.PIN_INCORRECT, "the PIN was not correct"),
    (p11.PinInvalid, Outcome.PIN_INCORRECT, "the card did not take the PIN"),
    (p11.PinLenRange, Outcome.PIN_INCORRECT, "the card did not take a PIN of this length"),
    (p11.FunctionCancelled, Outcome.PIN_CANCELLED, "the PIN entry was cancelled at the reader"),
    (p11.DeviceMemory, Outcome.CARD_FULL, "the card has no room left"),
    (p11.TokenWriteProtected, Outcome.CARD_READ_ONLY, "the card is write protected"),
    (p11.SessionReadOnly, Outcome.CARD_READ_ONLY, "the card cannot be written to"),
    (p11.DeviceRemoved, Outcome.CARD_REMOVED, "the card was taken out"),
    (p11.TokenNotPresent, Outcome.CARD_REMOVED, "the card was taken out"),
    (p11.TokenNotRecognised, Outcome.CARD_REMOVED, "the card was taken out"),
)


@contextmanager
def named() -> Iterator[None]:
    """Turn whatever the module raises inside into a ``CardFailure``.

    Modules disagree about what a missing card answers (SoftHSM: ObjectHandleInvalid, ykcs11:
    DeviceError), so all other answers are doubtful until somebody has looked at the slots.
    """
    try:
        yield
    except p11.PKCS11Error as error:
        for kind, outcome, message in PLAIN:
            if isinstance(error, kind):
                raise CardFailure(outcome, message) from None
        answer = type(error).__name__
        raise CardFailure(
            Outcome.CARD_FAILED, f"the card answered with an error ({answer})", doubtful=True
        ) from None
