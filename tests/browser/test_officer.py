"""The CA officers' pages, in a real browser before the real CA."""

import asyncio

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from cardflow.model import Role, new_id
from tests.api.updates.conftest import API
from tests.ca.making import OFFICER, TWO_OFFICERS, a_request
from worker import build_ca

pytestmark = pytest.mark.temporal


@pytest.fixture
async def officer(let_in):
    """Return an officer."""
    return await let_in("otto", Role.OFFICER)


async def asked(office, *, profile=OFFICER, by=""):
    """Return the id of a request that did not come from an update of ours."""
    holder = office.holder.headers["X-Person"]
    request = a_request(profile, request_id=f"{new_id()}:1:{profile}", requested_by=by or holder)
    subject = type(request.subject)(**{**vars(request.subject), "person_id": holder})
    request = type(request)(**{**vars(request), "subject": subject})
    await office.state.ca.authority().submit(request)
    return request.request_id


async def asked_with_a_form(office, officer):
    """Return an update whose request form an operator has approved, and its request."""
    await office.policy("smart-card-logon R precheck=true")
    update_id = await office.opened()
    await office.until_lane(update_id, "awaiting_request_form")
    await office.sign(update_id, "smart-card-logon")
    await office.decide(update_id, "approve")
    return update_id, await listed(officer, office.holder.headers["X-Person"])


async def listed(officer, person_id):
    """Return the person's request, once it came in."""
    for _ in range(400):
        answer = await officer.get(f"{API}/ca/requests", params={"person": person_id})
        if found := answer.json()["items"]:
            return found[0]
        await asyncio.sleep(0.02)
    raise AssertionError("the request never came in")


async def clean(seat):
    """Check what is true of every page."""
    assert await seat.violations() == []
    assert await seat.overflow() == 0


async def test_an_officer_sees_what_a_decision_rests_on_and_approves(sit_down, office, officer):
    update_id, request = await asked_with_a_form(office, officer)
    seat = await sit_down(officer)

    page = await seat.open("/ca/requests")
    await page.get_by_role("link", name="Holly").first.wait_for()
    await clean(seat)
    await seat.open(f"/ca/requests/{request['id']}")
    for words in (
        request["subject"],
        request["spki_sha256"],
        "No warning and no error.",
        "The key has signed its request (proof of possession)",
        "P-256 · 128 bits of security",
        "Sign-in (client authentication), Smart-card logon",
        "The code on the form was read: it is the form that is awaited.",
        "by Olga before it came here",
    ):
        assert await page.get_by_text(words).first.is_visible(), words
    await clean(seat)
    await seat.click("Approve")

    await seat.sees("You approved the request. The certificate is being made.")
    await office.until_stage(update_id, "ready")
    await seat.open(f"/ca/requests/{request['id']}")
    await seat.click("The certificate that was issued", "link")
    await seat.sees("It is not on the card yet")


async def test_a_rejection_needs_a_reason_and_is_kept_with_it(sit_down, office, officer):
    request_id = await asked(office)
    seat = await sit_down(officer)
    page = await seat.open(f"/ca/requests/{request_id}")

    await seat.click("Reject")
    await seat.sees("a rejection needs a reason")
    await clean(seat)
    await page.get_by_label("Reason").fill("This person has left.")
    await seat.click("Reject")

    await seat.sees("You rejected the request. Its holder is told why.")
    await seat.open(f"/ca/requests/{request_id}")
    await seat.sees("This person has left.")
    shown = (await officer.get(f"{API}/ca/requests/{request_id}")).json()
    assert (shown["state"], shown["reason"]) == ("rejected", "This person has left.")


async def test_of_two_officers_at_once_the_second_is_told_who_was_first(
    sit_down, office, officer, let_in
):
    request_id = await asked(office)
    olaf = await let_in("olaf", Role.OFFICER)
    first, watching = await sit_down(officer), await sit_down(olaf)
    late = await sit_down(olaf, java_script_enabled=False)
    for seat in (first, watching, late):
        await seat.open(f"/ca/requests/{request_id}")

    await first.click("Approve")
    await first.sees("You approved the request.")
    await watching.page.get_by_role("button", name="Approve").wait_for(state="detached")
    await late.page.get_by_label("Reason").fill("I had my doubts.")
    await late.click("Reject")

    await late.sees("too late: Otto approved it on")


