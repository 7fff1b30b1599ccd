"""Administrators tie people to their accounts at the OpenID provider, and untie them."""

from dataclasses import replace
from datetime import timedelta

import pytest

from api.auth import SESSION_PREFIX, new_token, token_digest
from cardflow.db.register_identity import Opening, open_session
from cardflow.decisions import utc_now
from cardflow.model import Role, new_id
from cardflow.sql import transaction
from tests.api.conftest import client_of, reasons

ISSUER = "https://login.example.org"


@pytest.fixture
def settings(settings):
    """Return the settings of an installation with a provider; nothing is asked of it here."""
    return settings.model_copy(update={"oidc_issuer": ISSUER, "oidc_client_id": "cardflow"})


async def tied(admin, person, subject="s-1"):
    return await admin.put(f"/api/v1/people/{person.id}/identity", json={"subject": subject})


async def test_an_administrator_ties_a_person_to_an_account(sign_in, register):
    admin, hilda = await sign_in("ada", Role.ADMIN), await register("hilda")

    await tied(admin, hilda)
    again = await tied(admin, hilda)
    shown = await admin.get(f"/api/v1/people/{hilda.id}/identity")

    assert again.json() == shown.json()
    assert (shown.json()["issuer"], shown.json()["subject"]) == (ISSUER, "s-1")


async def test_an_account_is_one_persons_only(sign_in, register):
    admin, hilda, ben = (
        await sign_in("ada", Role.ADMIN),
        await register("hilda"),
        await register("ben"),
    )
    await tied(admin, hilda)

    answer = await tied(admin, ben)

    assert answer.status_code == 409
    assert reasons(answer) == ["this account is another person's; untie it there first"]


async def test_untying_ends_the_sign_ins_that_the_provider_opened(app, sign_in, register):
    admin, hilda = await sign_in("ada", Role.ADMIN), await register("hilda")
    await tied(admin, hilda)
    token, now = new_token(SESSION_PREFIX), utc_now()
    async with transaction(app.state.cardflow.sessions) as session:
        until = now + timedelta(hours=1)
        opening = Opening("provider")
        await open_session(
            session, hilda.id, token_digest(token), now=now, until=until, opening=opening
        )

    await tied(admin, hilda, "s-2")

    async with client_of(app, headers={"Authorization": f"Bearer {token}"}) as client:
        assert (await client.get("/api/v1/me")).status_code == 401


async def test_what_is_not_there_cannot_be_shown_or_untied(sign_in, register):
    admin, hilda = await sign_in("ada", Role.ADMIN), await register("hilda")
    await tied(admin, hilda)
    path = f"/api/v1/people/{hilda.id}/identity"

    answers = [await admin.delete(path), await admin.delete(path), await admin.get(path)]
    unknown = await admin.get(f"/api/v1/people/{new_id()}/identity")

    assert [answer.status_code for answer in answers] == [204, 404, 404]
    assert unknown.status_code == 404


async def test_without_a_provider_there_is_nothing_to_tie(app, sign_in, register):
    admin, hilda = await sign_in("ada", Role.ADMIN), await register("hilda")
    state = app.state.cardflow
    without = state.settings.model_copy(update={"oidc_issuer": None})
    app.state.cardflow = replace(state, settings=without)

    assert (await tied(admin, hilda)).status_code == 409
