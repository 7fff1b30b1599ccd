"""What an operator of Temporal does by hand, with its own command line: nothing of it counts.

The worker is the real process on a real server; the hand is Temporal's own program.
"""

import asyncio
import base64
import json
import os
import re
import sys
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from temporalio.api.enums.v1 import EventType
from temporalio.worker import Worker

from cardflow import decisions
from cardflow.db.tables import AuditEntry, Certificate, Update
from cardflow.model import DocumentKind, LaneStage, Mode, Stage, Verdict, new_id
from cardflow.orders import MailOrder
from cardflow.settings import Settings
from cardflow.sql import create_engine
from cardflow.temporal.codec import ENCODING
from cardflow.temporal.devserver import server_program
from cli.ports import free_ports
from cli.up import prepare
from tests import build
from tests.activities.installation import Installation
from tests.db.rows import found
from tests.deployment.files import metrics_asked_for
from tests.fakes import FakeAgent
from tests.waiting import PATIENCE, until
from worker import build_ca
from workflows.afterwork import Delivery
from workflows.card_update import ACT

pytestmark = pytest.mark.temporal
ROOT = Path(__file__).resolve().parents[2]
LANE = "tls-client"
FAILED = EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED
UPDATE_EVENTS = (
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ADMITTED,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED,
)


@dataclass
class Hand:
    """Temporal's command line, at the server that everything runs on."""

    address: str

    async def does(self, *arguments: str) -> tuple[int, str]:
        """Return the exit code of one command, and what it printed."""
        process = await asyncio.create_subprocess_exec(
            *(str(server_program()), *arguments),
            *("--address", self.address, "--namespace", "cardflow"),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await asyncio.wait_for(process.communicate(), PATIENCE)
        return process.returncode or 0, output.decode()


@dataclass
class House:
    """The worker's process, and an update that waits for an operator's decision."""

    installation: Installation
    hand: Hand
    log: Path

    async def metrics(self) -> list[str]:
        """Return what the worker tells Prometheus."""
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", self.installation.settings.worker_metrics_port
        )
        writer.write(b"GET /metrics HTTP/1.0\r\n\r\n")
        lines = (await reader.read()).decode().splitlines()
        writer.close()
        return lines

    async def metric(self, reason: str) -> int:
        """Return how many updates the worker says it has refused for this reason."""
        lines = await self.metrics()
        told = [x for x in lines if x.startswith("cardflow_refused_actions") and reason in x]
        return sum(int(float(line.split()[-1])) for line in told)

    def alarms(self, words: str) -> int:
        """Return how many lines of the security log say this."""
        lines = map(json.loads, self.log.read_text().splitlines())
        return sum(
            line["logger"] == "cardflow.security" and line["event"].startswith(words)
            for line in lines
        )

    async def events(self, *kinds: int) -> int:
        """Return how many events of these kinds the update's history has."""
        history = await self.installation.handle.fetch_history()
        return sum(event.event_type in kinds for event in history.events)

    async def lane(self):
        """Return the lane as it stands."""
        return (await self.installation.view()).state.lanes[0]


@pytest.fixture(scope="module")
async def house(tmp_path_factory, databases, temporal_env, codec_ring):
    (port,), tmp_path = free_ports(1), tmp_path_factory.mktemp("house")
    databases.furnish(tmp_path)
    settings = Settings(
        state_dir=tmp_path,
        temporal_address=temporal_env.client.service_client.config.target_host,
        temporal_task_queue=f"by-hand-{port}",
        worker_metrics_port=port,
    )
    await prepare(settings)
    settings.codec_key_file.write_bytes(codec_ring.dump())
    engine = create_engine(settings.database_url)
    ca, agent, log = build_ca(settings, engine), FakeAgent(), tmp_path / "log"
    installation = Installation(settings, engine, ca, temporal_env.client)
    with log.open("wb") as written:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "worker.py"), cwd=ROOT, env=environment(settings), stderr=written
        )
    jobs = [agent.prepare, agent.write, agent.clean_up]
    async with Worker(temporal_env.client, task_queue=f"agent-{build.AGENT}", activities=jobs):
        await installation.start(installation.an_update(silent(Mode.CERTIFICATE_FORM)))
        await installation.visit()
        await installation.hand_in(DocumentKind.CERTIFICATE_FORM)
        on_record = partial(found, installation.sessions, Certificate)
        await until(on_record, what="the certificate, which the view has before the record")
        yield House(installation, Hand(settings.temporal_address), log)
    process.terminate()
    await process.wait()
    ca.close()
    await engine.dispose()


