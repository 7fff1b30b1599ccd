"""Who somebody is, on both databases: the first administrator, sign-ins, what is forgotten."""

from datetime import timedelta

import pytest
from sqlalchemy import select

from cardflow.db.register_identity import (
    create_first_admin,
    forget_what_is_over,
    list_people,
    note_use,
    open_session,
    signed_in_by_session,
)
from cardflow.db.tables import IdempotentAnswer, Session
from cardflow.errors import Refused
from cardflow.model import Role
from cardflow.passwords import verify_password
from cardflow.sql import transaction
from tests.db.rows import NOW, a_person, store

PASSWORD = "correct horse battery"
HOUR = timedelta(hours=1)


async def a_sign_in(sessions, digest="a", *, seen=NOW, until=NOW + 12 * HOUR):
    await store(
        sessions,
        Session(
            token_sha256=digest,
            person_id="holly",
            created_at=NOW,
            authenticated_at=NOW,
            seen_at=seen,
            expires_at=until,
        ),
    )


async def find(sessions, digest="a", *, now=NOW):
    async with transaction(sessions) as session:
        return await signed_in_by_session(session, digest, now=now, idle=HOUR)


async def test_the_first_administrator_is_made_once(sessions):
    async with transaction(sessions) as session:
        ada = await create_first_admin(session, login="ada", name="Ada", password=PASSWORD, now=NOW)

    assert ada.roles == [Role.ADMIN]
    assert verify_password(ada.password_hash, PASSWORD)
    with pytest.raises(Refused, match="registered already"):
        async with transaction(sessions) as session:
            await create_first_admin(session, login="eve", name="Eve", password=PASSWORD, now=NOW)


async def test_a_weak_password_makes_no_administrator(sessions):
    with pytest.raises(Refused, match="12 to 200"):
        async with transaction(sessions) as session:
            await create_first_admin(session, login="ada", name="Ada", password="short", now=NOW)

    async with transaction(sessions) as session:
        assert await list_people(session, after="", limit=1) == []


async def test_a_sign_in_is_good_until_it_rests_or_is_over(sessions):
    await store(sessions, a_person("holly", [Role.HOLDER]))
    await a_sign_in(sessions)

    assert (await find(sessions)).person.id == "holly"
    assert await find(sessions, now=NOW + HOUR) is None
    assert await find(sessions, "b") is None
    async with transaction(sessions) as session:
        await note_use(session, "a", by_api_token=False, now=NOW + HOUR / 2)
    assert (await find(sessions, now=NOW + HOUR)).stale


async def test_a_disabled_person_is_not_signed_in(sessions):
    await store(sessions, a_person("holly", [Role.HOLDER], active=False))
    await a_sign_in(sessions)

    assert await find(sessions) is None


async def test_a_sign_in_is_kept_for_its_person(sessions):
    await store(sessions, a_person("holly", [Role.HOLDER]))
    async with transaction(sessions) as session:
        await open_session(session, "holly", "a", now=NOW, until=NOW + HOUR)

    found = await find(sessions)

    assert (found.roles, found.by_api_token, found.stale) == (("holder",), False, False)


async def test_what_is_over_is_forgotten_and_nothing_else(sessions):
    await store(sessions, a_person("holly", [Role.HOLDER]))
    await a_sign_in(sessions, "over", until=NOW)
    await a_sign_in(sessions, "resting", seen=NOW - HOUR)
    await a_sign_in(sessions, "good")
    for key, age in (("old", 25), ("new", 23)):
        await store(
            sessions,
            IdempotentAnswer(
                person_id="holly",
                key=key,
                request_sha256="",
                status=201,
                body="",
                recorded_at=NOW - age * HOUR,
            ),
        )

    async with transaction(sessions) as session:
        await forget_what_is_over(session, now=NOW, idle=HOUR)

    async with transaction(sessions) as session:
        assert (await session.scalars(select(Session.token_sha256))).all() == ["good"]
        assert (await session.scalars(select(IdempotentAnswer.key))).all() == ["new"]


async def test_people_are_searched_without_regard_to_case_or_wildcards(sessions):
    await store(
        sessions,
        a_person("p1", [Role.HOLDER], name="Holly WOOD"),
        a_person("p2", [Role.HOLDER], name="50% Otto"),
    )

    async with transaction(sessions) as session:
        found = [
            [p.id for p in await list_people(session, after="", limit=9, search=word)]
            for word in ("wood", "50%", "%", "_")
        ]

    assert found == [["p1"], ["p2"], ["p2"], []]
