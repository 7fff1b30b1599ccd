"""A card is lost: blocked at once, its update ended, what was issued for it revoked."""

import asyncio
import json
from dataclasses import replace

import pytest
from sqlalchemy import select
from sqlmodel import col

from api import lost_cards
from api.authorize import Caller
from cardflow.ca import RevocationReason
from cardflow.ca.embedded.listing import Wanted, list_certificates
from cardflow.db.tables import AuditEntry, Card, Mail
from cardflow.decisions import utc_now
from cardflow.model import Role
from cardflow.sql import transaction
from tests.api.conftest import reasons
from tests.api.updates.conftest import API, Office
from tests.waiting import until
from workflows.card_update import workflow_id

pytestmark = pytest.mark.temporal


async def report(office: Office, who=None, *, key="", **body):
    """Report the office's card lost."""
    path = f"{API}/cards/{office.card_id}/report-lost"
    headers = {"Idempotency-Key": key} if key else {}
    return await (who or office.holder).post(path, json=body, headers=headers)


async def the_card(office: Office) -> Card:
    async with transaction(office.state.sessions) as session:
        return await session.get_one(Card, office.card_id)


async def revoked_at_the_ca(office: Office) -> list[str | None]:
    """Return why each certificate was revoked that the CA issued for the holder."""
    async with transaction(office.state.sessions) as session:
        person = office.holder.headers["X-Person"]
        wanted = Wanted(now=utc_now(), person_id=person)
        found = await list_certificates(session, wanted, after="", limit=100)
    return [row.revocation_reason for row in found]


async def all_revoked(office: Office, count: int) -> None:
    """Return once so many certificates are revoked as compromised, and no other is good."""
    wanted = [RevocationReason.KEY_COMPROMISE] * count
    what = "the revocations"
    await until(lambda: revoked_at_the_ca(office), lambda found: found == wanted, what=what)


async def test_a_lost_card_is_blocked_and_all_its_certificates_are_revoked(office):
    await office.until_stage(await office.opened(), "completed")

    answer = await report(office, reason="left in a train")

    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert (told["card"]["state"], told["ended_update"]) == ("Disabled", "")
    assert told["card"]["lost_at"]
    assert len(told["revoking"]) == 1
    await all_revoked(office, 1)
    plan = await office.plan()
    assert "the card is disabled" in plan["plan"]["objections"]


async def test_the_open_update_ends_and_its_new_certificates_are_revoked_too(office):
    await office.policy("tls-client F")
    update_id = await office.opened()
    await office.until_lane(update_id, "awaiting_certificate_form")

    answer = await report(office)

    assert answer.json()["ended_update"] == update_id
    seen = await office.until(update_id, lambda seen: seen["ended_at"])
    assert seen["stage"] == "cancelled"
    assert (await the_card(office)).state == "Disabled"
    await all_revoked(office, 1)
    again = await office.open()
    assert again.status_code == 409
    assert "the card is disabled" in reasons(again)


async def test_the_holder_and_the_operators_have_a_mail_and_the_trail_an_entry(office):
    await report(office, reason="stolen")

    async with transaction(office.state.sessions) as session:
        mails = await session.scalars(select(Mail).where(col(Mail.card_id) == office.card_id))
        told = {(mail.kind, mail.person_id) for mail in mails}
        query = select(AuditEntry).where(col(AuditEntry.kind) == "card_reported_lost")
        entries = [json.loads(entry.text)["facts"] for entry in await session.scalars(query)]
    people = (office.holder, office.operator)
    assert told >= {("card_lost", who.headers["X-Person"]) for who in people}
    (facts,) = [one for one in entries if one["card_id"] == office.card_id]
    assert facts["reason"] == "stolen"


async def test_a_card_that_is_reported_again_sends_no_second_mail(office, let_in):
    await report(office)
    await report(office, await let_in("ada", Role.ADMIN))

    async with transaction(office.state.sessions) as session:
        query = select(Mail).where(
            col(Mail.card_id) == office.card_id,
            col(Mail.person_id) == office.holder.headers["X-Person"],
        )
        assert len((await session.scalars(query)).all()) == 1
    assert (await the_card(office)).lost_by == office.holder.headers["X-Person"]


