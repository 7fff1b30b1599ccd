"""What the agent door takes for a request of an agent: signed, fresh, for this door, used once."""

import json
from datetime import timedelta

import httpx2
import pytest
from sqlalchemy import select, update

from agent.connection import REPORT_EVERY_SECONDS
from agent.door import KEPT_SECONDS
from api.__main__ import AGENTS_KEPT_SECONDS
from api.agent_caller import check_version
from api.app import create_agent_app
from api.problems import Problem
from api.state import AGENTS_AT_ONCE
from cardflow.db.register_agents import FRESH, NONCES_KEPT
from cardflow.db.tables import AgentNonce, Card, Presence
from cardflow.decisions import utc_now
from cardflow.model import CardState, Role, new_id
from cardflow.settings import Settings
from cardflow.sql import transaction
from tests.api.workstation import SoftCard

pytestmark = pytest.mark.temporal
PATH = "/agent/v1/presence"
BODY = json.dumps({"tokens": []}).encode()


async def test_a_signed_request_counts_once(holder, enrol):
    workstation = await enrol(holder)
    headers = workstation.signed("PUT", PATH, BODY)

    first = await workstation.client.put(PATH, content=BODY, headers=headers)
    replayed = await workstation.client.put(PATH, content=BODY, headers=headers)

    assert first.status_code == 204
    assert replayed.status_code == 401
    assert "received before" in replayed.json()["detail"]


async def test_a_changed_body_is_refused(holder, enrol):
    workstation = await enrol(holder)
    headers = workstation.signed("PUT", PATH, BODY)

    answer = await workstation.client.put(PATH, content=BODY + b" ", headers=headers)

    assert answer.status_code == 401


async def test_a_signature_for_another_address_is_refused(holder, enrol):
    workstation = await enrol(holder)
    headers = workstation.signed("PUT", "/agent/v1/results", BODY)

    assert (await workstation.client.put(PATH, content=BODY, headers=headers)).status_code == 401


async def test_a_signature_for_another_server_is_refused(holder, enrol):
    workstation = await enrol(holder)
    workstation.origin = "https://evil.example"

    assert (await workstation.report()).status_code == 401


@pytest.mark.parametrize("minutes", [-3, 3])
async def test_a_signature_out_of_its_time_is_refused(holder, enrol, minutes):
    workstation = await enrol(holder)
    headers = workstation.signed("PUT", PATH, BODY, now=utc_now() + timedelta(minutes=minutes))

    answer = await workstation.client.put(PATH, content=BODY, headers=headers)

    assert answer.status_code == 401
    assert "clock" in answer.json()["detail"]


async def test_another_agents_key_does_not_sign_for_this_one(holder, enrol):
    mine, other = await enrol(holder), await enrol(holder)
    mine.key = other.key

    assert (await mine.report()).status_code == 401


async def test_an_unsigned_request_and_an_unknown_agent_are_refused(holder, enrol):
    workstation = await enrol(holder)
    unsigned = await workstation.client.put(PATH, content=BODY)
    workstation.agent_id = new_id()

    assert unsigned.status_code == 401
    assert (await workstation.report()).status_code == 401


async def test_a_refused_request_leaves_nothing(app, holder, enrol):
    workstation = await enrol(holder)
    workstation.origin = "https://evil.example"
    await workstation.report(SoftCard("0123").report())

    assert await left_by(app, workstation, AgentNonce.nonce) == []
    assert await left_by(app, workstation, Presence.token_serial) == []


async def test_an_old_agent_is_told_to_update(holder, enrol):
    workstation = await enrol(holder)
    workstation.client.headers["User-Agent"] = "cardflow-agent/0.0.1"

    answer = await workstation.report()

    assert answer.status_code == 426
    assert answer.headers["upgrade"] == "cardflow-agent/0.1"
    told = answer.json()["detail"]
    assert "it has version 0.0.1, 0.1 is the oldest" in told
    assert "from whoever looks after this workstation" in told


@pytest.mark.parametrize("version", ["0.0.1", "0", "latest", "x0.2", "-1.5", ""])
def test_a_version_that_is_old_or_cannot_be_read_is_too_old(version):
    settings = Settings(agent_download_url="https://example.org/agent")
    with pytest.raises(Problem, match=r"get it https://example\.org/agent"):
        check_version(settings, version)


@pytest.mark.parametrize("version", ["0.1", "0.1.0", "0.10.3", "1.0"])
def test_a_version_that_is_new_enough_is_taken(version):
    check_version(Settings(), version)


async def test_too_large_a_body_is_refused(holder, enrol):
    workstation = await enrol(holder)

    answer = await workstation.send("PUT", PATH, {"tokens": ["x" * 1_100_000]})

    assert answer.status_code == 413


