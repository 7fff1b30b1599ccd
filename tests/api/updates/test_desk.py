"""Work and who takes it, pages of documents as pictures, forms by mail."""

import asyncio
import io
import json
from datetime import timedelta

import pytest
from PIL import Image
from sqlalchemy import select, update
from sqlmodel import col

from api.housekeeping import forget
from cardflow.db.tables import AuditEntry, Claim, Document, Person, WaitingFor
from cardflow.decisions import utc_now
from cardflow.model import Role, new_id
from cardflow.sql import transaction
from tests.api.conftest import reasons
from tests.api.updates.conftest import API
from tests.waiting import until

pytestmark = pytest.mark.temporal
LANE = "tls-client"


@pytest.fixture
async def waiting(office) -> str:
    """Return an update that waits for its request form."""
    await office.policy("tls-client R precheck=true")
    update_id = await office.opened()
    await office.until_lane(update_id, "awaiting_request_form")
    return update_id


@pytest.fixture
async def checking(office, waiting) -> str:
    """Return an update whose request form waits for its check."""
    await office.sign(waiting, LANE)
    await office.until_lane(waiting, "checking_request_form")
    return waiting


async def work_of(who, update_id: str, **asked) -> list[dict]:
    found = (await who.get(f"{API}/work", params={"limit": 200, **asked})).json()["items"]
    return [work for work in found if work["update_id"] == update_id]


def claim(update_id: str) -> str:
    return f"{API}/work/{update_id}/{LANE}/claim"


# Claims


async def test_what_somebody_claims_the_others_see_with_name_and_time(office, let_in, checking):
    other = await let_in("oscar", Role.OPERATOR)

    first = await office.operator.put(claim(checking))
    again = await office.operator.put(claim(checking), json={})

    assert first.status_code == 200
    assert first.json() == again.json()
    (seen,) = await work_of(other, checking)
    assert seen["claim"]["person"]["name"] == "Olga"
    assert seen["claim"] == first.json()
    assert await work_of(other, checking, whose="unclaimed") == []
    assert await work_of(other, checking, whose="mine") == []
    assert len(await work_of(office.operator, checking, whose="mine")) == 1


async def test_what_is_claimed_is_taken_over_only_on_purpose(office, let_in, checking):
    other = await let_in("oscar", Role.OPERATOR)
    await office.operator.put(claim(checking))

    by_accident = await other.put(claim(checking))
    released = await other.delete(claim(checking))
    on_purpose = await other.put(claim(checking), json={"take_over": True})

    taken = ["Olga has claimed this; take it over instead"]
    assert reasons(by_accident) == reasons(released) == taken
    assert on_purpose.json()["person"]["name"] == "Oscar"


async def test_a_claim_is_released_once_and_hinders_no_decision(office, let_in, checking):
    other = await let_in("oscar", Role.OPERATOR)
    await other.put(claim(checking))

    decided = await office.decide(checking, "reject", reason="No.")
    await office.until_lane(checking, "awaiting_request_form")
    await office.sign(checking, LANE)
    await office.until_lane(checking, "checking_request_form")
    released = [(await other.delete(claim(checking))).status_code for _ in range(2)]

    assert decided.status_code == 201
    assert released == [204, 204]
    assert (await work_of(other, checking))[0]["claim"] is None


async def test_a_claim_ends_by_itself(office, let_in, checking):
    other = await let_in("oscar", Role.OPERATOR)
    await office.operator.put(claim(checking))
    async with transaction(office.state.sessions) as session:
        mine = col(Claim.update_id) == checking
        await session.execute(update(Claim).where(mine).values(until=utc_now()))

    assert (await work_of(other, checking))[0]["claim"] is None
    await forget(office.state)
    async with transaction(office.state.reads) as session:
        assert await session.get(Claim, (checking, LANE)) is None
    assert (await other.put(claim(checking))).status_code == 200


async def test_claims_are_in_the_audit_trail(office, checking):
    await office.operator.put(claim(checking))
    await office.operator.delete(claim(checking))

    async with transaction(office.state.reads) as session:
        mine = col(AuditEntry.actor) == office.operator.headers["X-Person"]
        query = select(col(AuditEntry.kind)).where(mine).order_by(col(AuditEntry.number))
        kinds = list(await session.scalars(query))
    assert kinds == ["work_claimed", "work_released"]


async def test_only_whoever_could_do_it_claims_it(office, let_in, waiting):
    officer, auditor = await let_in("otto", Role.OFFICER), await let_in("aude", Role.AUDITOR)

    of_the_holder = await office.operator.put(claim(waiting))
    await office.sign(waiting, LANE)
    await office.until_lane(waiting, "checking_request_form")
    answers = [await who.put(claim(waiting)) for who in (office.holder, officer, auditor)]
    unknown = await office.operator.put(claim(new_id()))

    assert of_the_holder.status_code == unknown.status_code == 404
    assert [answer.status_code for answer in answers] == [404, 404, 403]


