"""`cardflow demo`: one complete card update on real components, and proofs that it happened."""

from functools import partial
from pathlib import Path

from rich.console import Console

from cardflow.temporal.ending import run_and_exit
from cli.demo_people import Cast
from cli.demo_proofs import CaseFile, Proof, Witness, table_of
from cli.demo_setup import Scene, beside, put_rules_in_force, set_stage, start_agent, started
from cli.demo_state import fresh
from cli.demo_story import Story
from cli.demo_update import begin, finish, swap
from cli.up import until_told_to_end

STATE = Path("var/demo")


def demo(*, broken: bool = False, state: Path = STATE) -> None:
    """Run one complete card update on real components, and prove it with other people's tools.

    Everything starts on this machine in a fresh state directory, and ends with the demo. People act
    through the public API; the card is a SoftHSM token. The demo stands in for a person's hands
    only: a PIN prompt that types by itself, and a scan made from the printed form.

    Parameters
    ----------
    broken
        Swap another certificate in before the proofs: they must notice, and the demo must fail.
    state
        Where the demo keeps its state; an older demo's state there is wiped.
    """
    run_and_exit(until_told_to_end(tell(state, Story(Console(highlight=False)), broken=broken)))


async def tell(directory: Path, story: Story, *, broken: bool) -> int:
    """Tell the whole story and return the exit code."""
    state = fresh(directory)
    scene = Scene(state, Cast(state), story)
    await set_stage(scene)
    story.chapter("Today: the certificate is about to expire, and the real rules are in force")
    async with started(scene) as supervisor:
        await start_agent(scene, supervisor)
        await beside(supervisor, partial(put_rules_in_force, scene))
        begun = await beside(supervisor, partial(begin, scene))
        case = await beside(supervisor, partial(finish, scene, begun))
        if broken:
            await beside(supervisor, partial(swap, scene, case))
        proofs = await beside(supervisor, partial(prove, scene, case))
    scene.cast.close()
    return _conclude(scene, proofs)


def prove(scene: Scene, case: CaseFile) -> list[Proof]:
    """Return what other people's programs say."""
    scene.story.chapter("Proofs, by programs that are not ours")
    with scene.story.step("Observer", "asks pkcs11-tool, openssl, sha256sum, grep, temporal"):
        return list(Witness(scene.state, case).testify())


def _conclude(scene: Scene, proofs: list[Proof]) -> int:
    failed = [proof for proof in proofs if not proof.holds]
    if console := scene.story.console:
        console.print(table_of(proofs))
        words = f"{len(failed)} proofs failed" if failed else "every proof holds"
        console.print(f"\n{words}; {scene.story.seconds:.0f} s; state: {scene.state.directory}")
    return 1 if failed else 0
