"""A world for workflow tests: the real workflow on a time-skipping server, fakes around it."""

import gzip
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import (
    Client,
    WorkflowExecutionStatus,
    WorkflowFailureError,
    WorkflowHandle,
    WorkflowHistory,
    WorkflowUpdateFailedError,
)
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from cardflow.model import (
    Action,
    DocumentKind,
    LaneStage,
    Means,
    Policy,
    Reply,
    SignatureFound,
    Stage,
    UpdateInput,
    UpdateView,
    Verdict,
    new_id,
)
from tests.build import AGENT, an_update, continuing, deciding, handing_in, signer, signing
from tests.fakes import FakeAgent, FakeCA, FakeMail, FakeRecords
from tests.sandbox import sandbox
from tests.waiting import until
from workflows.afterwork import Afterwork, Delivery
from workflows.card_update import ACT, CA_ANSWERED, CardUpdate, workflow_id

ANSWER_TRIES, ANSWER_WITHIN = 3, timedelta(seconds=5)


@dataclass
class World:
    """The fakes, and short ways to do what people do."""

    env: WorkflowEnvironment
    queue: str
    ca: FakeCA = field(default_factory=FakeCA)
    agent: FakeAgent = field(default_factory=FakeAgent)
    records: FakeRecords = field(default_factory=FakeRecords)
    mail: FakeMail = field(default_factory=FakeMail)
    update: UpdateInput = None  # type: ignore[assignment]
    started: list[UpdateInput] = field(default_factory=list)
    handle: WorkflowHandle[Any, Stage] = None  # type: ignore[assignment]

    @property
    def client(self) -> Client:
        """The client of the server."""
        return self.env.client

    async def open(self, policy: Policy, *, officers: tuple[str, ...] = (), **options: Any) -> None:
        """Open an update under the policy."""
        self.ca.officer_profiles = set(officers)
        now = await self.env.get_current_time()
        await self.begin(an_update(policy, officers=officers, opened_at=now, **options))

    async def begin(self, update: UpdateInput) -> None:
        """Start the workflow of an input."""
        self.update = update
        self.started.append(update)
        self.handle = await self.client.start_workflow(
            CardUpdate.run, update, id=workflow_id(update.card_id), task_queue=self.queue
        )

    async def record(self, directory: Path | None, test: str) -> None:
        """Save the histories of this world's updates for ``tests/replay``, when asked to."""
        if directory is None:
            return
        name = re.sub(r"\W+", "-", test.removeprefix("test_")).strip("-")
        for number, update in enumerate(self.started):
            handle = self.client.get_workflow_handle(workflow_id(update.card_id))
            history = await handle.fetch_history()
            path = directory / f"{name}-{number}{_patches_in(history)}.json.gz"
            if not path.exists():  # what older code wrote is never written over
                path.write_bytes(gzip.compress(history.to_json().encode(), mtime=0))

    async def end(self) -> None:
        """Leave nothing open behind: its timers would slow the clock that all tests share.

        An activity that is cut off by a termination would even stop that clock for good.
        """
        self.ca.down = 0
        for gate in (self.ca.gate, self.records.gate, *self.agent.gates.values()):
            if gate:
                gate.set()
        for started in self.started:
            update = self.client.get_workflow_handle(workflow_id(started.card_id))
            while await _is_at_work(update):  # or between two tries, as long as no time passes
                await self._let_time_pass()
            with suppress(RPCError):
                await update.terminate()
            with suppress(RPCError):
                afterwork = f"afterwork/{started.update_id}"
                await self.client.get_workflow_handle(afterwork).result()

    async def afterwork(self) -> None:
        """Return when what an ended update leaves to be done is done."""
        await self.client.get_workflow_handle(f"afterwork/{self.update.update_id}").result()

    async def act(self, action: Action) -> Reply:
        """Send a signed action."""
        return await self.handle.execute_update(
            ACT, signer().sign(action), id=action.id, result_type=Reply
        )

    async def refused(self, action: Action) -> str:
        """Send an action that must be refused; return why."""
        return await self.refused_token(signer().sign(action))

    async def refused_token(self, token: str) -> str:
        """Send a token that must be refused; return why."""
        with pytest.raises(WorkflowUpdateFailedError) as caught:
            await self.handle.execute_update(ACT, token)
        assert isinstance(caught.value.cause, ApplicationError)
        assert caught.value.cause.type == "Refused"
        return caught.value.cause.message

    async def view(self) -> UpdateView:
        """Return what the update says of itself; the test server loses a query as a run ends."""
        for _ in range(ANSWER_TRIES):
            with suppress(RPCError):
                return await self.handle.query(CardUpdate.view, rpc_timeout=ANSWER_WITHIN)
        return await self.handle.query(CardUpdate.view)

    async def hand_in(self, kind: DocumentKind, lane: str = "logon", **found: Any) -> Reply:
        """Let the holder upload a form."""
        return await self.act(handing_in(self.update, lane, kind, **found))

    async def sign(
        self, kind: DocumentKind, found: SignatureFound, lane: str = "logon"
    ) -> UpdateView:
        """Let the holder sign a form with the card, and return the view when the visit is over."""

        async def hand_in() -> None:
            await self.hand_in(kind, lane, means=Means.ELECTRONIC, signature=found)

        self.agent.hand_in = hand_in
        await self.act(signing(self.update, lane, kind))
        return await self.until(lambda view: view.state.visit is None)

    async def decide(self, verdict: Verdict, lane: str = "logon", **options: str) -> None:
        """Let an operator decide on what the view shows now."""
        await self.act(deciding(self.update, await self.view(), lane, verdict, **options))

    async def officer_says(self, verdict: str, lane: str = "logon") -> None:
        """Let the CA's officer say yes, or no with a reason, and nudge."""
        self.ca.verdicts[lane] = verdict
        await self.handle.signal(CA_ANSWERED, lane)

    async def visit(self) -> UpdateView:
        """Let the holder continue, and return the view when the visit is over."""
        await self.act(continuing(self.update))
        return await self.until(lambda view: view.state.visit is None)

    async def until(self, reached: Any) -> UpdateView:
        """Return the first view that satisfies the condition."""
        return await until(self.view, reached, what="the update", pause=self._let_time_pass)

    async def _let_time_pass(self) -> None:
        await self.env.sleep(timedelta(milliseconds=20))

    async def until_failed(self, why: str) -> None:
        """Return when the workflow failed for the reason."""
        with pytest.raises(WorkflowFailureError) as caught:
            await self.handle.result()
        assert why in str(caught.value.cause)

    async def until_new_run(self, run_id: str | None) -> None:
        """Return when the workflow goes on in another run."""
        newest = self.client.get_workflow_handle(self.handle.id)
        await until(
            newest.describe,
            lambda described: described.run_id != run_id,
            what="another run",
            pause=self._let_time_pass,
        )
        self.handle = self.client.get_workflow_handle_for(CardUpdate.run, self.handle.id)

    async def until_lane(self, lane: str, stage: LaneStage) -> UpdateView:
        """Return the first view in which the lane stands at ``stage``."""
        return await self.until(
            lambda view: any(x.plan.lane == lane and x.stage is stage for x in view.state.lanes)
        )


