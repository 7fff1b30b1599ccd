"""Signing in at a real provider: Canaille, which nobody here wrote."""

import asyncio
import re
from html import unescape

import httpx2
import pytest

from api.accounts_there import DISABLED, NO_ROLE, NOBODY, NOT_VERIFIED, TAKEN
from api.by_provider import SOMEBODY_ELSE
from api.provider import Provider
from cardflow.db.register_sign_in import Account, bind
from cardflow.db.tables import AuditEntry, Person
from cardflow.decisions import utc_now
from cardflow.model import Role
from cardflow.sql import transaction
from tests.waiting import PATIENCE


async def test_a_person_signs_in_at_the_provider_and_goes_where_they_wanted(
    browser, account, register
):
    account("hilda")
    await register("hilda")

    answer = await browser.signs_in("/sign-in/provider?next=/cards")

    assert (answer.status_code, answer.headers["location"]) == (303, "/cards")
    assert await browser.is_known_as() == "hilda"


async def test_from_then_on_the_account_is_the_persons_whatever_it_is_called(
    browser, account, register, app, canaille
):
    user = account("hilda")
    hilda, _ben = await register("hilda"), await register("ben")
    await browser.signs_in()
    user.display_name = "ben"
    canaille.backend.save(user)

    await browser.signs_in()

    assert await browser.is_known_as() == "hilda"
    async with transaction(app.state.cardflow.reads) as session:
        found = await session.get(Person, hilda.id)
    assert found.login == "hilda"


async def test_who_has_an_account_here_under_no_such_name_is_not_let_in(browser, account, register):
    account("stranger")
    await register("hilda")

    answer = await browser.signs_in()

    assert (answer.status_code, NOBODY in unescape(answer.text)) == (403, True)
    assert await browser.is_known_as() == ""


async def test_a_disabled_person_is_not_let_in_and_not_bound(browser, account, register, app):
    account("hilda")
    await register("hilda", active=False)

    answer = await browser.signs_in()

    assert (answer.status_code, DISABLED in unescape(answer.text)) == (403, True)
    assert await audited(app, "identity_bound") == 0


@pytest.mark.parametrize(
    "at_provider", [{"oidc_match_claim": "email", "oidc_match_field": "email"}]
)
async def test_an_address_that_the_provider_did_not_verify_finds_nobody(browser, account, register):
    account("hilda")
    await register("hilda")

    answer = await browser.signs_in()

    assert (answer.status_code, NOT_VERIFIED in unescape(answer.text)) == (403, True)


@pytest.mark.parametrize("at_provider", [{"oidc_match_claim": ""}])
async def test_without_a_claim_to_find_people_by_only_administrators_tie_them(
    browser, account, register
):
    account("hilda")
    await register("hilda")

    answer = await browser.signs_in()

    assert (answer.status_code, NOBODY in unescape(answer.text)) == (403, True)


async def test_a_second_account_does_not_become_the_same_person(
    browser, account, register, app, settings
):
    account("hilda")
    hilda = await register("hilda")
    async with transaction(app.state.cardflow.sessions) as session:
        await bind(session, Account(settings.oidc_issuer, "another"), hilda.id, utc_now())

    answer = await browser.signs_in()

    assert (answer.status_code, TAKEN in unescape(answer.text)) == (403, True)


ROLES = {
    "oidc_roles_claim": "groups",
    "oidc_roles": {"officers": [Role.OFFICER], "desk": [Role.OPERATOR, Role.AUDITOR]},
}


@pytest.mark.parametrize("at_provider", [ROLES])
async def test_groups_at_the_provider_give_and_take_the_roles_that_the_table_names(
    browser, account, register, canaille
):
    user = account("hilda")
    group = canaille.models.Group(display_name="desk", members=[user])
    canaille.backend.save(group)
    await register("hilda", Role.HOLDER, Role.OFFICER)

    await browser.signs_in()
    mine = (await browser.here.get("/api/v1/me")).json()["roles"]

    canaille.backend.delete(group)
    assert mine == ["auditor", "holder", "operator"]


