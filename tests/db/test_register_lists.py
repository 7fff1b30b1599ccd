"""The lists of cards, updates, policies and the trail, on both databases."""

from datetime import timedelta

from cardflow.db.audit import Entry, append
from cardflow.db.register_cards import carries_certificates, list_cards, policy_exists
from cardflow.db.register_policies import find_version, list_newest, list_versions, newest_version
from cardflow.db.register_trail import Wanted, list_entries
from cardflow.db.register_updates import Wanted as WantedUpdates
from cardflow.db.register_updates import list_updates
from cardflow.db.tables import Card, Certificate, PolicyVersion, Update
from cardflow.model import CardState, Role
from cardflow.sql import transaction
from tests.db.rows import NOW, a_person, store


def a_card(card_id, **changes):
    given = {
        "id": card_id,
        "token_serial": f"SN-{card_id}",
        "state": CardState.CLEAN,
        "created_at": NOW,
    }
    return Card(**{**given, **changes})


def a_certificate(card_id, kind, state):
    return Certificate(
        sha256=f"{card_id}{kind}{state}",
        card_id=card_id,
        kind=kind,
        state=state,
        cka_id="01",
        spki_sha256="b",
        serial_number="1",
        subject="CN=Holly",
        issuer="CN=CA",
        not_before=NOW,
        not_after=NOW,
        pem="",
        created_at=NOW,
    )


async def test_cards_are_narrowed_by_holder_state_and_words(sessions):
    await store(
        sessions,
        a_person("holly", [Role.HOLDER]),
        a_card("1", holder_id="holly", state=CardState.ISSUED),
        a_card("2", token_label="Spare Key"),
        a_card("3"),
    )

    async def ids(**wanted):
        async with transaction(sessions) as session:
            return [c.id for c in await list_cards(session, **{"after": "", "limit": 9, **wanted})]

    assert await ids() == ["1", "2", "3"]
    assert await ids(after="1", limit=1) == ["2"]
    assert await ids(holder_id="holly") == ["1"]
    assert await ids(state=CardState.CLEAN) == ["2", "3"]
    assert await ids(search="spare") == ["2"]
    assert await ids(search="sn-3") == ["3"]


async def test_updates_come_newest_first_whatever_their_ids_are(sessions):
    await store(sessions, a_card("1"))
    hours = {"b": 1, "d": 2, "a": 3, "c": 3}
    await store(sessions, *(an_update(name, hour) for name, hour in hours.items()))

    async def ids(before="", limit=9):
        async with transaction(sessions) as session:
            found = await list_updates(session, WantedUpdates(), before=before, limit=limit)
            return [update.id for update in found]

    assert await ids() == ["c", "a", "d", "b"]
    assert await ids(limit=1) == ["c"]
    assert await ids(before="c") == ["a", "d", "b"]
    assert await ids(before="d", limit=1) == ["b"]


def an_update(update_id, hour):
    return Update(
        id=update_id,
        kind="update",
        card_id="1",
        holder_id="holly",
        started_by="holly",
        policy_name="p",
        policy_version=1,
        stage="pending",
        opened_at=NOW + timedelta(hours=hour),
        due_at=NOW + timedelta(days=9),
        input="{}",
        view="{}",
    )


async def test_only_a_managed_certificate_on_the_card_counts_as_carried(sessions):
    await store(sessions, a_card("1"), a_card("2"))
    await store(
        sessions,
        a_certificate("1", "managed", "on_card"),
        a_certificate("2", "managed", "retired"),
        a_certificate("2", "tracked", "on_card"),
    )

    async with transaction(sessions) as session:
        assert await carries_certificates(session, "1")
        assert not await carries_certificates(session, "2")


async def test_policies_are_known_by_name_and_newest_version(sessions):
    for name, version in (("b", 1), ("a", 1), ("a", 2), ("a", 10)):
        await store(
            sessions,
            PolicyVersion(name=name, version=version, document="", created_at=NOW),
        )

    async with transaction(sessions) as session:
        newest = await list_newest(session, after="", limit=9)
        later = await list_newest(session, after="a", limit=9)
        versions = await list_versions(session, "a", after=1, limit=9)

        assert [(p.name, p.version) for p in newest] == [("a", 10), ("b", 1)]
        assert [p.name for p in later] == ["b"]
        assert [p.version for p in versions] == [2, 10]
        assert (await newest_version(session, "a")).version == 10
        assert await newest_version(session, "c") is None
        assert await find_version(session, "a", 3) is None
        assert await policy_exists(session, "b")
        assert not await policy_exists(session, "c")


async def test_the_trail_is_narrowed_by_update_kind_and_actor(sessions):
    async with transaction(sessions) as session:
        for kind, actor, update in (("x", "ada", "u1"), ("y", "ada", ""), ("x", "otto", "u2")):
            await append(session, Entry(kind, NOW, actor=actor, update_id=update))

    async def numbers(**wanted):
        given = {"after": wanted.pop("after", 0), "limit": wanted.pop("limit", 9)}
        async with transaction(sessions) as session:
            found = await list_entries(session, Wanted(**wanted), **given)
            return [entry.number for entry in found]

    assert await numbers() == [1, 2, 3]
    assert await numbers(after=1, limit=1) == [2]
    assert await numbers(kind="x") == [1, 3]
    assert await numbers(actor="ada", kind="x") == [1]
    assert await numbers(update_id="u2") == [3]