@pytest.mark.parametrize(
    "message",
    [
        {},
        {"tokens": [{}]},
        {"tokens": [], "pin": "1234"},
        {"tokens": "none"},
        {"tokens": [{"token_serial": "a\x00b"}]},
    ],
)
async def test_a_report_of_another_shape_is_refused_by_name(holder, enrol, message):
    workstation = await enrol(holder)

    answer = await workstation.send("PUT", PATH, message)

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["reason"].startswith("PresenceIn")


async def test_two_tokens_of_one_serial_cannot_be_told_apart(holder, enrol):
    workstation = await enrol(holder)
    report = SoftCard("0123").report()

    assert (await workstation.report(report, report)).status_code == 422


async def test_the_doors_do_not_answer_each_others_addresses(app, holder, enrol, door):
    workstation = await enrol(holder)

    assert (await workstation.client.get("/api/v1/me")).status_code == 404
    assert (await workstation.client.get("/healthz")).status_code == 404
    assert (await holder.put(PATH, content=BODY)).status_code == 404
    assert (await holder.get("/agent/v1/jobs")).status_code == 404


async def left_by(app, workstation, column) -> list[str]:
    async with transaction(app.state.cardflow.reads) as session:
        mine = select(column).where(column.class_.agent_id == workstation.agent_id)
        return list(await session.scalars(mine))


async def a_card(app, serial: str, holder_id: str | None) -> str:
    card = Card(
        id=new_id(),
        token_serial=serial,
        holder_id=holder_id,
        state=CardState.ASSIGNED,
        created_at=utc_now(),
    )
    async with transaction(app.state.cardflow.sessions) as session:
        session.add(card)
    return card.id


async def card_of(app, card_id: str) -> Card:
    async with transaction(app.state.cardflow.reads) as session:
        return await session.get_one(Card, card_id)


async def test_presence_shows_the_holders_card_as_seen(app, holder, enrol):
    card_id = await a_card(app, "0123-0", holder.headers["X-Person"])
    workstation = await enrol(holder)

    await workstation.report(SoftCard("0123-0", "New label").report())

    card = await card_of(app, card_id)
    assert card.token_label == "New label"
    assert card.inventory
    assert utc_now() - card.seen_at < timedelta(seconds=5)


async def test_an_agent_does_not_speak_for_somebody_elses_card(app, holder, enrol, let_in):
    other = await let_in("otto", Role.HOLDER)
    card_id = await a_card(app, "0123-1", other.headers["X-Person"])
    workstation = await enrol(holder)

    await workstation.report(SoftCard("0123-1").report())

    assert (await card_of(app, card_id)).seen_at is None


async def test_a_card_that_cannot_be_read_keeps_its_last_inventory(app, holder, enrol):
    card_id = await a_card(app, "0123-2", holder.headers["X-Person"])
    workstation = await enrol(holder)
    await workstation.report(SoftCard("0123-2").report())
    before = (await card_of(app, card_id)).inventory

    await workstation.report(SoftCard("0123-2").report(unsupported="the card is read only"))

    assert (await card_of(app, card_id)).inventory == before


async def test_presence_replaces_what_was_reported_before(app, holder, enrol):
    workstation = await enrol(holder)
    await workstation.report(*(SoftCard(serial).report() for serial in ("01", "02")))

    await workstation.report(SoftCard("03").report())

    assert await left_by(app, workstation, Presence.token_serial) == ["03"]


async def test_any_request_keeps_the_agent_connected(holder, enrol):
    workstation = await enrol(holder)
    (before,) = (await holder.get("/api/v1/agents")).json()["items"]

    await workstation.poll(wait=2)

    (after,) = (await holder.get("/api/v1/agents")).json()["items"]
    assert (before["connected"], after["connected"]) == (False, True)


@pytest.mark.parametrize("count", [100, pytest.param(1_000, marks=pytest.mark.slow)])
async def test_what_was_sent_once_is_refused_after_the_api_has_started_anew(
    settings, holder, enrol, count
):
    workstation = await enrol(holder)
    sent = [workstation.signed("PUT", PATH, BODY) for _ in range(count)]
    for headers in sent:
        answer = await workstation.client.put(PATH, content=BODY, headers=headers)
        assert answer.status_code == 204

    anew = create_agent_app(settings)
    transport = httpx2.ASGITransport(app=anew)
    async with (
        anew.router.lifespan_context(anew),
        httpx2.AsyncClient(transport=transport, base_url="https://localhost:8443") as client,
    ):
        again = [await client.put(PATH, content=BODY, headers=headers) for headers in sent]
        fresh = await client.put(PATH, content=BODY, headers=workstation.signed("PUT", PATH, BODY))

    assert {answer.status_code for answer in again} == {401}
    refused = {answer.json()["detail"] for answer in again}
    assert all("received before" in why or "expired" in why for why in refused)
    assert fresh.status_code == 204


LOOK_UPS = ["*", "%", "_", "'", ")", "' OR 1=1 --", "\\", "0" * 36, "a" * 128]


