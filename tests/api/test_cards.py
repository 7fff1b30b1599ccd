"""The register of cards: whose they are, and what may be changed about them when."""

import pytest

from cardflow.db.tables import Card, Certificate
from cardflow.decisions import utc_now
from cardflow.model import CardState, Role, new_id
from cardflow.sql import transaction
from tests.api.conftest import reasons

CARDS = "/api/v1/cards"


async def add_card(client, serial="SN-1", **changes):
    answer = await client.post(CARDS, json={"token_serial": serial, **changes})
    assert answer.status_code == 201, answer.text
    return answer.json()


async def set_state(app, card_id, state):
    async with transaction(app.state.cardflow.sessions) as session:
        (await session.get(Card, card_id)).state = state


async def put_certificate_on(app, card_id):
    now = utc_now()
    certificate = Certificate(
        sha256="a" * 64,
        card_id=card_id,
        kind="managed",
        state="on_card",
        cka_id="01",
        spki_sha256="b" * 64,
        serial_number="1",
        subject="CN=Holly",
        issuer="CN=CA",
        not_before=now,
        not_after=now,
        pem="",
        created_at=now,
    )
    async with transaction(app.state.cardflow.sessions) as session:
        session.add(certificate)


async def test_a_card_is_clean_until_somebody_holds_it(sign_in, register):
    holly = await register("holly")
    olga = await sign_in("olga", Role.OPERATOR)

    clean = await add_card(olga)
    held = await olga.patch(f"{CARDS}/{clean['id']}", json={"holder_id": holly.id})
    back = await olga.patch(f"{CARDS}/{clean['id']}", json={"holder_id": None})

    assert clean["state"] == "Clean"
    assert held.json()["state"] == "Assigned"
    assert (back.json()["state"], back.json()["holder_id"]) == ("Clean", None)


async def test_a_holder_sees_their_own_cards_and_no_others(sign_in, register):
    otto = await register("otto")
    holly = await sign_in("holly")
    olga = await sign_in("olga", Role.OPERATOR)
    own = await add_card(olga, "SN-1", holder_id=holly.headers["X-Person"])
    foreign = await add_card(olga, "SN-2", holder_id=otto.id)

    listed = await holly.get(CARDS)
    asked = await holly.get(CARDS, params={"holder": otto.id})

    assert [card["id"] for card in listed.json()["items"]] == [own["id"]]
    assert asked.json()["items"] == []
    assert (await holly.get(f"{CARDS}/{own['id']}")).status_code == 200
    assert (await holly.get(f"{CARDS}/{foreign['id']}")).status_code == 404
    assert (await holly.get(f"{CARDS}/{new_id()}")).status_code == 404


async def test_a_holder_cannot_change_even_their_own_card(sign_in):
    holly = await sign_in("holly")
    olga = await sign_in("olga", Role.OPERATOR)
    card = await add_card(olga, holder_id=holly.headers["X-Person"])

    answer = await holly.patch(f"{CARDS}/{card['id']}", json={"disabled": False})

    assert answer.status_code == 403


async def test_a_serial_is_registered_once(sign_in):
    olga = await sign_in("olga", Role.OPERATOR)
    await add_card(olga)

    answer = await olga.post(CARDS, json={"token_serial": "SN-1"})

    assert answer.status_code == 409
    assert "registered already" in reasons(answer)[0]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"holder_id": "0192-0"}, "holder_id"),
        ({"policy_name": "nothing"}, "policy_name"),
        ({"token_serial": ""}, "body.token_serial"),
        ({"state": "Issued"}, "body.state"),
    ],
)
async def test_what_is_wrong_with_a_card_is_said_by_field(sign_in, change, field):
    olga = await sign_in("olga", Role.OPERATOR)

    answer = await olga.post(CARDS, json={"token_serial": "SN-1", **change})

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == field


