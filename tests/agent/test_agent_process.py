"""The agent as it is installed: its own process, a server over TLS, a card in the reader."""

import asyncio
import os
import signal
import socket
import sys
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from agent.enrol import enrol as enrolling
from agent.settings import StateDir
from cardflow.enrolment import fingerprint_words
from cardflow.jobs import InspectJob, IssuedForm, JobKind, Outcome, in_pieces, whole
from tests.agent.desk import ref_of
from tests.agent.door_double import opened_door
from tests.agent.sockets import family_of, sockets_of
from tests.documents.build import form
from tests.waiting import PATIENCE, until

pytestmark = pytest.mark.softhsm

ROOT = Path(__file__).resolve().parents[2]


def others(*statuses):
    return [pytest.param(status, marks=pytest.mark.slow) for status in statuses]


async def agent(*arguments, stdin=""):
    """Run one agent command to its end; return its exit code and what it printed."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "agent", *map(str, arguments)),
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await asyncio.wait_for(process.communicate(stdin.encode()), PATIENCE)
    return process.returncode, output.decode()


async def enrol(door, state, **changes):
    given = {"server": door.origin, "ca_file": door.root_file, "code": door.code} | changes
    return await agent(
        *("enrol", "--state", state, "--server", given["server"]),
        *("--ca-file", given["ca_file"], "--code-file", "-"),
        stdin=given["code"],
    )


def write_settings(desk, state):
    state.mkdir(exist_ok=True)
    (state / "agent.toml").write_text(
        f'pinentry = "{desk.person.program}"\nprompt_seconds = 20\n'
        f'[[modules]]\nname = "softhsm"\npath = "{desk.module or desk.reader.module}"\n'
    )


@asynccontextmanager
async def running(state):
    log = (state / "log").open("wb")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "agent", "run", "--state", str(state)),
        cwd=ROOT,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=log,
        stderr=log,
    )
    try:
        yield process
    finally:
        log.close()
        if process.returncode is None:
            process.terminate()
            try:
                await asyncio.wait_for(process.wait(), PATIENCE)
            except TimeoutError:
                process.kill()
                await process.wait()
                raise


@pytest.fixture
async def door(tmp_path):
    async with opened_door(tmp_path / "server") as door:
        yield door


@pytest.fixture
async def state(desk, door, tmp_path):
    """The state directory of an enrolled agent."""
    state = tmp_path / "state"
    write_settings(desk, state)
    await enrolling(StateDir(state), server=door.origin, root_file=door.root_file, code=door.code)
    return state


def inspect_job(desk):
    return InspectJob(desk.card(JobKind.INSPECT))


async def test_an_update_goes_through_the_door(desk, door, state):
    async with running(state):
        (report,) = await door.until_reported(lambda tokens: len(tokens) == 1)
        desk.person.types(desk.pin)
        door.offer(desk.prepare_job(visit_id="v", hold_seconds=30))
        prepared = await door.result()
        order = desk.certificate_for(prepared.keys[0])
        door.offer(desk.write_job(order, visit_id="v", opens_visit=False))
        wrote = await door.result()
        seen = await door.until_reported(lambda tokens: tokens[0].inventory.certificates)

    assert (report.token_serial, report.module) == (desk.token_serial, "softhsm")
    assert prepared.outcome is Outcome.DONE
    assert (wrote.outcome, len(wrote.proofs)) == (Outcome.DONE, 1)
    assert seen[0].inventory.certificates[0].has_key is None
    assert desk.person.was_asked() == 1


async def test_presence_follows_the_card(desk, door, state):
    async with running(state):
        await door.until_reported(lambda tokens: len(tokens) == 1)
        desk.reader.pull()
        await door.until_reported(lambda tokens: tokens == ())
        desk.reader.put_back()
        (report,) = await door.until_reported(lambda tokens: len(tokens) == 1)
    assert report.token_serial == desk.token_serial
    assert report.unsupported == ""


async def test_the_card_is_inspected_without_a_pin(desk, door, state):
    async with running(state):
        door.offer(inspect_job(desk))
        result = await door.result()
    assert result.outcome is Outcome.DONE
    assert result.inventory.logged_in is False
    assert desk.person.saw() == ""


async def test_an_absent_card_and_another_card_are_told_apart(desk, door, state):
    other = replace(desk.card(JobKind.INSPECT), token_serial="ffffffffffffffff")
    async with running(state):
        door.offer(InspectJob(other))
        wrong = await door.result()
        desk.reader.pull()
        door.offer(desk.prepare_job())
        absent = await door.result()
    assert (wrong.outcome, absent.outcome) == (Outcome.WRONG_CARD, Outcome.CARD_ABSENT)


async def test_the_agent_and_its_processes_hold_no_listening_socket(desk, door, state):
    seen, reached = set(), set()

    async def look(pid):
        while True:
            for member in family_of(pid):
                seen.update(module_of(member))
                reached.update(one for one in sockets_of(member) if one.listens)
            await asyncio.sleep(0.02)

    async with running(state) as process:
        looking = asyncio.ensure_future(look(process.pid))
        await door.until_reported(lambda tokens: len(tokens) == 1)
        desk.person.types(desk.pin)
        door.offer(desk.prepare_job(visit_id="v", hold_seconds=30))
        (key,) = (await door.result()).keys
        door.offer(desk.write_job(desk.certificate_for(key), visit_id="v", opens_visit=False))
        assert (await door.result()).outcome is Outcome.DONE
        assert not looking.done()
        looking.cancel()

    assert {b"agent", b"agent.inspector", b"agent.visit"} <= seen
    assert reached == set()


def module_of(pid):
    """Return the Python module that a process runs, if it runs one and has not ended."""
    try:
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except FileNotFoundError:
        return set()
    return {arguments[2]} if arguments[1:2] == [b"-m"] else set()


def test_the_look_sees_every_kind_of_listening_socket(tmp_path):
    with (
        socket.create_server(("127.0.0.1", 0)) as tcp,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
        socket.socket(socket.AF_UNIX) as named,
    ):
        udp.bind(("127.0.0.1", 0))
        named.bind(str(tmp_path / "named"))
        named.listen()
        listening = [one for one in sockets_of(os.getpid()) if one.listens]
        ports = {(one.table, one.port) for one in listening}

        assert {("tcp", tcp.getsockname()[1]), ("udp", udp.getsockname()[1])} <= ports
        assert str(tmp_path / "named") in {one.local for one in listening}


async def test_sigterm_ends_the_agent_and_everything_it_started(desk, door, state):
    desk.person.types("!hang")
    async with running(state) as process:
        door.offer(desk.prepare_job())
        await until(lambda: "GETPIN" in desk.person.saw(), what="a prompt for the PIN")
        family = family_of(process.pid)
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), PATIENCE) == 0
        await until(lambda: not any(is_alive(pid) for pid in family), what="the end of all")
    assert (await door.result()).outcome is Outcome.PIN_CANCELLED


async def test_a_cancelled_job_stops_asking_for_the_pin(desk, door, state):
    desk.person.types("!hang")
    door.cancelled = True
    async with running(state):
        door.offer(desk.prepare_job())
        result = await door.result()
    assert result.outcome is Outcome.PIN_CANCELLED
    assert door.heartbeats >= 1


async def test_a_result_is_sent_until_it_is_taken(desk, door, state):
    door.result_status = [503, 503, 200]
    async with running(state):
        door.offer(inspect_job(desk))
        outcomes = [(await door.result()).outcome for _ in range(3)]
        door.offer(inspect_job(desk))
        assert (await door.result()).outcome is Outcome.DONE
    assert outcomes == [Outcome.DONE] * 3


@pytest.mark.parametrize("status", [410, *others(409, 403)])
async def test_a_stale_result_is_dropped_and_the_next_job_taken(desk, door, state, status):
    door.result_status = [status]
    async with running(state):
        door.offer(inspect_job(desk))
        await door.result()
        door.offer(inspect_job(desk))
        assert (await door.result()).outcome is Outcome.DONE
    assert door.results.empty()


async def test_a_result_that_the_server_cannot_read_becomes_a_named_failure(desk, door, state):
    door.result_status = [422]
    async with running(state):
        door.offer(inspect_job(desk))
        await door.result()
        second = await door.result()
    assert second.outcome is Outcome.CARD_FAILED
    assert "could not read the result" in second.message


async def test_an_outage_is_waited_out(desk, door, state):
    door.out_of_order = 3
    async with running(state):
        door.offer(inspect_job(desk))
        assert (await door.result()).outcome is Outcome.DONE


async def test_a_wrong_clock_is_learned_and_lived_with(desk, door, state):
    door.clock_ahead = timedelta(hours=25)
    async with running(state):
        door.offer(inspect_job(desk))
        assert (await door.result()).outcome is Outcome.DONE
    assert any("expired" in reason for reason in door.refusals)


async def test_a_pending_agent_waits_for_its_confirmation(desk, door, state):
    door.standing = "pending"
    async with running(state):
        await until(lambda: b"pending" in (state / "log").read_bytes(), what="what it is told")
        assert door.presence is None
        door.standing = "confirmed"
        await door.until_reported(lambda tokens: len(tokens) == 1)


async def test_a_revoked_agent_ends_and_says_so(desk, door, state):
    door.standing = "revoked"
    async with running(state) as process:
        assert await asyncio.wait_for(process.wait(), PATIENCE) == 1
    assert b"error: revoked" in (state / "log").read_bytes()


async def test_status_tells_who_the_agent_is_and_what_is_in_the_reader(desk, door, state):
    code, output = await agent("status", "--state", state)
    assert code == 0, output
    assert door.origin in output
    assert desk.token_serial in output


def is_alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


@pytest.fixture
async def signer(desk):
    """A certificate on the card, as an earlier update left it."""
    desk.person.types(desk.pin)
    (key,) = (await desk.run(desk.prepare_job())).keys
    order = desk.certificate_for(key)
    desk.person.types(desk.pin)
    await desk.run(desk.write_job(order))
    return ref_of(order.cka_id, order.certificate_pem)


async def test_a_form_is_fetched_signed_and_handed_in(desk, door, state, signer):
    door.form = IssuedForm(in_pieces(form()))
    async with running(state):
        desk.person.types(desk.pin)
        door.offer(desk.sign_job(form(), signer))
        result = await door.result()

    assert result.outcome is Outcome.DONE, result
    (signed,) = door.signed
    assert signed.task == "sealed"
    assert whole(signed.content).startswith(form())


async def test_a_signed_form_is_sent_until_it_is_taken(desk, door, state, signer):
    door.form, door.form_status = IssuedForm(in_pieces(form())), [503, 503]
    async with running(state):
        desk.person.types(desk.pin)
        door.offer(desk.sign_job(form(), signer))
        assert (await door.result()).outcome is Outcome.DONE

    assert len({signed.content for signed in door.signed}) == 1
    assert len(door.signed) == 3


@pytest.mark.parametrize("status", [409, *others(410, 422)])
async def test_a_signed_form_that_is_not_taken_is_a_named_outcome(
    desk, door, state, signer, status
):
    door.form, door.form_status = IssuedForm(in_pieces(form())), [status]
    async with running(state):
        desk.person.types(desk.pin)
        door.offer(desk.sign_job(form(), signer))
        result = await door.result()

    assert (result.outcome, result.message) == (Outcome.DOCUMENT_REFUSED, "not as it should be")


async def test_a_form_that_is_not_given_is_not_asked_a_pin_for(desk, door, state, signer):
    asked = desk.person.was_asked()
    async with running(state):
        door.offer(desk.sign_job(form(), signer))
        result = await door.result()

    assert (result.outcome, result.message) == (Outcome.DOCUMENT_REFUSED, "it is over")
    assert desk.person.was_asked() == asked


async def test_an_agent_goes_on_when_both_its_keys_change_under_it(desk, door, state):
    before = door.device_key
    async with running(state):
        await door.until_reported(lambda tokens: len(tokens) == 1)
        door.key_is_due = True
        await until(lambda: door.device_key != before, what="a new device key")
        first = door.job_key
        door.change_job_key()
        door.offer(inspect_job(desk))
        done = await door.result()
        door.job_key, changed = first, door.job_key
        door.offer(inspect_job(desk))
        late = await door.result()
        door.job_key = changed
        code, output = await agent("renew-key", "--state", state)
        door.offer(inspect_job(desk))
        again = await door.result()

    assert done.outcome is again.outcome is Outcome.DONE
    assert "not signed by the server" in late.message
    assert code == 0, output
    assert fingerprint_words(bytes.fromhex(door.device_key)) in output


async def test_an_agent_that_wakes_up_after_its_job_has_expired_touches_no_card(desk, door, state):
    before = desk.contents()
    async with running(state) as process:
        await door.until_reported(lambda tokens: len(tokens) == 1)
        desk.person.types(desk.pin)
        process.send_signal(signal.SIGSTOP)
        now = int(door.now().timestamp())
        door.offer(desk.prepare_job(), iat=now - 300, exp=now + 1)
        await until(lambda: door.now().timestamp() > now + 1, what="the job's end")
        process.send_signal(signal.SIGCONT)
        late = await door.result()

    assert "the job has expired" in late.message
    assert desk.person.was_asked() == 0
    assert desk.contents() == before


async def test_an_agent_that_wakes_up_after_its_visit_ended_stops_and_is_not_heard(
    desk, door, state
):
    before = desk.contents()
    async with running(state) as process:
        desk.person.types("!hang")
        door.offer(desk.prepare_job())
        await until(lambda: "GETPIN" in desk.person.saw(), what="a prompt for the PIN")
        process.send_signal(signal.SIGSTOP)
        door.cancelled, door.result_status = True, [410]  # meanwhile, somebody else did the work
        process.send_signal(signal.SIGCONT)
        late = await door.result()
        door.cancelled = False
        door.offer(inspect_job(desk))
        fresh = await door.result()

    assert (late.outcome, late.keys) == (Outcome.PIN_CANCELLED, ())
    assert fresh.outcome is Outcome.DONE
    assert desk.contents() == before
