"""The seed's whole guide from the holder's side, in a real browser."""

API = "/api/v1"


async def test_smoke(office, sit_down):
    seat = await sit_down(office.holder)
    seat.page.set_default_timeout(5000)
    page = await seat.open("/cards")
    await page.screenshot(path="/tmp/holder-cards.png", full_page=True)
    await seat.click("Holly's card", "link")
    await page.screenshot(path="/tmp/holder-card.png", full_page=True)
    await seat.click("Update card contents")
    await page.screenshot(path="/tmp/holder-update-card.png", full_page=True)
    await seat.click("Update")
    await page.screenshot(path="/tmp/holder-update.png", full_page=True)
    await seat.sees("The card is up to date.")
    await page.screenshot(path="/tmp/holder-done.png", full_page=True)
    await seat.open("/account")
    await page.screenshot(path="/tmp/holder-account.png", full_page=True)