@pytest.mark.parametrize("at_provider", [ROLES])
async def test_who_has_no_role_left_is_signed_out_everywhere(browser, account, register):
    account("hilda")
    await register("hilda", Role.OFFICER)

    answer = await browser.signs_in()

    assert (answer.status_code, NO_ROLE in unescape(answer.text)) == (403, True)


async def test_a_person_proves_anew_who_they_are_and_the_old_sign_in_is_over(
    browser, account, register, canaille
):
    account("hilda")
    await register("hilda")
    await browser.signs_in()
    before = dict(browser.here.cookies)
    canaille.logout()  # from here on nobody is simply signed in there

    address = await browser.leaves("/sign-in/provider?again=true&next=/work")
    answer = await browser.here.get(await browser.returns(address, "hilda"))

    assert "prompt=login" in address
    assert "max_age=60" in address
    assert answer.headers["location"] == "/work"
    assert await browser.is_known_as() == "hilda"
    browser.here.cookies = httpx2.Cookies(before)
    assert await browser.is_known_as() == ""


async def test_nobody_proves_anew_that_they_are_somebody_else(browser, account, register, canaille):
    account("hilda")
    await register("hilda")
    await register("ben")
    await browser.signs_in()
    account("ben")
    canaille.logout()

    address = await browser.leaves("/sign-in/provider?again=true")
    answer = await browser.here.get(await browser.returns(address, "ben"))

    assert (answer.status_code, SOMEBODY_ELSE in unescape(answer.text)) == (403, True)
    assert await browser.is_known_as() == "hilda"


async def test_an_answer_counts_once(browser, account, register):
    account("hilda")
    await register("hilda")
    back = await browser.returns(await browser.leaves())
    carried = dict(browser.here.cookies)
    await browser.here.get(back)
    browser.here.cookies = httpx2.Cookies(carried)

    answer = await browser.here.get(back)

    assert answer.status_code == 401
    assert await browser.is_known_as() == ""


async def test_signing_out_ends_the_providers_session_too(browser, account, register, canaille):
    account("hilda")
    await register("hilda")
    await browser.signs_in()

    left = await browser.here.post("/sign-out")
    there = unescape(re.search('href="([^"]+/end_session[^"]*)"', left.text)[1])
    answer = await browser.there.get(there)

    assert await browser.is_known_as() == ""
    assert answer.headers["location"] == "http://localhost:8000/sign-in"
    assert "id_token_hint=" in there


async def test_others_can_write_while_the_provider_is_asked_where_to_sign_out(
    browser, account, register, app, monkeypatch
):
    account("hilda")
    hilda = await register("hilda")
    await browser.signs_in()
    whole = Provider.farewell

    async def farewell(provider, id_token):
        async with transaction(app.state.cardflow.sessions) as session:
            found = await session.get(Person, hilda.id)
            found.language = "de"
        return await whole(provider, id_token)

    monkeypatch.setattr(Provider, "farewell", farewell)
    left = await asyncio.wait_for(browser.here.post("/sign-out"), PATIENCE)

    assert "/end_session" in left.text
    assert await browser.is_known_as() == ""


@pytest.mark.parametrize("at_provider", [{"local_accounts": False}])
async def test_passwords_can_be_switched_off(browser, account, register):
    account("hilda")
    await register("hilda")

    shown = await browser.here.get("/sign-in")
    tried = await browser.here.post(
        "/api/v1/session", json={"login": "hilda", "password": "correct horse battery"}
    )
    await browser.signs_in()
    confirmed = await browser.here.post(
        "/api/v1/session/confirm", json={"password": "correct horse battery"}
    )

    assert 'type="password"' not in shown.text
    assert "Sign in with Canaille" in shown.text
    assert tried.status_code == 403
    assert confirmed.json()["type"] == "urn:cardflow:problem:no-passwords"
    assert await browser.is_known_as() == "hilda"


async def audited(app, kind: str) -> int:
    """Return how often the audit trail says that this happened."""
    from sqlalchemy import func, select

    async with transaction(app.state.cardflow.reads) as session:
        query = select(func.count()).where(AuditEntry.kind == kind)
        return (await session.scalars(query)).one()
