"""A pinentry for tests: speaks Assuan, types what its folder says, and keeps what it was shown.

``pins`` holds one line per question, taken from the top; the line ``!cancel``, ``!timeout``,
``!die`` or ``!hang`` stands for what a person or a program may do instead of typing.
"""

import sys
import time
from pathlib import Path

ERRORS = {"!cancel": 83886179, "!timeout": 83886142}


def take(folder: Path, name: str) -> str:
    lines = (folder / name).read_text().splitlines()
    (folder / name).write_text("".join(f"{line}\n" for line in lines[1:]))
    return lines[0]


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def answer(command: str, folder: Path) -> None:
    if command in ("GETPIN", "CONFIRM"):
        typed = take(folder, "pins")
        if typed == "!die":
            sys.exit(1)
        if typed == "!hang":
            time.sleep(3600)
        if typed in ERRORS:
            say(f"ERR {ERRORS[typed]} not given")
            return
        if command == "GETPIN" and typed:
            say("S PASSWORD_FROM_TEST")
            half = len(typed) // 2
            say("D " + "".join(f"%{byte:02X}" for byte in typed[:half].encode()))
            say("D " + typed[half:].replace("%", "%25"))
    elif command == "SETTIMEOUT":
        say("ERR 83886355 Unknown command")
        return
    say("OK")


def main() -> None:
    folder = Path(sys.argv[1])
    say("OK at your service")
    for line in sys.stdin:
        with (folder / "shown").open("a") as shown:
            shown.write(line)
        answer(line.split()[0], folder)


if __name__ == "__main__":
    main()