async def test_two_officers_must_agree_and_the_first_may_not_be_the_second(
    sit_down, office, officer
):
    request_id = await asked(office, profile=TWO_OFFICERS)
    seat = await sit_down(officer)
    page = await seat.open(f"/ca/requests/{request_id}")
    await seat.sees("2 officers must approve.")

    await seat.click("Approve")

    await seat.sees("Another officer must approve it too.")
    await seat.open(f"/ca/requests/{request_id}")
    await seat.sees("you have already decided on this request; another officer must")
    assert await page.get_by_role("button", name="Approve").count() == 0


async def test_nobody_is_offered_their_own_request_and_everybody_is_told_why(
    sit_down, office, let_in
):
    both = await let_in("oscar", Role.OFFICER, Role.OPERATOR)
    request_id = await asked(office, by=both.headers["X-Person"])
    seat = await sit_down(both)

    page = await seat.open(f"/ca/requests/{request_id}")

    await seat.sees("nobody decides on their own request")
    await seat.sees("(four eyes)")
    assert await page.get_by_role("button", name="Approve").count() == 0


async def test_an_officer_finds_and_revokes_a_certificate_and_ocsp_says_so(
    sit_down, office, officer, settings
):
    ca = build_ca(settings, office.state.engine)
    await ca.maintain()
    update_id = await office.opened()
    await office.until_stage(update_id, "completed")
    holder = office.holder.headers["X-Person"]
    seat = await sit_down(officer)

    page = await seat.open("/certificates")
    await clean(seat)
    await page.get_by_label("Subject").fill(holder.upper())
    await seat.click("Search")
    await page.get_by_role("row").filter(has_text="Holly").get_by_role("link").click()
    await seat.sees("What stands in it")
    serial = page.url.rpartition("/")[2]
    await clean(seat)
    await page.get_by_label("Reason").select_option("keyCompromise")
    await page.get_by_label("What is to be remembered").fill("The card was lost.")
    await page.get_by_label("The last 6 characters").fill("000000")
    await seat.click("Revoke this certificate")
    await seat.sees("this is not how the serial number ends")
    assert await page.get_by_label("What is to be remembered").input_value() == "The card was lost."
    await page.get_by_label("The last 6 characters").fill(serial[-6:].upper())
    await seat.click("Revoke this certificate")

    await seat.sees("The certificate is revoked.")
    await seat.sees("The card was lost.")
    assert await status_of(officer, serial) is ocsp.OCSPCertStatus.REVOKED
    await ca.maintain()
    await seat.sees("OCSP says so, and the CRL since number")
    ca.close()


async def status_of(client, serial):
    """Return what the OCSP responder says of a certificate."""
    der = (await client.get(f"{API}/ca/certificates/{serial}/download?form=der")).content
    issuer = x509.load_der_x509_certificate((await client.get("/pki/ca.cer")).content)
    builder = ocsp.OCSPRequestBuilder()
    builder = builder.add_certificate(x509.load_der_x509_certificate(der), issuer, hashes.SHA256())
    asked = builder.build().public_bytes(Encoding.DER)
    kind = {"Content-Type": "application/ocsp-request"}
    answer = await client.post("/pki/ocsp", content=asked, headers=kind)
    return ocsp.load_der_ocsp_response(answer.content).certificate_status


async def test_the_authority_tells_what_it_is_and_speaks_german(sit_down, let_in, settings, app):
    ca = build_ca(settings, app.state.cardflow.engine)
    await ca.maintain()
    ca.close()
    seat = await sit_down(await let_in("otmar", Role.OFFICER, language="de"))

    page = await seat.open("/ca")

    await seat.sees("Alles in Ordnung")
    await seat.sees("Sperrliste der ausstellenden CA")
    assert await page.get_by_role("button", name="Herunterladen (DER)").count() == 4
    await clean(seat)
