"""The doors do what their descriptions say, whoever asks and whatever is sent: all checks, no gaps.

In ``make test`` three roles in turn ask for every boundary of the description, with undeclared
methods and missing parts: about 36 requests for each operation. In ``make test-all`` each operation
is asked 100 times by chance besides, in ``make test-described`` 1,000 times; and what one answer
gives is used in the next request.
"""

from collections.abc import Callable
from datetime import timedelta
from itertools import cycle

import httpx2
import pytest
from fastapi import FastAPI
from requests import PreparedRequest

from api.auth import token_digest
from api.state import State
from cardflow import httpsig
from cardflow.db.register_identity import open_session
from cardflow.db.tables import Person, Session
from cardflow.decisions import utc_now
from cardflow.model import Role
from cardflow.sql import transaction
from tests.api.described.judging import Asker, Judgement, Round, judge
from tests.api.updates.conftest import Entrance, Office
from tests.api.workstation import JSON, Workstation

pytestmark = [
    pytest.mark.temporal,
    # The generator runs in a thread of its own; who draws by chance meanwhile, as a server's
    # back-off does, is taken for one of its strategies.
    pytest.mark.filterwarnings("ignore:Do not use the `random` module inside strategies"),
]

ROLES = {
    "holder": (Role.HOLDER,),
    "operator and CA officer": (Role.OPERATOR, Role.OFFICER),
    "administrator": (Role.ADMIN,),
}
TURNS = Round(examples=1, phases=("coverage",), seed=1)
EVERYTHING = ("examples", "coverage", "fuzzing", "stateful")


def staying(who: httpx2.AsyncClient, state: State, *roles: Role) -> Asker:
    """Return the asker who is let in again after signing out, or after taking their own roles."""
    authorization, person_id = who.headers["Authorization"], who.headers["X-Person"]
    digest = token_digest(authorization.removeprefix("Bearer "))

    async def restore() -> None:
        now = utc_now()
        async with transaction(state.sessions) as session:
            person = await session.get_one(Person, person_id)
            person.active, person.roles, person.must_change_password = True, list(roles), False
            if await session.get(Session, digest) is None:
                until = now + timedelta(hours=12)
                await open_session(session, person_id, digest, now=now, until=until)

    return Asker({"Authorization": authorization}, restore=restore)


def in_turns(askers: list[Asker]) -> Asker:
    """Return the asker who is each of them in turn, request by request."""
    turns = cycle(askers)

    def sign(request: PreparedRequest) -> PreparedRequest:
        request.headers.update(next(turns).headers)
        return request

    async def restore() -> None:
        for asker in askers:
            assert asker.restore is not None
            await asker.restore()

    return Asker(sign=sign, restore=restore)


def signing(workstation: Workstation) -> Callable[[PreparedRequest], PreparedRequest]:
    """Return what signs requests as the agent of the workstation does (RFC 9421)."""

    def sign(request: PreparedRequest) -> PreparedRequest:
        body = request.body or b""
        content_type = request.headers.setdefault("Content-Type", JSON)
        headers = httpsig.sign(
            request.method or "",
            workstation.origin + request.path_url,
            body.encode() if isinstance(body, str) else body,
            content_type,
            key=workstation.key,
            keyid=workstation.agent_id,
            now=utc_now(),
        )
        request.headers.update(headers)
        return request

    return sign


def is_whole(judgement: Judgement, app: FastAPI) -> None:
    """Fail with everything that was wrong; and when an operation was never asked."""
    offered = {
        f"{method.upper()} {path}"
        for path, item in app.openapi()["paths"].items()
        for method in item
    }
    assert {name: judgement.asked[name] for name in offered if judgement.asked[name] < 4} == {}
    assert 2 in {status // 100 for status in judgement.statuses}
    assert not judgement.wrong, "\n".join([f"{len(judgement.wrong)} findings", *judgement.wrong])


@pytest.fixture(scope="session")
def examples(request: pytest.FixtureRequest) -> int:
    """Return how often the slow tests ask each operation by chance."""
    return int(request.config.getoption("--examples"))


@pytest.fixture
async def askers(office: Office, let_in: Entrance) -> dict[str, Asker]:
    """Return somebody in each role."""
    return {
        role: staying(await let_in(roles[0].value, *roles), office.state, *roles)
        for role, roles in ROLES.items()
    }


async def test_the_peoples_door_does_what_it_says(
    askers: dict[str, Asker], office: Office, people_door: str
) -> None:
    asker = in_turns([*askers.values()])

    is_whole(await judge(office.app, people_door, asker, TURNS), office.app)


async def test_the_agent_door_does_what_it_says(
    office: Office, door: FastAPI, agent_door: str
) -> None:
    asker = Asker(sign=signing(office.desk.workstation))

    is_whole(await judge(door, agent_door, asker, TURNS), door)


@pytest.mark.slow
@pytest.mark.timeout(7_200)
@pytest.mark.parametrize("role", ROLES)
async def test_the_peoples_door_does_so_whatever_is_sent(
    role: str, askers: dict[str, Asker], office: Office, people_door: str, examples: int
) -> None:
    asked = Round(examples // len(ROLES) + 1, EVERYTHING, seed=[*ROLES].index(role))

    is_whole(await judge(office.app, people_door, askers[role], asked), office.app)


@pytest.mark.slow
@pytest.mark.timeout(7_200)
async def test_the_agent_door_does_so_whatever_is_sent(
    office: Office, door: FastAPI, agent_door: str, examples: int
) -> None:
    asker = Asker(sign=signing(office.desk.workstation))

    is_whole(await judge(door, agent_door, asker, Round(examples, EVERYTHING, seed=1)), door)
