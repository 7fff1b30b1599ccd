"""The seed's whole guide from the holder's side, in a real browser."""

from pathlib import Path

import httpx2
import pytest
from playwright.async_api import expect

from cardflow.jobs import Outcome
from cardflow.model import Role
from tests.api.updates.conftest import API, Office, a_certificate
from tests.api.workstation import Workstation
from tests.browser.conftest import Seat, SitDown

REASON = "The signature is missing."


@pytest.fixture
async def seat(office: Office, sit_down: SitDown) -> Seat:
    """Return the holder before a browser."""
    seat = await sit_down(office.holder)
    seat.page.set_default_timeout(30_000)
    return seat


async def start(seat: Seat) -> str:
    """Update the first of my cards; return the update's id."""
    await seat.open("/cards")
    await seat.click("Update card contents")
    await seat.click("Update")
    await seat.page.wait_for_url("**/updates/*")
    return seat.page.url.rsplit("/", 1)[1]


async def look(seat: Seat) -> None:
    """The page is accessible in both schemes and no wider than a phone."""
    assert await seat.violations() == []
    assert await seat.overflow() == 0


async def hand_in(seat: Seat, tmp_path: Path, form: str) -> None:
    """Print the form by its "!", and upload it as it is."""
    async with seat.page.expect_download() as printing:
        await seat.page.get_by_role("button", name=form).first.click()
    scan = tmp_path / "signed.pdf"
    await (await printing.value).save_as(scan)
    await seat.page.get_by_label("Signed form").first.set_input_files(scan)
    await seat.click("Upload the signed form")


async def decide_at_the_ca(officer: httpx2.AsyncClient, verdict: str, reason: str = "") -> None:
    """Decide on the request that waits at the CA."""
    (request,) = (await officer.get(f"{API}/ca/requests?state=pending")).json()["items"]
    body = {"verdict": verdict, "reason": reason, "digest": request["decision_digest"]}
    path = f"{API}/ca/requests/{request['id']}/decisions"
    answer = await officer.post(path, json=body)
    assert answer.status_code == 201, answer.text


async def test_without_forms_one_visit_does_it_all(office, seat):
    office.desk.pin.clear()
    await seat.open("/cards")
    await seat.sees("Sign-in to web services: not on the card yet")
    await look(seat)
    await seat.click("Update card contents")
    await seat.sees("What would change")
    await look(seat)
    await seat.click("Update")

    await seat.sees("Enter your PIN in the window of the agent")
    update_id = seat.page.url.rsplit("/", 1)[1]
    visit = (await office.update(update_id))["visit"]
    await seat.sees(visit["code"])
    await seat.sees("The window is open on desk-7")
    await look(seat)
    office.desk.pin.set()
    await seat.sees("The card is up to date.")
    await look(seat)

    await seat.click("Show the card")
    await seat.sees("Valid, on card")
    await look(seat)
    await seat.click("History", "link")
    await seat.sees("The certificate was written to the card and checked there")
    await look(seat)


async def test_a_wrong_pin_is_told_and_continue_goes_on(office, seat):
    office.desk.outcomes.append(Outcome.PIN_INCORRECT)

    await start(seat)

    await seat.sees("the PIN was wrong; nothing was changed on the card")
    await seat.click("Continue card update operation")
    await seat.sees("The card is up to date.")


async def test_a_request_form_is_signed_rejected_and_signed_again(office, seat, tmp_path):
    await office.policy("tls-client R precheck=true")
    update_id = await start(seat)

    await seat.sees("Card update operation pending")
    await seat.sees("The signed request form is awaited.")
    await look(seat)
    await hand_in(seat, tmp_path, "Print the request form")
    await seat.sees("the document is with the operators")
    await seat.sees("The code on the form was read: it is the right form.")
    await look(seat)

    await office.decide(update_id, "reject", reason=REASON)
    await seat.sees(REASON)
    await seat.sees("Print the form again")
    await hand_in(seat, tmp_path, "Print the request form")
    await office.decide(update_id, "approve")

    await seat.sees("Everything is ready to be written to the card")
    lane = seat.page.locator("#lane-tls-client")
    await expect(lane).to_contain_text("Approved")
    await seat.click("Continue card update operation")
    await seat.sees("The card is up to date.")
    await seat.open(f"/cards/{office.card_id}?tab=documents")
    await seat.sees("Accepted")
    await seat.sees("Rejected")
    await look(seat)


