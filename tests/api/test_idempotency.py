"""A repeated request is answered as before and done once."""

import asyncio

from sqlalchemy import func, select

from cardflow.db.tables import Person
from cardflow.model import Role
from cardflow.sql import transaction
from tests.api.conftest import reasons

PEOPLE = "/api/v1/people"
HOLLY = {"login": "holly", "name": "Holly"}


async def test_the_same_key_and_request_get_the_same_answer(sign_in):
    ada = await sign_in("ada", Role.ADMIN)
    key = {"Idempotency-Key": "k1"}

    first = await ada.post(PEOPLE, json=HOLLY, headers=key)
    second = await ada.post(PEOPLE, json=HOLLY, headers=key)

    assert (first.status_code, first.json()) == (second.status_code, second.json())


async def test_the_same_key_with_another_request_is_refused(sign_in):
    ada = await sign_in("ada", Role.ADMIN)
    key = {"Idempotency-Key": "k1"}
    await ada.post(PEOPLE, json=HOLLY, headers=key)

    other_body = await ada.post(PEOPLE, json={**HOLLY, "login": "otto"}, headers=key)
    other_path = await ada.post("/api/v1/cards", json={"token_serial": "1"}, headers=key)

    for answer in (other_body, other_path):
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["field"] == "Idempotency-Key"


async def test_a_key_is_its_persons_own(sign_in):
    ada, adam = await sign_in("ada", Role.ADMIN), await sign_in("adam", Role.ADMIN)
    key = {"Idempotency-Key": "k1"}
    await ada.post(PEOPLE, json=HOLLY, headers=key)

    answer = await adam.post(PEOPLE, json=HOLLY, headers=key)

    assert answer.status_code == 409
    assert "taken" in reasons(answer)[0]


async def test_requests_at_the_same_moment_are_done_once(sign_in, app):
    ada = await sign_in("ada", Role.ADMIN)
    key = {"Idempotency-Key": "k1"}

    answers = await asyncio.gather(*(ada.post(PEOPLE, json=HOLLY, headers=key) for _ in range(5)))

    ids = {answer.json()["id"] for answer in answers if answer.status_code == 201}
    assert len(ids) == 1
    assert {answer.status_code for answer in answers} <= {201, 409}
    async with transaction(app.state.cardflow.sessions) as session:
        assert await session.scalar(select(func.count()).select_from(Person)) == 2


async def test_a_refusal_is_not_remembered(sign_in, register):
    ada = await sign_in("ada", Role.ADMIN)
    key = {"Idempotency-Key": "k1"}
    refused = await ada.post(PEOPLE, json={"login": "holly"}, headers=key)

    taken = await ada.post(PEOPLE, json=HOLLY, headers=key)

    assert (refused.status_code, taken.status_code) == (422, 201)


async def test_a_key_that_is_too_long_or_unprintable_is_refused(sign_in):
    ada = await sign_in("ada", Role.ADMIN)

    for key in ("x" * 101, "", "caf\xe9"):
        headers = {"Idempotency-Key": key.encode("latin-1")}
        answer = await ada.post(PEOPLE, json=HOLLY, headers=headers)

        assert answer.status_code == 422
        assert "Idempotency-Key" in answer.json()["errors"][0]["field"]
