"""A CA behind a bad line: one certificate for each lane and revision, and an update that ends.

The workflow, the worker, its database, the CA and the relay are real; the agent is a stand-in. The
oracle counts in the CA's own tables.
"""

from collections import Counter

import pytest
from sqlalchemy import text
from temporalio.worker import Worker

from cardflow.ca import Rejected
from cardflow.ca.embedded.intake import WITHDRAWN
from cardflow.db import audit
from cardflow.model import Act, Mode, Role, Stage, Verdict, new_id
from cardflow.settings import Settings
from cardflow.sql import create_engine, transaction
from cli.ports import free_ports
from cli.up import prepare
from tests import build
from tests.activities.conftest import Catcher, running
from tests.activities.installation import Installation, ada
from tests.chaos.instruments.troubled_ca import TroubledCA
from tests.db.rows import a_person, store
from tests.fakes import FakeAgent
from tests.waiting import until
from worker import build_ca, build_worker

pytestmark = pytest.mark.temporal
AUTOMATIC, OFFICER = "tls-client", "smart-card-logon"


# (what the line does, verb by verb and in turn); each is one case per profile that reaches it.
AT_SUBMISSION = [
    {"submit": ["away"]},
    {"submit": ["lost"]},
    {"submit": ["lost", "lost"], "find": ["", "blind"]},
    {"submit": ["late"]},
    {"submit": ["late", "lost"]},
    {"submit": ["twice"]},
    {"submit": ["late", "twice"]},
    {"find": ["away"]},
    {"submit": ["lost"], "find": ["", "away"]},
    {"submit": ["lost"], "find": ["", "blind"]},
    {"submit": ["late"], "find": ["", "blind"]},
    {"submit": ["twice"], "ca_certificates": ["away"]},
    {"submit": ["away", "late"], "find": ["blind", "away"]},
]
WHILE_POLLED = [
    {"poll": ["away"]},
    {"poll": ["lost"]},
    {"poll": ["stale"]},
    {"poll": ["away", "stale", "lost"]},
    {"poll": [""], "ca_certificates": ["away"]},
]
AT_WITHDRAWAL = [
    {"cancel": ["away"]},
    {"cancel": ["lost"]},
    {"cancel": ["twice"]},
    {"cancel": ["away", "lost"]},
    {"cancel": ["lost", "lost"], "find": ["away"]},
]
NEVER = 100  # tries: more than there are until the holder gives up
AT_REVOCATION = [
    {"revoke": ["away"]},
    {"revoke": ["lost"]},
    {"revoke": ["twice"]},
    {"revoke": ["away", "lost"]},
]


def named(cases, *, soon):
    """Return the cases as parameters; all but one are for the long run of all tests."""
    return [
        pytest.param(
            case,
            id="; ".join(
                f"{verb} {' '.join(t or 'well' for t in told)}" for verb, told in case.items()
            ),
            marks=() if case == soon else pytest.mark.slow,
        )
        for case in cases
    ]


class Town(Installation):
    """One installation for all cases of the file, and what its CA and relay have."""

    def __init__(self, settings, engine, line, client):
        super().__init__(settings, engine, line.real, client)
        self.line, self.relay, self.agent = line, Catcher(), FakeAgent()

    async def open(self, profile, troubles):
        """Open an update of one lane while the CA's line is as told."""
        self.line.troubles = {verb: list(told) for verb, told in troubles.items()}
        self.update = self.an_update(build.a_policy(build.an_entry(profile, Mode.NONE)), new_id())
        self.handle = await self.begin(self.update)
        await self.act(build.continuing(self.update))

    async def approved(self, troubles):
        """Open an update and have its officer approve; it is ready for the card."""
        await self.open(OFFICER, troubles)
        await self.officer_says(Verdict.APPROVE)
        await self.until_stage(Stage.READY)

    async def certificates(self):
        """Return the CA's own rows about the update."""
        query = "SELECT * FROM ca_certificates WHERE request_id LIKE :id AND certificate_pem <> ''"
        async with transaction(self.sessions) as session:
            rows = await session.execute(text(query), {"id": f"{self.update.update_id}:%"})
            return [row._mapping for row in rows]

    async def requests(self):
        """Return how the update's requests stand in the CA's own table."""
        query = "SELECT state FROM ca_requests WHERE request_id LIKE :id"
        async with transaction(self.sessions) as session:
            rows = await session.execute(text(query), {"id": f"{self.update.update_id}:%"})
            return [row.state for row in rows]

    async def give_up(self):
        """The holder cancels the update, which ends at once."""
        await self.act(build.an_action(self.update, Act.CANCEL, build.HOLDER, Role.HOLDER))
        assert await self.handle.result() is Stage.CANCELLED

    async def judged(self, stage, *, certificates):
        """The world is as it must be after the update."""
        assert await self.handle.result() is stage
        assert not any(self.line.troubles.values()), "a trouble was never met"
        assert len(await self.certificates()) == certificates
        mails = await self._mails()
        assert {state for _, _, state in mails} == {"sent"}
        had = Counter(mail["Message-ID"] for mail in self.relay.taken)
        assert all(had[key] == 1 for _, key, _ in mails)
        kinds = Counter(kind for kind, _, _ in mails)
        assert set(kinds.values()) == {1}, f"one mail of each kind: {kinds}"
        async with transaction(self.sessions) as session:
            assert (await audit.verify(session)).ok

    async def _mails(self):
        query = "SELECT kind, message_id, state FROM mails WHERE update_id = :id"
        async with transaction(self.sessions) as session:
            found = await session.execute(text(query), {"id": self.update.update_id})
            return [tuple(row) for row in found]


