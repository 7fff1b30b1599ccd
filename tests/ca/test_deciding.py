"""Officers decide on what they were shown, four eyes, once; late words hear who was first."""

import asyncio
from dataclasses import replace

import pytest

from cardflow import decisions
from cardflow.ca import Issued, Rejected
from cardflow.errors import Refused
from cardflow.model import Act, Action, Role, Verdict, new_id
from tests.build import root, signer
from tests.ca.making import ALICE, OFFICER, TWO_OFFICERS, a_request, now


async def asked(ca, profile=OFFICER, **changes):
    """Return what officers are shown of a new request."""
    answer = await ca.submit(a_request(profile, **changes))
    return await ca.request(answer.handle)


async def say(ca, facts, officer="officer-1", verdict=Verdict.APPROVE, **word):
    """Have an officer decide on what was shown."""
    reason = word.pop("reason", "" if verdict is Verdict.APPROVE else "not on the list")
    digest = word.pop("digest", facts.digest)
    return await ca.decide(facts.request_id, officer, verdict, reason, digest, **word)


async def test_officers_see_what_will_be_issued(ca, desk):
    facts = await asked(ca)
    assert [facts] == await desk.list_requests()
    assert facts.subject == f"CN=Alice Díaz,UID={ALICE.person_id},O=Example Organisation"
    assert facts.alternative_names == (f"upn: {ALICE.upn}", f"sid: {ALICE.sid}")
    assert (facts.key_type, facts.officers_needed, facts.state) == ("P-256", 1, "pending")


async def test_officers_are_told_that_windows_needs_a_security_identifier(ca):
    facts = await asked(ca, subject=replace(ALICE, sid=""))
    assert "Windows" in facts.remarks[-1]
    assert facts.alternative_names == (f"upn: {ALICE.upn}",)


async def test_the_oldest_request_comes_first(ca):
    asked_for = [await asked(ca) for _ in range(3)]
    assert await ca.list_requests() == asked_for


async def test_an_approval_at_the_desk_is_signed_by_the_worker(ca, desk):
    facts = await say(desk, await asked(ca))
    assert facts.state == "approved"
    assert facts.serial_number == ""
    assert isinstance(await ca.poll(facts.request_id), Issued)
    assert (await desk.request(facts.request_id)).serial_number
    assert await desk.list_requests() == []


async def test_a_rejection_is_final_and_brings_its_reason(ca, desk):
    facts = await say(desk, await asked(ca), verdict=Verdict.REJECT)
    assert facts.state == "rejected"
    assert await ca.poll(facts.request_id) == Rejected("not on the list")


@pytest.mark.parametrize(
    ("officer", "reason"),
    [(ALICE.person_id, "nobody decides on their own card"), ("clerk", "on their own request")],
)
async def test_nobody_decides_on_their_own(ca, officer, reason):
    facts = await asked(ca, requested_by="clerk")
    with pytest.raises(Refused, match=reason):
        await say(ca, facts, officer)


async def test_two_officers_means_two_people(ca):
    facts = await say(ca, await asked(ca, TWO_OFFICERS), "officer-1")
    assert facts.state == "pending"
    assert [word.officer for word in facts.decisions] == ["officer-1"]
    assert (await say(ca, facts, "officer-1")).state == "pending"
    assert (await say(ca, facts, "officer-2")).state == "approved"


async def test_one_of_two_officers_can_reject(ca):
    facts = await say(ca, await asked(ca, TWO_OFFICERS), "officer-1")
    assert (await say(ca, facts, "officer-2", Verdict.REJECT)).state == "rejected"


async def test_an_officer_does_not_change_their_word(ca):
    facts = await say(ca, await asked(ca, TWO_OFFICERS), "officer-1")
    with pytest.raises(Refused, match="already decided"):
        await say(ca, facts, "officer-1", Verdict.REJECT)


async def test_saying_the_same_again_changes_nothing(ca):
    facts = await asked(ca)
    assert await say(ca, facts) == await say(ca, facts)


