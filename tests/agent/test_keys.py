"""A workstation's keys change: whatever is lost on the way, it can speak to its server after."""

import asyncio
import ssl
import stat
from contextlib import asynccontextmanager

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.connection import Connection
from agent.door import Door
from agent.keys import Keys
from agent.readers import Readers
from agent.settings import Enrolment, StateDir
from agent.visits import Visits
from cardflow.errors import Refused, Unavailable
from cardflow.job_keys import raw_hex, succession
from cardflow.jobs import CardJob, InspectJob, JobKind, Outcome
from tests.activities.tls import garble
from tests.agent.door_double import AGENT_ID, make_tls, opened_door
from tests.waiting import until


@pytest.fixture
async def server(tmp_path):
    async with opened_door(tmp_path / "server") as server:
        yield server


@pytest.fixture
def state(server, tmp_path):
    state = StateDir(tmp_path / "state")
    server.device_key = raw_hex(state.device_key())
    state.keep(Enrolment(server.origin, AGENT_ID, server.origin, raw_hex(server.job_key)))
    return state


@pytest.fixture
async def door(server, state):
    key = state.device_key()
    async with Door(server.origin, server.root_file, key, AGENT_ID) as door:
        yield door


@pytest.fixture
def keys(state, door):
    return Keys(state, door, state.enrolment())


async def is_known(door) -> bool:
    return (await door.send("PUT", "/agent/v1/presence", {"tokens": []})).ok


@asynccontextmanager
async def working(door, keys):
    """Run an agent without cards while the block runs."""
    stop = asyncio.Event()
    connection = Connection(door, keys, Readers(()), Visits(), surroundings=None)
    running = asyncio.create_task(connection.run(stop))
    yield
    stop.set()
    await running


async def test_a_renewed_key_is_the_only_one_left(server, state, door, keys):
    old = raw_hex(state.device_key())
    await keys.renew()

    new = raw_hex(state.device_key())
    assert server.device_key == new != old
    assert not state.next_key_file.exists()
    assert stat.S_IMODE(state.key_file.stat().st_mode) == 0o600
    assert await is_known(door)


async def test_a_change_whose_answer_was_lost_is_completed(server, state, door, keys):
    server.lose_answers = 1
    with pytest.raises(Unavailable):
        await keys.renew()
    assert server.device_key == raw_hex(state.next_device_key())

    await keys.finish_renewal()  # as at the next start

    assert server.device_key == raw_hex(state.device_key())
    assert await is_known(door)


async def test_a_change_that_never_reached_the_server_is_completed(server, state, door, keys):
    state.next_device_key()

    await keys.finish_renewal()

    assert server.device_key == raw_hex(state.device_key())
    assert await is_known(door)


@pytest.mark.parametrize("left", [b"", b"-----BEGIN PRIVATE KEY-----\nMC4CAQ"])
async def test_a_next_key_whose_writing_was_broken_off_is_made_anew(server, state, keys, left):
    state.next_key_file.write_bytes(left)
    state.next_key_file.chmod(0o600)

    assert await keys.try_to_renew()

    assert server.device_key == raw_hex(state.device_key())
    assert not state.next_key_file.exists()


async def test_a_next_key_that_others_can_read_is_not_made_anew(state, keys):
    state.next_device_key()
    state.next_key_file.chmod(0o644)

    with pytest.raises(Refused, match="chmod 600"):
        await keys.renew()


async def test_an_agent_that_runs_goes_on_after_the_answer_to_its_new_key_was_lost(
    server, state, door, keys
):
    old = server.device_key
    async with working(door, keys):
        await until(lambda: server.presence is not None, what="the first report")
        server.lose_answers, server.key_is_due = 1, True
        await until(lambda: server.device_key != old, what="the new key at the server")
        await until(lambda: not state.next_key_file.exists(), what="the end of the change")

    assert server.device_key == raw_hex(state.device_key())
    assert await is_known(door)