@pytest.mark.parametrize("key_id", LOOK_UPS)
async def test_no_pattern_finds_somebodys_agent(holder, enrol, key_id):
    """CVE-2023-4727: a session that was looked up by pattern matched somebody's."""
    workstation = await enrol(holder)
    headers = workstation.signed("PUT", PATH, BODY)
    told = headers["Signature-Input"]
    headers["Signature-Input"] = told.replace(workstation.agent_id, key_id)

    answer = await workstation.client.put(PATH, content=BODY, headers=headers)

    assert answer.status_code == 401


def routes_of_agents() -> list[tuple[str, str]]:
    """Return every address of the door that is for agents that are enrolled."""
    paths = create_agent_app(Settings()).openapi()["paths"]
    found = [(method.upper(), path) for path, item in paths.items() for method in item]
    return sorted(set(found) - {("POST", "/agent/v1/enrolments")})


async def test_a_revoked_agent_is_refused_at_every_address_of_the_door(holder, enrol):
    """CVE-2020-28942, CVE-2021-40088: one entry checked less than the others."""
    workstation = await enrol(holder)
    await holder.post(f"/api/v1/agents/{workstation.agent_id}/revoke")
    routes = routes_of_agents()
    assert len(routes) >= 8
    for method, path in routes:
        asked = f"{path}?task=x" if (method, path) == ("GET", "/agent/v1/form") else path

        answer = await workstation.send(method, asked, {} if method != "GET" else None)

        assert answer.status_code == 403, (method, path, answer.text)
        assert answer.json()["type"] == "urn:cardflow:problem:agent-revoked", (method, path)


async def disable(admin, person, *, active=False):
    """Have an administrator disable the person, or let them in again."""
    path = f"/api/v1/people/{person.headers['X-Person']}"
    answer = await admin.patch(path, json={"active": active})
    assert answer.status_code == 200, answer.text


async def test_the_agent_of_a_disabled_person_is_refused_until_they_are_let_in(
    holder, let_in, enrol
):
    workstation, admin = await enrol(holder), await let_in("ada", Role.ADMIN)
    await disable(admin, holder)
    for method, path in routes_of_agents():
        asked = f"{path}?task=x" if (method, path) == ("GET", "/agent/v1/form") else path

        answer = await workstation.send(method, asked, {} if method != "GET" else None)

        assert answer.status_code == 403, (method, path, answer.text)
        assert answer.json()["type"] == "urn:cardflow:problem:agent-person-disabled"
        assert "the person of this workstation is disabled" in answer.json()["detail"]
    await disable(admin, holder, active=True)
    assert (await workstation.report()).status_code == 204


async def test_while_many_agents_ask_at_once_people_are_answered_and_an_agent_may_ask_again(
    app, holder, enrol, monkeypatch
):
    workstation, turns = await enrol(holder), app.state.cardflow.agents
    monkeypatch.setattr("api.agent_caller.TURN_SECONDS", 0)
    for _ in range(AGENTS_AT_ONCE):
        await turns.acquire()
    try:
        refused = await workstation.report()
        person = await holder.get("/api/v1/me")
    finally:
        for _ in range(AGENTS_AT_ONCE):
            turns.release()

    assert (refused.status_code, person.status_code) == (503, 200)
    assert "too many workstations ask at once" in refused.json()["detail"]
    assert int(refused.headers["retry-after"]) > 0
    assert (await workstation.report()).status_code == 204


def test_an_agents_requests_come_by_the_connections_that_it_has():
    """A new one for each report, with its TLS handshake, would cost more than the report."""
    assert REPORT_EVERY_SECONDS < KEPT_SECONDS < AGENTS_KEPT_SECONDS
    assert timedelta(seconds=REPORT_EVERY_SECONDS) < FRESH


async def test_nonces_are_forgotten_when_their_signatures_have_expired(app, holder, enrol):
    workstation = await enrol(holder)
    await workstation.report()
    async with transaction(app.state.cardflow.sessions) as session:
        old = utc_now() - NONCES_KEPT - timedelta(seconds=1)
        mine = AgentNonce.agent_id == workstation.agent_id
        await session.execute(update(AgentNonce).where(mine).values(seen_at=old))

    await workstation.report()

    assert len(await left_by(app, workstation, AgentNonce.nonce)) == 1


async def test_a_serial_alone_makes_no_card_anybodys(app, holder, enrol):
    """CVE-2025-30042: only a number was checked, which whoever reads the card can say."""
    card_id = await a_card(app, "0123-9", None)
    workstation = await enrol(holder)
    mine = holder.headers["X-Person"]

    await workstation.report(SoftCard("0123-9").report())
    added = await holder.post("/api/v1/cards", json={"token_serial": "new", "holder_id": mine})
    changed = await holder.patch(f"/api/v1/cards/{card_id}", json={"holder_id": mine})

    assert {added.status_code, changed.status_code} == {403}
    assert (await card_of(app, card_id)).holder_id is None
    assert (await holder.get("/api/v1/cards")).json()["items"] == []
