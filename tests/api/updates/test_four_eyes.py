"""Who decides is a person, not an account: a name, a role or a second account changes nothing."""

import asyncio

import pytest

from cardflow.model import Role, new_id

pytestmark = pytest.mark.temporal
F = "tls-client F"
OWN_CARD, OWN_REQUEST = "nobody decides on their own card", "nobody decides on their own request"


async def checking(office, *, opened_by=None, **entry) -> str:
    """Return an update whose certificate form waits for an operator."""
    more = " ".join(f"{key}={value}" for key, value in entry.items())
    await office.policy(f"{F} {more}".strip())
    update_id = await office.opened(opened_by)
    if opened_by is not None:
        await office.act(update_id, "continue")
    await office.until_lane(update_id, "awaiting_certificate_form")
    await office.sign(update_id, "tls-client")
    return update_id


async def change(admin, who, **fields):
    answer = await admin.patch(f"/api/v1/people/{who.headers['X-Person']}", json=fields)
    assert answer.status_code == 200, answer.text


async def renamed(office, let_in, admin, who):
    await change(admin, who, name="Somebody Else", email="else@example.org", upn="else@example.org")
    return who


async def second_account(office, let_in, admin, who):
    other = await let_in(f"second-{new_id()[-6:]}", Role.OPERATOR)
    await change(admin, other, same_as=who.headers["X-Person"])
    return other


async def as_operator(office, let_in, admin, who):
    await change(admin, who, roles=["holder", "operator"])
    return who


async def as_administrator(office, let_in, admin, who):
    await change(admin, who, roles=["holder", "operator", "admin"])
    return who


async def renamed_operator(office, let_in, admin, who):
    await as_operator(office, let_in, admin, who)
    return await renamed(office, let_in, admin, who)


async def renamed_second_account(office, let_in, admin, who):
    other = await second_account(office, let_in, admin, who)
    return await renamed(office, let_in, admin, other)


async def second_account_as_administrator(office, let_in, admin, who):
    other = await second_account(office, let_in, admin, who)
    await change(admin, other, roles=["operator", "admin"])
    return other


HOLDERS = {
    "the holder, made an operator": as_operator,
    "the holder, made an administrator": as_administrator,
    "the holder, renamed": renamed_operator,
    "the holder's second account": second_account,
    "the holder's second account, renamed": renamed_second_account,
    "the holder's second account, made an administrator": second_account_as_administrator,
}


async def test_holders_decide_on_their_card_by_no_account_name_or_role(office, let_in):
    admin, update_id = await let_in("ada", Role.ADMIN), await checking(office)
    for case, becoming in HOLDERS.items():
        who = await becoming(office, let_in, admin, office.holder)

        answer = await office.decide(update_id, "approve", who=who)

        assert answer.status_code == 409, (case, answer.text)
        assert OWN_CARD in answer.json()["errors"][0]["reason"], case
    seen = await office.update(update_id)
    assert seen["lanes"][0]["stage"] == "checking_certificate_form"


STARTERS = {
    "whoever opened it on the holder's behalf": as_operator,
    "the same, renamed": renamed_operator,
    "the same, made an administrator": as_administrator,
    "their second account": second_account,
}


async def test_whoever_acted_for_the_holder_does_not_decide_too(office, let_in):
    admin, delegate = await let_in("ada", Role.ADMIN), await let_in("dora", Role.OPERATOR)
    update_id = await checking(office, opened_by=delegate)
    for case, becoming in STARTERS.items():
        who = await becoming(office, let_in, admin, delegate)

        answer = await office.decide(update_id, "approve", who=who)

        assert answer.status_code == 409, (case, answer.text)
        assert OWN_REQUEST in answer.json()["errors"][0]["reason"], case


async def test_an_administrator_who_is_no_operator_decides_nothing(office, let_in):
    update_id = await checking(office)
    digest = (await office.update(update_id))["lanes"][0]["decision_digest"]
    admin = await let_in("ada", Role.ADMIN)

    answer = await office.decide(update_id, "approve", who=admin, digest=digest)

    assert answer.status_code == 403


async def test_a_quorum_is_of_people_and_not_of_their_accounts(office, let_in):
    update_id = await checking(office, approvals_needed=2)
    admin = await let_in("ada", Role.ADMIN)
    other = await second_account(office, let_in, admin, office.operator)
    assert (await office.decide(update_id, "approve")).status_code == 201

    again = await office.decide(update_id, "approve", who=other)

    assert again.status_code == 409
    assert "already approved" in again.json()["errors"][0]["reason"]
    oscar = await let_in("oscar", Role.OPERATOR)
    assert (await office.decide(update_id, "approve", who=oscar)).status_code == 201
    await office.until_stage(update_id, "ready")


async def test_second_accounts_are_named_by_another_administrator_and_hold_no_cards(office, let_in):
    admin, ann = await let_in("ada", Role.ADMIN), await let_in("ann", Role.ADMIN)
    second, third = await let_in("sam", Role.OPERATOR), await let_in("tom", Role.OPERATOR)
    first = office.operator.headers["X-Person"]

    async def linked(by, who, same_as) -> int:
        path = f"/api/v1/people/{who.headers['X-Person']}"
        return (await by.patch(path, json={"same_as": same_as})).status_code

    assert await linked(admin, second, second.headers["X-Person"]) == 409  # oneself
    assert await linked(admin, second, new_id()) == 409  # nobody
    assert await linked(admin, office.holder, first) == 409  # who holds a card
    assert await linked(admin, admin, first) == 409  # one's own
    assert await linked(admin, second, admin.headers["X-Person"]) == 409
    assert await linked(admin, second, first) == 200
    assert await linked(admin, third, second.headers["X-Person"]) == 409  # no chains
    assert await linked(admin, office.operator, third.headers["X-Person"]) == 409
    path = f"/api/v1/cards/{office.card_id}"
    given = await ann.patch(path, json={"holder_id": second.headers["X-Person"]})
    assert given.status_code == 422
    assert "second account" in given.json()["errors"][0]["reason"]
    assert await linked(admin, second, "") == 200


async def test_an_upload_between_the_look_and_the_approval_voids_it(office):
    update_id = await checking(office)
    shown = (await office.update(update_id, office.operator))["lanes"][0]["decision_digest"]
    await office.sign(update_id, "tls-client")

    answer = await office.decide(update_id, "approve", digest=shown)

    assert answer.status_code == 409
    assert "the document changed" in answer.json()["errors"][0]["reason"]
    seen = await office.update(update_id)
    assert seen["lanes"][0]["stage"] == "checking_certificate_form"


async def test_of_two_who_contradict_each_other_one_wins_and_the_other_hears_who(office, let_in):
    update_id, oscar = await checking(office), await let_in("oscar", Role.OPERATOR)
    shown = (await office.update(update_id, oscar))["lanes"][0]["decision_digest"]

    answers = await asyncio.gather(
        office.decide(update_id, "approve", digest=shown),
        office.decide(update_id, "reject", who=oscar, reason="blurred", digest=shown),
    )

    (won,), (lost,) = ([a for a in answers if a.status_code == code] for code in (201, 409))
    winner = "Olga" if won is answers[0] else "Oscar"
    assert f"too late: {winner}" in lost.json()["errors"][0]["reason"]
