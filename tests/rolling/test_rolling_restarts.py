"""Every process is restarted in its turn while people work, and nobody loses anything."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from sqlalchemy import select
from temporalio.testing import WorkflowEnvironment

from api.auth import SESSION_PREFIX, new_token, token_digest
from cardflow.ca.tables import CaCertificate
from cardflow.checkpoints import read_all
from cardflow.db import audit, checkpoints
from cardflow.db.register_identity import open_session
from cardflow.db.tables import Card, Mail, Person, PolicyVersion, Update, UpdateLane
from cardflow.decision_root import read_decision_root
from cardflow.decisions import utc_now
from cardflow.environment import SETTINGS_FILE
from cardflow.key_ring import KeyRing
from cardflow.model import CardState, Role, new_id
from cardflow.settings import Settings
from cardflow.sql import Sessions, create_engine, sessions_of, transaction
from cli.ports import free_ports
from cli.up import prepare
from tests.activities.conftest import Catcher, running
from tests.api.updates.conftest import Desk, Office, enrol, policy_toml
from tests.api.workstation import SoftCard
from tests.databases import Databases
from tests.rolling.house import House, Patient, a_while
from tests.waiting import until

pytestmark = [pytest.mark.slow, pytest.mark.e2e, pytest.mark.temporal, pytest.mark.timeout(1200)]

PEOPLE, AT_ONCE = 40, 4
POLICIES = {"at-once": "tls-client none", "two-forms": "tls-client RF"}
FORMS_FOR_EACH = 4  # every fourth person prints, signs and hands in two forms
WAITS = {"pause": a_while, "patience": 300}  # a process may need a minute to start


@pytest.fixture
async def catcher() -> AsyncIterator[Catcher]:
    """A mail relay that takes everything."""
    async with running(Catcher()) as catcher:
        yield catcher


@pytest.fixture
async def house(
    tmp_path, on_server: Databases, temporal_env: WorkflowEnvironment, codec_ring: KeyRing, catcher
) -> AsyncIterator[House]:
    """Yield two APIs and two workers, serving."""
    people, agents = free_ports(2)
    lines = (
        f'public_url = "http://localhost:{people}"',
        f'door_url = "https://localhost:{agents}"',
        f'temporal_address = "{temporal_env.client.service_client.config.target_host}"',
        f'temporal_task_queue = "rolling-{people}"',
        f"smtp_port = {catcher.port}",
        "audit_checkpoint_entries = 20",
        "fresh_minutes = 60",
    )
    (tmp_path / SETTINGS_FILE).write_text("\n".join(lines))
    on_server.furnish(tmp_path)
    settings = Settings(state_dir=tmp_path)
    await prepare(settings)
    settings.codec_key_file.write_bytes(codec_ring.dump())
    house = House(settings)
    try:
        await asyncio.gather(*(replica.start() for replica in house.replicas))
        yield house
    finally:
        await asyncio.gather(*(replica.stop() for replica in house.replicas))


@pytest.fixture
async def sessions(house: House) -> AsyncIterator[Sessions]:
    """Yield what opens sessions on the house's database."""
    engine = create_engine(house.settings.database_url)
    opened = sessions_of(engine)
    async with transaction(opened) as session:
        for name, profile in POLICIES.items():
            text = policy_toml(name, (profile,), {})
            session.add(PolicyVersion(name=name, version=1, document=text, created_at=utc_now()))
    yield opened
    await engine.dispose()


async def enter(house: House, sessions: Sessions, login: str, role: Role) -> Patient:
    """Return the program of a new person, signed in."""
    token, now = new_token(SESSION_PREFIX), utc_now()
    person = Person(
        id=new_id(), login=login, name=login.title(), email=f"{login}@example.org", roles=[role],
        upn=f"{login}@example.org", organization="Example", created_at=now,
    )  # fmt: skip
    async with transaction(sessions) as session:
        session.add(person)
        await session.flush()
        until = now + timedelta(hours=2)
        await open_session(session, person.id, token_digest(token), now=now, until=until)
    client = house.person(token)
    client.headers["X-Person"] = person.id
    return client