@pytest.fixture(scope="module")
async def town(tmp_path_factory, databases, temporal_env):
    (port,), directory = free_ports(1), tmp_path_factory.mktemp("town")
    databases.furnish(directory)
    settings = Settings(
        state_dir=directory,
        smtp_port=port,
        temporal_task_queue=f"cardflow-{new_id()}",
    )
    await prepare(settings)
    engine = create_engine(settings.database_url)
    ca, client = build_ca(settings, engine), temporal_env.client
    town = Town(settings, engine, TroubledCA(ca), client)
    await store(town.sessions, ada(), a_person(build.OPERATOR, [Role.OPERATOR]))
    agent = town.agent
    jobs = [agent.prepare, agent.write, agent.clean_up]
    async with (
        running(town.relay, port=port),
        build_worker(client, settings, engine, town.line),
        Worker(client, task_queue=f"agent-{build.AGENT}", activities=jobs),
    ):
        yield town
    ca.close()
    await engine.dispose()


@pytest.mark.parametrize("troubles", named(AT_SUBMISSION, soon={"submit": ["late"]}))
async def test_one_certificate_is_issued_whatever_the_line_does(town, troubles):
    await town.open(AUTOMATIC, troubles)

    await town.judged(Stage.COMPLETED, certificates=1)
    (row,) = await town.certificates()
    assert list(town.agent.certificates.values())[-1] == row["certificate_pem"]


@pytest.mark.parametrize("troubles", named(AT_SUBMISSION, soon={"submit": ["lost"]}))
async def test_officers_are_asked_once_whatever_the_line_does(town, troubles):
    troubles = {verb: told for verb, told in troubles.items() if verb != "ca_certificates"}
    await town.approved(troubles)
    await town.visit()

    await town.judged(Stage.COMPLETED, certificates=1)


@pytest.mark.parametrize("troubles", named(WHILE_POLLED, soon={"poll": ["lost"]}))
async def test_an_answer_that_is_not_heard_is_asked_for_again(town, troubles):
    await town.approved(troubles)
    await town.visit()

    await town.judged(Stage.COMPLETED, certificates=1)


@pytest.mark.parametrize("troubles", named(AT_REVOCATION, soon={"revoke": ["lost"]}))
async def test_what_nobody_wants_any_more_is_revoked_in_the_end(town, troubles):
    await town.approved(troubles)
    await town.give_up()

    async def revoked():
        return [row["revoked_at"] for row in await town.certificates()]

    rows = await until(revoked, all, what="the revocation")
    assert len(rows) == 1
    await town.judged(Stage.CANCELLED, certificates=1)


@pytest.mark.parametrize("troubles", named(AT_WITHDRAWAL, soon={"cancel": ["lost"]}))
async def test_what_is_withdrawn_is_withdrawn_once_whatever_the_line_does(town, troubles):
    await town.open(OFFICER, {})
    await town.until_stage(Stage.PENDING)
    await until(town.requests, any, what="the request at the CA")
    town.line.troubles = {verb: list(told) for verb, told in troubles.items()}
    await town.give_up()

    assert await until(town.requests, lambda at_ca: "pending" not in at_ca, what="the end") == [
        "cancelled"
    ]
    await until(lambda: not any(town.line.troubles.values()), what="the last trouble")
    await town.judged(Stage.CANCELLED, certificates=0)


@pytest.mark.parametrize("profile", [AUTOMATIC, pytest.param(OFFICER, marks=pytest.mark.slow)])
async def test_a_request_that_comes_after_its_withdrawal_is_not_taken_in(town, profile):
    """The CA commits what timed out only when the holder has long given up."""
    town.line.overtaken.clear()
    await town.open(profile, {"submit": ["late", *["away"] * NEVER], "cancel": ["passed"]})
    await until(lambda: town.line.troubles["submit"][:1] == ["away"], what="the first try")
    await town.give_up()

    (answer,) = await until(lambda: town.line.overtaken, what="the late request")
    assert answer == Rejected(WITHDRAWN)
    assert await town.requests() == ["cancelled"]
    town.line.troubles["submit"] = []
    await town.judged(Stage.CANCELLED, certificates=0)
