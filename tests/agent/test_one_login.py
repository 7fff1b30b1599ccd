"""At most one C_Login for each PIN that a person typed, whatever goes wrong, on a real module."""

import os
import signal

import pytest

from agent.visits import Visits
from cardflow.jobs import Outcome
from tests.agent.test_agent_process import door, running, state  # noqa: F401
from tests.agent.test_pin_memory import is_stopped
from tests.secrecy.processes import told_of, tree_of
from tests.waiting import until

pytestmark = pytest.mark.softhsm

# What C_Login may answer (PKCS#11 v2.40, 5.6 and 5.1).
ANSWERS = {
    "CKR_DEVICE_ERROR": 0x30,
    "CKR_PIN_INCORRECT": 0xA0,
    "CKR_SESSION_HANDLE_INVALID": 0xB3,
    "CKR_USER_ALREADY_LOGGED_IN": 0x100,
    "CKR_GENERAL_ERROR": 0x5,
    "CKR_FUNCTION_FAILED": 0x6,
    "CKR_HOST_MEMORY": 0x2,
    "CKR_DEVICE_MEMORY": 0x31,
    "CKR_DEVICE_REMOVED": 0x32,
    "CKR_FUNCTION_CANCELED": 0x50,
    "CKR_OPERATION_NOT_INITIALIZED": 0x91,
    "CKR_PIN_INVALID": 0xA1,
    "CKR_PIN_LEN_RANGE": 0xA2,
    "CKR_PIN_EXPIRED": 0xA3,
    "CKR_PIN_LOCKED": 0xA4,
    "CKR_SESSION_CLOSED": 0xB0,
    "CKR_SESSION_READ_ONLY_EXISTS": 0xB7,
    "CKR_TOKEN_NOT_PRESENT": 0xE0,
    "CKR_TOKEN_NOT_RECOGNIZED": 0xE1,
    "CKR_USER_PIN_NOT_INITIALIZED": 0x102,
    "CKR_USER_TYPE_INVALID": 0x103,
    "CKR_USER_ANOTHER_ALREADY_LOGGED_IN": 0x104,
    "CKR_CRYPTOKI_NOT_INITIALIZED": 0x190,
    "CKR_VENDOR_DEFINED": 0x80000001,
}
NOTHING_TYPED = {
    "cancelled": "!cancel",
    "no answer in time": "!timeout",
    "dead": "!die",
    "none": "",
}


SOON = ["CKR_DEVICE_ERROR, doubt", "CKR_USER_ALREADY_LOGGED_IN, refuse", "died", "none"]


def cases(table):
    """Return each row under its name; all but a few are for the long run of all tests."""
    return [
        pytest.param(value, id=name, marks=() if name in SOON else pytest.mark.slow)
        for name, value in table.items()
    ]


# Before the card has done anything, and after it has logged in.
ERRORS = {
    f"{n}, {how}": (how, number) for n, number in ANSWERS.items() for how in ("refuse", "doubt")
}
ENDS = ["die", "died", "hang", "error", "full"]


@pytest.mark.parametrize("error", cases(ERRORS))
async def test_an_error_of_the_login_is_told_and_not_tried_again(desk, faults, error):
    how, number = error
    desk.person.types(*[desk.pin] * 3)
    faults.set(f"{how}@C_Login", f"{number:x}")

    result = await desk.run(desk.prepare_job(hold_seconds=30))

    assert result.outcome is not Outcome.DONE
    assert (desk.person.was_asked(), faults.logins()) == (1, "p")


@pytest.mark.parametrize("what", cases(dict(zip(ENDS, ENDS, strict=True))))
async def test_a_visit_that_ends_at_the_login_is_not_begun_again(desk, faults, what):
    if what == "hang":
        desk.visits = Visits(silence_seconds=15)  # a machine under load is slow to begin, too
    desk.person.types(*[desk.pin] * 3)
    faults.set(f"{what}@C_Login")

    result = await desk.run(desk.prepare_job(hold_seconds=30))

    assert result.outcome is not Outcome.DONE
    assert (desk.person.was_asked(), faults.logins()) == (1, "p")


@pytest.mark.parametrize("typed", cases(NOTHING_TYPED))
async def test_where_no_pin_was_typed_nobody_logs_in(desk, faults, typed):
    desk.person.types(typed, desk.pin)
    await desk.run(desk.prepare_job())

    assert (desk.person.was_asked(), faults.logins()) == (1, "")


async def test_wrong_pins_are_counted_one_by_one(desk, faults):
    typed = ["111111", "222222", desk.pin]
    desk.person.types(*typed)
    outcomes = [(await desk.run(desk.prepare_job())).outcome for _ in typed]

    assert outcomes == [Outcome.PIN_INCORRECT, Outcome.PIN_INCORRECT, Outcome.DONE]
    assert (desk.person.was_asked(), faults.logins()) == (3, "ppp")


async def test_one_login_serves_every_job_of_a_visit(desk, faults):
    desk.person.types(*[desk.pin] * 3)
    prepared = await desk.run(desk.prepare_job(visit_id="v", hold_seconds=30))
    order = desk.certificate_for(prepared.keys[0])
    written = await desk.run(desk.write_job(order, visit_id="v", opens_visit=False))

    assert (prepared.outcome, written.outcome) == (Outcome.DONE, Outcome.DONE)
    assert (desk.person.was_asked(), faults.logins()) == (1, "p")


# The whole agent


def visit_of(agent):
    """Return the process id of the agent's visit."""
    return next((pid for pid in tree_of(agent.pid) if b"agent.visit" in told_of(pid)), 0)


async def stopped_visit(desk, door, faults, agent):  # noqa: F811
    """Return the process id of a visit that is logged in and stands still before its first key."""
    desk.person.types(*[desk.pin] * 4)
    faults.set("stop@C_GenerateKeyPair")
    door.offer(desk.prepare_job())
    return await until(lambda: visit_of(agent), is_stopped, what="a visit that stands still")


@pytest.mark.slow
async def test_a_server_that_is_away_during_a_visit_costs_no_second_login(
    faults,
    desk,
    door,  # noqa: F811
    state,  # noqa: F811
):
    async with running(state) as agent:
        visit = await stopped_visit(desk, door, faults, agent)
        door.out_of_order = 4
        os.kill(visit, signal.SIGCONT)
        result = await door.result()

    assert door.out_of_order == 0
    assert result.outcome is Outcome.DONE
    assert (desk.person.was_asked(), faults.logins()) == (1, "p")


@pytest.mark.slow
async def test_after_a_killed_visit_the_next_begins_with_a_new_question(
    faults,
    desk,
    door,  # noqa: F811
    state,  # noqa: F811
):
    async with running(state) as agent:
        os.kill(await stopped_visit(desk, door, faults, agent), signal.SIGKILL)
        killed = await door.result()
        door.offer(desk.prepare_job())
        again = await door.result()

    assert (killed.outcome, again.outcome) == (Outcome.CARD_FAILED, Outcome.DONE)
    assert (desk.person.was_asked(), faults.logins()) == (2, "pp")


@pytest.mark.slow
async def test_after_a_killed_agent_the_next_begins_with_a_new_question(
    faults,
    desk,
    door,  # noqa: F811
    state,  # noqa: F811
):
    async with running(state) as agent:
        visit = await stopped_visit(desk, door, faults, agent)
        agent.kill()
        os.kill(visit, signal.SIGCONT)
        await agent.wait()
    async with running(state):
        door.offer(desk.prepare_job())
        again = await door.result()

    assert again.outcome is Outcome.DONE
    assert (desk.person.was_asked(), faults.logins()) == (2, "pp")
