"""Asking the person at the workstation for the PIN: what is shown, and how it is typed."""

import os
import select
import termios
import time
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Protocol

from agent.assuan import TIMED_OUT, Pinentry, PinentryFailed, PinentryGone
from agent.drivers import CardFailure
from agent.memory import Pin
from cardflow.jobs import Outcome

LAST_TRY = "This is the last try: a wrong PIN locks the card."
_FEW_LEFT = "The last PIN was wrong. Few tries are left."
_ENTER = (ord("\n"), ord("\r"))


@dataclass(frozen=True)
class Question:
    """What the person must know before typing."""

    server: str
    holder: str
    card_label: str
    token_serial: str
    purpose: str
    code: str
    warning: str = ""

    def text(self) -> str:
        """Return the lines shown; what others wrote cannot add lines or turn their direction."""
        clean = replace(self, **{name: plain(text) for name, text in vars(self).items()})
        lines = [
            f"Server: {clean.server}",
            f"Holder: {clean.holder}",
            f"Card: {clean.card_label} ({clean.token_serial})",
            f"What will happen: {clean.purpose}",
            f"Code: {clean.code} (compare it with the one in your browser)",
        ]
        return "\n".join([*lines, clean.warning] if clean.warning else lines)


class Prompt(Protocol):
    """A way to ask; both raise ``CardFailure`` when the person does not go on."""

    def confirm(self, question: Question) -> bool: ...

    def ask(self, question: Question, pin: Pin) -> None: ...


def plain(text: str, longest: int = 160) -> str:
    """Return ``text`` without control, direction and other invisible characters."""
    kept = "".join(c for c in text if unicodedata.category(c)[0] != "C" and c not in "\u2028\u2029")
    return kept if len(kept) <= longest else kept[: longest - 1] + "…"


class PinentryPrompt:
    """Asks through a pinentry program."""

    def __init__(self, program: str, timeout_seconds: int) -> None:
        self._program = program
        self._timeout = timeout_seconds

    def confirm(self, question: Question) -> bool:
        """Tell whether the person says yes to spending the last try."""
        with _named(), self._dialog(question) as pinentry:
            pinentry.suggest("SETOK", "Use the last try")
            pinentry.suggest("SETCANCEL", "Stop")
            try:
                pinentry.tell("CONFIRM")
            except PinentryFailed as failed:
                if failed.code == TIMED_OUT:
                    raise
                return False
            return True

    def ask(self, question: Question, pin: Pin) -> None:
        """Leave what was typed in ``pin``."""
        with _named(), self._dialog(question) as pinentry:
            pinentry.tell("SETPROMPT", "PIN:")
            if question.warning:
                pinentry.suggest("SETERROR", question.warning)
            pinentry.ask_pin(pin)

    @contextmanager
    def _dialog(self, question: Question) -> Iterator[Pinentry]:
        with Pinentry(self._program, self._timeout + 5) as pinentry:
            if terminal := _terminal_name():
                pinentry.suggest("OPTION", f"ttyname={terminal}")
            pinentry.suggest("SETTIMEOUT", str(self._timeout))
            pinentry.suggest("SETTITLE", "Cardflow")
            pinentry.tell("SETDESC", question.text())
            yield pinentry


class TerminalPrompt:
    """Asks on the terminal that the agent was started from."""

    def __init__(self, timeout_seconds: int, path: str = "/dev/tty") -> None:
        self._timeout = timeout_seconds
        self._path = path

    def confirm(self, question: Question) -> bool:
        """Tell whether the person typed 'yes'."""
        answer = Pin()
        self._read(f"{question.text()}\nType yes to use it: ", answer, echo=True)
        return bytes(answer.encode()) == b"yes"

    def ask(self, question: Question, pin: Pin) -> None:
        """Leave what was typed, unseen, in ``pin``."""
        self._read(f"{question.text()}\nPIN: ", pin, echo=False)

    def _read(self, text: str, into: Pin, *, echo: bool) -> None:
        try:
            terminal = os.open(self._path, os.O_RDWR | os.O_NOCTTY)
        except OSError:
            raise _no_prompt("there is no terminal") from None
        try:
            with _echo(terminal, on=echo):
                os.write(terminal, f"\n{text}".encode())
                self._read_line(terminal, into)
                os.write(terminal, b"\n")
        finally:
            os.close(terminal)

    def _read_line(self, terminal: int, into: Pin) -> None:
        into.wipe()
        end = time.monotonic() + self._timeout
        while not into.room.length or into.room.bytes[into.room.length - 1] not in _ENTER:
            ready, _, _ = select.select([terminal], [], [], max(0.0, end - time.monotonic()))
            if not ready:
                raise CardFailure(Outcome.PIN_TIMED_OUT, "no PIN was typed in time")
            if not into.room.receive(terminal):
                raise CardFailure(Outcome.PIN_CANCELLED, "the PIN entry was cancelled")
        while into.room.length and into.room.bytes[into.room.length - 1] in _ENTER:
            into.room.length -= 1


def warning_for(flags: tuple[str, ...]) -> str:
    """Return what the token's own flags say about the tries that are left."""
    if "USER_PIN_FINAL_TRY" in flags:
        return LAST_TRY
    return _FEW_LEFT if "USER_PIN_COUNT_LOW" in flags else ""


@contextmanager
def _named() -> Iterator[None]:
    try:
        yield
    except PinentryGone as gone:
        raise _no_prompt(str(gone)) from None
    except PinentryFailed as failed:
        if failed.code == TIMED_OUT:
            raise CardFailure(Outcome.PIN_TIMED_OUT, "no PIN was typed in time") from None
        raise CardFailure(Outcome.PIN_CANCELLED, "the PIN entry was cancelled") from None


def _no_prompt(why: str) -> CardFailure:
    return CardFailure(Outcome.PIN_CANCELLED, f"the PIN could not be asked for: {why}")


def _terminal_name() -> str:
    try:
        return os.ttyname(0)
    except OSError:
        return ""


@contextmanager
def _echo(terminal: int, *, on: bool) -> Iterator[None]:
    """Keep what is typed off the screen, and forget what was typed before the question."""
    before = termios.tcgetattr(terminal)
    silent = [*before[:3], before[3] & ~termios.ECHO, *before[4:]]
    termios.tcsetattr(terminal, termios.TCSAFLUSH, before if on else silent)
    try:
        yield
    finally:
        termios.tcsetattr(terminal, termios.TCSAFLUSH, before)
