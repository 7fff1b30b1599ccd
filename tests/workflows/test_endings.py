"""Rejections, cancellation and the deadline: what ends, what stays, what is undone and owed."""

from dataclasses import replace
from datetime import timedelta

from cardflow.model import (
    Act,
    DocumentKind,
    EventKind,
    LaneStage,
    MailKind,
    Mode,
    OnRejection,
    Permissions,
    Role,
    Stage,
    Verdict,
)
from tests.build import HOLDER, OPERATOR, a_policy, an_action, an_entry, continuing, to_clear
from tests.workflows.conftest import World

REQUEST, CERTIFICATE = DocumentKind.REQUEST_FORM, DocumentKind.CERTIFICATE_FORM
R, F = Mode.REQUEST_FORM, Mode.CERTIFICATE_FORM


def cancelling(world: World, actor: str = HOLDER, role: Role = Role.HOLDER) -> object:
    return an_action(world.update, Act.CANCEL, actor, role, reason="changed my mind")


async def test_a_rejection_by_the_ca_ends_the_only_lane_and_the_update(world: World) -> None:
    await world.open(a_policy(an_entry("logon", R)), officers=("logon",))
    await world.visit()
    await world.hand_in(REQUEST)
    await world.until_lane("logon", LaneStage.AT_CA)
    await world.officer_says("wrong department")

    assert await world.handle.result() is Stage.REJECTED
    assert world.records.of(EventKind.CA_REJECTED)[0].facts == {"reason": "wrong department"}
    assert world.records.mails[-1] is MailKind.UPDATE_REJECTED
    debt = world.records.of(EventKind.DEBTS_RECORDED)[0].refs[0]
    assert debt.cka_id == world.update.plan.lanes[0].cka_id
    assert debt.spki_sha256
    assert world.ca.revoked == {}


async def test_the_other_lanes_go_on_and_the_old_certificate_of_the_rejected_stays(
    world: World,
) -> None:
    await world.open(a_policy(an_entry("logon", R), an_entry("mail")), officers=("logon",))
    await world.visit()
    await world.hand_in(REQUEST)
    await world.until_lane("logon", LaneStage.AT_CA)
    await world.officer_says("no")
    await world.until_lane("logon", LaneStage.CA_REJECTED)
    await world.until_lane("mail", LaneStage.READY)
    await world.act(continuing(world.update))

    assert await world.handle.result() is Stage.COMPLETED
    lanes = {lane.lane: lane for lane in world.update.plan.lanes}
    await world.afterwork()
    assert world.ca.revoked == {"old-mail": "superseded"}
    assert lanes["mail"].retires[0].cka_id in world.agent.removed
    assert lanes["logon"].cka_id in world.agent.removed  # its new key, not the old pair
    assert lanes["logon"].retires[0].cka_id not in world.agent.removed
    assert world.records.of(EventKind.COMPLETED)[0].facts["rejected"] == "logon"


async def test_all_or_nothing_undoes_the_other_lanes(world: World) -> None:
    policy = a_policy(
        an_entry("logon", R), an_entry("mail"), on_rejection=OnRejection.ALL_OR_NOTHING
    )
    await world.open(policy, officers=("logon",))
    await world.visit()
    await world.until_lane("mail", LaneStage.READY)
    await world.hand_in(REQUEST)
    await world.until_lane("logon", LaneStage.AT_CA)
    await world.officer_says("no")

    assert await world.handle.result() is Stage.REJECTED
    mail = next(x for x in world.records.view.state.lanes if x.plan.lane == "mail")
    assert mail.stage is LaneStage.CANCELLED
    await world.afterwork()
    assert world.ca.revoked == {mail.serial_number: "cessationOfOperation"}


async def test_cancelling_revokes_what_was_issued_and_owes_the_new_key(world: World) -> None:
    await world.open(a_policy(an_entry("logon", F)))
    await world.visit()
    view = await world.until_lane("logon", LaneStage.AWAITING_CERTIFICATE_FORM)
    await world.act(cancelling(world))

    assert await world.handle.result() is Stage.CANCELLED
    await world.afterwork()
    serial = view.state.lanes[0].serial_number
    assert world.ca.revoked == {serial: "cessationOfOperation"}
    assert len(world.records.of(EventKind.DEBTS_RECORDED)[0].refs) == 1
    assert world.agent.removed == []
    assert world.records.mails[-1] is MailKind.CANCELLED


async def test_a_cancelled_request_is_withdrawn_at_the_ca(world: World) -> None:
    await world.open(a_policy(an_entry("logon")), officers=("logon",))
    await world.visit()
    await world.until_lane("logon", LaneStage.AT_CA)
    await world.act(cancelling(world, OPERATOR, Role.OPERATOR))

    assert await world.handle.result() is Stage.CANCELLED
    await world.afterwork()
    assert world.ca.withdrawn == [f"{world.update.update_id}:1:logon"]


async def test_an_update_that_never_saw_the_card_owes_nothing(world: World) -> None:
    await world.open(a_policy())
    await world.act(cancelling(world))

    assert await world.handle.result() is Stage.CANCELLED
    assert world.records.of(EventKind.DEBTS_RECORDED) == []