async def runs_off_the_record(office: Office):
    """Return a workflow of the card that nobody carries out, and that no record tells of."""
    client = await office.state.temporal.client()
    name, queue = "an opening that has just begun", "nobody's"
    return await client.start_workflow(name, id=workflow_id(office.card_id), task_queue=queue)


async def the_workflow(office: Office):
    client = await office.state.temporal.client()
    return client.get_workflow_handle(workflow_id(office.card_id))


async def test_an_update_that_is_just_ending_is_waited_for(office):
    ending = await runs_off_the_record(office)
    reporting = asyncio.create_task(report(office))
    await until(lambda: the_card(office), lambda card: card.lost_at, what="the block")
    await ending.terminate()
    answer = await reporting

    assert answer.status_code == 200, answer.text
    assert answer.json()["ended_update"] == ""


@pytest.mark.slow  # as long as it is waited for
async def test_an_update_that_neither_begins_nor_ends_is_named_and_the_card_is_blocked(office):
    stuck = await runs_off_the_record(office)
    answer = await report(office)
    await stuck.terminate()

    assert answer.status_code == 503
    assert "the card is blocked, and an update of it is just beginning" in answer.text
    assert (await the_card(office)).lost_at
    assert (await report(office)).status_code == 200


async def test_certificates_are_revoked_also_where_the_update_cannot_be_ended(office, monkeypatch):
    monkeypatch.setattr(lost_cards, "PATIENCE_SECONDS", 0)
    await office.until_stage(await office.opened(), "completed")
    await (await the_workflow(office)).result()
    stuck = await runs_off_the_record(office)
    answer = await report(office)

    assert answer.status_code == 503
    await all_revoked(office, 1)
    await stuck.terminate()


async def test_certificates_are_revoked_also_where_nobody_carries_the_update_out(office):
    await office.policy("tls-client F")
    update_id = await office.opened()
    await office.until_lane(update_id, "awaiting_certificate_form")
    await (await the_workflow(office)).terminate()

    answer = await report(office, key="lost")

    assert answer.status_code == 503
    assert "`cardflow reconcile`" in answer.text
    await all_revoked(office, 1)


async def test_a_report_sent_again_revokes_what_was_issued_since(office):
    settings = office.state.settings.model_copy(update={"temporal_task_queue": "nobody's"})
    nobody_revokes = replace(office.state, settings=settings)
    holder = office.holder.headers["X-Person"]
    caller = Caller(holder, "holly", "Holly", frozenset({Role.HOLDER}), "en")
    await office.until_stage(await office.opened(), "completed")
    await lost_cards.report_lost(office.card_id, lost_cards.LossIn(), caller, nobody_revokes, "k")
    await office.operator.patch(f"{API}/cards/{office.card_id}", json={"disabled": False})
    await office.policy("tls-client none", "smime-signing none")
    await office.until_stage(await office.opened(), "completed")

    assert (await report(office, key="k")).status_code == 200

    await all_revoked(office, 2)


async def test_only_an_operator_or_administrator_releases_the_card(office):
    await report(office)
    path = f"{API}/cards/{office.card_id}"

    by_holder = await office.holder.patch(path, json={"disabled": False})
    by_operator = await office.operator.patch(path, json={"disabled": False})

    assert by_holder.status_code == 403
    assert by_operator.json()["lost_at"] is None
    assert by_operator.json()["state"] == "Assigned"
    assert (await office.open()).status_code == 201


async def test_the_page_says_what_happens_and_does_it(office):
    path = f"/cards/{office.card_id}"
    page = await office.holder.get(f"{path}/lost")
    done = await office.holder.post(f"{path}/lost", data={"reason": ""})
    card = await office.holder.get(path)
    in_register = await office.operator.get(f"/register/cards/{office.card_id}")

    assert "The card is blocked at once" in page.text
    assert (done.status_code, done.headers["location"].partition("?")[0]) == (303, path)
    assert "The card was reported lost on" in card.text
    assert "The card was reported lost on" in in_register.text


async def test_what_is_said_of_it_can_be_too_long(office):
    path = f"/cards/{office.card_id}/lost"

    answer = await report(office, reason="x" * 1001)
    page = await office.holder.post(path, data={"reason": "x" * 1001})

    assert answer.status_code == 422
    assert page.status_code == 422
    assert (await the_card(office)).lost_at is None
