"""What people do at the door is in the audit trail, and a change to it is found."""

from sqlalchemy import text

from cardflow.model import Role
from cardflow.sql import transaction
from tests.api.conftest import PASSWORD

AUDIT = "/api/v1/audit"


async def test_what_was_done_is_told_in_order_without_personal_data(sign_in):
    ada = await sign_in("ada", Role.ADMIN)
    await ada.post("/api/v1/people", json={"login": "holly", "name": "Holly Wood"})

    await ada.post("/api/v1/session", json={"login": "ada", "password": PASSWORD})

    entries = (await ada.get(AUDIT)).json()["items"]

    assert [entry["kind"] for entry in entries] == ["person_added", "signed_in"]
    assert [entry["number"] for entry in entries] == [1, 2]
    assert {entry["actor"] for entry in entries} == {ada.headers["X-Person"]}
    assert "Holly" not in entries[0]["text"]


async def test_the_trail_is_searched_by_kind_and_actor_and_paged(sign_in):
    ada, adam = await sign_in("ada", Role.ADMIN), await sign_in("adam", Role.AUDITOR)
    for login in ("holly", "otto"):
        await ada.post("/api/v1/people", json={"login": login, "name": login})

    by_kind = await adam.get(AUDIT, params={"kind": "card_added"})
    by_actor = await adam.get(AUDIT, params={"actor": ada.headers["X-Person"]})
    first = await adam.get(AUDIT, params={"limit": 1})
    second = await adam.get(AUDIT, params={"limit": 1, "cursor": first.json()["next"]})

    assert by_kind.json()["items"] == []
    assert len(by_actor.json()["items"]) == 2
    assert second.json()["items"][0]["number"] == 2


async def test_a_whole_chain_is_said_to_be_whole_and_a_changed_one_broken(sign_in, app):
    ada = await sign_in("ada", Role.ADMIN)
    for login in ("holly", "otto"):
        await ada.post("/api/v1/people", json={"login": login, "name": login})
    whole = await ada.get(f"{AUDIT}/verify")

    async with transaction(app.state.cardflow.sessions) as session:
        for name in (await session.scalars(TRIGGERS)).all():
            await session.execute(text(f"DROP TRIGGER {name}"))
        await session.execute(text("UPDATE audit SET actor = 'somebody else' WHERE number = 2"))
    broken = await ada.get(f"{AUDIT}/verify")

    assert whole.json() == {
        "ok": True,
        "entries": 2,
        "broken_at": None,
        "reason": "",
        "checkpoints": 0,
        "covered_to": 0,
        "findings": [],
    }
    assert (broken.json()["ok"], broken.json()["broken_at"]) == (False, 2)


async def test_holders_and_operators_do_not_read_the_trail(sign_in):
    somebody = await sign_in("sam", Role.HOLDER, Role.OPERATOR, Role.OFFICER, Role.SERVICE)

    assert (await somebody.get(AUDIT)).status_code == 403


TRIGGERS = text("SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'audit'")