async def at_the_desk(
    house: House, sessions: Sessions, number: int, operator: Patient, policy: str
) -> Office:
    """Return a new person's office, card in the reader of an enrolled workstation."""
    holder = await enter(house, sessions, f"holder-{number}", Role.HOLDER)
    serial = new_id().replace("-", "")[-16:]
    card = Card(
        id=new_id(), token_serial=serial, token_label="A card", policy_name=policy,
        holder_id=holder.headers["X-Person"], state=CardState.ASSIGNED, created_at=utc_now(),
    )  # fmt: skip
    async with transaction(sessions) as session:
        session.add(card)
    workstation = house.workstation()
    await enrol(workstation, holder)
    desk = Desk(workstation, SoftCard(serial, "A card"))
    await workstation.report(desk.card.report())
    return Office(None, holder, operator, desk, card.id, WAITS)


async def updated(office: Office, *, by_forms: bool) -> str:
    """Return the id of the update that brought the person's card what it needs."""
    working = asyncio.create_task(office.desk.run())
    try:
        update_id = await office.opened()
        if by_forms:
            await by_both_forms(office, update_id)
        await office.until_stage(update_id, "completed")
    finally:
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
    await office.holder.aclose()
    await office.desk.workstation.client.aclose()
    return update_id


async def by_both_forms(office: Office, update_id: str) -> None:
    """Print, sign and hand in; let the operator approve; continue."""
    for form in ("request_form", "certificate_form"):
        await office.until_lane(update_id, f"awaiting_{form}")
        await office.sign(update_id, "tls-client")
    await office.until_lane(update_id, "checking_certificate_form")
    decided = await office.decide(update_id, "approve")
    assert decided.status_code == 201, decided.text
    await office.until_stage(update_id, "ready")
    continued = await office.act(update_id, "continue")
    assert continued.status_code == 200, continued.text


async def load(house: House, sessions: Sessions, rolling: "asyncio.Task[None]") -> list[str]:
    """Return the updates of all people; they come for as long as anything is being restarted."""
    operator = await enter(house, sessions, "olga", Role.OPERATOR)
    begun, done = 0, []

    async def desk() -> None:
        nonlocal begun
        while begun < PEOPLE or not rolling.done():
            number, begun = begun, begun + 1
            by_forms = number % FORMS_FOR_EACH == 0
            policy = "two-forms" if by_forms else "at-once"
            office = await at_the_desk(house, sessions, number, operator, policy)
            done.append(await updated(office, by_forms=by_forms))

    async with asyncio.TaskGroup() as desks:
        for _ in range(AT_ONCE):
            desks.create_task(desk())
    await operator.aclose()
    return done


async def roll(house: House) -> None:
    """Restart every process in its turn."""
    for replica in house.replicas:
        await replica.stop()
        await replica.start()


async def test_rolling_restarts_under_load_lose_nothing(
    house: House, sessions: Sessions, catcher: Catcher
) -> None:
    rolling = asyncio.create_task(roll(house))
    done = await load(house, sessions, rolling)
    await rolling

    assert len(done) >= PEOPLE
    assert house.heard.wrong == []
    assert {code for replica in house.replicas for code in replica.ends} == {0}
    async with transaction(sessions) as session:
        stages = Counter((await session.scalars(select(Update.stage))).all())
        lanes = (await session.scalars(select(UpdateLane))).all()
        requests = (await session.scalars(select(CaCertificate.request_id))).all()
    parts = [request.split(":") for request in requests if request]  # not the CA's own
    assert stages == {"completed": len(done)}
    issued = Counter((update_id, lane) for update_id, _revision, lane in parts)
    assert issued == {(lane.update_id, lane.lane): 1 for lane in lanes}
    await sent_once(sessions, catcher)
    await proven(house, sessions)


async def sent_once(sessions: Sessions, catcher: Catcher) -> None:
    """Every mail reached the relay, and none twice."""

    async def waiting() -> list[str]:
        async with transaction(sessions) as session:
            queued = select(Mail.id).where(Mail.state == "queued")
            return list((await session.scalars(queued)).all())

    await until(waiting, lambda found: not found, what="the last mails")
    async with transaction(sessions) as session:
        sent = select(Mail.message_id).where(Mail.state == "sent")
        expected = Counter((await session.scalars(sent)).all())
    assert Counter(message["Message-ID"] for message in catcher.taken) == expected
    assert set(expected.values()) == {1}


async def proven(house: House, sessions: Sessions) -> None:
    """The audit trail is whole, and its checkpoints agree."""
    root = read_decision_root(house.settings.decision_root_file)
    async with transaction(sessions) as session:
        signed, wrong = read_all(await checkpoints.tokens(session), root)
        found = await audit.verify(session, signed, known=wrong, now=utc_now())
    assert found.ok, found
    assert found.checkpoints > 0
