"""Acts of weight need a proof of the last minutes; whoever has to give it loses nothing."""

import re
from datetime import timedelta
from html import unescape

from sqlalchemy import select, update

from cardflow.db.tables import AuditEntry, Person, Session
from cardflow.model import Role
from cardflow.sql import transaction
from tests.api.conftest import PASSWORD, client_of

PAGE = {"Accept": "text/html"}
FORM = {"roles": "holder", "language": "en", "mail_digest": "off"}
NEW = {"login": "nora", "name": "Nora Nord", "email": "nora@example.org"}


async def long_ago(app, *, minutes=6):
    """Leave every sign-in as proven this long ago."""
    async with transaction(app.state.cardflow.sessions) as session:
        for row in await session.scalars(select(Session)):
            row.authenticated_at -= timedelta(minutes=minutes)


async def test_who_has_just_signed_in_is_not_asked_again(sign_in):
    ada = await sign_in("ada", Role.ADMIN)

    assert (await ada.post("/api/v1/people", json=NEW)).status_code == 201


async def test_a_program_is_told_what_is_missing_as_rfc_9470_says(sign_in, app):
    ada = await sign_in("ada", Role.ADMIN)
    await long_ago(app)

    answer = await ada.post("/api/v1/people", json=NEW)

    assert answer.status_code == 401
    assert answer.json()["type"] == "urn:cardflow:problem:fresh-sign-in-needed"
    told = answer.headers["www-authenticate"]
    assert 'error="insufficient_user_authentication"' in told
    assert 'max_age="300"' in told
    assert (await ada.get("/api/v1/people")).status_code == 200


async def test_who_may_not_do_it_at_all_is_told_that_first(sign_in, app):
    olga = await sign_in("olga", Role.OPERATOR)
    await long_ago(app)

    assert (await olga.post("/api/v1/people", json=NEW)).status_code == 403


async def test_a_confirmed_sign_in_goes_on_under_a_new_token(sign_in, app):
    ada = await sign_in("ada", Role.ADMIN)
    await long_ago(app)

    answer = await ada.post("/api/v1/session/confirm", json={"password": PASSWORD})

    assert answer.status_code == 200
    assert (await ada.get("/api/v1/me")).status_code == 401, "the old token opens nothing"
    ada.headers["Authorization"] = f"Bearer {answer.json()['token']}"
    assert (await ada.post("/api/v1/people", json=NEW)).status_code == 201
    async with transaction(app.state.cardflow.reads) as session:
        kinds = (await session.scalars(select(AuditEntry.kind))).all()
    assert "sign_in_confirmed" in kinds


async def test_a_confirmed_sign_in_ends_no_later_than_it_would_have(sign_in, app):
    ada = await sign_in("ada", Role.ADMIN)
    async with transaction(app.state.cardflow.reads) as session:
        before = (await session.scalars(select(Session))).one().expires_at

    answer = await ada.post("/api/v1/session/confirm", json={"password": PASSWORD})

    assert answer.json()["expires_at"] == before.isoformat().replace("+00:00", "Z")


async def test_a_wrong_password_confirms_nothing_and_is_counted(sign_in, app):
    ada = await sign_in("ada", Role.ADMIN)
    await long_ago(app)
    wrong = {"password": "wrong password"}

    answers = [await ada.post("/api/v1/session/confirm", json=wrong) for _ in range(6)]

    assert [answer.status_code for answer in answers] == [401] * 5 + [429]
    assert (await ada.post("/api/v1/people", json=NEW)).status_code == 401


async def test_an_api_token_decides_nothing_but_carries_policies(sign_in, app):
    ada = await sign_in("ada", *Role)
    made = await ada.post("/api/v1/tokens", json={"name": "a", "roles": list(Role)})
    script = client_of(app, headers={"Authorization": f"Bearer {made.json()['token']}"})

    decision = {"verdict": "approve", "digest": "0" * 64}
    decided = await script.post("/api/v1/ca/requests/x:1:y/decisions", json=decision)
    changed = await script.post("/api/v1/people", json=NEW)

    assert decided.status_code == 403
    assert decided.json()["type"].endswith("person-needed")
    assert changed.status_code == 201
    await script.aclose()


