"""Histories that older code wrote, replayed by today's: open updates survive every change of code.

A failure here says that the order of a workflow's commands changed. Guard the change with
``workflow.patched``, then record what the new path writes: ``make histories``. Never delete one.
"""

import gzip
from pathlib import Path

import pytest
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer

from workflows.afterwork import Afterwork, Delivery
from workflows.card_update import CardUpdate
from workflows.runner import runner

HISTORIES = sorted((Path(__file__).parent / "histories").glob("*.json.gz"))


def test_there_are_histories_of_every_mode_and_ending() -> None:
    assert len(HISTORIES) >= 40


@pytest.mark.parametrize("path", HISTORIES, ids=lambda path: path.name.removesuffix(".json.gz"))
async def test_todays_code_replays(path: Path) -> None:
    history = WorkflowHistory.from_json(path.name, gzip.decompress(path.read_bytes()).decode())
    replayer = Replayer(workflows=[CardUpdate, Afterwork, Delivery], workflow_runner=runner())
    await replayer.replay_workflow(history)
