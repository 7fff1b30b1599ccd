"""Signing in, staying signed in, and leaving."""

import asyncio
from datetime import timedelta

from sqlalchemy import select, update

from cardflow.db.tables import Person, Session
from cardflow.decisions import utc_now
from cardflow.model import Role
from cardflow.sql import transaction
from tests.api.conftest import PASSWORD, client_of, reasons

NEW = "another long password"


def credentials(login, password=PASSWORD):
    return {"login": login, "password": password}


async def test_a_person_signs_in_and_is_told_who_they_are(anonymous, register):
    await register("holly")

    answer = await anonymous.post("/api/v1/session", json=credentials("holly"))

    assert answer.status_code == 201
    assert answer.json()["token"].startswith("cfs_")
    me = await anonymous.get("/api/v1/me")
    assert me.json()["login"] == "holly"
    assert "password_hash" not in me.json()


async def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(anonymous, register):
    await register("holly")

    answer = await anonymous.post("/api/v1/session", json=credentials("holly"))

    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=lax" in cookie


async def test_no_token_is_kept_in_clear(anonymous, register, app):
    await register("holly")
    token = (await anonymous.post("/api/v1/session", json=credentials("holly"))).json()["token"]

    async with transaction(app.state.cardflow.sessions) as session:
        kept = (await session.scalars(select(Session))).one()

    assert token not in kept.token_sha256


async def test_a_wrong_password_and_an_unknown_login_are_told_alike(anonymous, register):
    await register("holly")

    wrong = await anonymous.post("/api/v1/session", json=credentials("holly", "wrong password"))
    unknown = await anonymous.post("/api/v1/session", json=credentials("nobody", "wrong password"))

    assert wrong.status_code == unknown.status_code == 401
    assert wrong.json() == unknown.json()


async def test_a_disabled_person_learns_it_only_with_the_right_password(anonymous, register):
    await register("holly", active=False)

    right = await anonymous.post("/api/v1/session", json=credentials("holly"))
    wrong = await anonymous.post("/api/v1/session", json=credentials("holly", "wrong password"))

    assert right.status_code == 403
    assert "disabled" in reasons(right)[0]
    assert wrong.status_code == 401


async def test_guessing_is_stopped_for_the_account_it_was_aimed_at(anonymous, register):
    await register("holly")
    await register("otto")

    for _ in range(5):
        await anonymous.post("/api/v1/session", json=credentials("holly", "wrong password"))
    stopped = await anonymous.post("/api/v1/session", json=credentials("holly"))
    other = await anonymous.post("/api/v1/session", json=credentials("otto"))

    assert stopped.status_code == 429
    assert int(stopped.headers["retry-after"]) > 0
    assert other.status_code == 201


async def test_guesses_that_come_at_once_are_counted_all_the_same(anonymous, register):
    await register("holly")
    wrong = credentials("holly", "wrong password")

    answers = await asyncio.gather(
        *(anonymous.post("/api/v1/session", json=wrong) for _ in range(8))
    )

    assert sorted(answer.status_code for answer in answers) == [401] * 5 + [429] * 3


async def test_who_knows_the_password_is_not_counted(anonymous, register):
    await register("holly")

    for _ in range(7):
        answer = await anonymous.post("/api/v1/session", json=credentials("holly"))

    assert answer.status_code == 201


async def test_without_a_sign_in_there_is_nothing_to_see(anonymous):
    for headers in ({}, {"Authorization": "Bearer cfs_guess"}, {"Authorization": "Basic eDp5"}):
        answer = await anonymous.get("/api/v1/me", headers=headers)

        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"


async def test_leaving_ends_the_sign_in(sign_in):
    holly = await sign_in("holly")

    assert (await holly.delete("/api/v1/session")).status_code == 204

    assert (await holly.get("/api/v1/me")).status_code == 401


async def test_a_sign_in_ends_when_it_is_not_used(sign_in, app):
    holly = await sign_in("holly")
    await age_sessions(app, seen=timedelta(hours=2))

    assert (await holly.get("/api/v1/me")).status_code == 401


async def test_a_sign_in_ends_after_a_working_day_even_when_it_is_used(sign_in, app):
    holly = await sign_in("holly")
    await age_sessions(app, expires=timedelta(hours=13))

    assert (await holly.get("/api/v1/me")).status_code == 401


async def test_use_keeps_a_sign_in_alive(sign_in, app):
    holly = await sign_in("holly")
    await age_sessions(app, seen=timedelta(minutes=50))

    assert (await holly.get("/api/v1/me")).status_code == 200

    async with transaction(app.state.cardflow.sessions) as session:
        seen = (await session.scalars(select(Session))).one().seen_at
    assert utc_now() - seen < timedelta(minutes=1)


async def test_disabling_a_person_ends_their_sign_in_at_once(sign_in, app):
    holly = await sign_in("holly")
    async with transaction(app.state.cardflow.sessions) as session:
        await session.execute(update(Person).values(active=False))

    assert (await holly.get("/api/v1/me")).status_code == 401


async def test_a_new_password_ends_every_other_sign_in(sign_in, app):
    holly = await sign_in("holly")
    other = client_of(app)
    await other.post("/api/v1/session", json=credentials("holly"))

    answer = await holly.put("/api/v1/me/password", json={"old": PASSWORD, "new": NEW})

    assert answer.status_code == 204
    assert (await holly.get("/api/v1/me")).status_code == 200
    assert (await other.get("/api/v1/me")).status_code == 401
    assert (await other.post("/api/v1/session", json=credentials("holly", NEW))).status_code == 201
    await other.aclose()


async def test_a_password_is_changed_only_by_who_knows_the_old_one(sign_in):
    holly = await sign_in("holly")

    answer = await holly.put("/api/v1/me/password", json={"old": "wrong password", "new": NEW})

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "old"


async def test_a_weak_password_is_refused(sign_in):
    holly = await sign_in("holly")

    for weak in ("short", "aaaaaaaaaaaaaaa"):
        answer = await holly.put("/api/v1/me/password", json={"old": PASSWORD, "new": weak})

        assert answer.status_code == 422
        assert weak not in answer.text


async def test_a_password_from_an_administrator_must_be_changed_first(sign_in, register, app):
    holly = await register("holly")
    ada = await sign_in("ada", Role.ADMIN)
    await ada.post(f"/api/v1/people/{holly.id}/password", json={"password": NEW})
    client = client_of(app)
    await client.post("/api/v1/session", json=credentials("holly", NEW))

    refused = await client.get("/api/v1/cards")
    token = await client.post("/api/v1/tokens", json={"name": "a", "roles": ["holder"]})
    me = await client.get("/api/v1/me")
    await client.put("/api/v1/me/password", json={"old": NEW, "new": PASSWORD})
    cards = await client.get("/api/v1/cards")

    for answer in (refused, token):
        assert answer.status_code == 403
        assert answer.json()["type"].endswith("password-change-needed")
    assert me.json()["must_change_password"] is True
    assert cards.status_code == 200
    await client.aclose()


async def age_sessions(app, *, seen=timedelta(0), expires=timedelta(0)):
    async with transaction(app.state.cardflow.sessions) as session:
        row = (await session.scalars(select(Session))).one()
        row.seen_at -= seen
        row.expires_at -= expires
