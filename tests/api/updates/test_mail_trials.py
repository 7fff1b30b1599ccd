"""A mail text is tried out over the real worker and an SMTP relay; texts change what arrives."""

import asyncio

import pytest

from cardflow.model import Role, new_id
from tests.api.updates.conftest import API

pytestmark = pytest.mark.temporal
DRAFT = {"subject": "Draft for {card}", "body": "Hello {name}, see {link}."}


@pytest.fixture
async def policy(office, let_in):
    """The address of the mails of a policy, and an administrator."""
    await office.policy("tls-client none")
    admin = await let_in("ada", Role.ADMIN)
    card = await office.holder.get(f"{API}/cards/{office.card_id}")
    return admin, f"{API}/policies/{card.json()['policy_name']}/mails"


def to(catcher, address):
    return [message for message in catcher.taken if address in str(message["To"])]


async def address_of(client):
    return (await client.get(f"{API}/me")).json()["email"]


async def test_a_trial_goes_to_whoever_asks_and_tells_what_the_relay_said(policy, catcher):
    admin, mails = policy

    answer = await admin.post(f"{mails}/completed/en/test", json=DRAFT)

    assert answer.status_code == 200
    told, address = answer.json(), await address_of(admin)
    assert told == {
        "state": "sent",
        "said": "250 OK",
        "address": address,
        "subject": "[Test] Draft for Ada's card",
    }
    (mail,) = to(catcher, address)
    assert mail["Subject"] == told["subject"]


async def test_a_repeat_with_the_same_key_sends_no_second_mail(policy, catcher):
    admin, mails = policy
    headers = {"Idempotency-Key": new_id()}

    answers = await asyncio.gather(
        *(admin.post(f"{mails}/completed/de/test", json={}, headers=headers) for _ in range(3))
    )

    assert {answer.text for answer in answers} == {answers[0].text}
    (mail,) = to(catcher, await address_of(admin))
    assert mail["Subject"] == "[Probe] Kartenaktualisierung abgeschlossen"


async def test_a_relay_that_refuses_is_quoted(policy, catcher):
    admin, mails = policy
    address = await address_of(admin)
    catcher.to_recipient[address] = "550 no such user"

    told = (await admin.post(f"{mails}/completed/en/test", json={})).json()

    assert (told["state"], told["said"]) == ("failed", "550 no such user")


async def test_a_saved_text_is_what_the_holder_gets_and_a_failed_mail_is_seen_on_the_update(
    policy, office, catcher
):
    admin, mails = policy
    saved = await admin.put(f"{mails}/operation_started/en", json=DRAFT)
    assert saved.status_code == 200
    address = await address_of(office.holder)
    catcher.to_recipient[address] = "550 no such user"
    update_id = await office.opened()

    async def told():
        answer = await office.operator.get(f"{API}/updates/{update_id}/mails")
        return [mail for mail in answer.json()["items"] if mail["kind"] == "operation_started"]

    async with asyncio.timeout(20):
        mails_now = await told()
        while not mails_now or mails_now[0]["state"] == "queued":
            await asyncio.sleep(0.02)
            mails_now = await told()
    (mail,) = mails_now
    assert (mail["state"], mail["error"]) == ("failed", "550 no such user")
    assert mail["subject"] == "Draft for Holly's card"
