"""Every mode from the click to the certificate on the card, with the mails that go with it."""

from dataclasses import replace

from cardflow.model import (
    DocumentKind,
    EventKind,
    LaneStage,
    MailKind,
    Mode,
    Role,
    Stage,
    Verdict,
)
from tests.build import (
    HOLDER,
    OPERATOR,
    OPERATOR_2,
    a_policy,
    an_entry,
    continuing,
    deciding,
)
from tests.workflows.conftest import World

REQUEST, CERTIFICATE = DocumentKind.REQUEST_FORM, DocumentKind.CERTIFICATE_FORM


async def test_without_forms_one_visit_does_it_all(world: World) -> None:
    await world.open(a_policy())
    await world.act(continuing(world.update))

    assert await world.handle.result() is Stage.COMPLETED
    assert [job.kind for job in world.agent.jobs] == ["prepare", "write", "clean_up"]
    assert [job.opens_visit for job in world.agent.jobs] == [True, False, False]
    assert world.records.mails == [MailKind.OPERATION_STARTED, MailKind.COMPLETED]
    await world.afterwork()
    assert world.ca.revoked == {"old-logon": "superseded"}


async def test_a_request_form_goes_to_the_ca_without_precheck(world: World) -> None:
    await world.open(a_policy(an_entry("logon", Mode.REQUEST_FORM)), officers=("logon",))
    view = await world.visit()
    assert view.stage is Stage.PENDING

    await world.hand_in(REQUEST)
    await world.until_lane("logon", LaneStage.AT_CA)
    await world.officer_says("yes")
    await world.until_lane("logon", LaneStage.READY)
    await world.act(continuing(world.update))

    assert await world.handle.result() is Stage.COMPLETED
    assert world.records.mails == [
        MailKind.OPERATION_STARTED,
        MailKind.DOCUMENT_NEEDED,
        MailKind.UPDATE_APPROVED,
        MailKind.COMPLETED,
    ]
    assert [e.ready for e in world.records.of(EventKind.CERTIFICATE_ISSUED)] == [True]


async def test_a_precheck_stands_between_the_request_form_and_the_ca(world: World) -> None:
    await world.open(
        a_policy(an_entry("logon", Mode.REQUEST_FORM, precheck=True)), officers=("logon",)
    )
    await world.visit()
    await world.hand_in(REQUEST)
    assert world.ca.submissions == []

    await world.decide(Verdict.APPROVE)
    await world.until_lane("logon", LaneStage.AT_CA)
    await world.officer_says("yes")
    await world.until_lane("logon", LaneStage.READY)
    assert MailKind.DOCUMENT_RECEIVED in world.records.mails
    assert MailKind.DOCUMENT_APPROVED not in world.records.mails


async def test_a_certificate_form_is_decided_after_the_ca_issued(world: World) -> None:
    await world.open(a_policy(an_entry("logon", Mode.CERTIFICATE_FORM)))
    await world.visit()
    await world.until_lane("logon", LaneStage.AWAITING_CERTIFICATE_FORM)

    await world.hand_in(CERTIFICATE)
    await world.decide(Verdict.APPROVE)
    view = await world.view()
    assert view.stage is Stage.READY
    await world.act(continuing(world.update))

    assert await world.handle.result() is Stage.COMPLETED
    assert world.records.mails == [
        MailKind.OPERATION_STARTED,
        MailKind.DOCUMENT_NEEDED,
        MailKind.DOCUMENT_RECEIVED,
        MailKind.DOCUMENT_APPROVED,
        MailKind.COMPLETED,
    ]
    assert [e.ready for e in world.records.of(EventKind.DOCUMENT_APPROVED)] == [True]


