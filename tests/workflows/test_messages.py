"""Only signed actions count, each once; failures at the CA wait for an operator."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from cardflow import decisions
from cardflow.model import (
    Act,
    DocumentKind,
    EventKind,
    LaneStage,
    Means,
    Mode,
    Reply,
    Role,
    Stage,
    Verdict,
)
from tests.build import (
    HOLDER,
    OPERATOR,
    OPERATOR_2,
    a_policy,
    an_action,
    an_entry,
    continuing,
    deciding,
    handing_in,
    root,
    signer,
)
from tests.workflows.conftest import World
from workflows.card_update import ACT

CERTIFICATE = DocumentKind.CERTIFICATE_FORM
F = Mode.CERTIFICATE_FORM


async def checking(world: World) -> None:
    """Bring an update to where an operator decides on the certificate form."""
    await world.open(a_policy(an_entry("logon", F)))
    await world.visit()
    await world.until_lane("logon", LaneStage.AWAITING_CERTIFICATE_FORM)
    await world.hand_in(CERTIFICATE)


async def test_a_hand_made_update_is_refused_and_leaves_no_event(world: World) -> None:
    await checking(world)
    before = len((await world.handle.fetch_history()).events)
    decision = deciding(world.update, await world.view(), "logon", Verdict.APPROVE)
    stranger = decisions.issue_signer(Ed25519PrivateKey.generate(), now=datetime.now(UTC))

    assert "does not belong" in await world.refused_token(stranger.sign(decision))
    assert "no token" in await world.refused_token("approve")
    for part in ("header", "claims", "signature"):
        assert await world.refused_token(tampered(signer().sign(decision), part))
    kinds = [e.event_type for e in (await world.handle.fetch_history()).events[before:]]
    assert not {"UPDATE"} & {str(kind) for kind in kinds}
    assert (await world.view()).state.lanes[0].stage is LaneStage.CHECKING_CERTIFICATE_FORM


def tampered(token: str, part: str) -> str:
    """Return the token with one character of one part changed."""
    header, claims, signature = token.split(".")
    change = {"header": header, "claims": claims, "signature": signature}
    old = change[part]
    change[part] = old[:40] + ("A" if old[40] != "A" else "B") + old[41:]
    return f"{change['header']}.{change['claims']}.{change['signature']}"


async def test_a_hand_made_signal_changes_nothing_and_is_put_on_record(world: World) -> None:
    await checking(world)
    await world.handle.signal("act", "approve it, please")
    await world.handle.signal("act", {"approve": True})
    view = await world.until(lambda _: len(world.records.of(EventKind.MESSAGE_REFUSED)) >= 1)
    assert view.state.lanes[0].stage is LaneStage.CHECKING_CERTIFICATE_FORM


async def test_a_signed_signal_counts_like_an_update(world: World) -> None:
    await checking(world)
    decision = deciding(world.update, await world.view(), "logon", Verdict.APPROVE)
    await world.handle.signal(ACT, signer().sign(decision))
    assert (await world.until_lane("logon", LaneStage.READY)).stage is Stage.READY


async def test_a_new_signing_key_counts_for_what_is_open_and_a_retired_one_for_nothing_new(
    world: World,
) -> None:
    await checking(world)
    decision = deciding(world.update, await world.view(), "logon", Verdict.APPROVE)
    now = datetime.now(UTC)
    retired = decisions.issue_signer(root(), now=now - timedelta(days=398))
    new = decisions.issue_signer(root(), now=now, days=36_500)

    assert "was not valid" in await world.refused_token(retired.sign(decision))
    back = replace(decision, at=now - timedelta(days=100))
    assert "has ended" in await world.refused_token(retired.sign(back))  # while it was valid
    await world.handle.signal(ACT, retired.sign(back))
    await world.until(lambda _: world.records.of(EventKind.MESSAGE_REFUSED))
    reply = await world.handle.execute_update(ACT, new.sign(decision), result_type=Reply)
    assert reply.message == "the document was approved"


async def test_the_same_action_counts_once(world: World) -> None:
    await checking(world)
    decision = deciding(world.update, await world.view(), "logon", Verdict.APPROVE)
    token = signer().sign(decision)
    first = await world.act(decision)
    for again in ("a", "b"):
        reply = await world.handle.execute_update(ACT, token, id=again, result_type=Reply)
        assert (reply.message, reply.action_id) == (first.message, decision.id)
    assert len(world.records.of(EventKind.DOCUMENT_APPROVED)) == 1


async def test_the_later_decision_is_told_who_won(world: World) -> None:
    await checking(world)
    view = await world.view()
    await world.act(deciding(world.update, view, "logon", Verdict.APPROVE))
    late = deciding(world.update, view, "logon", Verdict.REJECT, by=OPERATOR_2, reason="no")
    assert await world.refused(late) == (
        f"too late: {(await world.view()).state.decisions[late.digest]}"
    )
    assert OPERATOR in (await world.view()).state.decisions[late.digest]


async def test_a_new_upload_voids_what_was_shown(world: World) -> None:
    await checking(world)
    shown = deciding(world.update, await world.view(), "logon", Verdict.APPROVE)
    await world.hand_in(CERTIFICATE)
    assert "document changed" in await world.refused(shown)
    assert world.records.of(EventKind.DOCUMENT_RECEIVED)[-1].facts["replaces"]


async def test_a_holder_takes_a_document_back(world: World) -> None:
    await checking(world)
    await world.act(
        an_action(world.update, Act.WITHDRAW_DOCUMENT, HOLDER, Role.HOLDER, lane="logon")
    )
    assert (await world.view()).state.lanes[0].stage is LaneStage.AWAITING_CERTIFICATE_FORM


async def test_an_operator_records_what_came_by_post(world: World) -> None:
    await world.open(a_policy(an_entry("logon", F)))
    await world.visit()
    await world.until_lane("logon", LaneStage.AWAITING_CERTIFICATE_FORM)
    await world.act(handing_in(world.update, "logon", CERTIFICATE, means=Means.POST))
    await world.decide(Verdict.APPROVE, by=OPERATOR_2)
    assert world.records.of(EventKind.DOCUMENT_RECEIVED)[0].facts["means"] == "post"


async def test_the_ca_may_be_away_for_a_while(
    patient_world: World,
) -> None:
    world = patient_world
    world.ca.down = 3
    await world.open(a_policy())
    await world.act(continuing(world.update))
    assert await world.handle.result() is Stage.COMPLETED
    assert len(world.ca.issued) == 1


async def test_what_the_ca_refuses_waits_for_an_operator_and_is_tried_again(world: World) -> None:
    world.ca.refuse = "profile unknown"
    await world.open(a_policy())
    view = await world.visit()
    assert view.stage is Stage.NEEDS_ATTENTION
    assert view.state.lanes[0].attention.startswith("profile unknown")

    world.ca.refuse = ""
    await world.act(an_action(world.update, Act.RETRY, OPERATOR, Role.OPERATOR))
    await world.until_lane("logon", LaneStage.READY)
    await world.act(continuing(world.update))
    assert await world.handle.result() is Stage.COMPLETED
    assert len(world.ca.issued) == 1


async def test_a_ca_without_officers_nudge_is_polled_on_schedule(
    patient_world: World,
) -> None:
    world = patient_world
    await world.open(a_policy(), officers=("logon",))
    await world.visit()
    world.ca.verdicts["logon"] = "yes"
    await world.env.sleep(timedelta(hours=1))
    await world.until_lane("logon", LaneStage.READY)
    assert world.ca.polls >= 1


async def test_mail_that_cannot_go_is_handed_on_and_blocks_nothing(world: World) -> None:
    world.records.unsent = ("mail-1",)
    await world.open(a_policy())
    await world.act(continuing(world.update))
    assert await world.handle.result() is Stage.COMPLETED
    last = world.records.events[-1].number
    await world.client.get_workflow_handle(f"mail/{world.update.update_id}/{last}").result()
    assert "mail-1" in world.mail.delivered


async def test_a_long_life_continues_as_new_and_forgets_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cardflow.temporal.limits.EVENTS_PER_RUN", 60)
    await checking(world)
    decision = deciding(world.update, await world.view(), "logon", Verdict.REJECT, reason="blurred")
    await world.act(decision)
    for _ in range(8):
        await world.hand_in(CERTIFICATE)
    first_run = world.handle.first_execution_run_id
    await world.until_new_run(first_run)

    reply = await world.handle.execute_update(ACT, signer().sign(decision), result_type=Reply)
    assert "rejected" in reply.message
    await world.decide(Verdict.APPROVE)
    await world.act(continuing(world.update))
    assert await world.handle.result() is Stage.COMPLETED
    numbers = [event.number for event in world.records.events]
    assert numbers == list(range(1, len(numbers) + 1))


async def test_an_ended_update_says_so(world: World) -> None:
    await world.open(a_policy())
    await world.act(an_action(world.update, Act.CANCEL, HOLDER, Role.HOLDER))
    await world.handle.result()
    with pytest.raises(Exception, match=r"completed|not found"):
        await world.act(continuing(world.update))