async def test_both_forms_and_an_officer_and_a_document_taken_back(office, seat, let_in, tmp_path):
    officer = await let_in("otto", Role.OFFICER)
    await office.policy("smart-card-logon RF")
    update_id = await start(seat)

    await seat.open(f"/cards/{office.card_id}")
    row = seat.page.get_by_role("row", name="Smart-card logon")
    await expect(row).to_contain_text("Pending")
    async with seat.page.expect_download():
        await row.get_by_role("button", name="Print the request form").click()
    await look(seat)
    await seat.open(f"/updates/{update_id}")
    await hand_in(seat, tmp_path, "Print the request form")
    await seat.sees("the decision at the CA")
    await decide_at_the_ca(officer, "approve")

    await seat.sees("Issued by the certificate authority, not yet on the card.")
    await expect(seat.page.locator("#lane-smart-card-logon")).to_contain_text("Valid")
    await hand_in(seat, tmp_path, "Print the certificate form")
    await seat.click("Take back")
    await seat.sees("the document was taken back")
    await hand_in(seat, tmp_path, "Print the certificate form")
    await seat.sees("the check of the certificate form")
    await office.decide(update_id, "approve")
    await seat.click("Continue card update operation")
    await seat.sees("The card is up to date.")


async def test_a_form_is_signed_with_the_card_instead_of_on_paper(office, seat):
    await office.until_stage(await office.opened(), "completed")
    await office.policy('smime-signing F certificate_form_signature="either"')
    update_id = await start(seat)
    await seat.sees("The signed certificate form is awaited.")
    office.desk.pin.clear()

    await seat.click("Sign with the card")
    await seat.sees("The form is signed with your key on the card:")
    await seat.sees((await office.update(update_id))["visit"]["code"])
    await look(seat)
    office.desk.pin.set()
    await seat.sees("Signed electronically by Holly; nothing speaks against it.")
    await look(seat)
    await office.decide(update_id, "approve")
    await seat.click("Continue card update operation")
    await seat.sees("The card is up to date.")


async def test_after_the_cas_no_the_card_is_cleared_and_the_update_restarted(
    office, seat, let_in, tmp_path
):
    await office.until_stage(await office.opened(), "completed")
    officer = await let_in("otto", Role.OFFICER)
    await office.policy("smart-card-logon R")
    await start(seat)
    await hand_in(seat, tmp_path, "Print the request form")
    await seat.sees("the decision at the CA")
    await decide_at_the_ca(officer, "reject", "The name is not yours.")

    await seat.sees("The name is not yours.")
    await seat.sees("Nothing was written to the card.")
    await seat.sees("Ask the service desk.")
    await look(seat)
    await seat.click("Revoke and clear the card")
    await seat.page.get_by_label("Reason").fill("Start afresh.")
    await seat.page.get_by_label("Serial of the card").fill("another")
    await seat.click("Revoke and clear the card")
    await seat.sees("this is not the card's serial")
    assert await seat.page.get_by_label("Reason").input_value() == "Start afresh."
    await look(seat)
    await seat.page.get_by_label("Serial of the card").fill(office.desk.card.token_serial)
    await seat.click("Revoke and clear the card")
    await seat.sees("The card is cleared.")
    assert office.desk.card.certificates == {}

    await office.policy("tls-client none")
    await seat.click("Update card contents")
    await seat.click("Update")
    await seat.sees("The card is up to date.")


async def test_what_would_change_follows_the_boxes(office, seat):
    foreign = a_certificate("CN=Somebody else")
    office.desk.card.certificates["f0"] = foreign
    await office.desk.workstation.report(office.desk.card.report())
    await office.policy("tls-client none", "smime-signing none mandatory=false")

    page = await seat.open(f"/cards/{office.card_id}/update")
    preview = page.locator("#preview")
    await expect(preview).not_to_contain_text("E-mail signature")
    box = page.get_by_label("E-mail signature")
    await box.focus()
    await page.keyboard.press("Space")
    await expect(preview).to_contain_text("E-mail signature")
    await expect(box).to_be_focused()
    await page.get_by_label("Somebody else").check()
    await expect(preview).to_contain_text("Registered")
    await look(seat)
    await seat.click("Update")
    await seat.sees("The card is up to date.")

    await seat.open(f"/cards/{office.card_id}")
    await seat.sees("Tracked certificates")
    assert len(office.desk.card.certificates) == 3


async def test_cancelling_needs_a_reason_and_everything_old_stays(office, seat):
    await office.policy("tls-client F")
    await start(seat)
    await seat.sees("The signed certificate form is awaited.")

    await seat.page.get_by_text("Cancel the operation").first.click()
    await seat.page.get_by_label("Reason").fill("Wrong card.")
    await seat.click("Cancel the operation")

    await seat.sees("The operation was cancelled.")
    await seat.sees("Reason: Wrong card.")
    await seat.click("Start the update again")
    await seat.sees("What would change")


