"""What the holder's pages say and refuse, looked at without a browser."""

import re

import httpx2

from api.web.history import UNTOLD, WORDS
from cardflow.jobs import Outcome
from cardflow.model import EventKind, Role
from tests.api.updates.conftest import API

CONTACT = "Ask the service desk."


async def page(who: httpx2.AsyncClient, path: str, status: int = 200) -> str:
    """Return a page's text without its tags."""
    answer = await who.get(path, headers={"Accept": "text/html"})
    assert answer.status_code == status, answer.text
    return text_of(answer)


def text_of(answer: httpx2.Response) -> str:
    assert answer.headers["content-type"].startswith("text/html"), answer.text
    return " ".join(re.sub(r"<[^>]+>", " ", answer.text).split())


async def send(who: httpx2.AsyncClient, path: str, status: int = 303, **fields: object) -> str:
    """Send a form; return what the page says that shows it again."""
    answer = await who.post(path, data=fields, headers={"Accept": "text/html"})
    assert answer.status_code == status, answer.text
    return "" if status == 303 else text_of(answer)


def test_everything_that_happens_has_words():
    assert set(EventKind) <= {*WORDS, *UNTOLD}


async def test_the_code_of_a_visit_is_for_whoever_started_it(office):
    office.desk.pin.clear()
    update_id = await office.opened()
    code = (await office.update(update_id))["visit"]["code"]

    holders = await page(office.holder, f"/updates/{update_id}")
    operators = await page(office.operator, f"/updates/{update_id}")

    office.desk.pin.set()
    assert code in holders
    assert code not in operators
    assert "the visit at the workstation" in operators
    await office.until_stage(update_id, "completed")


async def test_whoever_decides_finds_the_way_to_it(office, let_in):
    officer = await let_in("otto", Role.OFFICER)
    await office.policy("smart-card-logon R precheck=true")
    update_id = await office.opened()
    await office.until_lane(update_id, "awaiting_request_form")
    path = f"/updates/{update_id}"

    waiting = await page(office.operator, path)
    await office.sign(update_id, "smart-card-logon")
    checking = await page(office.operator, path)
    await office.decide(update_id, "approve")
    await office.until_lane(update_id, "at_ca")
    at_the_ca = await page(officer, path)

    assert "Record a form that came in by other means" in waiting
    assert "Check the form and decide" in checking
    assert "Look at the request and decide" in at_the_ca
    assert "Look at the request and decide" not in await page(office.operator, path)
    assert "Check the form and decide" not in await page(office.holder, path)


async def test_what_needs_attention_is_told_to_the_holder_and_tried_again_by_an_operator(office):
    await office.policy("tls-client R")
    update_id = await office.opened()
    await office.until_lane(update_id, "awaiting_request_form")
    await office.sign(update_id, "tls-client")
    await office.until_stage(update_id, "ready")
    office.desk.outcomes.append(Outcome.KEY_MISSING)
    await send(office.holder, f"/updates/{update_id}/continue")
    await office.until_stage(update_id, "needs_attention")

    holders = await page(office.holder, f"/updates/{update_id}")

    assert "Something went wrong that needs an operator." in holders
    assert CONTACT in holders
    assert "Try again" not in holders
    assert "Try again" in await page(office.operator, f"/updates/{update_id}")
    await send(office.operator, f"/updates/{update_id}/retry")
    await office.until_stage(update_id, "ready")


async def test_what_a_policy_does_not_allow_is_told_with_whom_to_ask(office):
    permissions = {"view_contents": False, "cancel": False, "delete_documents": False}
    await office.policy("tls-client F", document_exchange="outside", permissions=permissions)
    update_id = await office.opened()
    await office.until_lane(update_id, "awaiting_certificate_form")

    card = await page(office.holder, f"/cards/{office.card_id}")
    update = await page(office.holder, f"/updates/{update_id}")

    assert f"the policy does not show holders what is on cards; {CONTACT}" in card
    assert f"You cannot cancel this operation yourself. {CONTACT}" in update
    assert "hand it in outside of this portal" in update
    assert "Upload the signed form" not in update


async def test_why_an_update_is_not_possible_is_told_with_whom_to_ask(office):
    await office.policy("tls-client none", permissions={"update": False})

    shown = await page(office.holder, f"/cards/{office.card_id}/update")

    assert "the policy does not let holders update their cards; ask your operator" in shown
    assert CONTACT in shown