async def test_a_card_with_an_open_update_changes_neither_holder_nor_hands(sign_in, register, app):
    holly, otto = await register("holly"), await register("otto")
    olga = await sign_in("olga", Role.OPERATOR)
    card = await add_card(olga, holder_id=holly.id)
    await set_state(app, card["id"], CardState.PENDING)

    for change in ({"holder_id": otto.id}, {"disabled": True}):
        answer = await olga.patch(f"{CARDS}/{card['id']}", json=change)

        assert answer.status_code == 409
        assert "an update is open" in reasons(answer)[0]


async def test_a_card_with_certificates_keeps_its_holder(sign_in, register, app):
    holly, otto = await register("holly"), await register("otto")
    olga = await sign_in("olga", Role.OPERATOR)
    card = await add_card(olga, holder_id=holly.id)
    await put_certificate_on(app, card["id"])

    answer = await olga.patch(f"{CARDS}/{card['id']}", json={"holder_id": otto.id})

    assert answer.status_code == 409
    assert "revoke and clear it first" in reasons(answer)[0]


async def test_a_card_that_is_enabled_again_stands_where_its_contents_put_it(
    sign_in, register, app
):
    holly = await register("holly")
    olga = await sign_in("olga", Role.OPERATOR)
    card = await add_card(olga, holder_id=holly.id)
    path = f"{CARDS}/{card['id']}"

    disabled = await olga.patch(path, json={"disabled": True})
    empty = await olga.patch(path, json={"disabled": False})
    await put_certificate_on(app, card["id"])
    await olga.patch(path, json={"disabled": True})
    filled = await olga.patch(path, json={"disabled": False})

    states = [answer.json()["state"] for answer in (disabled, empty, filled)]
    assert states == ["Disabled", "Assigned", "Issued"]


async def test_a_file_brings_cards_for_people_by_login(sign_in, register):
    holly = await register("holly")
    olga = await sign_in("olga", Role.OPERATOR)
    await add_card(olga, "SN-1")

    answer = await olga.post(
        f"{CARDS}/import",
        content=(
            "token_serial,token_label,holder,policy_name\n"
            "SN-1,Desk,holly,\n"
            "SN-2,Spare,,\n"
            "SN-3,Lost,nobody,\n"
            "SN-4,Odd,nobody,no-policy\n"
            "+SN-5,Formula,,\n"
        ),
        headers={"Content-Type": "text/csv; charset=utf-8"},
    )

    told = answer.json()
    assert (told["created"], told["updated"]) == (1, 1)
    assert [(r["line"], r["field"]) for r in told["refused"]] == [
        (4, "holder"),
        (5, "holder"),
        (5, "policy_name"),
        (6, "token_serial"),
    ]
    listed = (await olga.get(CARDS, params={"holder": holly.id})).json()["items"]
    assert [card["token_serial"] for card in listed] == ["SN-1"]


async def test_a_dry_run_of_cards_tells_what_would_change_and_stores_nothing(
    sign_in, register, app
):
    holly = await register("holly")
    ada = await sign_in("ada", Role.ADMIN)
    await ada.post(CARDS, json={"token_serial": "KNOWN", "holder_id": holly.id})
    await ada.post(CARDS, json={"token_serial": "FREE"})
    text = (
        "token_serial;holder;policy_name\nKNOWN;holly;\nFREE;holly;\nNEW;;\nBAD;nobody;\nX;;none\n"
    )
    headers = {"Content-Type": "text/csv"}

    answer = await ada.post(f"{CARDS}/import", content=text, headers=headers, params={"dry_run": 1})

    told = answer.json()
    assert [(one["key"], one["what"]) for one in told["lines"]] == [
        ("KNOWN", "unchanged"),
        ("FREE", "updated"),
        ("NEW", "created"),
    ]
    assert told["lines"][1]["changes"] == [{"field": "holder", "old": "", "new": "Holly"}]
    assert [(one["line"], one["field"]) for one in told["refused"]] == [
        (5, "holder"),
        (6, "policy_name"),
    ]
    assert len((await ada.get(CARDS)).json()["items"]) == 2
