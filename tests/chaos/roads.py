"""The ways that updates take in the matrix, and the errands that go on beside them."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from cardflow.ca.embedded.keys import Layout
from cli.key_changes import change_job_key
from tests.chaos.forking import is_alive
from tests.chaos.world import fork

if TYPE_CHECKING:
    from tests.chaos.case import Case

Way = Callable[["Case"], Awaitable[None]]
TRIES = 4
REVOKED_WITHIN = 30  # seconds
TRIAL = ("/policies/none/mails/completed/en/test", {"subject": "Hello", "body": "A trial."})


async def travelled(case: "Case", road: str, errand: str = "") -> None:
    """The update is over, and the errand done."""
    await asyncio.gather(_travel(case, road), *([ERRANDS[errand](case)] if errand else []))


async def _travel(case: "Case", road: str) -> None:
    if way := ROADS.get(road):
        await way(case)
    else:
        await case.run(road)


# Ways


async def cancelled_at_the_ca(case: "Case") -> None:
    """The holder gives up while an officer is waited for, and starts again."""
    update_id = await case.open("officer")
    await case.finish(update_id, until="at_ca")
    await case.cancel(update_id)
    await case.finish(update_id)
    await case.run("none")


async def form_by_mail(case: "Case") -> None:
    """An operator has the form mailed to the holder, who has no printer in the portal."""
    update_id = await case.open("portal")
    await case.finish(update_id, until="awaiting_request_form")
    path = f"/updates/{update_id}/lanes/web/form/mail"
    await case.world.people["olga"].post(path)
    await case.finish(update_id)


async def agent_that_goes_away(case: "Case") -> None:
    """The agent dies between its presence and the click, and stays away for a moment.

    A neighbour's kill can take the poll away that was to get the job: then it is tried again.
    """
    desk = await case.desk()
    process = case.world.processes[f"agent-{desk.name}"]
    for _ in range(TRIES):
        async with process.turn:
            gone = partial(case.killed, process.name, again=False)
            update_id = await case.open("R", beforehand=gone)
            await asyncio.sleep(1)  # what was polled for the agent is given back
            await process.up()
        await case.finish(update_id)
        if case.all_hit:
            return
        await asyncio.sleep(2)  # until the agent polls again


async def new_job_key(case: "Case") -> None:
    """Jobs are signed by another key, which the agent must find named by the one it knows."""
    change_job_key(case.world.settings)
    await case.killed("api")
    await case.run("none")


async def one_lane_rejected(case: "Case") -> None:
    """An officer rejects one of two certificates; the other one is written."""
    await _rejected_by_otto(case, "two", "completed")


async def all_or_nothing(case: "Case") -> None:
    """An officer rejects one of two certificates, and the policy wants both or none."""
    await _rejected_by_otto(case, "strict", "rejected")


async def _rejected_by_otto(case: "Case", policy: str, stage: str) -> None:
    case.refusals["otto"] = 1
    update_id = await case.open(policy)
    case.expected[update_id] = stage
    await case.finish(update_id)
    assert not case.refusals["otto"], "nobody was asked"


async def handed_in_again(case: "Case") -> None:
    """An operator rejects what came by post; the holder hands in again."""
    case.refusals["olga"] = 1
    await case.run("RF")
    assert not case.refusals["olga"], "nobody was asked"


async def scanned_again(case: "Case") -> None:
    """An operator rejects two scans; the holder uploads a third."""
    case.refusals["olga"] = 2
    await case.run("portal")
    assert not case.refusals["olga"], "nobody was asked"


async def cleared(case: "Case") -> None:
    """The holder has the card cleared, and gets a new pair afterwards."""
    await case.finish(await case.clear())
    await case.run("none")


async def lost_while_a_form_is_out(case: "Case") -> None:
    """The card is reported lost while its new certificate waits for a form."""
    await _lost(case, "F", "awaiting_certificate_form")


async def lost_at_the_ca(case: "Case") -> None:
    """The card is reported lost while an officer is waited for."""
    await _lost(case, "officer", "at_ca")


async def lost_during_a_write(case: "Case") -> None:
    """The card is reported lost as soon as the update is open, with its visit under way."""
    update_id = await case.open("none")
    await reported_lost(case, update_id)


async def lost_after_a_write(case: "Case") -> None:
    """The card is reported lost when its new pair has just been written."""
    update_id = await case.run("none")
    await reported_lost(case, update_id)


async def _lost(case: "Case", policy: str, stage: str) -> None:
    update_id = await case.open(policy)
    await case.finish(update_id, until=stage)
    await reported_lost(case, update_id)


async def reported_lost(case: "Case", update_id: str) -> None:
    """The card is reported lost, nothing of it stays good, and then it is found again."""
    desk, world = await case.desk(), case.world
    good = {row["serial_number"] for row in await _certificates(case) if not row["revoked_at"]}
    case.expected[update_id] = "cancelled"
    before = (await case.view(update_id)).get("stage", "")
    answer = await desk.holder.post(f"/cards/{desk.card_id}/report-lost", json={"reason": "gone"})
    if (ended := (await case.finish(update_id))["stage"]) == "completed":
        waited = before in ("pending", "ready") and before != "completed"
        assert not waited, f"I12: an update that waited went on: {answer}"
        case.expected[update_id] = "completed"  # it was faster than the report
    bad = await _all_compromised(case, good, replaced=ended == "completed")
    assert not bad, f"I6: reported lost, and not revoked for it: {bad}"
    await world.people["ada"].patch(f"/cards/{desk.card_id}", {"disabled": False})
    await case.run("none")


async def _all_compromised(case: "Case", good: set[str], *, replaced: bool) -> list[str]:
    """Return the certificates whose keys are not told to be in foreign hands, after a while."""
    until = time.monotonic() + REVOKED_WITHIN
    while True:
        rows = await _certificates(case)
        # What was good at the report, and what the update was issued since then.
        counted = [r for r in rows if r["serial_number"] in good or not r["revoked_at"]]
        reasons = {"keyCompromise", "superseded"} if replaced else {"keyCompromise"}
        bad = [
            f"{row['serial_number']}: {row['revocation_reason'] or 'good'}"
            for row in counted
            if not row["revoked_at"] or row["revocation_reason"] not in reasons
        ]
        if not bad or time.monotonic() > until:
            return bad
        await asyncio.sleep(0.2)


async def _certificates(case: "Case") -> list[dict[str, Any]]:
    return await case.world.records.rows(
        "SELECT serial_number, revoked_at, revocation_reason FROM ca_certificates "
        "WHERE person_id = :person AND certificate_pem <> ''",
        person=(await case.desk()).holder.id,
    )


ROADS: dict[str, Way] = {
    "one lane rejected": one_lane_rejected,
    "all or nothing": all_or_nothing,
    "handed in again": handed_in_again,
    "scanned again": scanned_again,
    "cleared": cleared,
    "lost while a form is out": lost_while_a_form_is_out,
    "lost at the CA": lost_at_the_ca,
    "lost during a write": lost_during_a_write,
    "lost after a write": lost_after_a_write,
    "cancelled at the CA": cancelled_at_the_ca,
    "a form by mail": form_by_mail,
    "an agent that goes away": agent_that_goes_away,
    "a new job key": new_job_key,
}


# Errands


async def digests(case: "Case") -> None:
    """It is time for the round of digests."""
    await _round(case, "Digests")


async def warnings(case: "Case") -> None:
    """It is time for the round of warnings."""
    await _round(case, "ExpiryWarnings")


async def left_mails(case: "Case") -> None:
    """It is time for the round that looks after what nothing delivers."""
    await _round(case, "LeftMails")


async def _round(case: "Case", workflow: str) -> None:
    name = f"chaos/{workflow}/{case.title}"
    await case.world.temporal.execute_workflow(workflow, id=name, task_queue="cardflow")


async def trial_mail(case: "Case") -> None:
    """The administrator tries a text out; whether the mail came is told, and tried once."""
    await case.world.people["ada"].try_once(*TRIAL)


async def code_for_a_workstation(case: "Case") -> None:
    """The holder asks for a code."""
    desk = await case.desk()
    await desk.holder.post("/agents/codes")


async def changed_profile(case: "Case") -> None:
    """The holder changes something about themselves."""
    desk = await case.desk()
    await desk.holder.patch("/me", {"time_zone": "Europe/Berlin"})


async def another_workstation(case: "Case") -> None:
    """The holder enrols one more workstation, as often as it takes."""
    desk, settings = await case.desk(), case.world.settings
    place = case.world.directory / f"another-{case.title}"
    place.mkdir()
    code = (await desk.holder.post("/agents/codes"))["code"]
    (place / "code").write_text(code)
    server = ("--server", settings.door_url, "--ca-file", str(settings.door_root_file))
    told = ("--state", str(place / "agent"), *server, "--code-file", str(place / "code"))
    while not (place / "agent" / "enrolment.json").exists():
        await _ended(await fork(case.world, "agent-another", {}, "enrol", *told))


async def new_device_key(case: "Case") -> None:
    """The workstation's key is changed under the agent that runs, as often as it takes."""
    desk = await case.desk()
    before = desk.state.key_file.read_bytes()
    while desk.state.key_file.read_bytes() == before:
        told = ("renew-key", "--state", str(desk.state.path))
        await _ended(await fork(case.world, "agent-renewal", {}, *told))


async def _ended(pid: int) -> None:
    while is_alive(pid):  # noqa: ASYNC110 (nobody tells us: it is not our child)
        await asyncio.sleep(0.02)


async def lost_ocsp_signer(case: "Case") -> None:
    """The CA's OCSP signer is gone from the disk."""
    Layout(case.world.settings.ca_dir).responder.unlink(missing_ok=True)


ERRANDS: dict[str, Way] = {
    "digests": digests,
    "warnings": warnings,
    "left mails": left_mails,
    "a trial mail": trial_mail,
    "a code for a workstation": code_for_a_workstation,
    "a changed profile": changed_profile,
    "another workstation": another_workstation,
    "a new device key": new_device_key,
    "a lost OCSP signer": lost_ocsp_signer,
}
