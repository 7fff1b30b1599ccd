"""The operators' pages without a browser: who sees them, and what they say no to."""

import re

import pytest

from api import update_views
from cardflow.model import Role, new_id
from tests.api.updates.conftest import API

pytestmark = pytest.mark.temporal
LANE = "tls-client"
HTML = {"Accept": "text/html"}


@pytest.fixture
async def checking(office) -> str:
    """Return an update whose request form waits for two people's approvals."""
    await office.policy("tls-client R precheck=true approvals_needed=2")
    update_id = await office.opened()
    await office.until_lane(update_id, "awaiting_request_form")
    await office.sign(update_id, LANE)
    await office.until_lane(update_id, "checking_request_form")
    return update_id


async def see(who, path: str, status: int = 200) -> str:
    """Return the page's text; it must be answered so."""
    answer = await who.get(path, headers=HTML)
    assert answer.status_code == status, (path, answer.status_code)
    return words(answer.text)


async def send(who, path: str, status: int, **given: str) -> str:
    """Send a form; return the text of the page that answers, or where it leads."""
    answer = await who.post(path, data=given, headers=HTML)
    assert answer.status_code == status, (path, answer.status_code, words(answer.text))
    return answer.headers["location"] if status == 303 else answer.text


def words(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", html))


async def test_each_role_sees_the_pages_that_its_rights_reach(office, let_in, checking):
    officer, auditor = await let_in("otto", Role.OFFICER), await let_in("aude", Role.AUDITOR)
    admin, stranger = await let_in("ada", Role.ADMIN), await let_in("stan")
    card = f"/register/cards/{office.card_id}"
    person = f"/people/{office.holder.headers['X-Person']}"
    decision = f"/work/{checking}/{LANE}"

    for who in (officer, auditor, admin):
        for path in ("/register/cards", card, person, "/updates", "/updates?view=all"):
            await see(who, path)
        for path in (decision, f"{decision}/record", f"{card}/update"):
            await see(who, path, 403)
    for path in ("/work", "/updates", "/register/cards", card):
        await see(office.holder, path)
    for path in (person, decision):
        await see(office.holder, path, 403)
    for path in (card, f"/register/updates/{checking}/cancel"):
        await see(stranger, path, 404)
    assert "Contents" not in await see(officer, card)
    assert "Change the card" in await see(admin, card)


async def test_what_is_not_there_is_a_page_that_says_so(office, checking):
    for path in (
        f"/work/{new_id()}/{LANE}",
        f"/work/{checking}/no-such",
        f"/work/{checking}/no-such/record",
        f"/register/cards/{new_id()}",
        f"/register/cards/{new_id()}/update",
        f"/register/updates/{new_id()}/cancel",
        f"/people/{new_id()}",
    ):
        assert "There is no such thing here" in await see(office.operator, path, 404)


async def test_four_eyes_are_shown_while_they_look(office, let_in, checking):
    oscar = await let_in("oscar", Role.OPERATOR)
    path = f"/work/{checking}/{LANE}"

    before = await see(office.operator, path)
    await office.decide(checking, "approve")
    mine, others = await see(office.operator, path), await see(oscar, path)

    assert "2 more approvals are needed." in before
    assert "Approved by Olga. One more approval is needed." in others
    assert "you have approved it; another person must approve too" in mine
    assert "Approve " not in mine
    await office.decide(checking, "approve", who=oscar)
    await office.until_stage(checking, "ready")
    assert "Oscar approved the document" in await see(oscar, path)


@pytest.mark.parametrize(
    ("given", "status", "says"),
    [
        ({"verdict": "maybe"}, 422, "the decision cannot be read"),
        ({"verdict": "reject", "reason": "x" * 1001}, 422, "at most 1000 characters"),
        ({"verdict": "reject", "reason": " "}, 409, "a rejection needs a reason"),
        ({"verdict": "reject", "reason": "kept", "digest": "0" * 64}, 409, "look at it again"),
        ({"verdict": "reject", "reason": "kept", "digest": "no"}, 422, "cannot be read"),
    ],
)
async def test_a_decision_that_does_not_count_keeps_what_was_typed(
    office, checking, given, status, says
):
    digest = (await office.update(checking))["lanes"][0]["decision_digest"]

    html = await send(
        office.operator, f"/work/{checking}/{LANE}", status, **{"digest": digest, **given}
    )

    assert says in words(html)
    assert f'maxlength="1000" aria-describedby="reason-note">{given.get("reason", "")}' in html


async def test_recording_says_what_is_missing(office, checking):
    path = f"/work/{checking}/{LANE}/record"

    without_means = await send(office.operator, path, 422, note="Folder 7")
    without_scan = await send(office.operator, path, 422, means="post")
    with_bells = await send(office.operator, path, 422, means="post", note="\x07")
    by_portal = await send(office.operator, path, 422, means="portal", note="x")

    assert "say by which means the document came" in without_means
    assert ">Folder 7</textarea>" in without_means
    assert "attach the scan" in without_scan
    assert "text of at most 1000 characters" in with_bells
    assert "say by which means" in by_portal


async def test_a_form_that_cannot_be_mailed_is_told_where_it_was_asked(office):
    update_id = await office.opened(office.operator)

    html = await send(office.operator, f"/work/{update_id}/{LANE}/mail", 409)

    assert "no form is awaited here now" in html


async def test_claims_lead_back_to_where_they_were_made_and_nowhere_else(office, checking):
    path = f"/work/{checking}/{LANE}/claim"

    assert await send(office.operator, path, 303, next="/work?whose=mine") == "/work?whose=mine"
    assert await send(office.operator, path, 303, next="//evil.example") == "/"
    assert await send(office.operator, path, 303, what="release") == "/work"
    await send(office.operator, f"/work/{new_id()}/{LANE}/claim", 404)


async def test_a_cancellation_needs_a_reason_and_an_open_update(office, checking):
    path = f"/register/updates/{checking}/cancel"

    assert "the holder reads it" in await send(office.operator, path, 422, reason="  ")
    assert await send(office.operator, path, 303, reason="Wrong.") == f"/updates/{checking}"
    await office.until_stage(checking, "cancelled")
    late = await send(office.operator, path, 409, reason="Again.")
    assert "this update has ended: cancelled" in late


async def test_another_try_of_nothing_is_refused(office, checking):
    html = await send(office.operator, f"/register/updates/{checking}/retry", 409)

    assert "nothing needs attention" in html


async def test_an_update_is_started_as_it_was_shown_or_not_at_all(office):
    path = f"/register/cards/{office.card_id}/update"

    unreadable = await send(office.operator, path, 422, plan_digest="no")
    changed = await send(office.operator, path, 409, plan_digest="0" * 64)

    assert "the plan cannot be read" in unreadable
    assert "what would be done has changed since it was shown" in changed


async def test_a_card_without_a_policy_cannot_be_updated_and_says_why(office):
    card = f"{API}/cards/{office.card_id}"
    await office.operator.patch(card, json={"policy_name": ""})

    text = await see(office.operator, f"/register/cards/{office.card_id}/update", 409)

    assert "the card is under no policy" in text


async def test_a_card_is_given_back_and_an_overlong_label_is_refused(office):
    path = f"/register/cards/{office.card_id}"

    too_long = await send(office.operator, path, 422, label="x" * 201)
    assert "one line of at most 200 characters" in too_long
    await send(office.operator, path, 303, label="Spare", login="")

    card = (await office.operator.get(f"{API}/cards/{office.card_id}")).json()
    assert (card["holder_id"], card["state"]) == (None, "Clean")


async def test_whoever_waits_for_a_workflow_holds_no_connection(office, checking, monkeypatch):
    sessions, held = [], []
    visible, look = update_views.visible_update, update_views.look

    async def remembered(session, *args):
        sessions.append(session)
        return await visible(session, *args)

    async def watched(*args):
        held.append(sessions[-1].in_transaction())
        return await look(*args)

    monkeypatch.setattr(update_views, "visible_update", remembered)
    monkeypatch.setattr(update_views, "look", watched)
    paths = (f"/updates/{checking}", f"{API}/updates/{checking}", f"/cards/{office.card_id}")

    for path in (*paths, f"/register/updates/{checking}/cancel", f"/work/{checking}/{LANE}"):
        await see(office.operator, path)
        assert held.pop() is False, path
        assert not any(held), path
