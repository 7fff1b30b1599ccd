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


async def test_requests_at_the_same_moment_are_done_once_and_answered_the_same(sign_in, app):
    ada = await sign_in("ada", Role.ADMIN)
    key = {"Idempotency-Key": "k1"}

    answers = await asyncio.gather(*(ada.post(PEOPLE, json=HOLLY, headers=key) for _ in range(5)))

    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["id"] for answer in answers}) == 1
    async with transaction(app.state.cardflow.sessions) as session:
        assert await session.scalar(select(func.count()).select_from(Person)) == 2


async def test_a_request_that_broke_off_is_no_failure_of_ours(sign_in, app, caplog):
    ada = await sign_in("ada", Role.ADMIN)
    headers = {**ada.headers, "Idempotency-Key": "k1", "Host": "localhost:8000"}
    messages = [{"type": "http.request", "body": b"{", "more_body": True}]
    answers = []

    async def receive():
        return messages.pop() if messages else {"type": "http.disconnect"}

    async def send(message):
        answers.append(message)

    scope = {
        "type": "http", "method": "POST", "path": PEOPLE, "raw_path": PEOPLE.encode(),
        "query_string": b"", "root_path": "", "scheme": "http", "http_version": "1.1",
        "server": ("localhost", 8000), "client": ("127.0.0.1", 1),
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
    }  # fmt: skip
    await app(scope, receive, send)

    assert answers[0]["status"] == 400
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


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
