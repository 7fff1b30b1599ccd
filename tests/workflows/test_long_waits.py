"""Two hundred days between two clicks: what changed in the world meanwhile, and how it ends."""

from dataclasses import replace
from datetime import timedelta
from functools import partial

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from temporalio.client import WorkflowUpdateFailedError
from temporalio.exceptions import ApplicationError

from cardflow.jobs import JobKind
from cardflow.model import (
    Action,
    DocumentKind,
    EventKind,
    LaneStage,
    Mode,
    Reply,
    Stage,
    Verdict,
)
from tests.build import a_policy, an_entry, cancelling, continuing, handing_in
from tests.fakes import FakeAgent
from tests.waiting import until
from tests.workflows.conftest import World, workstation
from workflows.card_update import CardUpdate

REQUEST, CERTIFICATE = DocumentKind.REQUEST_FORM, DocumentKind.CERTIFICATE_FORM
R, F = Mode.REQUEST_FORM, Mode.CERTIFICATE_FORM
SLOW = {"reminder_hours": 24 * 90, "escalation_hours": 24 * 60, "deadline_hours": 24 * 300}


async def days(world: World, number: int) -> None:
    await world.env.sleep(timedelta(days=number))


async def test_an_update_outlives_its_old_certificates_its_policy_a_ca_key_and_an_agent(
    patient_world: World,
) -> None:
    world = patient_world
    await world.open(a_policy(an_entry("logon", F), an_entry("mail", R), **SLOW))
    await world.visit()
    await world.until_lane("logon", LaneStage.AWAITING_CERTIFICATE_FORM)
    await days(world, 100)  # the old certificates have expired, the policy has a newer version
    world.ca.key = ec.generate_private_key(ec.SECP256R1())
    await world.hand_in(REQUEST, "mail")
    await world.until_lane("mail", LaneStage.READY)
    await days(world, 100)
    await world.hand_in(CERTIFICATE, "logon")
    await world.decide(Verdict.APPROVE, "logon")

    newer = FakeAgent()
    newer.keys, newer.certificates = world.agent.keys, world.agent.certificates
    there = continuing(world.update)
    assert there.visit is not None
    async with workstation(world, "ws2", agent=newer):
        await world.act(replace(there, visit=replace(there.visit, agent_id="ws2")))
        assert await world.handle.result() is Stage.COMPLETED

    assert [job.kind for job in newer.jobs] == [JobKind.WRITE, JobKind.CLEAN_UP]
    assert world.records.view is not None
    assert world.records.view.policy_version == world.update.policy.version
    await world.afterwork()
    assert world.ca.revoked == {"old-logon": "superseded", "old-mail": "superseded"}
    assert len(world.ca.submissions) == 2  # a key that rolled makes nobody ask twice
    numbers = [event.number for event in world.records.events]
    assert numbers == list(range(1, len(numbers) + 1))


async def test_a_certificate_that_expired_while_it_waited_is_not_written(
    patient_world: World,
) -> None:
    world = patient_world
    world.ca.days = 90
    await world.open(a_policy(an_entry("logon", F), **SLOW))
    await world.visit()
    await world.until_lane("logon", LaneStage.AWAITING_CERTIFICATE_FORM)
    await world.hand_in(CERTIFICATE)
    await world.decide(Verdict.APPROVE)
    await days(world, 200)
    view = await world.visit()

    (lane,) = view.state.lanes
    assert view.stage is Stage.NEEDS_ATTENTION
    assert "expired on" in lane.attention
    assert "expired while the update waited" in view.state.last_visit
    assert JobKind.WRITE not in [job.kind for job in world.agent.jobs]  # the old pair stays
    await world.act(cancelling(world.update))
    assert await world.handle.result() is Stage.CANCELLED
    assert len(world.records.of(EventKind.DEBTS_RECORDED)[0].refs) == 1


async def test_whose_holder_left_lapses_and_nothing_of_it_stays_good(patient_world: World) -> None:
    world = patient_world
    await world.open(a_policy(an_entry("logon", F), **{**SLOW, "deadline_hours": 24 * 200}))
    await world.visit()
    view = await world.until_lane("logon", LaneStage.AWAITING_CERTIFICATE_FORM)

    assert await world.handle.result() is Stage.LAPSED
    await world.afterwork()
    assert world.ca.revoked == {view.state.lanes[0].serial_number: "cessationOfOperation"}
    assert len(world.records.of(EventKind.REMINDER)) == 2
    assert len(world.records.of(EventKind.DEBTS_RECORDED)[0].refs) == 1


async def taken(world: World, action: Action) -> Reply | None:
    """Return the answer; None while the run cannot take more and the next has not begun."""
    try:
        return await world.act(action)
    except WorkflowUpdateFailedError as error:
        if not (isinstance(error.cause, ApplicationError) and error.cause.type == "Busy"):
            raise
        return None


@pytest.mark.slow
async def test_two_and_a_half_thousand_uploads_on_one_update_are_all_answered_and_on_record(
    world: World,
) -> None:
    uploads = 2_500
    await world.open(a_policy(an_entry("logon", F)))
    await world.visit()
    await world.until_lane("logon", LaneStage.AWAITING_CERTIFICATE_FORM)
    world.handle = world.client.get_workflow_handle_for(CardUpdate.run, world.handle.id)
    first = (await world.handle.describe()).run_id
    for _ in range(uploads):
        upload = partial(taken, world, handing_in(world.update, "logon", CERTIFICATE))
        reply = await until(upload, what="an upload that is taken")
        assert "with the operators" in reply.message
    await world.decide(Verdict.APPROVE)
    await world.act(continuing(world.update))

    assert await world.handle.result() is Stage.COMPLETED
    assert (await world.handle.describe()).run_id != first
    assert len(world.records.of(EventKind.DOCUMENT_RECEIVED)) == uploads
    numbers = [event.number for event in world.records.events]
    assert numbers == list(range(1, len(numbers) + 1))
    assert len(world.ca.submissions) == 1
