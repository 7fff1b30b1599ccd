"""What one update costs Temporal, per mode, held against the table that operations read."""

import re
from pathlib import Path

import pytest
from temporalio.api.enums.v1 import EventType

from cardflow.model import DocumentKind, LaneStage, Mode, Stage, Verdict
from cardflow.temporal.codec import ENCODING, WORKFLOW
from cardflow.temporal.payloads import payloads_in
from tests.build import a_policy, an_entry, continuing
from tests.workflows.conftest import World

DOCUMENTED = {
    mode: (int(events), int(kilobytes))
    for mode, events, kilobytes in re.findall(
        r"^\| (none|R|F|RF) \| (\d+) \| (\d+) \|", Path("docs/temporal.md").read_text(), re.M
    )
}


async def run_through(world: World, mode: Mode) -> None:
    """Run one lane of the mode from the click to the card."""
    officers = ("logon",) if mode in (Mode.REQUEST_FORM, Mode.BOTH) else ()
    await world.open(a_policy(an_entry("logon", mode)), officers=officers)
    await world.act(continuing(world.update))
    if officers:
        await world.until_lane("logon", LaneStage.AWAITING_REQUEST_FORM)
        await world.hand_in(DocumentKind.REQUEST_FORM)
        await world.until_lane("logon", LaneStage.AT_CA)
        await world.officer_says("yes")
    if mode in (Mode.CERTIFICATE_FORM, Mode.BOTH):
        await world.until_lane("logon", LaneStage.AWAITING_CERTIFICATE_FORM)
        await world.hand_in(DocumentKind.CERTIFICATE_FORM)
        await world.decide(Verdict.APPROVE)
    if mode is not Mode.NONE:
        await world.until_lane("logon", LaneStage.READY)
        await world.act(continuing(world.update))
    assert await world.handle.result() == Stage.COMPLETED


@pytest.mark.parametrize("mode", Mode)
async def test_an_update_costs_no_more_than_is_documented(world: World, mode: Mode) -> None:
    await run_through(world, mode)
    events = (await world.handle.fetch_history()).events
    # How often the worker was woken for them, and perhaps in vain, depends on the machine's load.
    steps = [event for event in events if "WORKFLOW_TASK" not in EventType.Name(event.event_type)]
    kilobytes = sum(event.ByteSize() for event in events) / 1000
    told = f"mode {mode}: {len(events)} events, {len(steps)} steps, {kilobytes:.0f} kB"
    print(told)  # noqa: T201 shown by pytest -s

    assert len(steps) <= DOCUMENTED[mode][0]
    assert kilobytes <= DOCUMENTED[mode][1]


async def test_what_an_update_stores_can_be_read_in_no_other_workflow(world: World) -> None:
    await run_through(world, Mode.NONE)
    events = (await world.handle.fetch_history()).events
    sealed = [
        payload
        for event in events
        for payload in payloads_in(event)
        if payload.metadata.get("encoding") == ENCODING
    ]
    mine, late = world.handle.id, f"afterwork/{world.update.update_id}"

    assert {payload.metadata[WORKFLOW].decode() for payload in sealed} == {mine, late}
