"""Contradictory decisions at once: one wins, and the loser is told who."""

import asyncio

import pytest
from temporalio.client import WorkflowUpdateFailedError

from cardflow.model import Act, DocumentKind, LaneStage, Mode, Role, Verdict
from tests.build import HOLDER, OPERATOR, OPERATOR_2, a_policy, an_action, an_entry, deciding
from tests.workflows.conftest import World

LANES = 20


async def race(world: World, lane: str) -> str:
    """Let one operator approve and the other reject; return who won."""
    view = await world.view()
    decisions = {
        OPERATOR: deciding(world.update, view, lane, Verdict.APPROVE),
        OPERATOR_2: deciding(world.update, view, lane, Verdict.REJECT, by=OPERATOR_2, reason="no"),
    }
    first = list(decisions)[hash(lane) % 2]
    order = [first, *(who for who in decisions if who != first)]
    answers = dict(
        zip(
            order,
            await asyncio.gather(
                *(world.act(decisions[who]) for who in order), return_exceptions=True
            ),
            strict=True,
        )
    )
    lost = {who: no for who, no in answers.items() if isinstance(no, WorkflowUpdateFailedError)}
    (winner,) = set(answers) - set(lost)
    (told,) = lost.values()
    done = "approved" if winner == OPERATOR else "rejected"
    assert f"too late: {winner} {done}" in told.cause.message
    stage = next(x.stage for x in (await world.view()).state.lanes if x.plan.lane == lane)
    approved, again = LaneStage.READY, LaneStage.AWAITING_CERTIFICATE_FORM
    assert stage is (approved if winner == OPERATOR else again)
    return winner


@pytest.mark.parametrize("updates", [1, pytest.param(10, marks=pytest.mark.slow)])
async def test_each_of_many_races_has_one_winner(world: World, updates: int) -> None:
    raced = 0
    for _ in range(updates):
        lanes = [f"lane-{n}" for n in range(LANES)]
        await world.open(a_policy(*(an_entry(x, Mode.CERTIFICATE_FORM) for x in lanes)))
        await world.visit()
        for lane in lanes:
            await world.until_lane(lane, LaneStage.AWAITING_CERTIFICATE_FORM)
            await world.hand_in(DocumentKind.CERTIFICATE_FORM, lane)
            assert await race(world, lane) in (OPERATOR, OPERATOR_2)
            raced += 1
        await world.act(an_action(world.update, Act.CANCEL, HOLDER, Role.HOLDER))
        await world.handle.result()
    assert raced == updates * LANES
    world.started.clear()  # a race is no history that could be recorded twice