async def test_all_who_are_refused_at_once_have_the_lost_change_completed_once(server, door, keys):
    server.lose_answers = 1
    assert not await keys.try_to_renew()

    assert await asyncio.gather(*(keys.finish_renewal() for _ in range(3))) == [True] * 3

    assert len(server.refusals) == 1  # of the old key, and each who waited asked nobody
    assert await is_known(door)
    assert not await keys.finish_renewal()


async def test_a_key_that_is_due_is_renewed_once_for_all_who_notice(server, state, door, keys):
    server.key_is_due = True
    await is_known(door)
    assert door.key_is_due

    assert await asyncio.gather(*(keys.try_to_renew() for _ in range(3))) == [True] * 3

    assert server.device_key == raw_hex(state.device_key())
    assert not door.key_is_due
    assert not state.next_key_file.exists()


async def test_a_server_that_knows_neither_key_keeps_the_old_one_in_use(server, state, door, keys):
    known, server.device_key = server.device_key, raw_hex(Ed25519PrivateKey.generate())
    with pytest.raises(Refused, match="took no new device key"):
        await keys.renew()
    assert not await keys.finish_renewal()  # so whoever asked waits before asking again

    server.device_key = known
    assert await is_known(door)


async def test_an_agent_that_runs_takes_up_what_another_process_renewed(server, state, door, keys):
    async with Door(server.origin, server.root_file, state.device_key(), AGENT_ID) as other:
        await Keys(state, other, state.enrolment()).renew()
    assert not await is_known(door)

    assert keys.changed_on_disk()
    assert await is_known(door)
    assert not keys.changed_on_disk()


async def test_the_pinned_key_is_followed_where_it_leads_and_that_is_kept(server, state, keys):
    server.change_job_key()
    server.change_job_key()

    assert await keys.follow_job_key()

    assert state.enrolment().job_key == keys.enrolment.job_key == raw_hex(server.job_key)
    assert not await keys.follow_job_key()


async def test_a_job_key_that_the_pinned_one_did_not_name_is_not_followed(server, state, keys):
    pinned, eves = keys.enrolment.job_key, Ed25519PrivateKey.generate()
    server.successions = [succession(eves, raw_hex(eves), server.origin)]

    assert not await keys.follow_job_key()
    assert state.enrolment().job_key == pinned


async def test_a_job_is_left_unanswered_while_nobody_says_how_the_key_has_changed(
    server, state, door, keys
):
    """Temporal has it handed out again; an answer would fail the visit of somebody at a card."""
    server.lose_histories = 1
    server.change_job_key()
    card = CardJob("job-1", JobKind.INSPECT, "u", "c", "0123", "v", "4711 apple")
    async with working(door, keys):
        server.offer(InspectJob(card))
        await until(lambda: not server.lose_histories, what="the question for the history")
        server.offer(InspectJob(card))
        result = await server.result()

    assert result.outcome is Outcome.CARD_ABSENT  # this agent has no reader
    assert server.results.empty()
    assert state.enrolment().job_key == raw_hex(server.job_key)


async def test_a_broken_tls_record_is_a_server_that_does_not_answer(tmp_path):
    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        garble(writer)

    make_tls(tmp_path)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(tmp_path / "server.pem", tmp_path / "server-key.pem")
    async with await asyncio.start_server(speak, "127.0.0.1", 0, ssl=tls) as server:
        origin = f"https://localhost:{server.sockets[0].getsockname()[1]}"
        root = tmp_path / "root.pem"
        async with Door(origin, root, Ed25519PrivateKey.generate(), AGENT_ID) as door:
            with pytest.raises(Unavailable, match=r"does not answer.*SSLError"):
                await door.send("GET", "/agent/v1/jobs")


def test_a_new_key_that_another_process_has_settled_on_is_kept(tmp_path):
    here, beside = StateDir(tmp_path), StateDir(tmp_path)
    key = here.next_device_key()
    beside.settle_on_next_key()

    here.settle_on_next_key()

    assert raw_hex(here.device_key()) == raw_hex(key)
