"""At the card: every named outcome leaves the update where it was; no agent is believed."""

from dataclasses import replace
from datetime import timedelta

import pytest

from cardflow.jobs import Outcome
from cardflow.model import Act, EventKind, LaneStage, MailKind, Role, Stage
from tests.build import (
    AGENT,
    OPERATOR,
    a_policy,
    an_action,
    an_entry,
    an_old_certificate,
    continuing,
)
from tests.workflows.conftest import World

NOT_DONE = [
    x for x in Outcome if x not in (Outcome.DONE, Outcome.KEY_MISSING, Outcome.CERTIFICATE_MISMATCH)
]


@pytest.mark.parametrize("outcome", NOT_DONE)
async def test_a_visit_that_fails_names_its_state_and_is_offered_again(
    world: World, outcome: Outcome
) -> None:
    world.agent.outcomes["prepare"] = outcome
    await world.open(a_policy())
    view = await world.visit()
    assert view.stage is Stage.PREPARING
    assert view.state.last_visit

    await world.act(continuing(world.update))
    assert await world.handle.result() is Stage.COMPLETED
    first, second = world.records.of(EventKind.VISIT_ENDED)
    assert (first.facts["outcome"], second.facts["outcome"]) == (outcome, "done")
    assert world.records.of(EventKind.VISIT_STARTED)[0].facts == {"agent_id": AGENT}


async def test_a_card_pulled_before_the_write_leaves_the_old_pair_and_offers_continue(
    world: World,
) -> None:
    world.agent.outcomes["write"] = Outcome.CARD_REMOVED
    await world.open(a_policy())
    view = await world.visit()
    assert view.stage is Stage.READY
    assert world.agent.removed == []
    await world.until(lambda _: MailKind.READY_TO_CONTINUE in world.records.mails)

    await world.act(continuing(world.update))
    assert await world.handle.result() is Stage.COMPLETED
    assert len(world.ca.issued) == 1


async def test_a_card_pulled_before_the_clean_up_leaves_a_debt(world: World) -> None:
    world.agent.outcomes["clean_up"] = Outcome.CARD_REMOVED
    await world.open(a_policy())
    await world.act(continuing(world.update))
    assert await world.handle.result() is Stage.COMPLETED
    assert world.records.of(EventKind.DEBTS_RECORDED)[0].refs == world.update.plan.lanes[0].retires


async def test_a_visit_that_no_agent_takes_ends_when_its_time_is_up(world: World) -> None:
    await world.open(a_policy())
    click = continuing(world.update)
    nowhere = replace(click.visit, agent_id="absent", seconds=1)
    await world.act(replace(click, visit=nowhere))

    view = await world.until(lambda view: view.state.visit is None)
    assert view.stage is Stage.PREPARING
    assert "did not finish in time" in view.state.last_visit


@pytest.mark.parametrize("outcome", [Outcome.KEY_MISSING, Outcome.CERTIFICATE_MISMATCH])
async def test_a_lost_key_needs_an_operator(world: World, outcome: Outcome) -> None:
    world.agent.outcomes["write"] = outcome
    await world.open(a_policy())
    view = await world.visit()
    assert view.stage is Stage.NEEDS_ATTENTION
    assert view.waiting[0].party == "operator"
    assert "Cancel the update" in view.state.lanes[0].attention


async def test_an_agent_that_lies_about_writing_is_not_believed(world: World) -> None:
    world.agent.lie = True
    await world.open(a_policy())
    view = await world.visit()
    assert view.stage is Stage.NEEDS_ATTENTION
    assert "did not sign the proof" in view.state.lanes[0].attention
    assert world.records.of(EventKind.WRITTEN) == []
    assert world.agent.removed == []


async def test_retry_offers_the_write_again(world: World) -> None:
    world.agent.lie = True
    await world.open(a_policy())
    await world.visit()
    world.agent.lie = False
    await world.act(an_action(world.update, Act.RETRY, OPERATOR, Role.OPERATOR))
    await world.act(continuing(world.update))
    assert await world.handle.result() is Stage.COMPLETED


async def test_an_update_that_only_removes_needs_one_clean_up(world: World) -> None:
    now = await world.env.get_current_time()
    valid = an_old_certificate("logon", not_after=now + timedelta(days=400))
    dropped = an_old_certificate("legacy", not_after=now + timedelta(days=400))
    await world.open(a_policy(), on_card=[valid, dropped])
    await world.act(continuing(world.update))

    assert await world.handle.result() is Stage.COMPLETED
    assert [job.kind for job in world.agent.jobs] == ["clean_up"]
    assert world.agent.jobs[0].opens_visit
    assert world.agent.removed == [dropped.ref.cka_id]


async def test_an_update_that_only_registers_needs_no_card(world: World) -> None:
    await world.open(a_policy(), replacing=False, lanes=False)
    assert await world.handle.result() is Stage.COMPLETED
    assert world.agent.jobs == []


async def test_two_clicks_start_one_visit(world: World) -> None:
    await world.open(a_policy(an_entry("logon")), officers=("logon",))
    first = continuing(world.update)
    await world.act(first)
    repeat = await world.act(first)
    assert repeat.message == "enter your PIN in the window of the agent"
    await world.until_lane("logon", LaneStage.AT_CA)
    assert len(world.agent.jobs) == 1
    assert "nothing to do" in await world.refused(replace(first, id="another"))