def environment(settings: Settings) -> dict[str, str]:
    names = ("state_dir", "temporal_address", "temporal_task_queue", "worker_metrics_port")
    given = {f"CARDFLOW_{name.upper()}": str(getattr(settings, name)) for name in names}
    return {"PATH": os.defpath, **given}


def silent(mode: Mode):
    return replace(build.a_policy(build.an_entry(LANE, mode)), notifications=())


def text(value: object) -> list[str]:
    return ["--input", json.dumps(value)]


def raw(data: bytes, **metadata: str) -> list[str]:
    given = ["--input-base64", "--input", base64.b64encode(data).decode()]
    for key, value in metadata.items():
        given += ["--input-meta", f"{key.replace('_', '-')}={value}"]
    return given


STRANGER = decisions.issue_signer(Ed25519PrivateKey.generate(), now=datetime.now(UTC))
OURS = ENCODING.decode()
NOT_OURS = "was not encrypted by this installation"
# what is sent: the message's name, and its inputs as Temporal's command line takes them
MESSAGES = {
    "a word": ("act", text("approve it, please")),
    "an object": ("act", text({"approve": True})),
    "nothing": ("act", []),
    "two words": ("act", [*text("approve"), *text("now")]),
    "a message of another format": ("act", raw(b"\xff\xfe{", encoding="binary/protobuf")),
    "bytes": ("act", raw(b"\x00\x01", encoding="binary/plain")),
    "an encoding that nobody knows": ("act", raw(b"x", encoding="binary/unknown")),
    "ciphertext that was made up": ("act", raw(b"0" * 60, encoding=OURS, key_id="tests")),
    "ciphertext cut to nothing": ("act", raw(b"0", encoding=OURS, key_id="tests")),
    "ciphertext under no key of ours": ("act", raw(b"0" * 60, encoding=OURS, key_id="nobody's")),
    "a decision under a stranger's root": ("act", None),
    "another message": ("approve", text("now")),
}


def message(case: str, house: House, decision) -> list[str]:
    name, inputs = MESSAGES[case]
    given = text(STRANGER.sign(decision)) if inputs is None else inputs
    return ["--workflow-id", house.installation.handle.id, "--name", name, *given]


async def test_work_that_is_given_or_answered_by_hand_is_not_done(house):
    installation, queue = house.installation, house.installation.settings.temporal_task_queue
    (before,) = await found(installation.sessions, Certificate)
    order = {
        "request_id": f"{new_id()}:1:{LANE}",
        "csr_pem": (await house.lane()).csr_pem,
        "profile": LANE,
        "subject": (await house.lane()).plan.subject,
        "holder_id": build.HOLDER,
        "requested_by": build.HOLDER,
    }
    once = ["--retry-maximum-attempts", "1", "--start-to-close-timeout", "30s"]
    revocation = {"update_id": "x", "reason": "superseded", "serial_numbers": []}
    revocation["serial_numbers"] = [before.serial_number]

    for kind, given in (("submit", order), ("revoke", revocation)):
        at = ["--activity-id", new_id(), "--task-queue", queue, "--type", kind, *once]
        code, output = await house.hand.does("activity", "execute", *at, *text(given))
        assert code != 0, (kind, output)
    afterwork = ["--type", "Afterwork", "--task-queue", queue, "--workflow-id", new_id()]
    await house.hand.does("workflow", "start", *afterwork, *text({"revoke": [revocation]}))
    update = ["--type", "CardUpdate", "--task-queue", queue, "--workflow-id", new_id()]
    await house.hand.does("workflow", "start", *update, *text({"update_id": "x"}))
    await until(
        house.log.read_text,
        lambda log: log.count(NOT_OURS) >= 4,
        what="four refusals",
    )

    (after,) = await found(installation.sessions, Certificate)
    assert (after.serial_number, after.state) == (before.serial_number, before.state)
    assert len(await found(installation.sessions, Update)) == 1


