"""The operators' pages: the desk, the register, and what is done for a holder."""

import asyncio

import pytest

from cardflow.db.tables import Person
from cardflow.model import Role
from cardflow.sql import transaction
from tests.api.updates.conftest import API

LANE = "tls-client"
REASON = "The signature is missing."


@pytest.fixture
async def waiting(office) -> str:
    """Return an update that waits for its request form."""
    await office.policy("tls-client R precheck=true", rejection_reasons=[REASON])
    update_id = await office.opened()
    await office.until_lane(update_id, "awaiting_request_form")
    return update_id


@pytest.fixture
async def checking(office, waiting) -> str:
    """Return an update whose request form waits for its check."""
    await office.sign(waiting, LANE)
    await office.until_lane(waiting, "checking_request_form")
    return waiting


async def send_again(office, update_id: str) -> None:
    """Hand in another printing of the form: the same form, other bytes."""
    german = (await office.form(update_id, LANE, language="de")).content
    assert (await office.upload(update_id, LANE, german)).status_code == 201


async def pictures_on(page) -> list[int]:
    """Return how wide the pictures of pages are, once they are there."""
    shown = page.locator(".sheets img")
    await shown.evaluate_all("all => Promise.all(all.map(one => one.decode()))")
    return await shown.evaluate_all("all => all.map(one => one.naturalWidth)")


async def test_an_operator_rejects_with_a_reason_to_pick_and_approves_what_comes_next(
    sit_down, office, checking
):
    seat = await sit_down(office.operator)

    page = await seat.open("/work")
    await page.locator(f"#work-{checking}-{LANE}").get_by_role("link").first.click()
    await seat.sees("The code on the form was read: it is the form that is awaited.")
    await seat.sees("nobody has signed it")
    assert await pictures_on(page) == [995, 995]
    await page.get_by_label("Reason for a rejection").select_option(REASON)
    await page.get_by_label("In your own words").fill("Sign in the box.")
    await seat.click("Reject")
    await seat.sees("The document is rejected")
    sent_back = await office.until_lane(checking, "awaiting_request_form")
    await send_again(office, checking)
    await office.until_lane(checking, "checking_request_form")
    await seat.open(f"/work/{checking}/{LANE}")
    await seat.sees("Handed in before")
    await seat.sees(f"{REASON} Sign in the box.")
    await seat.click("Approve")
    await seat.sees("The document is approved.")

    assert sent_back["reason"] == f"{REASON} Sign in the box."
    await office.until_stage(checking, "ready")


async def test_a_rejection_without_a_reason_is_refused_and_keeps_what_was_typed(
    sit_down, office, checking
):
    seat = await sit_down(office.operator)

    await seat.open(f"/work/{checking}/{LANE}")
    await seat.click("Reject")

    await seat.sees("a rejection needs a reason")
    assert await seat.page.get_by_role("button", name="Reject").is_visible()


async def test_of_two_operators_one_decides_and_the_other_is_told_who(
    sit_down, office, let_in, checking
):
    oscar = await let_in("oscar", Role.OPERATOR)
    first, second = await sit_down(office.operator), await sit_down(oscar)
    third = await sit_down(oscar, java_script_enabled=False)

    for seat in (first, second, third):
        await seat.open(f"/work/{checking}/{LANE}")
    await first.click("Approve")
    await second.sees("Olga approved the document")
    assert await second.page.get_by_role("button", name="Approve").count() == 0
    await third.click("Approve")

    alerts = third.page.get_by_role("alert")
    assert await alerts.count() == 1
    assert (await alerts.inner_text()).strip().startswith("too late: Olga approved it on ")


async def test_a_document_that_was_replaced_is_not_approved_unseen(sit_down, office, checking):
    live = await sit_down(office.operator)
    plain = await sit_down(office.operator, java_script_enabled=False)

    for seat in (live, plain):
        await seat.open(f"/work/{checking}/{LANE}")
    shown = await live.page.locator(".sheets img").first.get_attribute("src")
    await live.page.get_by_label("In your own words").fill("half a sentence")
    await send_again(office, checking)
    await live.sees("The document was replaced while you looked at it.")
    assert await live.page.get_by_label("In your own words").input_value() == "half a sentence"
    assert await live.page.locator(".sheets img").first.get_attribute("src") == shown
    await plain.click("Approve")
    await plain.sees("the document changed since it was shown")
    await live.click("Look at the new one", "link")
    assert await live.page.locator(".sheets img").first.get_attribute("src") != shown
    await plain.click("Approve")

    await plain.sees("The document is approved.")