async def test_a_refused_upload_keeps_the_page_and_says_what_helps(office, seat, tmp_path):
    await office.policy("tls-client R")
    await start(seat)
    (tmp_path / "form.pdf").write_bytes(b"MZ a program")

    await seat.page.get_by_label("Signed form").set_input_files(tmp_path / "form.pdf")
    await seat.click("Upload the signed form")

    await seat.sees("upload a PDF, a PNG or a JPEG")
    await seat.sees("The signed request form is awaited.")
    await expect(seat.page.locator("#problem")).to_be_focused()
    await look(seat)


async def test_the_page_says_by_itself_that_the_card_went_and_came(office, seat):
    await seat.open("/cards")
    await seat.sees("Connected")

    await office.desk.workstation.report()
    await seat.sees("none of your workstations reports a card now")
    await office.desk.workstation.report(office.desk.card.report())
    await seat.sees("Reader 0")


async def test_an_update_without_a_card_is_refused_on_the_same_page(office, seat):
    await office.desk.workstation.report()
    await seat.open(f"/cards/{office.card_id}/update")

    await seat.click("Update")

    await expect(seat.page.locator("#problem")).to_contain_text("the card is not connected")
    await seat.sees("What would change")


async def test_it_all_works_without_javascript(office, sit_down, tmp_path):
    seat = await sit_down(office.holder, java_script_enabled=False)
    await office.policy("tls-client none", "smime-signing F mandatory=false")

    await seat.open("/cards")
    await seat.click("Update card contents")
    await seat.page.get_by_label("E-mail signature").check()
    await seat.click("Show what would change")
    assert "optional=smime-signing" in seat.page.url
    await expect(seat.page.locator("#preview")).to_contain_text("E-mail signature")
    await seat.click("Update")
    update_id = seat.page.url.rsplit("/", 1)[1]
    await office.until(
        update_id,
        lambda x: x["lanes"][1]["stage"] == "awaiting_certificate_form" and x["visit"] is None,
    )
    await seat.page.reload()
    await hand_in(seat, tmp_path, "Print the certificate form")
    await seat.sees("the document is with the operators")
    lane = (await office.update(update_id, office.operator))["lanes"][1]
    body = {"verdict": "approve", "digest": lane["decision_digest"]}
    path = f"{API}/updates/{update_id}/lanes/smime-signing/decisions"
    assert (await office.operator.post(path, json=body)).status_code == 201
    await seat.page.reload()
    await seat.click("Continue card update operation")
    await office.until_stage(update_id, "completed")
    await seat.page.reload()
    await seat.sees("The card is up to date.")


async def test_my_account(office, seat, door):
    await seat.open("/account")
    await seat.page.get_by_label("Language of pages").select_option("de")
    await seat.page.get_by_label("Time zone").select_option("Europe/Berlin")
    await seat.click("Keep these settings")
    await seat.sees("Ihre Einstellungen sind gespeichert.")
    await seat.sees("Zeiten sind angegeben für Europe/Berlin.")
    await seat.page.get_by_label("Sprache von Seiten").select_option("en")
    await seat.click("Einstellungen speichern")

    await seat.click("Make a code for a new workstation")
    code = await seat.page.locator(".pin-code").inner_text()
    async with httpx2.AsyncClient(
        transport=httpx2.ASGITransport(app=door), base_url="https://localhost:8443"
    ) as client:
        workstation = Workstation(client)
        assert (await workstation.enrol(code, host="desk-8")).status_code == 201
        await seat.sees("desk-8")
        agents = (await office.holder.get(f"{API}/agents")).json()["items"]
        await look(seat)
        await seat.page.get_by_label("The six words").fill("not these words at all no")
        await seat.click("Confirm this workstation")
        await seat.sees("these are not the words of this agent")
        await seat.page.get_by_label("The six words").fill(agents[-1]["words"])
        await seat.click("Confirm this workstation")
        await seat.sees("The workstation is confirmed.")
        await seat.click("Remove this workstation – desk-8")
        await seat.sees("The workstation can do nothing any more.")


async def test_in_arabic_the_pages_run_from_right_to_left(office, seat):
    await office.holder.patch(f"{API}/me", json={"language": "ar"})
    await office.policy("tls-client RF")
    update_id = await office.opened()
    await office.until_lane(update_id, "awaiting_request_form")

    for path in ("/cards", f"/cards/{office.card_id}", f"/updates/{update_id}", "/account"):
        page = await seat.open(path)
        assert await page.locator("html").get_attribute("dir") == "rtl"
        await look(seat)