async def test_the_policy_can_keep_holders_from_cancelling(world: World) -> None:
    await world.open(a_policy(permissions=Permissions(cancel=False)))
    assert "Ask the service desk" in await world.refused(cancelling(world))
    await world.act(cancelling(world, OPERATOR, Role.OPERATOR))
    assert await world.handle.result() is Stage.CANCELLED


async def test_a_restart_is_possible_at_once_and_its_visit_pays_the_debts(world: World) -> None:
    await world.open(a_policy(an_entry("logon", F)))
    await world.visit()
    await world.until_lane("logon", LaneStage.AWAITING_CERTIFICATE_FORM)
    await world.act(cancelling(world))
    await world.handle.result()
    debts = world.records.of(EventKind.DEBTS_RECORDED)[0].refs

    await world.open(a_policy(), debts=debts)
    await world.act(continuing(world.update))
    assert await world.handle.result() is Stage.COMPLETED
    assert world.records.of(EventKind.DEBTS_PAID)[0].refs == debts
    assert world.agent.removed[0] == debts[0].cka_id


async def test_reminders_escalation_and_the_deadline_come_by_themselves(
    patient_world: World,
) -> None:
    world = patient_world
    policy = a_policy(an_entry("logon", R), reminder_hours=48, escalation_hours=240)
    await world.open(policy, officers=("logon",))
    await world.visit()

    assert await world.handle.result() is Stage.LAPSED
    opened = world.update.opened_at
    hours = [
        round((e.at - opened) / timedelta(hours=1)) for e in world.records.of(EventKind.REMINDER)
    ]
    assert hours == list(range(48, 720, 48))
    assert {e.facts["party"] for e in world.records.of(EventKind.REMINDER)} == {"holder"}
    assert [
        e.at >= opened + timedelta(hours=240) for e in world.records.of(EventKind.ESCALATION)
    ] == [True]
    lapsed = world.records.of(EventKind.LAPSED)[0]
    assert lapsed.at >= opened + timedelta(hours=720)
    assert world.records.view.state.lanes[0].stage is LaneStage.LAPSED


async def test_clearing_removes_what_is_ours_and_revokes_it(world: World) -> None:
    await world.open(a_policy())
    await world.act(cancelling(world))
    await world.handle.result()

    await world.begin(to_clear(world.update))
    await world.act(continuing(world.update))
    assert await world.handle.result() is Stage.COMPLETED
    await world.afterwork()
    assert [job.kind for job in world.agent.jobs] == ["clear"]
    assert world.ca.revoked == {"old-logon": "cessationOfOperation"}
    assert len(world.records.of(EventKind.CARD_CLEARED)) == 1


async def test_a_start_that_was_not_signed_by_us_gets_nowhere(world: World) -> None:
    world.records.refuse = ("the start was not signed by this organisation",)
    await world.open(a_policy())
    await world.until_failed("not signed")
    assert world.records.events == []


async def test_a_hand_made_start_cannot_bring_a_state_along(world: World) -> None:
    await world.open(a_policy(an_entry("logon", F)))
    await world.visit()
    view = await world.until_lane("logon", LaneStage.AWAITING_CERTIFICATE_FORM)
    await world.act(cancelling(world))
    await world.handle.result()

    opened = len(world.records.opened)
    await world.begin(replace(world.update, resumed=view.state))
    await world.until_failed("cannot begin with a state")
    assert len(world.records.opened) == opened


async def test_a_state_goes_on_only_if_the_register_vouches_for_it(world: World) -> None:
    await world.open(a_policy(an_entry("logon", F)))
    await world.visit()
    view = await world.until_lane("logon", LaneStage.AWAITING_CERTIFICATE_FORM)
    await world.handle.terminate()

    state = replace(view.state, resumption="a token that the register judges")
    world.records.refuse = ("the state is not the one that was vouched for",)
    await world.begin(replace(world.update, resumed=state))
    await world.until_failed("not the one that was vouched for")
    world.records.refuse = ()
    await world.begin(replace(world.update, resumed=state))
    await world.hand_in(CERTIFICATE)
    await world.decide(Verdict.APPROVE)
    await world.visit()
    assert await world.handle.result() is Stage.COMPLETED
    assert len(world.ca.issued) == 1
    (resumed,) = world.records.of(EventKind.RESUMED)
    assert resumed.token == state.resumption
    assert resumed.number > view.state.events  # what was on record keeps its numbers


async def test_after_a_decision_the_document_stands(world: World) -> None:
    await world.open(a_policy(an_entry("logon", F)))
    await world.visit()
    await world.until_lane("logon", LaneStage.AWAITING_CERTIFICATE_FORM)
    await world.hand_in(CERTIFICATE)
    await world.decide(Verdict.APPROVE)
    withdrawal = an_action(world.update, Act.WITHDRAW_DOCUMENT, HOLDER, Role.HOLDER, lane="logon")
    assert "no document under check" in await world.refused(withdrawal)