@pytest.mark.parametrize(
    ("first", "done"), [(Verdict.APPROVE, "approved"), (Verdict.REJECT, "rejected")]
)
async def test_who_comes_late_hears_who_was_first(ca, first, done):
    facts = await asked(ca)
    await say(ca, facts, "officer-1", first)
    for verdict in Verdict:
        with pytest.raises(Refused, match=f"too late: officer-1 {done} it on "):
            await say(ca, facts, "officer-2", verdict)


async def test_a_withdrawn_request_is_not_decided(ca):
    request = a_request(OFFICER)
    await ca.submit(request)
    facts = await ca.request(request.request_id)
    await ca.cancel(request)
    with pytest.raises(Refused, match="withdrawn"):
        await say(ca, facts)


async def test_what_needs_no_officer_is_not_decided(ca):
    request = a_request()
    await ca.submit(request)
    facts = await ca.request(request.request_id)
    with pytest.raises(Refused, match="no officer is needed"):
        await say(ca, facts)


@pytest.mark.parametrize(
    ("word", "objection"),
    [
        ({"digest": "00" * 32}, "digest: "),
        ({"verdict": Verdict.REJECT, "reason": "  "}, "reason: a rejection needs a reason"),
        ({"reason": "x" * 2_001}, "reason: longer than 2000"),
    ],
    ids=["another digest", "no reason", "endless reason"],
)
async def test_a_word_that_does_not_count_is_refused(ca, word, objection):
    facts = await asked(ca)
    with pytest.raises(Refused, match=objection):
        await say(ca, facts, **word)
    assert (await ca.request(facts.request_id)) == facts


async def test_an_unknown_request_is_not_decided(ca):
    with pytest.raises(Refused, match="no request"):
        await ca.decide("nothing", "officer-1", Verdict.APPROVE, "", "")
    with pytest.raises(Refused, match="no request"):
        await ca.request("nothing")


async def test_of_many_words_at_once_one_wins(ca):
    facts = await asked(ca)
    verdicts = [Verdict.APPROVE, Verdict.REJECT] * 4
    words = [say(ca, facts, f"officer-{n}", verdict) for n, verdict in enumerate(verdicts)]
    outcomes = await asyncio.gather(*words, return_exceptions=True)
    assert sum(not isinstance(outcome, Refused) for outcome in outcomes) == 1


# Signed actions


def token(facts, **changes) -> str:
    """Return the officer's approval as a signed action."""
    action = Action(
        id=new_id(),
        act=Act.DECIDE_REQUEST,
        update_id="",
        actor="officer-1",
        role=Role.OFFICER,
        at=now(),
        digest=facts.digest,
        verdict=Verdict.APPROVE,
    )
    return signer().sign(replace(action, **changes))


@pytest.fixture
async def strict(home, engine):
    """Yield a CA that counts signed words only."""
    ca = home.ca(engine, decision_root=decisions.root_hex(root().public_key()))
    yield ca
    ca.close()


async def test_a_signed_word_counts_at_the_desk_and_at_the_signing(strict):
    facts = await asked(strict)
    await say(strict, facts, token=token(facts))
    assert isinstance(await strict.poll(facts.request_id), Issued)


@pytest.mark.parametrize(
    "change",
    [
        {"act": Act.DECIDE_DOCUMENT},
        {"role": Role.OPERATOR},
        {"actor": "officer-2"},
        {"verdict": Verdict.REJECT},
        {"digest": "00" * 32},
    ],
    ids=lambda change: next(iter(change)),
)
async def test_an_action_signed_for_something_else_does_not_count(strict, change):
    facts = await asked(strict)
    with pytest.raises(Refused, match="another decision"):
        await say(strict, facts, token=token(facts, **change))


async def test_an_unsigned_word_does_not_count(strict):
    with pytest.raises(Refused, match="no token"):
        await say(strict, await asked(strict))


async def test_an_unsigned_word_in_the_database_is_not_signed_for(ca, strict):
    facts = await say(ca, await asked(ca))
    with pytest.raises(Refused, match="0 provably did"):
        await strict.poll(facts.request_id)