# The list


async def test_work_is_narrowed_by_policy_and_ordered_by_age_or_due_day(office, checking):
    (work,) = await work_of(office.operator, checking)
    async with transaction(office.state.sessions) as session:
        soon = col(WaitingFor.update_id) == checking
        until = utc_now() + timedelta(days=2)
        await session.execute(update(WaitingFor).where(soon).values(until=until))

    (by_due,) = await work_of(office.operator, checking, sort="due", policy=work["policy_name"])

    assert (work["due"], by_due["due"]) == ("", "soon")
    assert await work_of(office.operator, checking, policy="another") == []
    first = (await office.operator.get(f"{API}/work", params={"sort": "due", "limit": 1})).json()
    assert first["items"][0]["update_id"] == checking


async def test_pages_of_both_orders_follow_one_another(office, checking):
    for sort in ("age", "due"):
        seen, cursor = [], ""
        while cursor is not None:
            asked = {"sort": sort, "limit": 1, "cursor": cursor}
            page = (await office.operator.get(f"{API}/work", params=asked)).json()
            seen += [work["update_id"] for work in page["items"]]
            cursor = page["next"]
        assert checking in seen
        assert len(seen) == len(set(seen))


async def test_a_cursor_of_the_other_order_is_refused(office, let_in, checking):
    asked = {"sort": "age", "limit": 1}
    await office.policy("tls-client none")
    page = (await office.operator.get(f"{API}/work", params=asked)).json()
    cursor = page["next"] or "d29yayBhZ2UKeA"

    answer = await office.operator.get(f"{API}/work", params={"sort": "due", "cursor": cursor})

    assert answer.status_code == 422


async def test_whoever_opened_an_update_is_told_that_somebody_else_must_decide(office):
    await office.policy("tls-client R precheck=true")
    update_id = await office.opened(office.operator)
    await office.act(update_id, "continue")
    await office.until_lane(update_id, "awaiting_request_form")
    await office.sign(update_id, LANE)
    await office.until_lane(update_id, "checking_request_form")

    (work,) = await work_of(office.operator, update_id)

    assert work["against"] == "nobody decides on their own request"


# Pages of documents


async def test_a_document_is_looked_at_as_a_picture_that_the_browser_may_keep(office, checking):
    document = (await office.update(checking))["lanes"][0]["document"]["id"]
    path = f"{API}/documents/{document}/pages/1"

    page = await office.operator.get(path)
    full = await office.operator.get(path, params={"size": "full"})
    kept = await office.operator.get(path, headers={"If-None-Match": page.headers["etag"]})

    assert Image.open(io.BytesIO(page.content)).size == (995, 1408)
    assert Image.open(io.BytesIO(full.content)).size == (1654, 2339)
    assert page.headers["content-type"] == "image/png"
    assert page.headers["content-security-policy"] == "sandbox; default-src 'none'"
    assert page.headers["cache-control"] == "private, max-age=600"
    assert (kept.status_code, kept.content) == (304, b"")


async def test_pages_are_for_those_who_may_see_the_document(office, let_in, checking):
    document = (await office.update(checking))["lanes"][0]["document"]["id"]
    stranger, officer = await let_in("stan"), await let_in("otto", Role.OFFICER)
    admin = await let_in("ada", Role.ADMIN)
    path = f"{API}/documents/{document}/pages"

    assert (await stranger.get(f"{path}/1")).status_code == 404
    assert (await admin.get(f"{path}/1")).status_code == 403
    assert (await officer.get(f"{path}/1")).status_code == 200
    assert (await office.operator.get(f"{path}/2")).status_code == 404
    assert (await office.operator.get(f"{path}/0")).status_code == 422
    assert (await office.operator.get(f"{API}/documents/{new_id()}/pages/1")).status_code == 404


async def test_a_record_of_paper_has_no_page(office, waiting):
    answer = await office.upload(
        waiting, LANE, None, who=office.operator, means="post", note="folder 7"
    )

    path = f"{API}/documents/{answer.json()['id']}/pages/1"

    assert (await office.operator.get(path)).status_code == 404


# Forms by mail


async def mailed(who, update_id: str, key: str = "", lane: str = LANE):
    headers = {"Idempotency-Key": key} if key else {}
    return await who.post(f"{API}/updates/{update_id}/lanes/{lane}/form/mail", headers=headers)


async def arrived(catcher, message_id: str):
    for _ in range(400):
        found = [mail for mail in catcher.taken if mail["Message-ID"] == message_id]
        if found:
            return found
        await asyncio.sleep(0.02)
    raise AssertionError("no such mail has come")