async def test_a_paper_that_came_by_post_is_recorded_and_checked(sit_down, office, let_in, waiting):
    seat, oscar = await sit_down(office.operator), await let_in("oscar", Role.OPERATOR)

    page = await seat.open(f"/work/{waiting}/{LANE}")
    await seat.click("Record a document that came another way …")
    await page.get_by_label("By post").check()
    await seat.click("Record")
    await seat.sees("attach the scan")
    assert await page.get_by_label("By post").is_checked()
    await page.get_by_label("Note").fill("Folder 7, shelf B")
    await seat.click("Record")
    await seat.sees("The document is recorded.")
    await seat.sees("Recorded without a file")
    other = await sit_down(oscar)
    await other.open(f"/work/{waiting}/{LANE}")
    await other.sees("Folder 7, shelf B")
    await other.click("Approve")

    await office.until_stage(waiting, "ready")


async def test_an_update_is_started_and_cancelled_for_a_holder(sit_down, office):
    await office.policy("tls-client R precheck=true", "smime-signing none mandatory=false")
    seat = await sit_down(office.operator)

    page = await seat.open(f"/register/cards/{office.card_id}")
    await seat.click("Start an update for the holder …")
    await page.get_by_label("E-mail", exact=False).first.check()
    await seat.click("Show what would be done")
    await seat.sees("No form is needed.")
    await seat.click("Start the update")
    await page.wait_for_url("**/updates/*")
    update_id = page.url.rsplit("/", 1)[1]
    opened = await office.update(update_id)
    await seat.open(f"/register/cards/{office.card_id}")
    await seat.click("Cancel the update …")
    await page.get_by_label("Why?").fill("Started for the wrong card.")
    await seat.click("Cancel the update")
    await page.wait_for_url("**/updates/*")

    assert {lane["lane"] for lane in opened["lanes"]} == {LANE, "smime-signing"}
    ended = await office.until_stage(update_id, "cancelled")
    assert ended["ended_because"] == "Started for the wrong card."


async def test_work_is_claimed_seen_by_others_taken_over_and_released(
    sit_down, office, let_in, checking
):
    oscar = await let_in("oscar", Role.OPERATOR)
    mine, others = await sit_down(office.operator), await sit_down(oscar)

    for seat in (mine, others):
        await seat.open("/work")
    row = f"#work-{checking}-{LANE}"
    await mine.page.locator(row).get_by_role("button", name="Claim").click()
    await mine.sees("You have claimed it")
    await others.page.locator(row).get_by_text("Olga").wait_for()
    await others.page.locator(row).get_by_role("button", name="Take over").click()
    await mine.page.locator(row).get_by_text("Oscar").wait_for()
    await others.click("Mine", "link")
    await others.page.locator(row).get_by_role("button", name="Release").click()
    await others.sees("You have claimed nothing that waits.")

    await mine.page.locator(row).get_by_role("button", name="Claim").wait_for()


async def test_a_form_is_mailed_to_its_holder(sit_down, office, catcher, waiting):
    address = (await office.holder.get(f"{API}/me")).json()["email"]
    seat = await sit_down(office.operator)

    await seat.open(f"/work/{waiting}/{LANE}")
    await seat.click("Mail the form to its holder")
    await seat.sees(f"The form is on its way to {address}.")

    assert await files_to(catcher, address) == [(await office.form(waiting, LANE)).content]


async def files_to(catcher, address: str) -> list[bytes]:
    """Return the files that came with mails to the address, once there are any."""
    for _ in range(400):
        mails = [mail for mail in catcher.taken if mail["To"].addresses[0].addr_spec == address]
        if files := [file.get_content() for mail in mails for file in mail.iter_attachments()]:
            return files
        await asyncio.sleep(0.05)
    raise AssertionError("no file has come")


