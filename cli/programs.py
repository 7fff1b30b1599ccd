"""Other people's programs, judged by their exit codes and their output alone."""

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass

from cardflow.errors import Refused

TIME_LIMIT_SECONDS = 60


@dataclass(frozen=True)
class Ran:
    """A program that ended."""

    command: tuple[str, ...]
    code: int
    output: bytes
    errors: str

    @property
    def text(self) -> str:
        """What it said, both streams."""
        return self.output.decode(errors="replace") + self.errors

    @property
    def telling(self) -> str:
        """The one line that says most."""
        lines = [line.strip() for line in self.text.splitlines() if line.strip()]
        errors = [line for line in lines if "error" in line.lower() or "fail" in line.lower()]
        return next(iter([*errors, *reversed(lines)]), f"it ended with {self.code}")

    @property
    def succeeded(self) -> bool:
        return self.code == 0


def surroundings() -> dict[str, str]:
    """Return all that a program is told of where it runs."""
    return {"PATH": f"{os.defpath}:/usr/sbin", "LC_ALL": "C"}


def run(
    *command: str,
    environment: Mapping[str, str] | None = None,
    given: bytes = b"",
    patience: int = TIME_LIMIT_SECONDS,
) -> Ran:
    """Return how the program ended; its environment holds nothing but what is given here."""
    try:
        ended = subprocess.run(  # noqa: S603 the callers' commands are their own, never a person's
            command,
            input=given,
            env={**surroundings(), **(environment or {})},
            capture_output=True,
            timeout=patience,
            check=False,
        )
    except FileNotFoundError:
        raise Refused(f"{command[0]} is not installed\n  → run: make setup") from None
    except subprocess.TimeoutExpired:
        raise Refused(f"{command[0]} did not end within {patience} s") from None
    return Ran(command, ended.returncode, ended.stdout, ended.stderr.decode(errors="replace"))


def expect(ran: Ran) -> Ran:
    """Return the program's end if it was a success, else refuse with what it said."""
    if not ran.succeeded:
        program = ran.command[0].rpartition("/")[2]
        raise Refused(f"{program} failed ({ran.code}): {ran.telling}")
    return ran
