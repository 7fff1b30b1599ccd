"""Things that come at once: whatever meets whatever, nothing is stuck, lost or done twice."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.client import WorkflowFailureError, WorkflowUpdateFailedError
from temporalio.exceptions import ApplicationError
from temporalio.testing import WorkflowEnvironment

from cardflow.model import (
    Act,
    DocumentKind,
    EventKind,
    LaneStage,
    Mode,
    OnRejection,
    Role,
    Stage,
    UpdateInput,
    Verdict,
    new_id,
)
from cardflow.orders import AfterworkOrder, MailOrder, RevokeOrder
from tests.build import HOLDER, a_policy, an_action, an_entry, continuing, deciding
from tests.waiting import PATIENCE, until
from tests.workflows.conftest import World, machine, workstation
from workflows.afterwork import Afterwork, Delivery
from workflows.at_the_ca import order_for
from workflows.card_update import CA_ANSWERED

R, F = Mode.REQUEST_FORM, Mode.CERTIFICATE_FORM
LIMIT = 150  # events; more than either update has without nudges


def cancelling(update: UpdateInput) -> object:
    return an_action(update, Act.CANCEL, HOLDER, Role.HOLDER, reason="changed my mind")


async def happened(world: World, kind: "EventType.ValueType") -> bool:
    """Tell whether the history has an event of this kind."""
    return any(e.event_type == kind for e in (await world.handle.fetch_history()).events)


async def until_long(world: World, limit: int = LIMIT) -> None:
    """Nudge until the run wants to end, which it cannot while something is under way."""

    async def length() -> int:
        await world.handle.signal(CA_ANSWERED, "logon")
        return len((await world.handle.fetch_history()).events)

    await until(length, lambda events: events > limit + 10, what="a long run")


async def test_a_visit_that_is_clicked_while_a_run_ends_begins_in_the_next(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cardflow.temporal.limits.EVENTS_PER_RUN", LIMIT)
    await world.open(a_policy(an_entry("logon", F)))
    await world.visit()
    await world.until_lane("logon", LaneStage.AWAITING_CERTIFICATE_FORM)
    world.records.gate = asyncio.Event()
    await world.hand_in(DocumentKind.CERTIFICATE_FORM)
    await until_long(world)
    await world.decide(Verdict.APPROVE)  # not on record before the one above is
    await world.act(continuing(world.update))
    world.records.gate.set()

    assert await asyncio.wait_for(world.handle.result(), PATIENCE) is Stage.COMPLETED
    numbers = [event.number for event in world.records.events]
    assert numbers == list(range(1, len(numbers) + 1))


async def test_what_is_cancelled_while_a_run_ends_is_closed_by_the_next(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cardflow.temporal.limits.EVENTS_PER_RUN", LIMIT)
    await world.open(a_policy(an_entry("logon", F)))
    await world.visit()
    view = await world.until_lane("logon", LaneStage.AWAITING_CERTIFICATE_FORM)
    world.records.gate = asyncio.Event()
    await world.hand_in(DocumentKind.CERTIFICATE_FORM)
    await until_long(world)
    await world.act(cancelling(world.update))
    world.records.gate.set()

    assert await asyncio.wait_for(world.handle.result(), PATIENCE) is Stage.CANCELLED
    assert len(world.records.of(EventKind.DEBTS_RECORDED)) == 1
    assert len(world.records.of(EventKind.CANCELLED)) == 1
    await world.afterwork()
    assert world.ca.revoked == {view.state.lanes[0].serial_number: "cessationOfOperation"}


async def test_a_run_that_cannot_end_takes_nothing_more_and_the_next_one_does(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cardflow.temporal.limits.EVENTS_PER_RUN", LIMIT)
    monkeypatch.setattr("cardflow.temporal.limits.EVENTS_AT_MOST", 2 * LIMIT)
    await world.open(a_policy(an_entry("logon", F)))
    await world.visit()
    await world.until_lane("logon", LaneStage.AWAITING_CERTIFICATE_FORM)
    world.records.gate = asyncio.Event()
    await world.hand_in(DocumentKind.CERTIFICATE_FORM)
    await until_long(world, 2 * LIMIT)
    yes = deciding(world.update, await world.view(), "logon", Verdict.APPROVE)
    with pytest.raises(WorkflowUpdateFailedError) as caught:
        await world.act(yes)
    world.records.gate.set()
    await world.until_new_run(world.handle.first_execution_run_id)
    await world.act(yes)
    await world.act(continuing(world.update))

    assert isinstance(caught.value.cause, ApplicationError)
    assert caught.value.cause.type == "Busy"
    assert await asyncio.wait_for(world.handle.result(), PATIENCE) is Stage.COMPLETED


async def test_a_run_ends_whose_request_the_ca_did_not_take_yet_and_the_next_asks_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cardflow.temporal.limits.EVENTS_PER_RUN", LIMIT)
    await world.open(a_policy(an_entry("logon", F)))
    world.ca.down = 1_000
    await world.visit()
    await until(lambda: world.ca.submissions, what="a CA that does not answer")
    for _ in range(LIMIT):
        await world.handle.signal(CA_ANSWERED, "logon")
    await world.until_new_run(world.handle.first_execution_run_id)
    world.ca.down = 0
    await world.until_lane("logon", LaneStage.AWAITING_CERTIFICATE_FORM)
    await world.act(cancelling(world.update))

    assert await asyncio.wait_for(world.handle.result(), PATIENCE) is Stage.CANCELLED


async def test_a_certificate_that_comes_after_the_cancellation_wakes_no_lane(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cardflow.temporal.limits.EVENTS_PER_RUN", LIMIT)
    world.ca.gate = asyncio.Event()
    await world.open(a_policy(an_entry("logon", R)))
    await world.visit()
    await world.hand_in(DocumentKind.REQUEST_FORM)
    await until(lambda: world.ca.submissions, what="a request at the CA")
    await until_long(world)
    await world.act(cancelling(world.update))
    world.ca.gate.set()

    assert await asyncio.wait_for(world.handle.result(), PATIENCE) is Stage.CANCELLED
    (lane,) = world.records.view.state.lanes
    assert (lane.stage, lane.serial_number) == (LaneStage.CANCELLED, "")
    await world.afterwork()
    assert world.ca.withdrawn == [f"{world.update.update_id}:1:logon"]


async def test_lanes_that_were_undone_do_not_hold_up_the_end(world: World) -> None:
    policy = a_policy(an_entry("logon"), an_entry("mail", R))
    await world.open(replace(policy, on_rejection=OnRejection.ALL_OR_NOTHING), officers=("logon",))
    await world.visit()
    await world.until_lane("logon", LaneStage.AT_CA)
    world.ca.down = 1_000
    await world.hand_in(DocumentKind.REQUEST_FORM, "mail")
    await until(lambda: len(world.ca.submissions) > 1, what="a CA that does not answer")
    await world.officer_says("no")

    assert await world.handle.result() is Stage.REJECTED
    (no,), (end,) = (world.records.of(x) for x in (EventKind.CA_REJECTED, EventKind.REJECTED))
    assert end.at - no.at < timedelta(minutes=10), (
        "the CA is asked for an hour before anybody gives up"
    )


@pytest.mark.temporal
async def test_an_update_ends_whose_request_the_ca_did_not_take_yet(
    temporal_env: WorkflowEnvironment,
) -> None:
    """The real server says in plain that what it cancels between two tries was not at work."""
    world = World(temporal_env, f"cardflow-{new_id()}")
    async with machine(world), workstation(world):
        await world.open(a_policy(an_entry("logon", F)))
        world.ca.down = 1_000
        await world.visit()
        await until(lambda: world.ca.submissions, what="a CA that does not answer")
        await world.act(cancelling(world.update))

        assert await asyncio.wait_for(world.handle.result(), PATIENCE) is Stage.CANCELLED


async def test_a_part_that_breaks_is_not_passed_over_in_silence(world: World) -> None:
    world.ca.odd = True
    await world.open(a_policy(an_entry("logon", R)))
    await world.visit()
    await world.hand_in(DocumentKind.REQUEST_FORM)

    failed = EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED
    await until(lambda: happened(world, failed), what="a workflow task that fails")


async def test_afterwork_that_is_under_way_already_is_left_to_itself(world: World) -> None:
    await world.open(a_policy(an_entry("logon", F)))
    await world.visit()
    await world.until_lane("logon", LaneStage.AWAITING_CERTIFICATE_FORM)
    before = await world.client.start_workflow(
        Delivery.run, MailOrder(()), id=f"afterwork/{world.update.update_id}", task_queue="nobody"
    )
    await world.act(cancelling(world.update))

    assert await world.handle.result() is Stage.CANCELLED
    await before.terminate()
    world.started.clear()  # nothing of it is left to be ended


async def test_what_cannot_be_withdrawn_keeps_nothing_from_being_revoked(world: World) -> None:
    await world.open(a_policy())
    world.ca.refuse = "this CA cannot be searched"
    lane = (await world.view()).state.lanes[0]
    order = AfterworkOrder(
        revoke=(RevokeOrder(world.update.update_id, "superseded", ("1", "2")),),
        withdraw=(order_for(world.update, lane),),
    )
    with pytest.raises(WorkflowFailureError):
        await world.client.execute_workflow(
            Afterwork.run, order, id=f"afterwork/{new_id()}", task_queue=world.queue
        )

    assert world.ca.revoked == {"1": "superseded", "2": "superseded"}
