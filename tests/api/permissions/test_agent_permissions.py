"""The agent door's matrix: what each of its routes answers to whoever knocks.

The table is ``tests/api/agent_permissions.csv``, written by hand. ``person`` and ``token`` show
what opens everything at the people's door; ``stranger`` signs with a key that nobody enrolled;
``pending`` and ``revoked`` are agents before and after they count. Cells are a problem's type, or
a status. What a confirmed agent asks for is a task that nobody handed it, or behind the Temporal
that this world has not: it was let in.
"""

import csv
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import pytest

from api.app import create_agent_app
from api.state import State
from cardflow.db.tables import Agent
from cardflow.decisions import utc_now
from cardflow.enrolment import new_code
from cardflow.jobs import JobResult, Outcome, SignedForm
from cardflow.model import Role, new_id
from cardflow.settings import Settings
from cardflow.wire import to_json
from tests.api.permissions.test_permissions import routes_of
from tests.api.permissions.world import World
from tests.api.workstation import Workstation

TABLE = Path(__file__).parents[1] / "agent_permissions.csv"
DOOR = "https://localhost:8443"
RESULT = to_json(JobResult(Outcome.DONE, token_serial="00"))
MESSAGES = {
    "PUT /agent/v1/presence": {"tokens": []},
    "POST /agent/v1/heartbeats": {"task": "none"},
    "POST /agent/v1/results": {"task": "none", "result": RESULT},
    "POST /agent/v1/device-key": {"public_key": "00" * 32, "proof": "00" * 64},
    "POST /agent/v1/form": to_json(SignedForm("none", ["AA=="])),
}
QUERIES = {"GET /agent/v1/jobs": "?wait=2", "GET /agent/v1/form": "?task=none"}


def rows() -> dict[str, dict[str, str]]:
    """Return the table: what is expected of each route, by column."""
    with TABLE.open() as file:
        lines = list(csv.DictReader(file))
    return {f"{line.pop('method')} {line.pop('path')}": line for line in lines}


ROWS = rows()


def test_every_route_of_agents_has_a_row_and_every_row_a_route():
    assert set(ROWS) == routes_of(create_agent_app(Settings()))


@pytest.fixture(scope="module")
async def knocking(world: World) -> AsyncIterator[httpx2.AsyncClient]:
    """Yield a client at the agent door, which shares the world's state."""

    @asynccontextmanager
    async def shared(_settings: Settings) -> AsyncIterator[State]:
        yield world.app.state.cardflow

    door = create_agent_app(world.app.state.cardflow.settings, shared)
    transport = httpx2.ASGITransport(app=door, raise_app_exceptions=False)
    async with (
        door.router.lifespan_context(door),
        httpx2.AsyncClient(transport=transport, base_url=DOOR) as client,
    ):
        yield client


@pytest.mark.parametrize("route", ROWS)
async def test_the_route_answers_each_agent_as_the_table_says(
    world: World, knocking: httpx2.AsyncClient, route: str
):
    found = {who: await status(world, knocking, route, who) for who in ROWS[route]}

    assert found == ROWS[route]


async def status(world: World, client: httpx2.AsyncClient, route: str, who: str) -> str:
    """Return what a request is answered."""
    method, path = route.split(" ")
    path += QUERIES.get(route, "")
    workstation = Workstation(client, DOOR, agent_id=new_id())
    if who in ("pending", "revoked", "confirmed"):
        await world.store(_agent(workstation, world.hanna.person_id, who))
    if who in ("anonymous", "person", "token"):
        headers = await _of_people(world, who)
        answer = await client.request(method, path, headers=headers, json=MESSAGES.get(route))
    elif route == "POST /agent/v1/enrolments":
        answer = await workstation.enrol(new_code())
    else:
        answer = await workstation.send(method, path, MESSAGES.get(route))
    if answer.headers.get("content-type") == "application/problem+json":
        return answer.json()["type"].rpartition(":")[2]
    return str(answer.status_code)


async def _of_people(world: World, who: str) -> dict[str, str]:
    person = world.people["everything"]
    if who == "anonymous":
        return {}
    if who == "token":
        _, secret = await world.api_token_of(person, *Role)
    else:
        secret = await world.session_of(person)
    return {"Authorization": f"Bearer {secret}"}


def _agent(workstation: Workstation, person_id: str, state: str) -> Agent:
    return Agent(
        id=workstation.agent_id,
        person_id=person_id,
        public_key=workstation.public_key,
        words="one two three four five six",
        version="0.1.0",
        state=state,
        enrolled_at=utc_now(),
        key_since=utc_now(),
    )
