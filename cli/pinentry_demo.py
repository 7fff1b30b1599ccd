"""The demo's stand-in for a person at the PIN prompt: a pinentry program that knows the PIN.

It speaks Assuan like any pinentry, so the agent finds it through the ordinary setting. It types the
PIN from a file that only its owner can read, and does so in a demo's state directory only.
"""

import os
import sys
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path

from cardflow.environment import BY_DEFAULT, PREFIX, SETTINGS_FILE, Environment
from cardflow.errors import CardflowError, Refused
from cardflow.secret_files import is_demo, read_secret

ERROR_OF_PINENTRY = 83886179  # GPG_ERR_CANCELED from GPG_ERR_SOURCE_PINENTRY, as pinentry sends it


def main(arguments: list[str]) -> int:
    """Answer one agent's questions on standard input until it says BYE."""
    try:
        state_dir, pin_file = (Path(argument) for argument in arguments[:2])
        pin = _pin(state_dir, pin_file)
    except (CardflowError, ValueError) as error:
        sys.stdout.write(f"ERR {ERROR_OF_PINENTRY} {error}\n")
        return 1
    for line in conversation(sys.stdin, pin, pin_file.with_name("prompts.txt")):
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
    return 0


def _pin(state_dir: Path, pin_file: Path) -> str:  # allowed: pin-as-text: the demo card's own
    if not is_demo(state_dir) or _environment(state_dir) != Environment.DEMO:
        raise Refused("this program types PINs by itself and belongs to the demo only")
    return read_secret(pin_file).decode()


def _environment(state_dir: Path) -> str:
    """Return the one setting that counts here; to load all of them takes longer than a prompt."""
    file = state_dir / SETTINGS_FILE
    chosen = tomllib.loads(file.read_text()) if file.exists() else {}
    for name, given in os.environ.items():  # noqa: TID251 (cardflow.settings is the slow part)
        if name.upper() == f"{PREFIX}ENVIRONMENT":  # in any case, as the settings read it
            return given
    return str(chosen.get("environment", BY_DEFAULT))


def conversation(  # a person's part, played with the demo card
    questions: Iterable[str],
    pin: str,  # allowed: pin-as-text: the demo card's own
    shown: Path,
) -> Iterator[str]:
    """Yield the answers of a pinentry; what it was told to show is added to ``shown``."""
    yield "OK Pleased to meet you"
    for question in questions:
        command, _, text = question.rstrip("\r\n").partition(" ")
        match command.upper():
            case "GETPIN":
                yield f"D {pin}"
            case "SETDESC":
                with shown.open("a", encoding="utf-8") as file:
                    file.write(_decoded(text) + "\n\n")
            case "GETINFO" if text == "pid":
                yield "D 1"
            case "GETINFO":
                yield "D cardflow-demo"
            case "BYE":
                yield "OK closing connection"
                return
        yield "OK"


def _decoded(text: str) -> str:
    from urllib.parse import unquote

    return unquote(text)  # Assuan escapes with %XX, as URLs do


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