async def test_a_plan_that_changed_meanwhile_is_shown_again(office):
    path = f"/cards/{office.card_id}/update"
    digest = (await office.plan())["digest"]
    await office.policy("tls-client none", "smime-signing none")

    shown = await send(office.holder, path, 409, plan_digest=digest)

    assert "what would be done has changed since it was shown" in shown
    assert "E-mail signature" in shown


async def test_a_cancellation_without_a_reason_is_refused_and_loses_nothing(office):
    await office.policy("tls-client R")
    update_id = await office.opened()
    await office.until_lane(update_id, "awaiting_request_form")
    path = f"/updates/{update_id}/cancel"

    missing = await send(office.holder, path, 422, reason=" ")
    answer = await office.holder.post(path, data={"reason": "x" * 1001})

    assert "say why the operation is to be cancelled" in missing
    assert answer.status_code == 422
    assert f'value="{"x" * 1001}"' in answer.text
    await send(office.holder, path, reason="Enough.")
    assert (await office.until_stage(update_id, "cancelled"))["ended_because"] == "Enough."


async def test_the_same_form_sent_twice_counts_once(office):
    await office.policy("tls-client R")
    digest = (await office.plan())["digest"]
    path = f"/cards/{office.card_id}/update"
    fields = {"plan_digest": digest, "key": "0123456789"}

    first = await office.holder.post(path, data=fields)
    second = await office.holder.post(path, data=fields)

    assert first.status_code == second.status_code == 303
    assert first.headers["location"] == second.headers["location"]


async def test_nobody_else_finds_a_card_or_an_update(office, let_in):
    stranger = await let_in("stella")
    update_id = await office.opened()
    await office.until_stage(update_id, "completed")

    for path in (f"/cards/{office.card_id}", f"/cards/{office.card_id}/update",
                 f"/cards/{office.card_id}/clear", f"/updates/{update_id}"):  # fmt: skip
        await page(stranger, path, 404)
    assert "You have no card yet." in await page(stranger, "/cards")


async def test_a_form_that_nobody_awaits_is_refused_as_a_page(office):
    update_id = await office.opened()
    await office.until_stage(update_id, "completed")

    shown = await page(office.holder, f"/updates/{update_id}/lanes/tls-client/form", 409)

    assert "no form is awaited here now" in shown


async def test_all_of_the_core_that_a_holder_reads_is_german_too(office):
    await office.policy("tls-client RF precheck=true")
    await office.holder.patch(f"{API}/me", json={"language": "de"})
    update_id = await office.opened()
    await office.until_lane(update_id, "awaiting_request_form")

    shown = await page(office.holder, f"/updates/{update_id}")

    assert "der unterschriebene Zertifikatsantrag" in shown
    assert "noch nicht auf der Karte" in shown
    assert not re.search(r"\b(the|and|is|awaited)\b", shown), shown


async def test_the_list_of_agents_can_be_narrowed_to_one_person(office, let_in):
    admin = await let_in("ada", Role.ADMIN)

    for who, number in ((office.holder, 1), (office.operator, 0)):
        params = {"person": who.headers["X-Person"]}
        listed = (await admin.get(f"{API}/agents", params=params)).json()["items"]
        assert len(listed) == number


async def test_operators_choose_how_often_they_hear_of_documents(office):
    fields = {"language": "en", "time_zone": "Europe/Berlin", "mail_digest": "daily"}

    assert "Mails about documents to check" in await page(office.operator, "/account")
    assert "Mails about documents to check" not in await page(office.holder, "/account")
    await send(office.operator, "/account", **fields)
    me = (await office.operator.get(f"{API}/me")).json()

    assert {name: me[name] for name in fields} == fields


async def test_settings_that_do_not_exist_are_refused_and_nothing_is_kept(office):
    for name, value, reason in (
        ("time_zone", "Europe/Nowhere", "there is no such time zone"),
        ("language", "xx", "these pages do not speak it"),
    ):
        fields = {"language": "en", "time_zone": "UTC", name: value}
        assert reason in await send(office.holder, "/account", 422, **fields)
    assert (await office.holder.get(f"{API}/me")).json()["time_zone"] == ""
