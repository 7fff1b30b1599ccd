"""The ways in and an administrator's hand on them, in a real browser."""

from dataclasses import replace

import pytest

from api.provider import provider_of
from cardflow.model import Role


@pytest.fixture
async def with_ways(app):
    """Leave the running door with a provider and cards to sign in with; nobody answers there."""
    state = app.state.cardflow
    settings = state.settings.model_copy(
        update={
            "oidc_issuer": "http://127.0.0.1:1",
            "oidc_name": "Example Login",
            "oidc_client_id": "cardflow",
            "card_sign_in": "proxy",
        }
    )
    provider = provider_of(settings)
    app.state.cardflow = replace(state, settings=settings, provider=provider)
    yield
    app.state.cardflow = state
    await provider.close()


@pytest.mark.parametrize("language", ["en", "de", "ar"])
async def test_every_way_in_is_offered_and_fits_a_phone(sit_down, with_ways, language):
    seat = await sit_down(locale=language)

    await seat.open("/sign-in?next=/cards")

    assert await seat.page.get_by_role("button").count() == 3
    assert await seat.violations() == []
    assert await seat.overflow() == 0


async def test_a_provider_that_does_not_answer_leaves_the_other_ways(sit_down, with_ways):
    seat = await sit_down()
    await seat.open("/sign-in")

    await seat.click("Sign in with Example Login")

    await seat.sees("Example Login does not answer; try again in a moment")
    await seat.page.get_by_label("Password").wait_for()


async def test_without_a_card_one_is_told_what_helps(sit_down, with_ways):
    seat = await sit_down()
    await seat.open("/sign-in")

    await seat.click("Sign in with your card")

    await seat.sees("no card was shown")


async def test_an_administrator_ties_an_account_and_unties_it(sit_down, let_in, with_ways):
    admin, hilda = await let_in("ada", Role.ADMIN), await let_in("hilda")
    seat = await sit_down(admin)

    page = await seat.open(f"/people/{hilda.headers['X-Person']}/edit")
    await page.get_by_text("Account at the OpenID provider").click()
    assert await seat.violations() == []
    assert await seat.overflow() == 0
    await page.get_by_label("What the provider calls it").fill("s-1")
    await seat.click("Tie to this account")
    await seat.sees("The person signs in with that account.")
    await page.get_by_text("Account at the OpenID provider").click()
    await seat.click("Untie the account")

    await seat.sees("The account is untied.")
