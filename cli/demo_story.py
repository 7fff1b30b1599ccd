"""How a demo is told: one line per step, who does what, what came of it, and how long it took."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console
from rich.markup import escape

WHO_WIDTH = 9
WHAT_WIDTH = 62


@dataclass
class Told:
    """What a step adds to its line once it is known."""

    more: str = ""

    def say(self, more: str) -> None:
        """The step's line ends with ``more``."""
        self.more = more


@dataclass
class Story:
    """Prints steps as they happen; ``console=None`` tells nothing, for tests."""

    console: Console | None = None
    started: float = field(default_factory=time.monotonic)

    def chapter(self, title: str) -> None:
        """A new part of the story begins."""
        if self.console:
            self.console.print(f"\n[bold]{escape(title)}[/]")

    @contextmanager
    def step(self, who: str, what: str) -> Iterator[Told]:
        """What is done inside is one line; a failure is shown as one too."""
        began, told = time.monotonic(), Told()
        if self.console is None:
            yield told
            return
        with self.console.status(f"{escape(who)} {escape(what)} …"):
            try:
                yield told
            except BaseException:
                self.console.print(_line("[red]✗[/]", who, what, began), soft_wrap=True)
                raise
        self.console.print(_line("[green]✓[/]", who, what, began, told.more), soft_wrap=True)

    @property
    def seconds(self) -> float:
        """How long the story has lasted."""
        return time.monotonic() - self.started


def _line(mark: str, who: str, what: str, began: float, more: str = "") -> str:
    took = f"{time.monotonic() - began:6.2f} s"
    text = f"{what}: {more}" if more else what
    return f"{mark} [bold]{escape(who):{WHO_WIDTH}}[/] {escape(text):{WHAT_WIDTH}} [dim]{took}[/]"
