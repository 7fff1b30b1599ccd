"""What it costs that 10,000 updates are pending: lists, and approvals, beside the same at 100.

The register is filled with copies of one real pending update; approvals are real ones, of updates
with a workflow, given through the API while the others wait.
"""

import asyncio
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.bench_handover import LANE, RULES, approve_and_continue, form_is_here
from benchmarks.table import Row, is_quick, quantile, show
from benchmarks.workplace import Desk, Doors, at_work, doors_open, enrolled, registered
from cardflow.model import Stage, new_id
from cardflow.temporal.ending import run_and_exit
from cli.client import Api
from cli.demo_people import OPERATOR
from cli.demo_steps import UpdateRun
from tests.api.workstation import SoftCard

# What lists and work lists read, and where approvals write; copies of the audit trail and of mails
# would be found to be none.
COPIED = ("updates", "lanes", "waiting", "documents", "memories", "journal")
OWN: dict[str, Callable[[], dict[str, str | None]]] = {  # what no two rows of a table share
    "documents": lambda: {"id": new_id()},
    "journal": lambda: {"number": None, "action_id": new_id()},
}
LISTS = {
    "updates": {"open": "true", "limit": "50"},
    "work": {"limit": "50", "sort": "due"},
}


@dataclass
class Timed:
    """Seconds of each request."""

    lists: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in LISTS})
    approvals: list[float] = field(default_factory=list)


class Register:
    """The product's own tables."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def copies(self, update_id: str, number: int) -> None:
        """The update is there so many times more, each on a card of its own."""
        with closing(sqlite3.connect(self._file, timeout=30)) as database, database:
            (card_id,) = database.execute(
                "SELECT card_id FROM updates WHERE id = ?", (update_id,)
            ).fetchone()
            for _ in range(number):
                new_card, new_update = new_id(), new_id()
                changes = {"id": new_card, "token_serial": new_card}
                self._copy(database, "cards", "id", card_id, changes)
                changed = {"id": new_update, "update_id": new_update, "card_id": new_card}
                for table in COPIED:
                    key = "id" if table == "updates" else "update_id"
                    self._copy(database, table, key, update_id, changed)

    def plans(self) -> list[str]:
        """Return where the lists' queries scan a whole table or sort, as the database says it."""
        queries = (
            "SELECT * FROM updates WHERE ended_at IS NULL ORDER BY opened_at DESC, id DESC LIMIT 5",
            "SELECT * FROM waiting WHERE party = 'operator' ORDER BY until, update_id LIMIT 5",
        )
        with closing(sqlite3.connect(self._file)) as database:
            plans = [database.execute(f"EXPLAIN QUERY PLAN {q}").fetchall() for q in queries]
        steps = [step[3] for plan in plans for step in plan]
        return [step for step in steps if "TEMP B-TREE" in step or _is_whole(step)]

    def _copy(
        self,
        database: sqlite3.Connection,
        table: str,
        key: str,
        value: str,
        changes: dict[str, str | None],
    ) -> None:
        found = database.execute(f"SELECT * FROM {table} WHERE {key} = ?", (value,))  # noqa: S608
        names = [column[0] for column in found.description]
        marks = ", ".join("?" * len(names))
        for row in found.fetchall():
            changed = changes | OWN.get(table, dict)()
            cells = [changed.get(name, cell) for name, cell in zip(names, row, strict=True)]
            database.execute(f"INSERT INTO {table} VALUES ({marks})", cells)  # noqa: S608


def _is_whole(step: str) -> bool:
    return step.startswith("SCAN") and "USING" not in step


def timed(work: Callable[[], object]) -> float:
    """Return the seconds of one request."""
    before = time.perf_counter()
    work()
    return time.perf_counter() - before


def looked(operator: Api, into: Timed, times: int) -> None:
    """Each list was asked for so many times."""
    for name, query in LISTS.items():
        operator.get(f"/{name}", **query)
        into.lists[name] += [timed(lambda: operator.get(f"/{name}", **query)) for _ in range(times)]  # noqa: B023


def approved(doors: Doors, card_id: str, into: Timed, times: int) -> None:
    """So many updates were approved, continued and completed."""
    for number in range(times + 1):
        run, digest = form_is_here(doors.cast, card_id)
        sent = approve_and_continue(run, digest)
        if number:
            into.approvals.append(sent[1] - sent[0])
        run.until_stage(Stage.COMPLETED)


async def measure(doors: Doors, *, quick: bool) -> list[Row]:
    """Measure at 100 pending updates, then at 10,000."""
    few, many, times = (10, 100, 2) if quick else (100, 10_000, 15)
    cards = [SoftCard("0123456789abcdef"), SoftCard("fedcba9876543210")]
    ids = await asyncio.to_thread(registered, doors.cast, RULES, "bench", cards)
    desks = [Desk(await enrolled(doors), card) for card in cards]
    operator = doors.cast.api(OPERATOR)
    register = Register(doors.settings.state_dir / "cardflow.db")
    for desk in desks:
        await desk.report()
    async with at_work(*(desk.run() for desk in desks)):
        pattern, _ = await asyncio.to_thread(form_is_here, doors.cast, ids[1])
        found = []
        for wanted, there in ((few, 1), (many, few)):
            into = Timed()
            await asyncio.to_thread(register.copies, pattern.update_id, wanted - there)
            await asyncio.to_thread(looked, operator, into, times)
            await asyncio.to_thread(approved, doors, ids[0], into, times)
            found.append(into)
        await asyncio.to_thread(_end, pattern)
    whole = register.plans()
    return [*rows_of(few, many, *found),
            Row("steps of the lists' queries that read or sort a whole table", len(whole), "",
                "; ".join(whole), higher_is_better=False, reach=0)]  # fmt: skip


def _end(run: UpdateRun) -> None:
    run.cancel("measured", OPERATOR)


def rows_of(few: int, many: int, at_few: Timed, at_many: Timed) -> list[Row]:
    """Return the rows."""
    beside = f"the same at {few}"
    rows = [
        Row(f"{many:,} pending: list of {name}, p95", quantile(at_many.lists[name], 0.95) * 1000,
            "ms", beside, quantile(at_few.lists[name], 0.95) * 1000, higher_is_better=False,
            reach=300)
        for name in LISTS
    ]  # fmt: skip
    for share, reach, ratio in ((0.95, 1000, None), (0.5, None, 1 / 1.5)):
        pair = [quantile(x.approvals, share) * 1000 for x in (at_many, at_few)]
        what = f"{many:,} pending: approval, lane {LANE}, p{share * 100:.0f}"
        rows.append(Row(what, pair[0], "ms", beside, pair[1], higher_is_better=False,
                        reach=reach, reach_ratio=ratio))  # fmt: skip
    return rows


async def main() -> int:
    """Start everything, measure, show."""
    quick = is_quick()
    async with doors_open() as doors:
        rows = await measure(doors, quick=quick)
    show("pending", rows)
    return 0


if __name__ == "__main__":
    run_and_exit(main())
