"""Proving again who one is, and one-time codes, in a real browser."""

from base64 import b32decode
from datetime import timedelta

import pytest
from sqlalchemy import update

from cardflow.db.tables import Session
from cardflow.decisions import utc_now
from cardflow.model import Role
from cardflow.second_factor import code_at
from cardflow.sql import transaction
from tests.api.conftest import PASSWORD


async def proven_long_ago(app, person_id: str) -> None:
    """Leave a person's sign-ins as proven an hour's half ago."""
    mine = update(Session).where(Session.person_id == person_id)
    async with transaction(app.state.cardflow.sessions) as session:
        await session.execute(mine.values(authenticated_at=utc_now() - timedelta(minutes=30)))


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no scripts"])
async def test_a_form_goes_on_after_the_password_with_every_word(sit_down, let_in, app, scripts):
    ada = await let_in("ada", Role.ADMIN)
    seat = await sit_down(ada, java_script_enabled=scripts)
    login = f"nora-{let_in.test}-{scripts}".lower()
    await proven_long_ago(app, ada.headers["X-Person"])

    page = await seat.open("/people/-/new")
    await page.get_by_label("Login").fill(login)
    await page.get_by_label("Name", exact=False).first.fill('Nora "N" <Nord>')
    await seat.click("Register")
    await seat.sees("Confirm that it is you")
    await page.get_by_label("Password").fill("wrong password")
    await seat.click("Confirm and go on")
    await seat.sees("login or password is wrong")
    await page.get_by_label("Password").fill(PASSWORD)
    await seat.click("Confirm and go on")

    await seat.sees("The person is registered.")
    assert 'Nora "N" <Nord>' in await page.locator("h1").inner_text()
    await page.goto(seat.origin + "/account")
    assert "/sign-in" not in page.url, "the new sign-in is the browser's"


async def test_the_page_between_is_accessible_and_fits_a_phone(sit_down, let_in, app):
    ada = await let_in("ada", Role.ADMIN)
    seat = await sit_down(ada)
    await proven_long_ago(app, ada.headers["X-Person"])

    page = await seat.open("/people/-/new")
    await page.get_by_label("Login").fill("nora")
    await page.get_by_label("Name", exact=False).first.fill("Nora")
    await seat.click("Register")
    await seat.sees("Confirm that it is you")

    assert await page.evaluate("document.activeElement.name") == "confirm_password"
    assert await seat.violations() == []
    assert await seat.overflow() == 0


async def test_codes_are_set_up_and_asked_for(sit_down, let_in):
    hilda = await let_in("hilda")
    login = (await hilda.get("/api/v1/me")).json()["login"]
    seat, other = await sit_down(hilda), await sit_down()

    page = await seat.open("/account")
    await seat.click("One-time codes", "link")
    await seat.click("Set up one-time codes")
    secret = b32decode(await page.locator("figure.qr + p code").inner_text())
    assert await page.locator("figure.qr svg").is_visible()
    assert await seat.violations() == []
    assert await seat.overflow() == 0
    await page.get_by_label("One-time code").fill(code_at(secret, utc_now()))
    await seat.click("Use one-time codes from now on")
    await seat.sees("Keep these recovery codes")
    assert await page.locator("ul.codes li").count() == 10
    assert await seat.violations() == []

    await other.open("/sign-in?next=/account")
    await other.page.get_by_label("Login").fill(login)
    await other.page.get_by_label("Password").fill(PASSWORD)
    await other.click("Sign in")
    await other.sees("Your one-time code")
    assert await other.violations() == []
    code = code_at(secret, utc_now() + timedelta(seconds=30))
    await other.page.get_by_label("One-time code").fill(code)
    await other.click("Sign in")
    await other.page.wait_for_url("**/account")
