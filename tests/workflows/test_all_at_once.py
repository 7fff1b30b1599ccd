"""What ends an update, or befalls it, in every mode and at every stage: all in one update."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from cardflow.jobs import JobKind, Outcome
from cardflow.model import (
    DocumentKind,
    EventKind,
    FormSignature,
    Lane,
    LaneStage,
    Mode,
    OnRejection,
    Role,
    SignatureFound,
    Stage,
    UpdateView,
    Verdict,
)
from tests.build import (
    OPERATOR,
    OPERATOR_2,
    a_policy,
    an_entry,
    cancelling,
    continuing,
    reporting_lost,
    retrying,
    signing,
    withdrawing,
)
from tests.workflows.conftest import World
from tests.workflows.crowd import EVERYWHERE, REJECTED, an_entry_for, spread_out
from tests.workflows.stages import WITH_CERTIFICATE

REQUEST, CERTIFICATE = DocumentKind.REQUEST_FORM, DocumentKind.CERTIFICATE_FORM
ISSUED = {name for name, (_, stage) in EVERYWHERE.items() if stage in WITH_CERTIFICATE}
AT_CA = {name for name, (_, stage) in EVERYWHERE.items() if stage is LaneStage.AT_CA}
FORMS_OF = {
    Mode.REQUEST_FORM: (REQUEST,),
    Mode.CERTIFICATE_FORM: (CERTIFICATE,),
    Mode.BOTH: (REQUEST, CERTIFICATE),
}
ONE_OF_EACH = a_policy(*(an_entry_for(mode, mode) for mode in Mode))


async def end_of(world: World, stage: Stage) -> dict[str, Lane]:
    """Return the lanes after the update ended so, when the CA has heard of it."""
    assert await world.handle.result() is stage
    await world.afterwork()
    assert world.records.view is not None
    return {x.plan.lane: x for x in world.records.view.state.lanes}


def check_undone(world: World, lanes: dict[str, Lane], stage: LaneStage) -> None:
    """Every lane ended so: its key is owed, its certificate revoked or its request withdrawn."""
    assert {lanes[name].stage for name in EVERYWHERE} == {stage}
    debts = world.records.of(EventKind.DEBTS_RECORDED)[0].refs
    assert {ref.cka_id for ref in debts} == {lane.plan.cka_id for lane in lanes.values()}
    serials = {lanes[name].serial_number for name in ISSUED}
    assert world.ca.revoked == dict.fromkeys(serials, "cessationOfOperation")
    withdrawn = {request.rsplit(":", 1)[1] for request in world.ca.withdrawn}
    assert AT_CA <= withdrawn == {*EVERYWHERE, REJECTED} - ISSUED - rejected(lanes)
    assert JobKind.WRITE not in [job.kind for job in world.agent.jobs]


def rejected(lanes: dict[str, Lane]) -> set[str]:
    return {name for name, lane in lanes.items() if lane.stage is LaneStage.CA_REJECTED}


async def test_cancelling_ends_lanes_at_every_stage(world: World) -> None:
    await spread_out(world)
    await world.act(cancelling(world.update))

    check_undone(world, await end_of(world, Stage.CANCELLED), LaneStage.CANCELLED)


@pytest.mark.slow
async def test_the_deadline_ends_lanes_at_every_stage(patient_world: World) -> None:
    world = patient_world
    world.ca.poll_at = datetime.max.replace(tzinfo=UTC)
    await spread_out(world, deadline_hours=2)

    check_undone(world, await end_of(world, Stage.LAPSED), LaneStage.LAPSED)


@pytest.mark.slow
async def test_all_or_nothing_ends_lanes_at_every_stage(world: World) -> None:
    await spread_out(world, on_rejection=OnRejection.ALL_OR_NOTHING)
    await world.officer_says("no", REJECTED)

    check_undone(world, await end_of(world, Stage.REJECTED), LaneStage.CANCELLED)


async def test_a_lost_card_ends_lanes_at_every_stage_and_nothing_of_it_is_good(
    world: World,
) -> None:
    await spread_out(world)
    await world.act(reporting_lost(world.update, OPERATOR, Role.OPERATOR))

    lanes = await end_of(world, Stage.CANCELLED)
    assert {name for name in lanes if lanes[name].stage is LaneStage.REVOKED} == ISSUED
    serials = {lanes[name].serial_number for name in ISSUED}
    old = {number for x in lanes.values() for number in x.plan.replaced_serial_numbers}
    assert world.ca.revoked == dict.fromkeys(serials | old, "keyCompromise")
    assert set(world.ca.withdrawn_because.values()) == {"keyCompromise"}
    assert len(world.ca.withdrawn) == len(lanes) - len(ISSUED)


async def test_a_card_lost_before_its_first_visit_owes_nothing(world: World) -> None:
    await world.open(ONE_OF_EACH)
    await world.act(reporting_lost(world.update))

    lanes = await end_of(world, Stage.CANCELLED)
    assert {lane.stage for lane in lanes.values()} == {LaneStage.CANCELLED}
    assert world.records.of(EventKind.DEBTS_RECORDED) == []
    assert set(world.ca.revoked) == {f"old-{name}" for name in lanes}


async def test_before_the_first_visit_the_holder_changes_their_mind_in_every_mode(
    world: World,
) -> None:
    await world.open(ONE_OF_EACH)
    await world.act(cancelling(world.update))

    assert await world.handle.result() is Stage.CANCELLED
    assert world.records.of(EventKind.DEBTS_RECORDED) == []
    assert (world.ca.revoked, world.ca.withdrawn) == ({}, [])


async def test_a_card_that_is_never_brought_lets_every_mode_lapse(patient_world: World) -> None:
    world = patient_world
    await world.open(replace(ONE_OF_EACH, deadline_hours=2))

    assert await world.handle.result() is Stage.LAPSED
    assert world.records.view is not None
    assert {x.stage for x in world.records.view.state.lanes} == {LaneStage.LAPSED}


# What befalls lanes of every mode on their way


async def past_request_forms(world: World) -> None:
    """Take one lane of each mode to the CA."""
    await world.visit()
    for mode in (Mode.REQUEST_FORM, Mode.BOTH):
        await world.hand_in(REQUEST, mode)
        await world.decide(Verdict.APPROVE, mode)
    for mode in Mode:
        await world.until_lane(mode, LaneStage.AT_CA)


async def test_the_ca_may_reject_in_every_mode(world: World) -> None:
    await world.open(ONE_OF_EACH, officers=tuple(Mode))
    await past_request_forms(world)
    for mode in Mode:
        await world.officer_says("no", mode)

    assert await world.handle.result() is Stage.REJECTED
    assert len(world.records.of(EventKind.CA_REJECTED)) == len(Mode)
    assert len(world.records.of(EventKind.DEBTS_RECORDED)[0].refs) == len(Mode)


async def test_every_mode_survives_what_goes_wrong_and_is_lost_when_it_was_written(
    world: World,
) -> None:
    world.agent.outcomes[JobKind.PREPARE] = Outcome.CARD_REMOVED
    world.ca.refuse = "profile unknown"
    await world.open(ONE_OF_EACH)
    await world.visit()
    await past_request_forms(world)
    await world.until(troubled)
    world.ca.refuse, world.ca.officer_profiles = "", set(Mode)
    await world.act(retrying(world.update))
    await world.until(lambda view: all(x.ca_handle for x in view.state.lanes))
    for mode in Mode:
        await world.officer_says("yes", mode)
    for mode in (Mode.CERTIFICATE_FORM, Mode.BOTH):
        await world.until_lane(mode, LaneStage.AWAITING_CERTIFICATE_FORM)
        await world.hand_in(CERTIFICATE, mode)
        await world.decide(Verdict.APPROVE, mode)

    await world.until(lambda view: view.stage is Stage.READY)
    world.agent.outcomes[JobKind.WRITE] = Outcome.KEY_MISSING
    await world.visit()
    await world.until(troubled)
    await world.act(retrying(world.update))
    world.agent.gates[JobKind.CLEAN_UP] = asyncio.Event()
    await world.act(continuing(world.update))
    await world.until_lane(Mode.BOTH, LaneStage.WRITTEN)
    await world.act(reporting_lost(world.update))

    lanes = await end_of(world, Stage.CANCELLED)
    assert {lane.stage for lane in lanes.values()} == {LaneStage.REVOKED}
    assert len(world.ca.revoked) == 2 * len(Mode)


def troubled(view: UpdateView) -> bool:
    return all(lane.attention for lane in view.state.lanes)


async def test_forms_go_to_and_fro_in_every_mode(world: World) -> None:
    either = {
        "request_form_signature": FormSignature.EITHER,
        "certificate_form_signature": FormSignature.EITHER,
    }
    checked = {mode: an_entry(mode, mode, precheck=mode is not Mode.CERTIFICATE_FORM,
                              approvals_needed=2, **either) for mode in FORMS_OF}  # fmt: skip
    signed = {mode: an_entry(f"{mode} signed", mode, precheck=mode is not Mode.CERTIFICATE_FORM,
                             approve_signed=True, **either) for mode in FORMS_OF}  # fmt: skip
    unchecked = [
        an_entry(f"{mode} {name}", mode, **either)
        for mode in (Mode.REQUEST_FORM, Mode.BOTH)
        for name in ("good", "doubtful")
    ]
    officers = tuple(entry.profile for entry in unchecked)
    entries = [*checked.values(), *signed.values(), *unchecked]
    await world.open(a_policy(*entries), officers=officers)
    await world.visit()

    for lane in officers:
        if "doubtful" in lane:
            await world.hand_in(REQUEST, lane, signature=SignatureFound.DOUBTFUL)
        await world.sign(REQUEST, SignatureFound.GOOD, lane)
        await world.until_lane(lane, LaneStage.AT_CA)
    world.agent.hand_in = None
    for mode, forms in FORMS_OF.items():
        for form in forms:
            await world.until_lane(f"{mode} signed", LaneStage(f"awaiting_{form}"))
            await world.hand_in(form, f"{mode} signed", signature=SignatureFound.GOOD)
            await world.until_lane(mode, LaneStage(f"awaiting_{form}"))
            await to_and_fro(world, mode, form)
    for lane in [*checked, *(entry.profile for entry in signed.values())]:
        await world.until_lane(lane, LaneStage.READY)


async def to_and_fro(world: World, lane: str, form: DocumentKind) -> None:
    """Do to the lane's form all that can be done; two people approve it in the end."""
    await sign_nothing(world, lane, form)
    await world.hand_in(form, lane)
    await sign_nothing(world, lane, form)
    await world.hand_in(form, lane)
    await world.act(withdrawing(world.update, lane))
    await world.hand_in(form, lane)
    await world.decide(Verdict.REJECT, lane, reason="blurred")
    await world.hand_in(form, lane)
    await world.decide(Verdict.APPROVE, lane)
    await world.decide(Verdict.APPROVE, lane, by=OPERATOR_2)


async def sign_nothing(world: World, lane: str, form: DocumentKind) -> None:
    await world.act(signing(world.update, lane, form))
    await world.until(lambda view: view.state.visit is None)
