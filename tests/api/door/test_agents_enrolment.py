"""Making a workstation known, confirming it by six words, and ending it."""

from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import select

from cardflow.db.letters import letters
from cardflow.db.tables import AuditEntry, EnrolmentCode, Mail, Person
from cardflow.decisions import utc_now
from cardflow.enrolment import (
    EnrolmentAnswer,
    answer_proof,
    code_id,
    code_key,
    fingerprint_words,
    new_code,
)
from cardflow.model import Role
from cardflow.sql import transaction

pytestmark = pytest.mark.temporal


@contextmanager
def under(app, **changed):
    """Let the people's door run under other settings meanwhile."""
    state = app.state.cardflow
    app.state.cardflow = replace(state, settings=state.settings.model_copy(update=changed))
    try:
        yield
    finally:
        app.state.cardflow = state


async def code_of(person) -> str:
    return (await person.post("/api/v1/agents/codes", json={})).json()["code"]


async def test_a_workstation_enrols_and_the_server_proves_that_it_knows_the_code(holder, enter):
    code = await code_of(holder)
    workstation = enter()

    answer = await workstation.enrol(code)

    assert answer.status_code == 201
    told = EnrolmentAnswer(**answer.json())
    assert told.issuer == "https://localhost:8443"
    assert told.proof == answer_proof(code_key(code), workstation.claim(code), told)


async def test_an_enrolled_agent_does_nothing_before_it_is_confirmed(holder, enter):
    workstation = enter()
    await workstation.enrol(await code_of(holder))

    for answer in (await workstation.report(), await workstation.poll(wait=2)):
        assert answer.status_code == 403
        assert answer.json()["type"] == "urn:cardflow:problem:agent-not-confirmed"
    (agent,) = (await holder.get("/api/v1/agents")).json()["items"]
    assert agent["state"] == "pending"
    assert agent["words"] == fingerprint_words(bytes.fromhex(workstation.public_key))


async def test_only_the_words_of_the_workstation_confirm_it(holder, enter):
    workstation = enter()
    await workstation.enrol(await code_of(holder))
    (agent,) = (await holder.get("/api/v1/agents")).json()["items"]
    path = f"/api/v1/agents/{workstation.agent_id}/confirm"

    wrong = await holder.post(path, json={"words": "acorn acorn acorn acorn acorn acorn"})
    right = await holder.post(path, json={"words": agent["words"].upper()})

    assert wrong.status_code == 422
    assert right.json()["state"] == "confirmed"
    assert (await workstation.report()).status_code == 204


async def test_a_repeat_of_the_enrolment_gets_the_same_answer(holder, enter):
    code = await code_of(holder)
    workstation = enter()
    first = await workstation.enrol(code)
    agent_id, workstation.agent_id = workstation.agent_id, ""

    again = await workstation.enrol(code)

    assert again.status_code == 201
    assert again.json() == first.json()
    assert workstation.agent_id == agent_id


async def test_a_code_serves_one_workstation(holder, enter):
    code = await code_of(holder)
    await enter().enrol(code)

    answer = await enter().enrol(code)

    assert answer.status_code == 403
    assert "make a new one" in answer.json()["detail"]


async def test_a_code_that_is_15_minutes_old_is_over(app, holder, enter):
    code = await code_of(holder)
    async with transaction(app.state.cardflow.sessions) as session:
        row = await session.get_one(EnrolmentCode, code_id(code))
        row.expires_at = utc_now() - timedelta(seconds=1)

    assert (await enter().enrol(code)).status_code == 403


async def test_after_five_wrong_proofs_the_right_one_comes_too_late(holder, enter):
    code = await code_of(holder)
    workstation = enter()
    for _ in range(5):
        assert (await workstation.enrol(code, proof="00" * 32)).status_code == 403

    assert (await workstation.enrol(code)).status_code == 403


async def test_an_unknown_code_is_refused(holder, enter):
    assert (await enter().enrol(new_code())).status_code == 403


async def test_a_code_cannot_be_used_up_at_another_server(holder, enter):
    code = await code_of(holder)

    answer = await enter().enrol(code, server="https://evil.example")

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "server"


async def test_a_workstation_cannot_enrol_a_key_that_it_does_not_have(holder, enter):
    code = await code_of(holder)
    workstation, other = enter(), enter()
    claim = workstation.claim(code)
    workstation.key = Ed25519PrivateKey.generate()

    answer = await workstation.enrol(code, public_key=claim.public_key)

    assert answer.status_code == 401
    assert (await other.enrol(code)).status_code == 201


@pytest.mark.parametrize("key", ["", "ключ", "ab" * 31, "zz" * 32])
async def test_a_key_that_is_none_is_refused(holder, enter, key):
    answer = await enter().enrol(await code_of(holder), public_key=key)

    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/problem+json"


async def test_an_agent_that_is_too_old_is_told_to_update(holder, enter):
    code = await code_of(holder)

    answer = await enter().enrol(code, version="0.0.9")

    assert answer.status_code == 426
    assert "update the agent" in answer.json()["detail"]


async def test_a_holder_sees_and_ends_only_their_own_agents(holder, enter, let_in):
    workstation = enter()
    await workstation.enrol(await code_of(holder))
    other = await let_in("otto", Role.HOLDER)
    path = f"/api/v1/agents/{workstation.agent_id}"

    assert (await other.get("/api/v1/agents")).json()["items"] == []
    assert (await other.post(f"{path}/revoke")).status_code == 404
    assert (await other.post(f"{path}/confirm", json={"words": "x"})).status_code == 404
    answer = await other.post(
        "/api/v1/agents/codes", json={"person_id": holder.headers["X-Person"]}
    )
    assert answer.status_code == 404


