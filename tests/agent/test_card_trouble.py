"""Everything that goes wrong at a card is a named state, and the old pair stays as it was."""

import pytest

from agent.visits import Visits
from cardflow.jobs import Outcome
from cardflow.model import ObjectRef
from cardflow.x509 import load_csr, spki_sha256
from tests.agent.desk import ref_of
from tests.agent.test_visit_softhsm import prepared, written

pytestmark = [pytest.mark.softhsm, pytest.mark.usefixtures("forked_visits")]

FINAL_TRY, LOCKED, COUNT_LOW, PINPAD, WRITE_PROTECTED = 0x20000, 0x40000, 0x10000, 0x100, 0x2
# One step of each kind here; tests/chaos/test_card_faults.py has a sample of every call.
STEPS = [
    "C_CreateObject",
    *(
        pytest.param(step, marks=pytest.mark.slow)
        for step in ("C_GenerateKeyPair", "C_DestroyObject", "C_Sign")
    ),
]


async def run(desk, job):
    desk.person.types(desk.pin)
    return await desk.run(job)


# The PIN


async def test_a_wrong_pin_is_sent_once_and_the_flags_are_told(desk, faults):
    await written(desk, desk.order("old"))
    before, logins = desk.contents(), len(faults.logins())
    desk.person.types("000000", desk.pin)
    result = await desk.run(desk.prepare_job(desk.order("new"), hold_seconds=30))

    assert result.outcome is Outcome.PIN_INCORRECT
    assert result.pin_flags == ("USER_PIN_COUNT_LOW",)
    assert len(faults.logins()) == logins + 1
    assert desk.contents() == before


async def test_after_a_wrong_pin_the_next_prompt_warns(desk):
    desk.person.types("000000")
    await desk.run(desk.prepare_job())
    await run(desk, desk.prepare_job())
    assert "The last PIN was wrong" in desk.person.saw()


async def test_a_locked_pin_is_never_asked_for(desk, faults):
    faults.flags(LOCKED)
    result = await desk.run(desk.prepare_job())
    assert result.outcome is Outcome.PIN_LOCKED
    assert (desk.person.saw(), faults.logins()) == ("", "")


async def test_the_last_try_needs_a_yes(desk, faults):
    faults.flags(FINAL_TRY)
    desk.person.types("!cancel")
    refused = await desk.run(desk.prepare_job())
    asked_for_pin = desk.person.was_asked()
    desk.person.types("yes", desk.pin)
    agreed = await desk.run(desk.prepare_job())

    assert (refused.outcome, asked_for_pin) == (Outcome.PIN_FINAL_TRY, 0)
    assert agreed.outcome is Outcome.DONE
    assert "last try" in desk.person.saw()


@pytest.mark.parametrize("typed", ["", "123", "1" * 300])
async def test_what_cannot_be_the_pin_never_reaches_the_card(desk, faults, typed):
    desk.person.types(typed)
    result = await desk.run(desk.prepare_job())
    assert result.outcome is Outcome.PIN_UNUSABLE
    assert faults.logins() == ""


@pytest.mark.parametrize(
    ("instead", "outcome"),
    [
        ("!cancel", Outcome.PIN_CANCELLED),
        ("!timeout", Outcome.PIN_TIMED_OUT),
        ("!die", Outcome.PIN_CANCELLED),
    ],
)
async def test_a_pin_that_is_not_given_is_a_named_state(desk, faults, instead, outcome):
    desk.person.types(instead)
    result = await desk.run(desk.prepare_job())
    assert result.outcome is outcome
    assert faults.logins() == ""


async def test_a_pinpad_takes_the_pin_and_no_prompt_is_shown(desk, faults):
    faults.flags(PINPAD)
    faults.set("pinpad", desk.pin)
    result = await desk.run(desk.prepare_job())
    assert result.outcome is Outcome.DONE
    assert (faults.logins(), desk.person.saw()) == ("n", "")


async def test_a_pin_with_signs_that_assuan_escapes_works(desk):
    serial = desk.reader.new_card("Other", "25%41+ä")
    desk.token_serial, desk.pin = serial, "25%41+ä"
    assert (await run(desk, desk.prepare_job())).outcome is Outcome.DONE


# The card


async def test_a_read_only_card_is_refused_with_the_reason(desk, faults):
    faults.flags(WRITE_PROTECTED)
    result = await desk.run(desk.prepare_job())
    assert result.outcome is Outcome.CARD_READ_ONLY
    assert "write protected" in result.message
    assert desk.person.saw() == ""


async def test_no_card_and_another_card_are_told_apart(desk):
    desk.reader.pull()
    absent = await desk.run(desk.prepare_job())
    desk.reader.new_card("Another", "135790")
    wrong = await desk.run(desk.prepare_job())
    assert (absent.outcome, wrong.outcome) == (Outcome.CARD_ABSENT, Outcome.WRONG_CARD)
    assert desk.person.saw() == ""


@pytest.mark.parametrize("step", ["C_Login", *STEPS])
async def test_a_card_pulled_out_is_a_named_state_and_a_repeat_heals(desk, faults, step):
    old, job = await old_pair_and_next_job(desk, step)
    (card,) = desk.reader.slots.iterdir()
    faults.set(f"move@{step}", f"{card}\n{desk.reader.drawer / card.name}\n")
    pulled = await run(desk, job)
    desk.reader.put_back()
    assert old in desk.contents()["Private Key"]
    again = await run(desk, job)

    assert pulled.outcome is Outcome.CARD_REMOVED, pulled
    assert again.outcome is Outcome.DONE


