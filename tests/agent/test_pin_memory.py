"""The PIN is in one process, until C_Login has returned, and nowhere else: looked for from outside.

The module in front of the card stops the visit process at a named call (SIGSTOP), so that its
memory is read at that very moment.
"""

import asyncio
import os
import re
import signal
from pathlib import Path

import pytest

from cardflow.jobs import Outcome
from tests.secrecy.processes import memory_of, told_of, tree_of
from tests.secrecy.search import Search, all_within
from tests.waiting import until

pytestmark = [
    pytest.mark.softhsm,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root may read an undumpable process"),
]
RIGHT, WRONG = "Kq7vRz3MwX9tLb2H", "Zt4nBy8QdC5fJw6P"


@pytest.fixture(scope="module")
def search():
    return Search({"right PIN": RIGHT, "wrong PIN": WRONG})


@pytest.fixture
def canary(desk):
    """Return the workstation with a card whose PIN is the one that is looked for."""
    desk.token_serial, desk.pin = desk.reader.new_card("Canary", RIGHT), RIGHT
    return desk


def visit_process():
    """Return the process id of the visit under way, if there is one."""
    ours = tree_of(os.getpid())[1:]
    return next((pid for pid in ours if b"agent.visit" in told_of(pid)), 0)


def is_stopped(pid):
    return pid and Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


async def seen_at(call, desk, faults, search):
    """Return how a visit ended, and what its memory held when it was about to make the call."""
    faults.set(f"stop@{call}")
    visiting = asyncio.ensure_future(desk.run(desk.prepare_job(hold_seconds=30)))
    await until(lambda: is_stopped(visit_process()), what=f"a visit that stops at {call}")
    pid = visit_process()
    memory = b"\n".join(memory_of(pid))
    os.kill(pid, signal.SIGCONT)
    assert desk.token_serial.encode() in memory  # the look does see what is there
    return await visiting, search.found_in(memory)


async def test_until_the_login_the_pin_is_there_and_the_search_finds_it(canary, faults, search):
    canary.person.types(RIGHT)
    result, found = await seen_at("C_Login", canary, faults, search)

    assert result.outcome is Outcome.DONE
    assert "right PIN as UTF-8" in found


@pytest.mark.parametrize(
    ("call", "typed"),
    [("C_GenerateKeyPair", RIGHT), ("C_Sign", RIGHT), ("C_Finalize", WRONG)],
    ids=["before the first key", "before a signature", "after a wrong PIN"],  # they reach environ
)
async def test_after_the_login_no_copy_is_left(canary, faults, search, call, typed):
    canary.person.types(typed)
    result, found = await seen_at(call, canary, faults, search)

    assert (result.outcome is Outcome.DONE) == (typed == RIGHT)
    assert found == []


async def test_a_visit_that_holds_its_login_holds_no_pin(canary, search):
    canary.person.types(RIGHT)
    await canary.run(canary.prepare_job(hold_seconds=30))

    assert search.found_in(*memory_of(visit_process())) == []


async def test_the_visit_leaves_no_core_and_lets_nobody_look_inside(canary):
    canary.person.types(RIGHT)
    await canary.run(canary.prepare_job(hold_seconds=30))
    process = Path(f"/proc/{visit_process()}")
    (core,) = [li for li in (process / "limits").read_text().splitlines() if "core file" in li]
    threads = re.search(r"Threads:\s+(\d+)", (process / "status").read_text())[1]
    locked = re.search(r"VmLck:\s+(\d+)", (process / "status").read_text())[1]

    assert core.split()[4:6] == ["0", "0"]
    assert threads == "1"
    assert int(locked) > 0


async def test_no_pin_is_in_a_file_an_argument_an_environment_or_an_answer(
    canary, search, tmp_path
):
    canary.person.types(WRONG, RIGHT)
    wrong = await canary.run(canary.prepare_job())
    right = await canary.run(canary.prepare_job(hold_seconds=30))
    told = told_of(visit_process())
    await canary.visits.close()

    assert (wrong.outcome, right.outcome) == (Outcome.PIN_INCORRECT, Outcome.DONE)
    files = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    answers = repr((wrong, right)).encode()
    assert search.found_in(*all_within(told, answers, *files)) == []
