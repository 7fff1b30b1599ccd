"""The worker as it runs: real workflow, CA, database and SMTP; only the agent is a stand-in."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from temporalio.client import WorkflowFailureError
from temporalio.worker import Worker

from cardflow import decisions, policy
from cardflow.db import audit
from cardflow.db.ca_record import subject_of
from cardflow.db.tables import AuditEntry, Card, Certificate, Mail, Update
from cardflow.decision_root import read_decision_root
from cardflow.model import Act, Action, Kind, Role, Stage, UpdateInput, new_id
from cardflow.policy_toml import import_policy
from cardflow.profiles import SAMPLES, load_profiles
from cardflow.settings import Settings
from cardflow.sql import create_engine, sessions_of, transaction
from cardflow.x509 import subject_dn
from cli.up import prepare
from tests import build
from tests.db.rows import a_card, a_person, found, store, the
from tests.fakes import FakeAgent
from worker import build_ca, build_worker
from workflows.card_update import CardUpdate, workflow_id

pytestmark = pytest.mark.temporal


def ada():
    """Return the holder's row; her name is in every certificate."""
    return a_person(build.HOLDER, [Role.HOLDER], name="Ada Löwe")


class Installation:
    """Everything that a real installation has, in a directory of its own."""

    def __init__(self, settings, engine, client):
        self.settings = settings
        self.sessions = sessions_of(engine)
        self.client = client

    def signed(self, update: UpdateInput) -> UpdateInput:
        """Return the input as this installation's API would send it."""
        key = load_pem_private_key(self.settings.decision_key_file.read_bytes(), None)
        pem = self.settings.decision_certificate_file.read_bytes()
        self.signer = decisions.Signer(key, x509.load_pem_x509_certificate(pem))
        action = Action(
            id=update.update_id,
            act=Act.OPEN,
            update_id=update.update_id,
            actor=update.started_by,
            role=Role.HOLDER,
            at=update.opened_at,
            digest=decisions.opening_digest(update),
        )
        return replace(update, token=self.signer.sign(action))

    def an_update(self) -> UpdateInput:
        """Return an update under the sample policy ``none``, with nothing on the card yet."""
        profiles = load_profiles()
        text = SAMPLES.with_name("none.toml").read_text()
        subjects = {name: subject_dn(subject_of(ada()), p) for name, p in profiles.items()}
        update_id, now = new_id(), datetime.now(UTC)
        situation = policy.Situation(update_id, [], subjects, now)
        of = import_policy(text, version=1, profiles=profiles)
        return self.signed(
            UpdateInput(
                update_id=update_id,
                kind=Kind.UPDATE,
                card_id=new_id(),
                token_serial=build.SERIAL,
                token_label="Ada's card",
                holder_id=build.HOLDER,
                started_by=build.HOLDER,
                opened_at=now,
                policy=of,
                plan=policy.make_plan(of, profiles, situation, policy.Selection()),
                decision_root=read_decision_root(self.settings.decision_root_file),
            )
        )

    async def start(self, update: UpdateInput):
        return await self.client.start_workflow(
            CardUpdate.run,
            update,
            id=workflow_id(update.card_id),
            task_queue=self.settings.temporal_task_queue,
        )


@pytest.fixture
async def installation(tmp_path, temporal_env, catcher):
    settings = Settings(
        state_dir=tmp_path, smtp_port=catcher.port, temporal_task_queue=f"cardflow-{new_id()}"
    )
    await prepare(settings)
    engine = create_engine(settings.database_url)
    ca, client = build_ca(settings, engine), temporal_env.client
    agent = FakeAgent()
    card_jobs = [agent.prepare, agent.write, agent.clean_up]
    async with (
        build_worker(client, settings, engine, ca),
        Worker(client, task_queue=f"agent-{build.AGENT}", activities=card_jobs),
    ):
        yield Installation(settings, engine, client)
    ca.close()
    await engine.dispose()


async def test_an_update_leaves_card_certificate_mails_and_an_unbroken_trail(installation, catcher):
    update = installation.an_update()
    await store(installation.sessions, ada(), a_card(update))

    handle = await installation.start(update)
    token = installation.signer.sign(build.continuing(update))
    await handle.execute_update(CardUpdate.act, token)
    assert await handle.result() is Stage.COMPLETED

    sessions = installation.sessions
    assert (await the(sessions, Card)).state == "Issued"
    certificate = await the(sessions, Certificate)
    assert (certificate.state, certificate.lane) == ("on_card", "tls-client")
    row = await the(sessions, Update)
    assert (row.stage, row.ended_at is not None) == ("completed", True)
    assert catcher.subjects == ["Card update operation started", "Card update operation completed"]
    assert {mail.state for mail in await found(sessions, Mail)} == {"sent"}
    async with transaction(sessions) as session:
        assert (await audit.verify(session)).ok
    numbers = [entry.event for entry in await found(sessions, AuditEntry)]
    assert numbers == list(range(len(numbers)))


async def test_a_workflow_started_by_hand_fails_and_leaves_only_its_refusal(installation):
    update = installation.an_update()
    await store(installation.sessions, ada(), a_card(update))

    handle = await installation.start(replace(update, started_by="eve"))
    with pytest.raises(WorkflowFailureError):
        await handle.result()

    assert (await the(installation.sessions, AuditEntry)).kind == "start_refused"
    assert await found(installation.sessions, Update) == []
    assert (await the(installation.sessions, Card)).state == "Assigned"