async def test_both_forms_in_their_order_with_both_mails(world: World) -> None:
    await world.open(a_policy(an_entry("logon", Mode.BOTH, precheck=True)), officers=("logon",))
    await world.visit()
    await world.hand_in(REQUEST)
    await world.decide(Verdict.APPROVE)
    await world.until_lane("logon", LaneStage.AT_CA)
    await world.officer_says("yes")
    await world.until_lane("logon", LaneStage.AWAITING_CERTIFICATE_FORM)
    await world.hand_in(CERTIFICATE)
    await world.decide(Verdict.APPROVE)
    await world.act(continuing(world.update))

    assert await world.handle.result() is Stage.COMPLETED
    assert world.records.mails == [
        MailKind.OPERATION_STARTED,
        MailKind.DOCUMENT_NEEDED,
        MailKind.DOCUMENT_RECEIVED,
        MailKind.UPDATE_APPROVED,
        MailKind.DOCUMENT_RECEIVED,
        MailKind.DOCUMENT_APPROVED,
        MailKind.COMPLETED,
    ]


async def test_a_rejected_document_comes_again_as_often_as_it_takes(world: World) -> None:
    await world.open(a_policy(an_entry("logon", Mode.CERTIFICATE_FORM)))
    await world.visit()
    await world.until_lane("logon", LaneStage.AWAITING_CERTIFICATE_FORM)
    for reason in ("not signed", "page missing"):
        await world.hand_in(CERTIFICATE)
        await world.decide(Verdict.REJECT, reason=reason)
        lane = (await world.view()).state.lanes[0]
        assert (lane.stage, lane.reason) == (LaneStage.AWAITING_CERTIFICATE_FORM, reason)
    await world.hand_in(CERTIFICATE)
    await world.decide(Verdict.APPROVE)

    assert (await world.view()).stage is Stage.READY
    assert world.ca.submissions == [f"{world.update.update_id}:1:logon"]


async def test_a_quorum_needs_distinct_people(world: World) -> None:
    await world.open(a_policy(an_entry("logon", Mode.CERTIFICATE_FORM, approvals_needed=2)))
    await world.visit()
    await world.until_lane("logon", LaneStage.AWAITING_CERTIFICATE_FORM)
    await world.hand_in(CERTIFICATE)
    await world.decide(Verdict.APPROVE)

    again = deciding(world.update, await world.view(), "logon", Verdict.APPROVE)
    assert "already approved" in await world.refused(again)
    await world.decide(Verdict.APPROVE, by=OPERATOR_2)
    assert (await world.view()).stage is Stage.READY


async def test_lanes_go_their_own_ways_and_are_written_together(world: World) -> None:
    policy = a_policy(an_entry("logon"), an_entry("mail", Mode.CERTIFICATE_FORM))
    await world.open(policy)
    await world.visit()
    view = await world.until_lane("mail", LaneStage.AWAITING_CERTIFICATE_FORM)
    await world.until_lane("logon", LaneStage.READY)
    assert view.stage is Stage.PENDING
    assert "nothing to do at the card" in await world.refused(continuing(world.update))

    await world.hand_in(CERTIFICATE, "mail")
    await world.decide(Verdict.APPROVE, "mail")
    await world.act(continuing(world.update))
    assert await world.handle.result() is Stage.COMPLETED
    assert len(world.records.of(EventKind.WRITTEN)) == 2
    assert world.records.mails.count(MailKind.READY_TO_CONTINUE) == 0


async def test_four_eyes_and_roles_are_kept_by_the_workflow_itself(world: World) -> None:
    await world.open(a_policy(an_entry("logon", Mode.CERTIFICATE_FORM)), started_by=OPERATOR_2)
    await world.visit()
    await world.until_lane("logon", LaneStage.AWAITING_CERTIFICATE_FORM)
    await world.hand_in(CERTIFICATE)
    view = await world.view()

    def by(who: str) -> object:
        return deciding(world.update, view, "logon", Verdict.APPROVE, by=who)

    assert "own card" in await world.refused(by(HOLDER))
    assert "own request" in await world.refused(by(OPERATOR_2))
    as_admin = deciding(world.update, view, "logon", Verdict.APPROVE, by=OPERATOR)
    assert "operators" in await world.refused(replace(as_admin, role=Role.ADMIN))
