"""Rows of a benchmark: a figure, its yardstick from the same run, and their ratio."""

import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

RESULTS = Path("var/bench")


@dataclass(frozen=True)
class Row:
    """One line: ``ratio`` above 1 means better than the yardstick."""

    what: str
    figure: float
    unit: str
    beside: str = ""
    yardstick: float | None = None
    higher_is_better: bool = True

    @property
    def ratio(self) -> float | None:
        """How many times better than the yardstick."""
        if not self.yardstick or not self.figure:
            return None
        pair = (self.figure, self.yardstick)
        return pair[0] / pair[1] if self.higher_is_better else pair[1] / pair[0]


def show(name: str, rows: list[Row]) -> None:
    """Print the rows and keep them as JSON under ``var/bench``."""
    print(f"\n{name}")
    for row in rows:
        beside = f"{row.yardstick:10.2f} {row.unit:8} {row.beside}" if row.yardstick else ""
        ratio = f"{row.ratio:6.2f}×" if row.ratio else " " * 7
        print(f"  {row.what:58} {row.figure:10.2f} {row.unit:8} {ratio} {beside}")
    RESULTS.mkdir(parents=True, exist_ok=True)
    facts = [{**asdict(row), "ratio": row.ratio} for row in rows]
    (RESULTS / f"{name}.json").write_text(json.dumps(facts, indent=1, ensure_ascii=False))
    sys.stdout.flush()


def milliseconds(work: Callable[[], object], *, times: int) -> float:
    """Return the median duration of ``work``."""
    durations = []
    for _ in range(times):
        before = time.perf_counter()
        work()
        durations.append(time.perf_counter() - before)
    return statistics.median(durations) * 1000


def quantile(values: list[float], share: float) -> float:
    """Return the value below which ``share`` of the values lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