def _patches_in(history: WorkflowHistory) -> str:
    """Return which patches the history went through, as a part of its file's name."""
    details = (event.marker_recorded_event_attributes.details for event in history.events)
    found = {
        json.loads(x["patch-data"].payloads[0].data)["id"] for x in details if "patch-data" in x
    }
    return "".join(f"+{patch}" for patch in sorted(found))


async def _is_at_work(update: WorkflowHandle[Any, Any]) -> bool:
    """Tell whether an open update waits for an activity; of a closed one the server goes on so."""
    described = await update.describe()
    is_open = described.status is WorkflowExecutionStatus.RUNNING
    return is_open and bool(described.raw_description.pending_activities)


@pytest.fixture
def agent() -> FakeAgent:
    """Return who answers at the workstation of ``world``."""
    return FakeAgent()


@pytest.fixture
async def world(
    skipping_env: WorkflowEnvironment,
    recordings: Path | None,
    agent: FakeAgent,
    request: pytest.FixtureRequest,
) -> AsyncIterator[World]:
    """A fresh world whose worker and agent poll queues of their own."""
    async with _inhabited(World(skipping_env, f"cardflow-{new_id()}", agent=agent)) as inhabited:
        yield inhabited
        await inhabited.record(recordings, request.node.name)


@pytest.fixture
async def patient_world(
    fresh_skipping_env: WorkflowEnvironment, recordings: Path | None, request: pytest.FixtureRequest
) -> AsyncIterator[World]:
    """A world with a server of its own, for tests in which weeks pass."""
    async with _inhabited(World(fresh_skipping_env, f"cardflow-{new_id()}")) as inhabited:
        yield inhabited
        await inhabited.record(recordings, request.node.name)


@asynccontextmanager
async def _inhabited(world: World) -> AsyncIterator[World]:
    async with machine(world), workstation(world):
        yield world
        await world.end()


def machine(
    world: World, version: type = CardUpdate, *, client: Client | None = None, **options: Any
) -> Worker:
    """Return a worker of the world's queue that runs this version of the update."""
    ca, records = world.ca, world.records
    return Worker(
        client or world.client,
        task_queue=world.queue,
        workflows=[version, Afterwork, Delivery],
        workflow_runner=sandbox(),
        activities=[
            *(records.open_update, records.publish, world.mail.deliver),
            *(ca.submit, ca.poll, ca.withdraw, ca.revoke),
        ],
        **options,
    )


def workstation(world: World, name: str = AGENT, *, agent: FakeAgent | None = None) -> Worker:
    """Return who does the jobs of an agent, by default of the world's."""
    agent = agent or world.agent
    return Worker(
        world.client,
        task_queue=f"agent-{name}",
        activities=[
            *(agent.prepare, agent.write, agent.clean_up, agent.clear, agent.sign_document)
        ],
    )
