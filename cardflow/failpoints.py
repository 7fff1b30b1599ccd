"""Places beside every outside effect where a test may stop this process, and then kill it.

Nothing happens here in an installation: a point counts only where the tests are (``MARKER`` is in
no image and no package) and where they say so. The process stops itself and no more: what becomes
of it is decided, and the world looked at, by whoever armed the point (docs/operations/faults.md).
"""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cardflow.errors import Refused

VARIABLE = "CARDFLOW_FAILPOINTS"
MARKER = Path(__file__).resolve().parent.parent / "tests" / "chaos" / "TEST-BUILD"


class Board:
    """A directory that tests and processes share: what is armed, what was reached, who stopped."""

    def __init__(self, directory: Path) -> None:
        self.armed, self.fired = directory / "armed", directory / "fired"
        self.trace = directory / "trace"

    def reach(self, name: str) -> None:
        """Note that the point was reached; stop here if it is armed, which counts once."""
        with self.trace.open("a") as file:
            file.write(f"{time.time():.6f} {os.getpid()} {name}\n")
        with suppress(FileNotFoundError):
            (self.armed / name).rename(self.fired / f"{name}@{os.getpid()}")
            # This thread first: it must not go on while the others come to a halt.
            signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)


def board(directory: str, marker: Path = MARKER) -> Board | None:
    """Return the board that the tests put up; refuse one where no tests are."""
    if not directory:
        return None
    if not marker.exists():
        raise Refused(f"{VARIABLE} is set, and this is no build for tests; take it away")
    return Board(Path(directory))


_board = board(os.environ.get(VARIABLE, ""))  # noqa: TID251 (no setting: it is for tests alone)


def are_armed() -> bool:
    """Tell whether tests may stop this process."""
    return _board is not None


def fail_at(name: str) -> None:
    """Do nothing, unless tests run this process."""
    if _board is not None:
        _board.reach(name)


@contextmanager
def effect(name: str) -> Iterator[None]:
    """Stand around an effect: ``name.before`` it, and ``name.done`` when nobody knows of it yet."""
    fail_at(f"{name}.before")
    yield
    fail_at(f"{name}.done")
