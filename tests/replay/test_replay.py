"""Histories that older code wrote, replayed by today's: open updates survive every change of code.

A failure of a replay says that the order of a workflow's commands changed. Guard the change
(``workflows/changes.py``), then record what the new path writes: ``make histories``. Never delete
one.
"""

import gzip
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer

from tests.replay.edges import Edge, reachable, recording
from tests.sandbox import sandbox
from tests.workflows.versions import Guarded, Unguarded
from workflows.afterwork import Afterwork, Delivery
from workflows.card_update import CardUpdate

HISTORIES = sorted((Path(__file__).parent / "histories").glob("*.json.gz"))
REMEDY = """
The order of the workflow's commands changed, so updates that are open now would stand still when
this code is deployed. Do the new thing only where ``goes_new_way("words-for-the-change")`` says
yes (workflows/changes.py), and the old thing else; then record the new path: make histories. See
"Changing a workflow" in docs/temporal.md.
"""


@dataclass
class Replayed:
    """What replaying all histories came to."""

    edges: set[Edge]
    failures: dict[str, Exception | None]


async def replay(workflow: type, *paths: Path) -> dict[str, Exception | None]:
    """Return by file why the workflow's code does not go the way that it remembers, if so."""
    replayer = Replayer(workflows=[workflow, Afterwork, Delivery], workflow_runner=sandbox())
    async with replayer.workflow_replay_iterator(_each(paths)) as results:
        return {r.history.workflow_id: r.replay_failure async for r in results}


async def _each(paths: Iterable[Path]) -> AsyncIterator[WorkflowHistory]:
    for path in paths:
        yield WorkflowHistory.from_json(path.name, gzip.decompress(path.read_bytes()).decode())


@pytest.fixture(scope="module")
async def replayed() -> Replayed:
    """Every history, replayed once."""
    with recording() as edges:
        return Replayed(edges, await replay(CardUpdate, *HISTORIES))


def complaint(failure: Exception | None) -> str:
    """Return what to do about a history that the code does not follow; empty: it does."""
    return "" if failure is None else f"{failure}\n{REMEDY}"


@pytest.mark.parametrize("path", HISTORIES, ids=lambda path: path.name.removesuffix(".json.gz"))
def test_todays_code_replays(replayed: Replayed, path: Path) -> None:
    assert not (words := complaint(replayed.failures[path.name])), words


async def test_a_change_of_the_order_without_a_patch_fails_and_says_what_to_do() -> None:
    failures = await replay(Unguarded, HISTORIES[0])
    words = complaint(failures[HISTORIES[0].name])

    assert "TMPRL1100" in words
    assert "goes_new_way" in words
    assert "make histories" in words


async def test_the_same_change_behind_a_patch_replays() -> None:
    assert await replay(Guarded, HISTORIES[0]) == {HISTORIES[0].name: None}


def test_histories_remember_everything_that_can_happen_to_a_lane(replayed: Replayed) -> None:
    missing = sorted(str(edge) for edge in reachable() - replayed.edges)

    assert len(HISTORIES) >= 60
    assert missing == [], "no history has these: let a workflow test do it, then make histories"
