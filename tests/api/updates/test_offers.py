"""What can be chosen for an update, and what clearing a card would remove."""

from tests.api.updates.conftest import API, a_certificate


async def test_a_plan_says_what_can_be_chosen(office):
    office.desk.card.certificates["f0"] = a_certificate("CN=Somebody else")
    await office.desk.workstation.report(office.desk.card.report())
    await office.policy("tls-client none", "smime-signing none mandatory=false")

    offer = await office.plan(optional=["smime-signing"])

    (optional,) = offer["optional"]
    assert optional == {"profile": "smime-signing", "title": "E-mail signature", "chosen": True}
    (foreign,) = offer["third_party"]
    assert (foreign["subject"], foreign["chosen"]) == ("CN=Somebody else", False)
    assert offer["titles"]["tls-client"] == "Sign-in to web services"
    assert offer["contact"] == "Ask the service desk."
    assert [one["ref"]["certificate_sha256"] for one in offer["on_card"]] == [foreign["sha256"]]


async def test_what_the_policy_does_not_let_people_choose_is_not_offered(office):
    office.desk.card.certificates["f0"] = a_certificate("CN=Somebody else")
    await office.desk.workstation.report(office.desk.card.report())
    await office.policy(
        "tls-client none",
        "smime-signing none mandatory=false",
        select_third_party=False,
        permissions={"select_optional": False},
    )

    offer = await office.plan()

    assert (offer["optional"], offer["third_party"]) == ([], [])
    assert len(offer["plan"]["registers"]) == 1


async def test_clearing_shows_what_goes_before_it_goes(office):
    path = f"{API}/cards/{office.card_id}/clear"
    before = (await office.holder.get(path)).json()
    await office.until_stage(await office.opened(), "completed")
    office.desk.card.certificates["f0"] = a_certificate("CN=Somebody else")
    await office.desk.workstation.report(office.desk.card.report())

    offer = (await office.holder.get(path)).json()

    assert before["plan"]["objections"] == ["nothing of ours is on the card"]
    assert len(offer["plan"]["removes"]) == 1
    assert [kept["subject"] for kept in offer["plan"]["keeps"]] == ["CN=Somebody else"]
    assert offer["plan"]["objections"] == []
    assert len(office.desk.card.certificates) == 2


async def test_a_card_of_somebody_else_shows_nothing(office, let_in):
    stranger = await let_in("stella")

    for what in ("plan", "clear"):
        assert (await stranger.get(f"{API}/cards/{office.card_id}/{what}")).status_code == 404