def fields_of(page: str) -> dict[str, str]:
    """Return the hidden fields of a page's form."""
    found = re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)">', page)
    return {name: unescape(value) for name, value in found}


async def test_a_form_waits_for_the_password_and_loses_no_word(sign_in, app):
    ada = await sign_in("ada", Role.ADMIN)
    await long_ago(app)
    typed = {**FORM, "login": "nora", "name": 'Nora "N" <Nord> & Söhne'}

    asked = await ada.post("/people/-/new", data=typed, headers=PAGE)
    carried = fields_of(asked.text)
    done = await ada.post(
        "/people/-/new", data={**carried, "confirm_password": PASSWORD}, headers=PAGE
    )

    assert asked.status_code == 401
    assert "insufficient_user_authentication" in asked.headers["www-authenticate"]
    assert carried == typed
    assert done.status_code == 303, done.text
    assert done.headers["location"].startswith("/people/")


async def test_a_reason_of_several_lines_is_carried_as_it_was_typed(sign_in, app):
    olga = await sign_in("olga", Role.OPERATOR)
    await long_ago(app)
    typed = {"verdict": "reject", "reason": "The stamp is missing.\r\nSign on page 2 & 3."}

    asked = await olga.post("/work/an-update/a-lane", data=typed, headers=PAGE)

    assert fields_of(asked.text) == typed


async def test_a_form_with_a_wrong_password_is_asked_for_again_with_all_it_held(sign_in, app):
    ada = await sign_in("ada", Role.ADMIN)
    await long_ago(app)

    answer = await ada.post(
        "/people/-/new", data={**NEW, "confirm_password": "wrong"}, headers=PAGE
    )

    assert answer.status_code == 401
    assert "login or password is wrong" in answer.text
    assert fields_of(answer.text).items() >= NEW.items()
    assert "wrong" not in fields_of(answer.text).values()
    async with transaction(app.state.cardflow.reads) as session:
        assert (await session.scalars(select(Person.login))).all() == ["ada"]


async def test_the_browser_gets_the_new_token_and_the_old_one_ends(register, anonymous, app):
    await register("ada", Role.ADMIN)
    await anonymous.post("/api/v1/session", json={"login": "ada", "password": PASSWORD})
    before = anonymous.cookies["cardflow"]
    await long_ago(app)

    done = await anonymous.post(
        "/people/-/new", data={**FORM, **NEW, "confirm_password": PASSWORD}, headers=PAGE
    )

    after = anonymous.cookies["cardflow"]
    assert done.status_code == 303
    assert after != before
    assert (await anonymous.get("/api/v1/me")).status_code == 200
    stolen = client_of(app, headers={"Authorization": f"Bearer {before}"})
    assert (await stolen.get("/api/v1/me")).status_code == 401
    await stolen.aclose()


async def test_nobody_else_is_waved_through_by_a_forms_password(sign_in, app):
    olga = await sign_in("olga", Role.OPERATOR)
    await long_ago(app)

    answer = await olga.post(
        "/people/-/new", data={**FORM, **NEW, "confirm_password": PASSWORD}, headers=PAGE
    )

    assert answer.status_code == 403


async def test_who_has_no_password_here_is_shown_the_way_to_sign_in_again(sign_in, app):
    ada = await sign_in("ada", Role.ADMIN)
    await long_ago(app)
    async with transaction(app.state.cardflow.sessions) as session:
        await session.execute(update(Person).values(password_hash=""))

    asked = await ada.post("/people/-/new", data=NEW, headers=PAGE)

    assert "/sign-in?again=true" in asked.text
    assert (await ada.get("/sign-in?again=true", headers=PAGE)).status_code == 200
