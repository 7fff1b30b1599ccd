"""The way in, in a real browser."""

import pytest

from tests.api.conftest import PASSWORD


async def test_a_person_signs_in_is_taken_where_they_wanted_to_go_and_signs_out(sit_down, let_in):
    holder = await let_in("hilda")
    login = (await holder.get("/api/v1/me")).json()["login"]
    seat = await sit_down()

    page = await seat.open("/account")
    assert page.url.endswith("/sign-in?next=/account")
    await page.get_by_label("Login").fill(login)
    await page.get_by_label("Password").fill(PASSWORD)
    await page.keyboard.press("Enter")
    await page.wait_for_url("**/account")
    await seat.click("Sign out")

    await seat.sees("You are signed out.")


async def test_a_wrong_password_is_told_once_and_the_login_is_kept(sit_down, let_in):
    seat = await sit_down()

    page = await seat.open("/sign-in")
    await page.get_by_label("Login").fill("nobody")
    await page.get_by_label("Password").fill("wrong")
    await seat.click("Sign in")

    await seat.sees("login or password is wrong")
    assert await page.get_by_label("Login").input_value() == "nobody"


@pytest.mark.parametrize("path", ["/sign-in", "/nowhere"])
async def test_pages_for_strangers_are_accessible_and_fit_a_phone(sit_down, path):
    seat = await sit_down()

    await seat.open(path)

    assert await seat.violations() == []
    assert await seat.overflow() == 0
