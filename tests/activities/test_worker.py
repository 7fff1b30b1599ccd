"""The worker as it runs: real workflow, CA, database and SMTP; only the agent is a stand-in."""

from dataclasses import replace

import pytest
from temporalio.client import WorkflowFailureError
from temporalio.worker import Worker

from cardflow.db import audit
from cardflow.db.tables import AuditEntry, Card, Certificate, Mail, Update
from cardflow.model import DocumentKind, Mode, Stage, Verdict, new_id
from cardflow.policy_toml import import_policy
from cardflow.profiles import SAMPLES, load_profiles
from cardflow.settings import Settings
from cardflow.sql import create_engine, transaction
from cli.up import prepare
from tests import build
from tests.activities.installation import Installation
from tests.db.rows import found, the
from tests.fakes import FakeAgent
from worker import build_ca, build_worker

pytestmark = pytest.mark.temporal
ADA, BEN = f"{build.HOLDER}@example.org", f"{build.OPERATOR}@example.org"
STARTED = "Card update operation started"
APPROVED = "Card update operation approved"
REJECTED = "Card update operation rejected"
COMPLETED = "Card update operation completed"
NEEDED = "Document needed"
CHECKED = ("Document rejected", "Document approved")


@pytest.fixture
async def installation(tmp_path, databases, temporal_env, catcher):
    databases.furnish(tmp_path)
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
        yield Installation(settings, engine, ca, client)
    ca.close()
    await engine.dispose()


def the_sample(name):
    text = SAMPLES.with_name(f"{name}.toml").read_text()
    return import_policy(text, version=1, profiles=load_profiles())


def told(catcher, address):
    """Return the subjects of the mails that somebody got."""
    return [mail["Subject"] for mail in catcher.taken if address in mail["To"]]


async def test_an_update_leaves_card_certificate_mails_and_an_unbroken_trail(installation, catcher):
    await installation.start(installation.an_update(the_sample("none")))
    await installation.visit()
    assert await installation.handle.result() is Stage.COMPLETED

    sessions = installation.sessions
    assert (await the(sessions, Card)).state == "Issued"
    certificate = await the(sessions, Certificate)
    assert (certificate.state, certificate.lane) == ("on_card", "tls-client")
    row = await the(sessions, Update)
    assert (row.stage, row.ended_at is not None) == ("completed", True)
    assert told(catcher, ADA) == [STARTED, COMPLETED]
    assert {mail.state for mail in await found(sessions, Mail)} == {"sent"}
    async with transaction(sessions) as session:
        assert (await audit.verify(session)).ok
    numbers = [entry.event for entry in await found(sessions, AuditEntry)]
    assert numbers == list(range(len(numbers)))


async def until_ready(installation, profile, mode, **entry):
    """Take an update of one lane through its forms and decisions until it is ready."""
    policy = build.a_policy(build.an_entry(profile, mode, **entry))
    await installation.start(installation.an_update(policy))
    await installation.visit()
    if mode is not Mode.CERTIFICATE_FORM:
        await installation.hand_in(DocumentKind.REQUEST_FORM)
        if entry.get("precheck"):
            await installation.decide(Verdict.APPROVE)
        await installation.officer_says(Verdict.APPROVE)
    if mode is not Mode.REQUEST_FORM:
        await installation.hand_in(DocumentKind.CERTIFICATE_FORM)
        await installation.decide(Verdict.REJECT, "the signature is missing")
        await installation.hand_in(DocumentKind.CERTIFICATE_FORM)
        await installation.decide(Verdict.APPROVE)
    await installation.until_stage(Stage.READY)


@pytest.mark.parametrize(
    ("lane", "holder", "operator"),
    [
        (("smart-card-logon", Mode.REQUEST_FORM, True), [NEEDED, APPROVED], 1),
        (("smart-card-logon", Mode.REQUEST_FORM, False), [NEEDED, APPROVED], 0),
        (("tls-client", Mode.CERTIFICATE_FORM, False), [NEEDED, *CHECKED], 2),
        (("smart-card-logon", Mode.BOTH, True), [NEEDED, APPROVED, *CHECKED], 3),
    ],
)
async def test_each_mode_sends_its_mails_and_says_once_when_to_continue(
    installation, catcher, lane, holder, operator
):
    profile, mode, precheck = lane
    await until_ready(installation, profile, mode, precheck=precheck)
    await installation.visit()
    assert await installation.handle.result() is Stage.COMPLETED

    assert told(catcher, ADA) == [STARTED, *holder, COMPLETED]
    assert told(catcher, BEN) == ["Document received"] * operator
    bodies = [mail.get_body(("plain",)).get_content() for mail in catcher.taken]
    assert sum("You can continue now" in body for body in bodies) == 1


async def test_a_rejection_by_the_ca_reaches_the_holder_with_its_reason(installation, catcher):
    policy = build.a_policy(build.an_entry("smart-card-logon"))
    await installation.start(installation.an_update(policy))
    await installation.visit()
    await installation.officer_says(Verdict.REJECT, "not entitled any more")
    assert await installation.handle.result() is Stage.REJECTED

    assert told(catcher, ADA) == [STARTED, REJECTED]
    assert "not entitled any more" in catcher.taken[-1].get_body(("plain",)).get_content()
    card = await the(installation.sessions, Card)
    assert (card.state, card.update_due) == ("Assigned", "rejected by the CA: smart-card-logon")


async def test_with_notifications_off_the_button_is_enough(installation, catcher):
    policy = replace(the_sample("none"), notifications=())
    await installation.start(installation.an_update(policy))
    await installation.visit()

    assert await installation.handle.result() is Stage.COMPLETED
    assert catcher.taken == []


async def test_a_workflow_started_by_hand_fails_and_leaves_only_its_refusal(installation):
    update = installation.an_update(the_sample("none"))
    await installation.start(replace(update, started_by="eve"))
    with pytest.raises(WorkflowFailureError):
        await installation.handle.result()

    assert (await the(installation.sessions, AuditEntry)).kind == "start_refused"
    assert await found(installation.sessions, Update) == []
    assert (await the(installation.sessions, Card)).state == "Assigned"
