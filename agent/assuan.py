"""Speaking to a pinentry: the Assuan protocol, as far as a PIN prompt needs it.

Everything that comes from the pinentry is read into one locked page and taken from there; only
status words become Python objects, the data line of GETPIN never does.
"""

import select
import subprocess
import time
from types import TracebackType
from typing import Self

from agent.memory import ROOM, Pin, SecretRoom, end_with_parent

ENDS_WITHIN_SECONDS = 2
LONGEST_LINE = 990  # of the 1000 bytes that Assuan allows
CANCELLED = 99  # gpg-error codes
TIMED_OUT = 62
_CODE = 0xFFFF
_HEX = {ord(c): n for n, c in enumerate("0123456789ABCDEF")} | {
    ord(c): n for n, c in enumerate("abcdef", 10)
}


class PinentryFailed(Exception):
    """The program answered ERR; ``code`` is the gpg-error code."""

    def __init__(self, code: int) -> None:
        super().__init__(f"the pinentry answered with error {code}")
        self.code = code


class PinentryGone(Exception):
    """The program could not be started, ended, or speaks no Assuan."""


class Pinentry:
    """One running pinentry program, waited for no longer than ``patience_seconds``."""

    def __init__(self, program: str, patience_seconds: float) -> None:
        self._until = time.monotonic() + patience_seconds
        try:
            self._process = subprocess.Popen(  # noqa: S603 (named by the workstation's own file)
                [program],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                preexec_fn=end_with_parent,  # noqa: PLW1509 (there is one thread)
            )
        except OSError as error:
            raise PinentryGone(f"{program} could not be started: {error.strerror}") from None
        self._input = self._process.stdin
        self._output = self._process.stdout
        self._page = SecretRoom()

    def __enter__(self) -> Self:
        try:
            self._answer(None)
        except (PinentryFailed, PinentryGone):
            self._end()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end()

    def _end(self) -> None:
        self._page.wipe()
        for pipe in (self._input, self._output):
            if pipe is not None:
                pipe.close()
        try:
            self._process.wait(ENDS_WITHIN_SECONDS)  # a pinentry ends when its input does
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def tell(self, command: str, text: str = "") -> None:
        """Send a command with its text; the pinentry has accepted it."""
        self._send(command, text)
        self._answer(None)

    def suggest(self, command: str, text: str) -> None:
        """Send a command that a pinentry may not know."""
        try:
            self.tell(command, text)
        except PinentryFailed:
            return

    def ask_pin(self, pin: Pin) -> None:
        """Leave what the person typed in ``pin``."""
        pin.wipe()
        self._send("GETPIN", "")
        self._answer(pin)

    def _send(self, command: str, text: str) -> None:
        line = f"{command} {escaped(text)}" if text else command
        if self._input is None:
            raise PinentryGone("the pinentry has no input")
        try:
            self._input.write(line.encode() + b"\n")
            self._input.flush()
        except OSError:
            raise PinentryGone("the pinentry has ended") from None

    def _answer(self, pin: Pin | None) -> None:
        """Read lines until OK or ERR."""
        try:
            while True:
                end = self._line()
                start = bytes(self._page.bytes[:2])
                if start == b"D " and pin is not None:
                    _take(self._page, end, pin)
                elif start == b"OK":
                    return
                elif start == b"ER":
                    raise PinentryFailed(_error_code(bytes(self._page.bytes[:end])))
                self._forget(end + 1)
                if time.monotonic() > self._until:
                    raise PinentryFailed(TIMED_OUT)  # it talks, and never comes to an answer
        finally:
            self._page.wipe()

    def _line(self) -> int:
        """Return where the first line ends, reading on until there is one."""
        while (end := self._page.bytes.find(b"\n", 0, self._page.length)) < 0:
            if self._output is None or self._page.length == ROOM:
                raise PinentryGone("the pinentry does not speak Assuan")
            wait = self._until - time.monotonic()
            if wait <= 0 or not select.select([self._output], [], [], wait)[0]:
                raise PinentryFailed(TIMED_OUT)
            if not self._page.receive(self._output.fileno()):
                raise PinentryGone("the pinentry has ended")
        return end

    def _forget(self, count: int) -> None:
        rest = self._page.length - count
        self._page.bytes.move(0, count, rest)
        for at in range(rest, self._page.length):
            self._page.bytes[at] = 0
        self._page.length = rest


def escaped(text: str) -> str:
    """Return ``text`` as an Assuan argument: percent-escaped, and short enough for one line."""
    out = ""
    for c in text:
        piece = f"%{ord(c):02X}" if c in "%\r\n" else c
        if len((out + piece).encode()) > LONGEST_LINE - 20:
            break
        out += piece
    return out


def _take(page: SecretRoom, end: int, pin: Pin) -> None:
    """Percent-decode a data line, byte by byte, behind what ``pin`` holds already."""
    source, target = page.bytes, pin.room
    at = 2
    while at < end and target.length < ROOM:
        byte = source[at]
        if byte == ord("%") and at + 2 < end:
            high, low = _HEX.get(source[at + 1], 0), _HEX.get(source[at + 2], 0)
            byte = high * 16 + low
            at += 2
        target.bytes[target.length] = byte
        target.length += 1
        at += 1


def _error_code(line: bytes) -> int:
    words = line.split()
    return int(words[1]) & _CODE if len(words) > 1 and words[1].isdigit() else 0
