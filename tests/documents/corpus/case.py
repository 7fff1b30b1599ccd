"""What a file of the corpus is, and what must become of it."""

from collections.abc import Callable
from dataclasses import dataclass

MATCHES, UNREADABLE = "matches", "unreadable"


@dataclass(frozen=True)
class Case:
    """An upload; ``outcome`` is how its code is read, or words of the refusal."""

    name: str
    make: Callable[[], bytes]
    outcome: str
    source: str  # where this kind of file is described
    bomb: bool = False  # only ever taken apart by a confined process