async def test_a_form_goes_to_its_holder_as_a_file_once_per_key(office, catcher, waiting):
    first = await mailed(office.operator, waiting, "form")
    again = await mailed(office.operator, waiting, "form")

    assert (first.status_code, again.status_code) == (202, 202)
    assert first.json()["id"] == again.json()["id"]
    (mail,) = await arrived(catcher, first.json()["message_id"])
    (file,) = list(mail.iter_attachments())
    assert file.get_content_type() == "application/pdf"
    assert file.get_content() == (await office.form(waiting, LANE)).content
    assert mail["Subject"] == "Document needed"
    assert office.holder.headers["X-Person"] == first.json()["person_id"]
    timeline = (await office.holder.get(f"{API}/updates/{waiting}/timeline")).json()["items"]
    (told,) = [entry for entry in timeline if entry["kind"] == "form_mailed"]
    assert (told["lane"], told["actor"]["name"]) == (LANE, "Olga")


async def test_a_key_of_another_mail_is_refused(office, waiting):
    await mailed(office.operator, waiting, "form")
    await office.act(waiting, "cancel", reason="enough")
    await office.until_stage(waiting, "cancelled")
    update_id = await office.opened()
    await office.until_lane(update_id, "awaiting_request_form")

    assert (await mailed(office.operator, update_id, "form")).status_code == 422


async def test_a_form_that_nobody_awaits_is_not_mailed(office):
    update_id = await office.opened(office.operator)

    assert reasons(await mailed(office.operator, update_id)) == ["no form is awaited here now"]
    assert (await mailed(office.operator, update_id, lane="no-such")).status_code == 404
    assert (await mailed(office.operator, new_id())).status_code == 404
    assert (await mailed(office.holder, update_id)).status_code == 403


async def test_without_an_address_nothing_is_mailed(office, waiting):
    async with transaction(office.state.sessions) as session:
        holder = await session.get_one(Person, office.holder.headers["X-Person"])
        holder.email = ""

    assert reasons(await mailed(office.operator, waiting)) == [
        "no e-mail address of the holder is on record; print the form instead"
    ]


async def test_a_form_says_how_many_pages_it_has(office, waiting):
    await office.form(waiting, LANE)

    async with transaction(office.state.reads) as session:
        query = select(Document).where(col(Document.update_id) == waiting)
        (document,) = await session.scalars(query)
    assert json.loads(document.findings)["pages"] == 1


# Lists of the register


async def test_updates_are_found_by_policy_holder_and_card(office, waiting):
    seen = await office.update(waiting)

    async def found(**asked) -> list[str]:
        answer = await office.operator.get(f"{API}/updates", params=asked)
        return [line["id"] for line in answer.json()["items"]]

    assert await found(policy=seen["policy_name"]) == [waiting]
    assert await found(search=seen["token_serial"]) == [waiting]
    login = (await office.holder.get(f"{API}/me")).json()["login"]
    assert await found(search=login.upper()) == [waiting]
    assert await found(search=login, policy="another") == []


async def test_cards_are_found_by_holder_policy_and_due_update(office):
    login = (await office.holder.get(f"{API}/me")).json()["login"]

    async def found(**asked) -> list[str]:
        answer = await office.operator.get(f"{API}/cards", params={"search": login, **asked})
        return [card["id"] for card in answer.json()["items"]]

    assert await found() == [office.card_id]
    assert await found(due=True) == []
    update_id = await office.opened()
    await office.until_stage(update_id, "completed")
    assert await found(due=True) == []
    await office.policy("tls-client none", renew_before_days=3000)
    assert await found(due=True) == [office.card_id]
    assert await found(policy="another") == []


async def test_a_persons_agents_and_mails_are_listed(office, waiting):
    person = office.holder.headers["X-Person"]

    agents = (await office.operator.get(f"{API}/agents", params={"person": person})).json()
    others = (await office.holder.get(f"{API}/agents", params={"person": new_id()})).json()

    async def listed() -> list[str]:
        seen, cursor = [], ""
        while cursor is not None:
            asked = {"limit": 1, "cursor": cursor}
            page = (await office.operator.get(f"{API}/people/{person}/mails", params=asked)).json()
            seen += [mail["kind"] for mail in page["items"]]
            cursor = page["next"]
        return seen

    # The lane waits for the form first, and then the mail about it is on record.
    seen = await until(listed, lambda kinds: len(kinds) == 3, what="three mails")

    assert [agent["host"] for agent in agents["items"]] == ["desk-7"]
    assert others["items"] == []
    assert seen == ["document_needed", "operation_started", "new_agent"]
    assert (await office.operator.get(f"{API}/people/{new_id()}/mails")).status_code == 404
    assert (await office.holder.get(f"{API}/people/{person}/mails")).status_code == 403


async def test_an_update_tells_which_reasons_can_be_picked(office):
    await office.policy(
        "tls-client R precheck=true", rejection_reasons=["Unsigned.", "Unreadable."]
    )
    update_id = await office.opened()
    await office.until_lane(update_id, "awaiting_request_form")

    assert (await office.update(update_id))["rejection_reasons"] == ["Unsigned.", "Unreadable."]
