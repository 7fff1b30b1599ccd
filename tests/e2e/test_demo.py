"""The demo, with a restart in the middle: proven when all is well, and caught when it is not."""

from functools import partial

import pytest

from cli.demo import prove
from cli.demo_setup import Scene, beside, put_rules_in_force, start_agent, started
from cli.demo_update import begin, finish, swap

pytestmark = [pytest.mark.e2e, pytest.mark.softhsm, pytest.mark.xdist_group("demo")]
CAUGHT_BY = ["certificates as issued", "the key on the card fits"]


async def test_an_update_in_mode_rf_goes_on_after_a_restart_and_its_proofs_cannot_be_fooled(
    scene: Scene,
) -> None:
    async with started(scene) as supervisor:
        await start_agent(scene, supervisor)
        await beside(supervisor, partial(put_rules_in_force, scene))
        begun = await beside(supervisor, partial(begin, scene))

    async with started(scene) as supervisor:
        await start_agent(scene, supervisor)
        case = await beside(supervisor, partial(finish, scene, begun))
        honest = await beside(supervisor, partial(prove, scene, case))
        right = scene.state.card.certificate(case.new[0].cka_id)
        await beside(supervisor, partial(swap, scene, case))
        broken = await beside(supervisor, partial(prove, scene, case))
        scene.state.card.swap_certificate(case.new[0].cka_id, right)

    assert [(proof.claim, proof.said) for proof in honest if not proof.holds] == []
    assert len(honest) == 11
    assert [proof.claim for proof in broken if not proof.holds] == CAUGHT_BY
    assert len(case.documents) == 2