async def test_an_administrator_makes_a_code_for_somebody_and_ends_their_agent(
    app, holder, enter, let_in
):
    admin = await let_in("ada", Role.ADMIN)
    person_id = holder.headers["X-Person"]
    code = (await admin.post("/api/v1/agents/codes", json={"person_id": person_id})).json()["code"]
    workstation = enter()
    await workstation.enrol(code)

    answer = await admin.post(f"/api/v1/agents/{workstation.agent_id}/revoke")

    assert answer.json()["state"] == "revoked"
    assert (await workstation.report()).json()["type"] == "urn:cardflow:problem:agent-revoked"
    again = await holder.post(f"/api/v1/agents/{workstation.agent_id}/confirm", json={"words": "x"})
    assert again.status_code == 409
    async with transaction(app.state.cardflow.reads) as session:
        kinds = list(await session.scalars(select(AuditEntry.kind).order_by(AuditEntry.number)))
    assert kinds[-3:] == ["agent_code_made", "agent_enrolled", "agent_revoked"]


async def words_of(person, agent_id) -> str:
    mine = {"person": person.headers["X-Person"]}
    agents = (await person.get("/api/v1/agents", params=mine)).json()["items"]
    return next(agent["words"] for agent in agents if agent["id"] == agent_id)


async def test_a_new_workstation_is_mailed_to_its_holder_and_every_administrator(
    app, holder, enter, let_in
):
    admins = {(await let_in(name, Role.ADMIN)).headers["X-Person"] for name in ("ada", "ann")}
    otto = await let_in("otto", Role.OPERATOR)
    silent = (await let_in("amy", Role.ADMIN)).headers["X-Person"]
    async with transaction(app.state.cardflow.sessions) as session:
        (await session.get_one(Person, silent)).email = ""
    code, workstation = await code_of(holder), enter()

    await workstation.enrol(code)
    agent_id, workstation.agent_id = workstation.agent_id, ""
    await workstation.enrol(code)  # its answer was lost: the same workstation

    async with transaction(app.state.cardflow.reads) as session:
        rows = list(await session.scalars(select(Mail).where(Mail.agent_id == agent_id)))
        sent = await letters(session, [row.id for row in rows])
    told = [row.person_id for row in rows]
    assert {holder.headers["X-Person"], *admins} <= set(told)
    assert silent not in told
    assert len(told) == len(set(told))
    assert {(row.kind, row.update_id) for row in rows} == {("new_agent", "")}
    assert {letter.path for letter in sent} == {"/account", "/agents"}
    assert {letter.facts["host"] for letter in sent} == {"desk-7"}
    listed = await otto.get(f"/api/v1/people/{holder.headers['X-Person']}/mails")
    assert "new_agent" in {mail["kind"] for mail in listed.json()["items"]}


async def test_where_administrators_confirm_too_the_holder_comes_first(app, holder, enter, let_in):
    admin, workstation = await let_in("ada", Role.ADMIN), enter()
    await workstation.enrol(await code_of(holder))
    path = f"/api/v1/agents/{workstation.agent_id}/confirm"
    words = {"words": await words_of(holder, workstation.agent_id)}

    with under(app, agent_confirmation="holder and admin"):
        early = await admin.post(path, json=words)
        first = await holder.post(path, json=words)
        alone = await workstation.poll(wait=2)
        again = await holder.post(path, json=words)
        wrong = await admin.post(path, json={"words": "acorn"})
        second = await admin.post(path, json=words)

    assert early.status_code == 409
    assert "its holder compares the words first" in early.json()["errors"][0]["reason"]
    assert [first.json()["state"], again.json()["state"]] == ["compared", "compared"]
    assert alone.json()["type"] == "urn:cardflow:problem:agent-not-confirmed"
    assert (wrong.status_code, second.json()["state"]) == (422, "confirmed")
    assert (await workstation.report()).status_code == 204


async def test_an_administrator_is_no_second_person_for_their_own_workstation(app, enter, let_in):
    admin, workstation = await let_in("ada", Role.ADMIN, Role.HOLDER), enter()
    await workstation.enrol(await code_of(admin))
    path = f"/api/v1/agents/{workstation.agent_id}/confirm"
    words = {"words": await words_of(admin, workstation.agent_id)}

    with under(app, agent_confirmation="holder and admin"):
        answers = [await admin.post(path, json=words) for _ in range(2)]

    assert [answer.json()["state"] for answer in answers] == ["compared", "compared"]


async def test_the_version_that_an_agent_has_now_is_shown_and_so_is_that_it_is_too_old(
    app, holder, enrol
):
    workstation = await enrol(holder)
    workstation.client.headers["User-Agent"] = "cardflow-agent/0.3.1"
    await workstation.report()

    (new,) = (await holder.get("/api/v1/agents")).json()["items"]
    with under(app, agent_oldest_version="0.4"):
        (old,) = (await holder.get("/api/v1/agents")).json()["items"]

    assert (new["version"], new["too_old"]) == ("0.3.1", False)
    assert (old["version"], old["too_old"]) == ("0.3.1", True)
