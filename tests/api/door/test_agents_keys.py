"""A workstation changes its device key; the server's job key changes under its agents."""

from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import select, update

from api.keys import load_keys
from cardflow.db.tables import Agent, AuditEntry
from cardflow.decisions import utc_now
from cardflow.device_keys import DUE, new_device_key
from cardflow.enrolment import fingerprint_words
from cardflow.job_keys import JobKeys, followed, raw_hex
from cardflow.sql import transaction
from cardflow.wire import from_json, to_json
from cli.key_changes import change_job_key
from tests.api.workstation import Workstation

pytestmark = pytest.mark.temporal
PATH = "/agent/v1/device-key"


async def tell(workstation: Workstation, key: Ed25519PrivateKey, **changes: str):
    said = replace(new_device_key(key, workstation.agent_id), **changes)
    return await workstation.send("POST", PATH, to_json(said))


async def aged(app, workstation, days):
    async with transaction(app.state.cardflow.sessions) as session:
        mine = update(Agent).where(Agent.id == workstation.agent_id)
        await session.execute(mine.values(key_since=utc_now() - timedelta(days=days)))


async def test_the_new_key_counts_and_the_old_one_does_not_any_more(app, holder, enrol):
    workstation, key = await enrol(holder), Ed25519PrivateKey.generate()
    old = workstation.key
    assert (await tell(workstation, key)).status_code == 200

    with_the_old = await workstation.report()
    workstation.key = key
    with_the_new = await workstation.report()

    assert (with_the_old.status_code, with_the_new.status_code) == (401, 204)
    (agent,) = (await holder.get("/api/v1/agents")).json()["items"]
    assert agent["state"] == "confirmed"
    assert agent["words"] == fingerprint_words(bytes.fromhex(workstation.public_key))
    async with transaction(app.state.cardflow.reads) as session:
        last = select(AuditEntry).order_by(AuditEntry.number.desc()).limit(1)
        entry = (await session.scalars(last)).one()
    assert entry.kind == "agent_key_changed"
    assert workstation.public_key in entry.text
    workstation.key = old
    assert (await tell(workstation, old)).status_code == 401  # nor does it come back by itself


async def test_a_change_whose_answer_was_lost_is_told_again_by_the_new_key(holder, enrol):
    workstation, key = await enrol(holder), Ed25519PrivateKey.generate()
    await tell(workstation, key)

    workstation.key = key

    assert (await tell(workstation, key)).status_code == 200
    assert (await workstation.report()).status_code == 204


async def test_nobody_takes_a_key_that_they_do_not_have_or_that_is_anothers(holder, enrol):
    mine, other = await enrol(holder), await enrol(holder)
    for answer in (
        await tell(mine, Ed25519PrivateKey.generate(), proof="00" * 64),
        await tell(mine, Ed25519PrivateKey.generate(), public_key=other.public_key),
        await mine.send("POST", PATH, {"public_key": other.public_key}),
    ):
        assert answer.status_code == 422

    assert (await tell(mine, other.key)).status_code == 409
    assert (await mine.report()).status_code == 204


async def test_a_key_that_grows_old_is_to_be_changed(app, holder, enrol):
    workstation = await enrol(holder)
    young = await workstation.report()
    await aged(app, workstation, 151)
    due = await workstation.report()
    key = Ed25519PrivateKey.generate()
    await tell(workstation, key)
    workstation.key = key

    assert [DUE in answer.headers for answer in (young, due)] == [False, True]
    assert DUE not in (await workstation.report()).headers


async def test_a_key_that_is_too_old_serves_for_its_successor_alone(app, holder, enrol):
    workstation = await enrol(holder)
    await aged(app, workstation, 181)

    for answer in (await workstation.report(), await workstation.poll(wait=2)):
        assert answer.status_code == 403
        assert answer.json()["type"] == "urn:cardflow:problem:agent-key-expired"
    key = Ed25519PrivateKey.generate()
    assert (await tell(workstation, key)).status_code == 200
    workstation.key = key
    assert (await workstation.report()).status_code == 204


async def test_a_revoked_agent_changes_no_key(holder, enrol):
    workstation = await enrol(holder)
    await holder.post(f"/api/v1/agents/{workstation.agent_id}/revoke")

    assert (await tell(workstation, Ed25519PrivateKey.generate())).status_code == 403


async def test_confirmed_agents_are_shown_how_the_job_key_changed(settings, holder, enrol):
    """At once, by processes that run: agents ask whichever they meet."""
    workstation = await enrol(holder)
    change_job_key(settings)

    shown = (await workstation.send("GET", "/agent/v1/job-keys")).json()
    successions = from_json(JobKeys, shown).successions
    newest = raw_hex(load_keys(settings).job_key)
    assert followed(workstation.job_key, successions, settings.door_url) == newest
    assert (await workstation.client.get("/agent/v1/job-keys")).status_code == 401
