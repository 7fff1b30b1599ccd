"""A form signed with the card: a visit of its own, and what the update makes of the findings."""

from dataclasses import replace

import pytest

from cardflow.jobs import OUTCOME_WORDS, Outcome
from cardflow.model import (
    DocumentKind,
    EventKind,
    FormSignature,
    LaneStage,
    MailKind,
    Mode,
    Policy,
    SignatureFound,
    Stage,
    Verdict,
)
from tests.build import a_policy, an_entry, continuing, signing
from tests.workflows.conftest import World

REQUEST, CERTIFICATE = DocumentKind.REQUEST_FORM, DocumentKind.CERTIFICATE_FORM
GOOD, DOUBTFUL = SignatureFound.GOOD, SignatureFound.DOUBTFUL


def a_signed_policy(mode: Mode = Mode.REQUEST_FORM, **changes: object) -> Policy:
    ways = {
        "request_form_signature": FormSignature.EITHER,
        "certificate_form_signature": FormSignature.ELECTRONIC,
    }
    return a_policy(an_entry("logon", mode, **(ways | changes)))


async def test_a_visit_that_signs_does_nothing_else_at_the_card(world: World) -> None:
    await world.open(a_signed_policy(precheck=True))
    await world.visit()
    view = await world.sign(REQUEST, GOOD)

    assert view.state.lanes[0].stage is LaneStage.CHECKING_REQUEST_FORM
    (job,) = world.agent.signed
    assert (job.sha256, job.signer.certificate_sha256) == ("f0" * 32, "ce" * 32)
    assert (job.card.kind, job.card.opens_visit, job.card.hold_seconds) == (
        "sign_document",
        True,
        0,
    )
    assert [job.kind for job in world.agent.jobs] == ["prepare", "sign_document"]

    await world.decide(Verdict.APPROVE)
    await world.until_lane("logon", LaneStage.READY)
    await world.act(continuing(world.update))
    assert await world.handle.result() is Stage.COMPLETED
    started = world.records.of(EventKind.VISIT_STARTED)[1]
    assert (started.lane, started.facts["signs"]) == ("logon", "request_form")
    (received,) = world.records.of(EventKind.DOCUMENT_RECEIVED)
    assert (received.facts["means"], received.facts["signature"]) == ("electronic", "good")


async def test_a_policy_may_approve_good_signatures_by_itself(world: World) -> None:
    await world.open(a_signed_policy(Mode.BOTH, precheck=True, approve_signed=True))
    await world.visit()
    await world.sign(REQUEST, GOOD)
    await world.until_lane("logon", LaneStage.AWAITING_CERTIFICATE_FORM)
    await world.sign(CERTIFICATE, GOOD)
    await world.act(continuing(world.update))

    assert await world.handle.result() is Stage.COMPLETED
    approvals = world.records.of(EventKind.DOCUMENT_APPROVED)
    assert [(event.actor, event.token) for event in approvals] == [("", ""), ("", "")]
    assert MailKind.DOCUMENT_RECEIVED not in world.records.mails
    assert world.records.mails.count(MailKind.DOCUMENT_APPROVED) == 1
    assert MailKind.READY_TO_CONTINUE in world.records.mails


async def test_a_doubtful_signature_waits_for_a_person_whatever_the_policy_says(
    world: World,
) -> None:
    await world.open(a_signed_policy(approve_signed=True))
    await world.visit()
    view = await world.sign(REQUEST, DOUBTFUL)
    assert view.state.lanes[0].stage is LaneStage.CHECKING_REQUEST_FORM

    await world.decide(Verdict.REJECT, reason="signed by somebody else")
    await world.sign(REQUEST, GOOD)
    await world.until_lane("logon", LaneStage.READY)
    await world.act(continuing(world.update))
    assert await world.handle.result() is Stage.COMPLETED


async def test_an_operator_is_told_when_the_policy_was_first(world: World) -> None:
    await world.open(a_signed_policy(precheck=True, approve_signed=True), officers=("logon",))
    await world.visit()
    await world.sign(REQUEST, GOOD)
    (approved,) = world.records.of(EventKind.DOCUMENT_APPROVED)
    view = await world.view()

    assert "the policy approved" in view.state.decisions[approved.facts["digest"]]


@pytest.mark.parametrize("outcome", [Outcome.DOCUMENT_REFUSED, Outcome.SIGNER_MISSING])
async def test_a_visit_that_signs_nothing_leaves_the_lane_where_it_was(
    world: World, outcome: Outcome
) -> None:
    await world.open(a_signed_policy(precheck=True))
    await world.visit()
    world.agent.outcomes["sign_document"] = outcome
    view = await world.sign(REQUEST, GOOD)

    assert view.state.last_visit == OUTCOME_WORDS[outcome]
    assert view.state.lanes[0].stage is LaneStage.AWAITING_REQUEST_FORM


async def test_a_visit_that_signs_excludes_other_visits(world: World) -> None:
    await world.open(a_signed_policy(precheck=True))
    await world.visit()
    click = signing(world.update, "logon", REQUEST)
    nowhere = replace(click.visit, agent_id="absent", seconds=5)  # type: ignore[type-var]
    await world.act(replace(click, visit=nowhere))

    why = await world.refused(continuing(world.update))
    assert "the operation is already running at the workstation" in why
    again = await world.refused(signing(world.update, "logon", REQUEST))
    assert again == "the operation is already running at the workstation"
    view = await world.until(lambda view: view.state.visit is None)
    assert "did not finish in time" in view.state.last_visit


async def test_a_paper_form_is_not_signed_with_the_card(world: World) -> None:
    await world.open(a_policy(an_entry("logon", Mode.REQUEST_FORM)))
    await world.visit()

    assert "signed on paper" in await world.refused(signing(world.update, "logon", REQUEST))
