"""The demo's update in mode RF: begun by its holder, finished by everybody, filed for proofs."""

from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from cardflow.model import Stage
from cli.demo_card import BADGE_ID
from cli.demo_people import OPERATOR
from cli.demo_proofs import CaseFile, Exhibit, sha256sum
from cli.demo_setup import Scene, card_of
from cli.demo_steps import Stuck, Turns, UpdateRun

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


@dataclass(frozen=True)
class Begun:
    """An update that waits for people, and what was on the card before it."""

    run: UpdateRun
    old: Exhibit
    old_certificate: bytes
    badge_sha256: str


def begin(scene: Scene) -> Begun:
    """The new keys are on the card and the update waits for signatures."""
    run = UpdateRun(scene.cast, card_of(scene)["id"], scene.story)
    before = run.contents(itemgetter("managed"))
    begun = _as_seen_before(scene, run, before["managed"][0])
    chosen = {"optional": [OPTIONAL], "third_party": [before["third_party"][0]["sha256"]]}
    with scene.story.step("Hanna", "looks at what an update would do") as told:
        plan = run.plan(**chosen)["plan"]
        told.say("; ".join(f"{lane['lane']}: {lane['why']}" for lane in plan["lanes"]))
    with scene.story.step("Hanna", "updates the card: PIN, new keys, requests") as told:
        code = run.open(**chosen)["visit"]["code"]
        run.until_stage(Stage.PENDING)
        _check_prompt(scene, code)
        told.say(f"the prompt showed the portal's code, {code}")
    return begun


def finish(scene: Scene, begun: Begun) -> CaseFile:
    """Everybody has had their turn and the card is updated."""
    run = begun.run
    scene.story.chapter(f"Waiting for people: update {run.update_id}")
    Turns(run, send_back={SENT_BACK: WHY}).until_ready()
    scene.story.chapter("Ready: Hanna continues")
    with scene.story.step("Hanna", "continues: PIN, write, read back, prove, retire the old pair"):
        run.continue_()
        run.until_stage(Stage.COMPLETED)
    return CaseFile(
        card_id=run.card_id,
        new=_written(run),
        old=begun.old,
        old_certificate=begun.old_certificate,
        badge_sha256=begun.badge_sha256,
        documents=_disputed(scene, run.update_id),
        subjects=SUBJECTS,
    )


def swap(scene: Scene, case: CaseFile) -> None:
    """One lane's certificate is another one now: valid, of the same CA, for another key."""
    scene.story.chapter("Broken on purpose")
    card, (first, second, *_) = scene.state.card, case.new
    with scene.story.step("Somebody", f"files the certificate of {second.lane} under {first.lane}"):
        card.swap_certificate(first.cka_id, card.certificate(second.cka_id))


def _as_seen_before(scene: Scene, run: UpdateRun, old: dict[str, Any]) -> Begun:
    card, badge = scene.state.card, scene.state.directory / "badge-before.der"
    with scene.story.step("Observer", "reads the card before the update, by pkcs11-tool"):
        badge.write_bytes(card.certificate(BADGE_ID))
        return Begun(
            run,
            old=Exhibit("old", old["cka_id"], old["serial_number"]),
            old_certificate=card.certificate(old["cka_id"]),
            badge_sha256=sha256sum(badge),
        )


def _check_prompt(scene: Scene, code: str) -> None:
    if f"Code: {code} " not in scene.state.prompts.read_text():
        raise Stuck(f"the PIN prompt did not show the code {code}")


def _written(run: UpdateRun) -> tuple[Exhibit, ...]:
    wanted = {lane["serial_number"] for lane in run.view()["lanes"]}
    found = run.contents(lambda found: wanted == {c["serial_number"] for c in found["managed"]})
    return tuple(
        Exhibit(one["profile"], one["cka_id"], one["serial_number"]) for one in found["managed"]
    )


def _disputed(scene: Scene, update_id: str) -> tuple[str, ...]:
    """Return the SHA-256 of the document that was sent back and of its successor."""
    documents = scene.cast.api(OPERATOR).items(f"/updates/{update_id}/documents")
    wanted = ("received", "request_form", SENT_BACK)
    return tuple(
        one["sha256"] for one in documents if (one["direction"], one["kind"], one["lane"]) == wanted
    )