async def test_another_card_put_in_while_the_pin_is_typed_gets_nothing(desk, faults):
    first = desk.token_serial
    (card,) = desk.reader.slots.iterdir()
    other = desk.reader.new_card("Another", desk.pin)
    (theirs,) = set(desk.reader.slots.iterdir()) - {card}
    aside = desk.reader.drawer / theirs.name
    theirs.rename(aside)
    swap = f"{card}\n{desk.reader.drawer / card.name}\n{aside}\n{theirs}\n"
    faults.set("move@C_GenerateKeyPair", swap)
    result = await run(desk, desk.prepare_job())

    assert result.outcome is Outcome.WRONG_CARD
    assert (first, other) != (other, first)
    assert desk.contents() == {"Certificate": [], "Private Key": [], "Public Key": []}


@pytest.mark.parametrize("step", ["C_GenerateKeyPair", "C_CreateObject"])
async def test_a_full_card_is_a_named_state_and_the_old_pair_stays(desk, faults, step):
    old, job = await old_pair_and_next_job(desk, step)
    faults.set(f"full@{step}")
    full = await run(desk, job)
    assert full.outcome is Outcome.CARD_FULL
    assert old in desk.contents()["Certificate"]
    assert old in desk.contents()["Private Key"]
    assert (await run(desk, job)).outcome is Outcome.DONE


@pytest.mark.parametrize("step", STEPS)
async def test_an_error_of_the_card_is_a_named_state(desk, faults, step):
    _, job = await old_pair_and_next_job(desk, step)
    faults.set(f"error@{step}")
    failed = await run(desk, job)
    assert failed.outcome is Outcome.CARD_FAILED
    assert "DeviceError" in failed.message
    assert (await run(desk, job)).outcome is Outcome.DONE


async def test_a_card_that_does_not_answer_is_given_up(desk, faults):
    desk.visits = Visits(silence_seconds=2)
    faults.set("hang@C_GenerateKeyPair")
    result = await run(desk, desk.prepare_job())
    assert result.outcome is Outcome.CARD_FAILED
    assert "may have changed" in result.message
    assert (await run(desk, desk.prepare_job())).outcome is Outcome.DONE


async def test_a_module_that_cannot_be_loaded_is_a_named_state(desk):
    desk.module = "/usr/lib/libnothing.so"
    result = await desk.run(desk.prepare_job())
    assert result.outcome is Outcome.CARD_FAILED
    assert "could not be loaded" in result.message


# Killed


@pytest.mark.parametrize("when", ["die", "died"])
@pytest.mark.parametrize("step", STEPS)
async def test_a_repeat_after_a_kill_leaves_exactly_one_whole_pair(desk, faults, when, step):
    old, job = await old_pair_and_next_job(desk, step)
    faults.set(f"{when}@{step}")
    killed = await run(desk, job)
    assert killed.outcome is Outcome.CARD_FAILED
    assert "may have changed" in killed.message
    assert old in desk.contents()["Private Key"]

    assert (await run(desk, job)).outcome is Outcome.DONE
    whole_pair(desk, desk.order("new").cka_id, with_certificate=step == "C_CreateObject")


async def old_pair_and_next_job(desk, step):
    """Return the id of a pair on the card, and a job that passes ``step`` for a new lane."""
    (old,) = await written(desk, desk.order("old"))
    if step == "C_CreateObject":
        (key,) = await prepared(desk, desk.order("new"))
        return old.cka_id, desk.write_job(desk.certificate_for(key))
    if step == "C_DestroyObject":
        (debt,) = await prepared(desk, desk.order("ended"))
        ref = ObjectRef(debt.cka_id, spki_sha256=spki_sha256(load_csr(debt.csr_pem)))
        return old.cka_id, desk.prepare_job(desk.order("new"), debts=[ref])
    return old.cka_id, desk.prepare_job(desk.order("new"))


def whole_pair(desk, cka_id, *, with_certificate):
    contents = desk.contents()
    assert contents["Private Key"].count(cka_id) == 1
    assert contents["Public Key"].count(cka_id) == 1
    assert contents["Certificate"].count(cka_id) == int(with_certificate)


# What must go


async def test_a_key_that_was_never_reported_goes_by_its_id_alone(desk):
    (order,) = await written(desk, desk.order("kept"))
    (key,) = await prepared(desk, desk.order("unreported"))
    result = await run(desk, desk.clean_up_job(ObjectRef(key.cka_id), ObjectRef(order.cka_id)))
    assert result.outcome is Outcome.DONE
    assert all(ids == [order.cka_id] for ids in desk.contents().values())


async def test_a_certificate_that_nobody_knows_of_goes_with_its_key(desk):
    (order,) = await written(desk, desk.order())
    named = ref_of(order.cka_id, order.certificate_pem)
    await run(desk, desk.clean_up_job(ObjectRef(order.cka_id, spki_sha256=named.spki_sha256)))
    assert all(ids == [] for ids in desk.contents().values())


@pytest.mark.parametrize(
    "ref",
    [
        ObjectRef("", "00" * 32),
        ObjectRef("zz", "00" * 32),
        ObjectRef("aabb"),
        ObjectRef("aa" * 20, "00"),
        ObjectRef("aa" * 20, spki_sha256="xy" * 32),
    ],
)
async def test_an_object_that_is_not_named_exactly_is_not_looked_for(desk, ref):
    result = await desk.run(desk.clean_up_job(ref))
    assert result.outcome is Outcome.CARD_FAILED
    assert "the job cannot be read" in result.message
    assert desk.person.saw() == ""
