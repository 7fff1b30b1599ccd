"""Rows of a benchmark: a figure, its yardstick from the same run, and what was to be reached."""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

RESULTS = Path("var/bench")
WIDTH = 150
COLOURS = {"met": "green", "missed": "bold red", "failed": "bold red", "": ""}


@dataclass(frozen=True)
class Row:
    """One line: ``ratio`` above 1 means better than the yardstick.

    What was to be reached is a ratio, or a figure: at least that where higher is better, else at
    most that.
    """

    what: str
    figure: float
    unit: str
    beside: str = ""
    yardstick: float | None = None
    higher_is_better: bool = True
    reach: float | None = None
    reach_ratio: float | None = None
    failed: str = ""

    @property
    def ratio(self) -> float | None:
        """How many times better than the yardstick."""
        if not self.yardstick or not self.figure:
            return None
        pair = (self.figure, self.yardstick)
        return pair[0] / pair[1] if self.higher_is_better else pair[1] / pair[0]

    @property
    def verdict(self) -> str:
        """``met`` or ``missed``; nothing where nothing was to be reached."""
        if self.failed:
            return "failed"
        if self.reach_ratio is not None:
            return "met" if (self.ratio or 0) >= self.reach_ratio else "missed"
        if self.reach is None:
            return ""
        is_met = self.figure >= self.reach if self.higher_is_better else self.figure <= self.reach
        return "met" if is_met else "missed"

    @property
    def reach_in_words(self) -> str:
        """What was to be reached, as it is written."""
        if self.reach_ratio is not None:
            return f"≥ {self.reach_ratio:.2f}×"
        if self.reach is None:
            return ""
        return f"{'≥' if self.higher_is_better else '≤'} {self.reach:g} {self.unit}"

    @property
    def facts(self) -> dict[str, Any]:
        """The row as it is filed."""
        return asdict(self) | {"ratio": self.ratio, "verdict": self.verdict}


def is_quick() -> bool:
    """Tell whether this script was asked for a sample only, which says nothing about speed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="a sample: does the script work?")
    return bool(parser.parse_args().quick)


def show(name: str, rows: Sequence[Row]) -> None:
    """Print the rows and keep them as JSON under ``var/bench``."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    facts = [row.facts for row in rows]
    (RESULTS / f"{name}.json").write_text(json.dumps(facts, indent=1, ensure_ascii=False))
    draw(rows, name)


def filed(name: str) -> list[Row]:
    """Return the rows that a script has kept."""
    facts = json.loads((RESULTS / f"{name}.json").read_text())
    own = Row.__dataclass_fields__
    return [Row(**{key: value for key, value in row.items() if key in own}) for row in facts]


def draw(rows: Sequence[Row], title: str = "") -> None:
    """Print the rows as a table."""
    table = Table("what", "measured", "beside", "ratio", "reach", "verdict", title=title)
    for column in (1, 3):
        table.columns[column].justify = "right"
    for row in rows:
        table.add_row(*_cells(row), style=COLOURS[row.verdict] if row.verdict != "met" else "")
    Console(width=None if sys.stdout.isatty() else WIDTH).print(table)


def _cells(row: Row) -> tuple[str, ...]:
    beside = f"{row.yardstick:.2f} {row.unit} {row.beside}" if row.yardstick else row.beside
    measured = row.failed or f"{row.figure:.2f} {row.unit}"
    ratio = f"{row.ratio:.2f}×" if row.ratio else ""
    return row.what, measured, beside, ratio, row.reach_in_words, row.verdict


def milliseconds(work: Callable[[], object], *, times: int) -> float:
    """Return the median duration of ``work``."""
    durations = []
    for _ in range(times):
        before = time.perf_counter()
        work()
        durations.append(time.perf_counter() - before)
    return statistics.median(durations) * 1000


def quantile(values: Sequence[float], share: float) -> float:
    """Return the value below which ``share`` of the values lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
