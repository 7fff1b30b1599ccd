"""How the installation does, told to administrators; and what a new one still needs."""

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from api.app import create_app
from api.health_checks import CHECKS
from api.health_looks import own_address
from api.state import opened
from api.web.tongue import Tongue
from cardflow.db.tables import Agent, Card, PolicyVersion
from cardflow.decisions import utc_now
from cardflow.model import Role, new_id
from cardflow.settings import Settings
from cardflow.sql import transaction
from cli.ports import free_ports
from tests.activities.tls import server_context
from tests.api.conftest import client_of

HEALTH, STEPS = "/api/v1/health/details", "/api/v1/first-steps"


async def looked(client):
    answer = await client.get(HEALTH)
    assert answer.status_code == 200, answer.text
    return {check["name"]: check for check in answer.json()["checks"]}, answer.text


@asynccontextmanager
async def answering(greeting):
    """Yield the port of a server that says one thing to whoever connects."""

    async def talk(_reader, writer):
        writer.write(greeting)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


@pytest.fixture
def settings(settings, tmp_path):
    (nobody,) = free_ports(1)
    return Settings(**{**settings.model_dump(), "smtp_port": nobody})


async def test_what_does_not_answer_is_bad_and_says_what_helps(sign_in):
    ada = await sign_in("ada", Role.ADMIN)

    checks, text = await looked(ada)

    for name in ("temporal", "workers", "ca", "mail_relay"):
        assert (checks[name]["grade"], checks[name]["says"]) == ("bad", "it does not answer")
        assert checks[name]["remedy"]
    for name in ("database", "store", "keys", "settings", "mails", "certificates"):
        assert checks[name]["grade"] == "good", checks[name]
    assert checks["virus_scanner"]["grade"] == "off"
    assert "127.0.0.1" not in text


async def test_no_path_but_a_last_part_is_told(sign_in, settings):
    settings.job_key_file.unlink()
    settings.qr_key_file.chmod(0o644)
    ada = await sign_in("ada", Role.ADMIN)

    checks, text = await looked(ada)

    assert checks["keys"]["says"].endswith(settings.job_key_file.name)
    assert "qr.json is open to other accounts" in checks["settings"]["says"]
    assert str(settings.state_dir) not in text


async def test_a_mail_relay_is_told_from_another_server(fresh_installation, app, settings, sign_in):
    ada = await sign_in("ada", Role.ADMIN)
    token = {"Authorization": ada.headers["Authorization"]}

    for greeting, grade in ((b"220 mail ready\r\n", "good"), (b"HTTP/1.1 200\r\n", "bad")):
        async with answering(greeting) as port:
            there = Settings(**{**settings.model_dump(), "smtp_port": port})
            other = create_app(there)
            async with other.router.lifespan_context(other), client_of(other) as client:
                answer = await client.get(HEALTH, headers=token)
        found = {check["name"]: check["grade"] for check in answer.json()["checks"]}
        assert found["mail_relay"] == grade


async def test_our_own_address_is_asked_as_a_browser_would(app, settings):
    served, trusting = server_context(ec.generate_private_key(ec.SECP256R1()))
    server = await asyncio.start_server(
        lambda _reader, writer: writer.close(), "127.0.0.1", 0, ssl=served
    )
    async with server:
        port = server.sockets[0].getsockname()[1]
        there = settings.model_copy(update={"public_url": f"https://127.0.0.1:{port}"})
        state = replace(app.state.cardflow, settings=there)
        stranger = await own_address(state)
        known = await own_address(state, trusting)

    assert (stranger.grade, stranger.says) == (
        "bad",
        "the pages' certificate is not one that browsers trust",
    )
    assert known.grade == "attention"  # it is good for a day
    assert known.says.startswith("browsers trust the pages' certificate until 2")
    assert (await own_address(app.state.cardflow)).grade == "off"


@pytest.mark.temporal
async def test_with_temporal_but_no_worker_just_that_is_said(settings, temporal_env, register):
    quiet = Settings(**{**settings.model_dump(), "temporal_task_queue": f"none-{new_id()}"})
    app = create_app(quiet, lambda given: opened(given, temporal_env.client))
    async with app.router.lifespan_context(app), client_of(app) as client:
        state = app.state.cardflow
        found = {c.name: await c.look(state) for c in CHECKS if c.name in ("temporal", "workers")}

    assert found["temporal"].grade == "good"
    assert found["workers"].says == "no worker was heard of in the last two minutes"
    assert client


@pytest.mark.parametrize("role", [role for role in Role if role is not Role.ADMIN])
async def test_only_administrators_are_told(sign_in, role):
    somebody = await sign_in("sam", role)

    assert (await somebody.get(HEALTH)).status_code == 403
    assert (await somebody.get(STEPS)).status_code == 403


async def test_each_first_step_is_done_when_it_is_done(sign_in, register, app):
    ada = await sign_in("ada", Role.ADMIN)

    async def done():
        return [step["done"] for step in (await ada.get(STEPS)).json()["items"]]

    async def kept(row):
        async with transaction(app.state.cardflow.sessions) as session:
            session.add(row)

    assert await done() == [False] * 4
    holly = await register("holly")
    assert await done() == [True, False, False, False]
    await kept(PolicyVersion(name="p", version=1, document="", created_at=utc_now()))
    assert await done() == [True, True, False, False]
    await kept(Card(id=new_id(), token_serial="1", holder_id=holly.id, policy_name="p",
                    state="Assigned", created_at=utc_now()))  # fmt: skip
    assert await done() == [True, True, True, False]
    await kept(Agent(id=new_id(), person_id=holly.id, public_key="k", words="w", state="confirmed",
                     enrolled_at=utc_now()))  # fmt: skip
    assert await done() == [True] * 4


def test_everything_that_is_looked_at_is_said_in_german():
    german = Tongue("de")
    texts = [text for check in CHECKS for text in (check.title, check.means, check.remedy)]

    untold = [text for text in texts if german.sentence(text) == text]

    assert set(untold) <= {"Temporal", "Mails"}  # the same word in both languages
