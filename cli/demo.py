"""`cardflow demo`: one complete card update on real components, and proofs that it happened."""

from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import Any

from rich.console import Console

from cardflow.model import Stage
from cardflow.temporal.ending import run_and_exit
from cli.demo_card import BADGE_ID
from cli.demo_people import OPERATOR, Cast
from cli.demo_proofs import CaseFile, Exhibit, Witness, sha256sum, table_of
from cli.demo_setup import (
    Scene,
    beside,
    card_of,
    put_rules_in_force,
    set_stage,
    start_agent,
    started,
)
from cli.demo_state import fresh
from cli.demo_steps import Turns, UpdateRun
from cli.demo_story import Story
from cli.up import until_told_to_end

STATE = Path("var/demo")
OPTIONAL = "document-signing"
SENT_BACK = "smart-card-logon"
WHY = "the signature is on the wrong line"
SUBJECTS = (
    "Card update operation started",
    "Document needed",
    "Document received",
    "Document rejected",
    "Document approved",
    "Card update operation approved",
    "Card update operation completed",
)


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
        case = await beside(supervisor, partial(update_card, scene))
        if broken:
            await beside(supervisor, partial(_swap, scene, case))
        code = await beside(supervisor, partial(_prove, scene, case))
    scene.cast.close()
    return code


def update_card(scene: Scene) -> CaseFile:
    """The card is updated in mode RF, from the plan to the retired old pair."""
    story, run = scene.story, UpdateRun(scene.cast, card_of(scene)["id"], scene.story)
    before = run.contents(itemgetter("managed"))
    old, badge = before["managed"][0], before["third_party"][0]
    kept = _seen_before(scene, old)
    chosen = {"optional": [OPTIONAL], "third_party": [badge["sha256"]]}
    with story.step("Hanna", "looks at what an update would do") as told:
        plan = run.plan(**chosen)["plan"]
        told.say("; ".join(f"{lane['lane']}: {lane['why']}" for lane in plan["lanes"]))
    with story.step("Hanna", "updates the card: PIN, new keys on the card, requests") as told:
        opened = run.open(**chosen)
        view = run.until_stage(Stage.PENDING)
        told.say(_visit_words(opened))
    story.chapter(f"Waiting for people: update {view['id']}")
    turns = Turns(run, send_back={SENT_BACK: WHY})
    turns.until_ready()
    story.chapter("Ready: Hanna continues")
    with story.step("Hanna", "continues: PIN, write, read back, prove, retire the old pair"):
        run.continue_()
        run.until_stage(Stage.COMPLETED)
    return _case(run, scene, kept)


def _seen_before(scene: Scene, old: dict[str, Any]) -> dict[str, Any]:
    card, room = scene.state.card, scene.state.directory
    cka_id = old["cka_id"]
    with scene.story.step("Observer", "reads the card before the update, by pkcs11-tool"):
        (room / "badge-before.der").write_bytes(card.certificate(BADGE_ID))
        return {
            "old": Exhibit("old", cka_id, old["serial_number"]),
            "old_certificate": card.certificate(cka_id),
            "badge_sha256": sha256sum(room / "badge-before.der"),
        }


def _case(run: UpdateRun, scene: Scene, kept: dict[str, Any]) -> CaseFile:
    wanted = {lane["serial_number"] for lane in run.view()["lanes"]}
    found = run.contents(lambda found: wanted == {c["serial_number"] for c in found["managed"]})
    managed = found["managed"]
    new = [Exhibit(x["profile"], x["cka_id"], x["serial_number"]) for x in managed]
    items = scene.cast.api(OPERATOR).items(f"/updates/{run.update_id}/documents")
    documents = [x["sha256"] for x in items if _is_of_dispute(x)]
    return CaseFile(run.card_id, tuple(new), documents=tuple(documents), subjects=SUBJECTS, **kept)


def _is_of_dispute(document: dict[str, Any]) -> bool:
    came_in = document["direction"] == "received" and document["kind"] == "request_form"
    return bool(came_in and document["lane"] == SENT_BACK)


def _visit_words(opened: dict[str, Any]) -> str:
    visit = opened.get("visit") or {}
    return f"code {visit['code']}, the same in the PIN prompt" if visit.get("code") else ""


def _swap(scene: Scene, case: CaseFile) -> None:
    """The first lane's certificate is another one now: valid, of the same CA, for another key."""
    scene.story.chapter("Broken on purpose")
    card, (first, second, *_) = scene.state.card, case.new
    with scene.story.step("Somebody", f"files the certificate of {second.lane} under {first.lane}"):
        card.swap_certificate(first.cka_id, card.certificate(second.cka_id))


def _prove(scene: Scene, case: CaseFile) -> int:
    scene.story.chapter("Proofs, by programs that are not ours")
    proofs = []
    with scene.story.step("Observer", "asks pkcs11-tool, openssl, sha256sum, grep, temporal"):
        proofs = list(Witness(scene.state, case).testify())
    if console := scene.story.console:
        console.print(table_of(proofs))
        failed = [proof.claim for proof in proofs if not proof.holds]
        words = f"{len(failed)} proofs failed" if failed else "every proof holds"
        console.print(f"\n{words}; {scene.story.seconds:.0f} s; state: {scene.state.directory}")
    return 0 if all(proof.holds for proof in proofs) else 1
