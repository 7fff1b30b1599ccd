"""The ways that updates take in the matrix, and the errands that go on beside them."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from cardflow.ca.embedded.keys import Layout
from cli.key_changes import change_job_key
from tests.chaos.forking import is_alive
from tests.chaos.processes import kill
from tests.chaos.world import fork

if TYPE_CHECKING:
    from tests.chaos.case import Case

Way = Callable[["Case"], Awaitable[None]]
TRIES = 4
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
            update_id = await case.open("R", beforehand=lambda: kill(process.pid))
            await asyncio.sleep(1)  # what was polled for the agent is given back
            await process.up()
        await case.finish(update_id)
        if case.all_hit:
            return
        await asyncio.sleep(2)  # until the agent polls again


async def new_job_key(case: "Case") -> None:
    """Jobs are signed by another key, which the agent must find named by the one it knows."""
    change_job_key(case.world.settings)
    await case.world.processes["api"].killed()
    await case.run("none")


ROADS: dict[str, Way] = {
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
    "another workstation": another_workstation,
    "a new device key": new_device_key,
    "a lost OCSP signer": lost_ocsp_signer,
}