async def test_a_card_is_found_given_another_label_and_disabled(sit_down, office):
    login = (await office.holder.get(f"{API}/me")).json()["login"]
    seat = await sit_down(office.operator)

    page = await seat.open("/register/cards")
    await page.get_by_label("Serial, label or holder").fill(login)
    await seat.click("Show")
    await page.locator("tbody").get_by_role("link").first.click()
    await page.get_by_label("Label").fill("Spare card")
    await page.get_by_label("Login of the holder").fill("nobody-at-all")
    await seat.click("Save")
    await seat.sees("nobody has this login")
    assert await page.get_by_label("Label").input_value() == "Spare card"
    await page.get_by_label("Login of the holder").fill(login)
    await seat.click("Save")
    await seat.sees("The card is changed.")
    await seat.click("Disable the card")

    await page.get_by_role("button", name="Enable the card").wait_for()
    card = (await office.operator.get(f"{API}/cards/{office.card_id}")).json()
    assert (card["token_label"], card["state"]) == ("Spare card", "Disabled")
    assert card["holder_id"] == office.holder.headers["X-Person"]


async def test_the_operators_pages_are_accessible_fit_a_phone_and_speak_german(
    sit_down, office, let_in, checking
):
    german = await let_in("gerda", Role.OPERATOR, language="de")
    seat = await sit_down(german)
    found = {}

    for path in (
        "/work",
        f"/work/{checking}/{LANE}",
        f"/work/{checking}/{LANE}/record",
        "/updates",
        f"/register/updates/{checking}/cancel",
        "/register/cards",
        f"/register/cards/{office.card_id}",
        f"/register/cards/{office.card_id}/update",
        f"/people/{office.holder.headers['X-Person']}",
    ):
        page = await seat.open(path)
        assert await page.locator("html").get_attribute("lang") == "de"
        assert await page.locator("#problem").count() == 0, path
        found[path] = (await seat.violations(), await seat.overflow())

    assert {path: wrong for path, wrong in found.items() if wrong != ([], 0)} == {}


async def test_what_needs_attention_comes_first_and_is_tried_again(sit_down, office, checking):
    await rename_holder(office, "Holly Another")
    await office.decide(checking, "approve")
    await office.until_stage(checking, "needs_attention")
    seat = await sit_down(office.operator)

    page = await seat.open("/updates")
    await page.locator(f"#update-{checking}").get_by_role("link", name="Try again").click()
    await seat.sees("Retry when the cause is mended")
    assert (await seat.violations(), await seat.overflow()) == ([], 0)
    await rename_holder(office, "Holly")
    await seat.click("Try again")
    await page.wait_for_url("**/updates/*")

    await office.until_stage(checking, "ready")


async def rename_holder(office, name: str) -> None:
    async with transaction(office.state.sessions) as session:
        holder = await session.get_one(Person, office.holder.headers["X-Person"])
        holder.name = name


async def test_documents_are_decided_together_each_on_what_was_shown(office, sit_down, let_in):
    await office.policy("tls-client R precheck=true", "smime-signing R precheck=true")
    update_id = await office.opened()
    await office.until(update_id, lambda seen: seen["stage"] == "pending" and not seen["visit"])
    for lane in ("tls-client", "smime-signing"):
        await office.sign(update_id, lane)
    seat = await sit_down(office.operator)
    page = await seat.open("/work")
    boxes = page.get_by_role("checkbox", name="Choose the document of Holly")
    await boxes.nth(1).wait_for()
    for box in await boxes.all():
        await box.check()
    await seat.click("Decide the chosen ones together")
    assert await seat.violations() == []
    assert await seat.overflow() == 0

    await seat.click("Reject all")
    await seat.sees("a rejection needs a reason")
    other = await let_in("oscar", Role.OPERATOR)
    assert (await office.decide(update_id, "approve", who=other)).status_code == 201
    await page.get_by_label("Reason for a rejection").fill("the date is missing")
    await seat.click("Reject all")
    await page.get_by_text("the document was rejected").first.wait_for()

    await seat.sees("too late")
    rejected = [lane for lane in (await office.update(update_id))["lanes"] if lane["reason"]]
    assert [lane["reason"] for lane in rejected] == ["the date is missing"]
    assert rejected[0]["stage"] == "awaiting_request_form"
