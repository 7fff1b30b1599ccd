"""The auditors' pages, in a real browser: the trail, checks of its chain, one update's facts."""

import csv
import json
from contextlib import asynccontextmanager

import pytest
from sqlalchemy import text

from cardflow.model import Role
from cardflow.sql import transaction
from tests.api.updates.conftest import API
from tests.browser.test_officer import listed
from tests.db.owner import unguard

pytestmark = pytest.mark.temporal


@pytest.fixture
async def auditor(let_in):
    """Return an auditor."""
    return await let_in("audrey", Role.AUDITOR)


async def clean(seat):
    """Check what is true of every page."""
    assert await seat.violations() == []
    assert await seat.overflow() == 0


async def test_an_auditor_searches_the_trail_and_takes_it_away_as_a_table(
    sit_down, auditor, let_in, tmp_path
):
    admin = await let_in("=sum(1)", Role.ADMIN)
    for _ in range(3):
        body = {"person_id": admin.headers["X-Person"]}
        assert (await admin.post(f"{API}/agents/codes", json=body)).status_code == 201
    seat = await sit_down(auditor)

    page = await seat.open("/audit")
    await page.get_by_label("Person").fill(admin.headers["X-Person"])
    await page.get_by_label("What happened").select_option("agent_code_made")
    await seat.click("Search")
    await page.get_by_role("row").filter(has_text="=Sum(1)").first.wait_for()
    await clean(seat)
    async with page.expect_download() as begun:
        await seat.click("Export as CSV")
    file = tmp_path / "audit.csv"
    await (await begun.value).save_as(file)

    await seat.sees("3 rows")
    with file.open(newline="") as table:
        rows = list(csv.DictReader(table))
    query = {"actor": admin.headers["X-Person"], "kind": "agent_code_made"}
    told = (await auditor.get(f"{API}/audit", params=query)).json()["items"]
    assert [(int(row["number"]), row["text"], row["hash"]) for row in rows] == [
        (entry["number"], entry["text"], entry["hash"]) for entry in told
    ]
    assert {row["actor_name"] for row in rows} == {"'=Sum(1)"}


async def test_words_that_fit_several_people_are_asked_back(sit_down, auditor, let_in):
    await let_in("peter pan")
    await let_in("peter parker")
    seat = await sit_down(auditor)

    await seat.open("/audit?person=peter+pa")

    await seat.sees("Several people fit these words:")
    await seat.click("Peter Parker", "link")
    await seat.sees("Nothing fits.")


async def test_a_date_that_is_none_is_refused_by_name(sit_down, auditor):
    seat = await sit_down(auditor)

    await seat.open("/audit?from=yesterday")

    await seat.sees("this is not a date")


async def test_a_check_says_that_the_chain_is_whole_and_finds_what_was_changed(
    sit_down, office, auditor
):
    seat = await sit_down(auditor)
    page = await seat.open("/audit/checks")
    await seat.click("Check the whole chain now")
    await seat.sees("every one is as it was written")
    await clean(seat)

    async with changed(office, number=2):
        await seat.click("Check the whole chain now")
        await seat.sees("Entry 2 is not as it was written: its text was changed.")

    await page.get_by_role("cell", name="The chain is whole").first.wait_for()
    entries = (await auditor.get(f"{API}/audit?kind=chain_checked&order=newest")).json()["items"]
    assert json.loads(entries[0]["text"])["facts"]["broken_at"] == 2


@asynccontextmanager
async def changed(office, *, number):
    """Change an entry as somebody could who owns the database; afterwards it is as before."""
    change = text("UPDATE audit SET text = replace(text, :one, :other) WHERE number = :number")
    async with transaction(office.state.sessions) as session:
        guards = await unguard(session, "audit")
        await session.execute(change, {"one": "facts", "other": "fakts", "number": number})
    yield
    async with transaction(office.state.sessions) as session:
        await session.execute(change, {"one": "fakts", "other": "facts", "number": number})
        for guard in guards:
            await session.execute(text(guard))


async def test_the_timeline_shows_every_decision_and_verifies_it_again(
    sit_down, office, auditor, let_in
):
    update_id = await decided_by_many(office, await let_in("otto", Role.OFFICER))
    seat = await sit_down(auditor)

    page = await seat.open(f"/updates/{update_id}/timeline")

    await seat.sees("proofs and digests were verified again just now, and all hold.")
    told = await page.get_by_role("list").filter(has_text="The operation was started").inner_text()
    for words in (
        "The form was rejected", "The signature is missing.", "Olga (Operator)",
        "The form was approved", "A signed action was refused",
        "the document changed since it was shown",
        "A CA officer decided on the request", "Otto (CA officer)",
        "verified: proof of possession", "verified: signature of the CA",
        "verified: proof by the key on the card", "verified: stored document",
        "Card update operation approved", "The operation was completed",
    ):  # fmt: skip
        assert words in told, words
    await clean(seat)
    async with page.expect_download() as begun:
        await page.get_by_role("link", name="Certificate request form").last.click()
    assert (await begun.value).suggested_filename.endswith(".pdf")


async def decided_by_many(office, officer):
    """Return an update whose form was rejected, then approved, by operator and officer."""
    await office.policy("smart-card-logon R precheck=true")
    update_id = await office.opened()
    await office.until_lane(update_id, "awaiting_request_form")
    await office.sign(update_id, "smart-card-logon")
    assert (await office.decide(update_id, "approve", digest="0" * 64)).status_code == 409
    await office.decide(update_id, "reject", reason="The signature is missing.")
    await office.sign(update_id, "smart-card-logon")
    await office.decide(update_id, "approve")
    request = await listed(officer, office.holder.headers["X-Person"])
    body = {"verdict": "approve", "digest": request["decision_digest"]}
    path = f"{API}/ca/requests/{request['id']}/decisions"
    assert (await officer.post(path, json=body)).status_code == 201
    await office.until_stage(update_id, "ready")
    await office.act(update_id, "continue")
    await office.until_stage(update_id, "completed")
    return update_id
