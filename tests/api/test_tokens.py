"""API tokens: services sign in with them, and can never do more than their person."""

from sqlalchemy import select

from cardflow.db.tables import ApiToken, IdempotentAnswer
from cardflow.decisions import utc_now
from cardflow.model import Role
from cardflow.sql import transaction
from tests.api.conftest import client_of, reasons

TOKENS = "/api/v1/tokens"


async def make_token(client, *roles, **changes):
    body = {"name": "import script", "roles": list(roles), **changes}
    return await client.post(TOKENS, json=body)


def with_token(app, answer):
    return client_of(app, headers={"Authorization": f"Bearer {answer.json()['token']}"})


async def test_a_token_works_with_the_roles_it_was_given(sign_in, app):
    ada = await sign_in("ada", Role.ADMIN, Role.AUDITOR)

    answer = await make_token(ada, Role.AUDITOR)
    script = with_token(app, answer)

    assert answer.status_code == 201
    assert answer.json()["token"].startswith("cft_")
    assert (await script.get("/api/v1/audit")).status_code == 200
    assert (await script.post("/api/v1/people", json={})).status_code == 403
    assert (await script.get("/api/v1/me")).json()["roles"] == ["auditor"]


async def test_a_token_is_shown_once_and_never_kept(sign_in, app):
    ada = await sign_in("ada", Role.ADMIN)
    secret = (await make_token(ada, Role.ADMIN)).json()["token"]

    listed = await ada.get(TOKENS)

    assert secret not in listed.text
    async with transaction(app.state.cardflow.sessions) as session:
        assert secret not in repr((await session.scalars(select(ApiToken))).one())


async def test_nobody_gives_a_token_more_than_they_have(sign_in):
    olga = await sign_in("olga", Role.OPERATOR)

    answer = await make_token(olga, Role.OPERATOR, Role.ADMIN)

    assert answer.status_code == 422
    assert "admin" in reasons(answer)[0]


async def test_a_token_makes_no_other_token_and_changes_no_password(sign_in, app):
    ada = await sign_in("ada", Role.ADMIN)
    script = with_token(app, await make_token(ada, Role.ADMIN))

    assert (await make_token(script, Role.ADMIN)).status_code == 403
    body = {"old": "correct horse battery", "new": "another long password"}
    assert (await script.put("/api/v1/me/password", json=body)).status_code == 403
    assert (await script.delete("/api/v1/session")).status_code == 409


async def test_a_token_loses_what_its_person_loses(sign_in, app):
    ada = await sign_in("ada", Role.ADMIN)
    olga = await sign_in("olga", Role.OPERATOR, Role.AUDITOR)
    script = with_token(app, await make_token(olga, Role.OPERATOR))

    await ada.patch(f"/api/v1/people/{olga.headers['X-Person']}", json={"roles": ["auditor"]})

    assert (await script.get("/api/v1/cards")).status_code == 403


async def test_a_revoked_or_expired_token_is_nobody(sign_in, app):
    ada = await sign_in("ada", Role.ADMIN)
    revoked, expired = await make_token(ada, Role.ADMIN), await make_token(ada, Role.ADMIN)

    for _ in range(2):
        assert (await ada.delete(f"{TOKENS}/{revoked.json()['id']}")).status_code == 204
    async with transaction(app.state.cardflow.sessions) as session:
        (await session.get(ApiToken, expired.json()["id"])).expires_at = utc_now()

    for answer in (revoked, expired):
        assert (await with_token(app, answer).get("/api/v1/me")).status_code == 401


async def test_a_foreign_token_is_not_found(sign_in):
    ada = await sign_in("ada", Role.ADMIN)
    olga = await sign_in("olga", Role.OPERATOR)
    token = (await make_token(ada, Role.ADMIN)).json()

    assert (await olga.delete(f"{TOKENS}/{token['id']}")).status_code == 404


async def test_a_token_lives_a_year_at_most(sign_in):
    ada = await sign_in("ada", Role.ADMIN)

    assert (await make_token(ada, Role.ADMIN, days=4000)).status_code == 422


async def test_a_repeated_request_shows_the_same_token_again_and_keeps_it_sealed(sign_in, app):
    ada = await sign_in("ada", Role.ADMIN)
    ada.headers["Idempotency-Key"] = "make it once"

    first, second = await make_token(ada, Role.ADMIN), await make_token(ada, Role.ADMIN)

    assert first.json() == second.json()
    assert len((await ada.get(TOKENS)).json()["items"]) == 1
    async with transaction(app.state.cardflow.sessions) as session:
        kept = (await session.scalars(select(IdempotentAnswer))).one()
    assert first.json()["token"] not in kept.body