async def test_an_agents_answer_that_is_given_by_hand_is_not_believed(house):
    installation = house.installation
    update = installation.an_update(silent(Mode.NONE), token_serial="another")
    handle = await installation.begin(update)
    visit = replace(build.a_visit(), agent_id="nobody")
    clicked = replace(build.continuing(update), visit=visit)
    await handle.execute_update(ACT, installation.signer.sign(clicked))
    job = await until(lambda: job_of(handle), what="a job that waits for the agent")
    key = {"lane": LANE, "cka_id": update.plan.lanes[0].cka_id}
    key["csr_pem"] = (await house.lane()).csr_pem  # a good one, of a key that is not on this card
    result = {"outcome": "done", "token_serial": "another", "keys": [key]}
    before = house.log.read_text().count(NOT_OURS)

    code, output = await house.hand.does(
        *("activity", "complete", "--workflow-id", handle.id),
        *("--activity-id", job.activity_id, "--result", json.dumps(result)),
    )

    assert code == 0, output
    await until(house.log.read_text, lambda log: log.count(NOT_OURS) > before, what="the refusal")
    assert len(await found(installation.sessions, Certificate)) == 1  # the other update's
    await handle.terminate()


async def job_of(handle):
    """Return the job that waits for an agent, if there is one."""
    jobs = (await handle.describe()).raw_description.pending_activities
    return next((job for job in jobs if job.activity_type.name == "prepare"), None)


async def test_what_is_sent_by_hand_changes_nothing_and_is_told_of(house):
    installation = house.installation
    decision = build.deciding(installation.update, await installation.view(), LANE, Verdict.APPROVE)

    for case in MESSAGES:
        code, output = await house.hand.does(
            "workflow", "update", "execute", *message(case, house, decision)
        )
        assert code != 0, (case, output)
        assert await house.events(*UPDATE_EVENTS) == 2, case  # the visit, the document
        code, output = await house.hand.does("workflow", "signal", *message(case, house, decision))
        assert code == 0, (case, output)
    code, _ = await house.hand.does(
        *("workflow", "signal", "--workflow-id", installation.handle.id),
        *("--name", "ca_answered", *text("no such lane")),
    )

    wanted = len(MESSAGES) + 1
    await until(
        lambda: found(installation.sessions, AuditEntry),
        lambda entries: sum(x.kind == "message_refused" for x in entries) == wanted,
        what="an audit entry of each signal",
    )
    lane = await house.lane()
    assert lane.stage is LaneStage.CHECKING_CERTIFICATE_FORM
    assert await house.events(FAILED) == 0
    assert await house.metric("not_signed") == len(MESSAGES)
    assert house.alarms("an unsigned update was refused") == len(MESSAGES)
    assert house.alarms("a signal was refused") == wanted
    assert house.alarms("a payload cannot be decrypted") >= 3

    await installation.decide(Verdict.APPROVE)  # and the update is as well as ever
    await installation.until_stage(Stage.READY)
    assert await house.metric("not_allowed") == 0


async def test_what_operations_watch_of_workers_is_what_this_one_tells(house):
    queue = house.installation.settings.temporal_task_queue
    asked = {name for name in metrics_asked_for() if name.startswith(("temporal_", "cardflow_ref"))}
    at = ["--task-queue", queue, "--workflow-id", new_id()]
    await house.hand.does("workflow", "start", "--type", "CardUpdate", *at, *text({}))
    once = ["--retry-maximum-attempts", "1", "--start-to-close-timeout", "30s"]
    at = ["--activity-id", new_id(), "--task-queue", queue, "--type", "deliver"]
    await house.hand.does("activity", "execute", *at, *once, *text({}))
    word = ["--workflow-id", house.installation.handle.id, "--name", "act", *text("please")]
    await house.hand.does("workflow", "update", "execute", *word)
    await house.installation.client.execute_workflow(
        Delivery.run, MailOrder(()), id=new_id(), task_queue=queue
    )

    assert len(asked) >= 10
    await until(
        house.metrics,
        lambda lines: asked <= {re.split(r"[{ ]", line)[0] for line in lines},
        what="every metric that an alert or a panel names",
    )
