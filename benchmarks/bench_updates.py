"""What the engine costs: whole updates, mode RF, one lane, beside a bare Temporal workflow.

Both run on one real server, in one process, in turns, with the same codec. The product's outside
(CA, agent, records) is the tests' fakes, which answer at once, so the rows tell what workflow,
policy, signed actions and payloads cost. The bare workflow takes as many updates, and does as many
activities after each and as many timers, as one run of ours has in its own history, with payloads
of the same mean size. Nobody polls: both people learn from an activity when it is their turn.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from temporalio import activity
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client, WorkflowHandle
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from activities.orders import Published
from benchmarks.bare import BELL, Bare, Bell, Shape, nothing, told
from benchmarks.table import Row, is_quick, quantile, show
from cardflow.key_ring import KeyRing
from cardflow.model import (
    DocumentKind,
    LaneStage,
    Mode,
    Stage,
    UpdateInput,
    Verdict,
    new_id,
)
from cardflow.orders import Publication
from cardflow.temporal.client import data_converter, runtime
from cardflow.temporal.devserver import ENGINE_FLAGS, server_program
from cardflow.temporal.ending import run_and_exit
from cardflow.temporal.search_attributes import SEARCH_ATTRIBUTES
from tests.build import (
    AGENT,
    a_policy,
    an_entry,
    an_update,
    continuing,
    deciding,
    handing_in,
    signer,
)
from tests.fakes import FakeAgent, FakeCA, FakeMail, FakeRecords
from workflows.afterwork import Afterwork, Delivery
from workflows.card_update import ACT, CA_ANSWERED, CardUpdate, workflow_id

LANE = "logon"
AT_ONCE = 10
EVENTS, KILOBYTES = 90, 40  # to be reached by mode RF


class Records(FakeRecords):
    """Keeps nothing, and rings at each stage of a lane."""

    def __init__(self, bell: Bell) -> None:
        super().__init__()
        self._bell = bell

    @activity.defn
    async def publish(self, publication: Publication) -> Published:
        """Ring."""
        view = publication.view
        for lane in view.state.lanes:
            self._bell.ring(view.update_id, lane.stage, view)
        return Published(())


# The product


def rf_update() -> UpdateInput:
    """Return an update of one lane in mode RF, whose CA asks an officer."""
    policy = a_policy(an_entry(LANE, Mode.BOTH))
    return an_update(policy, officers=(LANE,), opened_at=datetime.now(UTC))


@dataclass
class Ours:
    """Runs whole updates of ours."""

    client: Client
    queue: str
    bell: Bell
    ca: FakeCA

    async def one(self) -> list[float]:
        """Run an update through; return how long each action took to be answered."""
        return (await self.through())[1]

    async def through(self) -> tuple[WorkflowHandle[CardUpdate, Stage], list[float]]:
        """The card is updated: both forms handed in and approved, and the CA's officer asked."""
        update, answered = rf_update(), list[float]()
        handle = await self.client.start_workflow(
            CardUpdate.run, update, id=workflow_id(update.card_id), task_queue=self.queue
        )

        async def act(action: object) -> None:
            token = signer().sign(action)  # type: ignore[arg-type]
            before = time.perf_counter()
            await handle.execute_update(ACT, token)
            answered.append(time.perf_counter() - before)

        await act(continuing(update))
        await self.bell.until(update.update_id, LaneStage.AWAITING_REQUEST_FORM)
        await act(handing_in(update, LANE, DocumentKind.REQUEST_FORM))
        await self._officer_says_yes(handle, update)
        await self.bell.until(update.update_id, LaneStage.AWAITING_CERTIFICATE_FORM)
        await act(handing_in(update, LANE, DocumentKind.CERTIFICATE_FORM))
        view = await self.bell.until(update.update_id, LaneStage.CHECKING_CERTIFICATE_FORM)
        await act(deciding(update, view, LANE, Verdict.APPROVE))
        await self.bell.until(update.update_id, LaneStage.READY)
        await act(continuing(update))
        assert await handle.result() is Stage.COMPLETED
        return handle, answered

    async def _officer_says_yes(
        self, handle: WorkflowHandle[CardUpdate, Stage], update: UpdateInput
    ) -> None:
        view = await self.bell.until(update.update_id, LaneStage.AT_CA)
        (lane,) = view.state.lanes
        self.ca.verdicts[lane.plan.lane] = "yes"
        await handle.signal(CA_ANSWERED, LANE)


# The yardstick


async def one_bare(client: Client, queue: str, shape: Shape) -> list[float]:
    """Run the yardstick once; return how long each update took to be answered."""
    key, payload, answered = new_id(), "x" * shape.payload, list[float]()
    handle = await client.start_workflow(
        Bare.run, args=[key, shape], id=f"bare/{key}", task_queue=queue
    )
    for number in range(1, len(shape.activities)):
        if shape.activities[number - 1]:
            await BELL.until(key, str(number - 1))
        before = time.perf_counter()
        await handle.execute_update(Bare.act, payload)
        answered.append(time.perf_counter() - before)
    await handle.result()
    return answered


# Side by side


def shape_of(events: list) -> Shape:  # type: ignore[type-arg]
    """Return the shape of a history of ours."""
    activities, timers, sizes = [0], [0], []
    for event in events:
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED:
            activities.append(0)
            timers.append(0)
        elif event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
            activities[-1] += 1
            payloads = event.activity_task_scheduled_event_attributes.input.payloads
            sizes += [len(payload.data) for payload in payloads]
        elif event.event_type == EventType.EVENT_TYPE_TIMER_STARTED:
            timers[-1] += 1
    return Shape(activities, timers, sum(sizes) // len(sizes))


async def rate(
    one: Callable[[], Awaitable[list[float]]], number: int, at_once: int = AT_ONCE
) -> tuple[float, list[float]]:
    """Return runs per second with ``at_once`` under way, and the answers' durations."""
    gate = asyncio.Semaphore(at_once)

    async def guarded() -> list[float]:
        async with gate:
            return await one()

    before = time.perf_counter()
    answers = await asyncio.gather(*(guarded() for _ in range(number)))
    return number / (time.perf_counter() - before), [x for answer in answers for x in answer]


async def measure(env: WorkflowEnvironment, *, quick: bool) -> list[Row]:
    """Measure in turns and return the medians."""
    queue, client, bell = f"bench-{new_id()}", env.client, Bell()
    records, mail, ca, agent = Records(bell), FakeMail(), FakeCA(), FakeAgent()
    ca.officer_profiles = {LANE}
    machine = Worker(
        client,
        task_queue=queue,
        workflows=[CardUpdate, Afterwork, Delivery, Bare],
        workflow_runner=UnsandboxedWorkflowRunner(),
        activities=[
            *(records.open_update, records.publish, mail.deliver, nothing, told),
            *(ca.submit, ca.poll, ca.withdraw, ca.revoke),
        ],
    )
    at_the_card = [agent.prepare, agent.write, agent.clean_up, agent.clear]
    workstation = Worker(client, task_queue=f"agent-{AGENT}", activities=at_the_card)
    updates, rounds = (2, 1) if quick else (40, 4)
    ours = Ours(client, queue, bell, ca)
    async with machine, workstation:
        handle, _ = await ours.through()
        events = list((await handle.fetch_history()).events)
        shape = shape_of(events)
        await one_bare(client, queue, shape)
        found: list[tuple[float, float]] = []
        mine, its = list[float](), list[float]()
        for _ in range(rounds):
            bare, answers = await rate(lambda: one_bare(client, queue, shape), updates)
            its += answers
            figure, answers = await rate(ours.one, updates)
            mine += answers
            found.append((figure, bare))
    return rows_of(events, shape, found, mine, its)


def rows_of(
    events: list,  # type: ignore[type-arg]
    shape: Shape,
    found: list[tuple[float, float]],
    mine: list[float],
    its: list[float],
) -> list[Row]:
    """Return the rows."""
    messages, steps, timers = len(shape.activities) - 1, sum(shape.activities), sum(shape.timers)
    beside = f"bare: {messages} updates, {steps} activities, {timers} timers"
    figure, bare = (quantile([pair[n] for pair in found], 0.5) for n in (0, 1))
    rows = [Row("engine alone: updates, RF, one lane", figure, "1/s", beside, bare,
                reach_ratio=0.8)]  # fmt: skip
    for share in (0.5, 0.99):
        what = f"action answered, {AT_ONCE} updates at once, p{share * 100:.0f}"
        pair = [quantile(answers, share) * 1000 for answers in (mine, its)]
        rows.append(Row(what, pair[0], "ms", beside, pair[1], higher_is_better=False))
    size = sum(event.ByteSize() for event in events) / 1000
    return [
        *rows,
        Row("history of one update, RF, one lane", len(events), "events", "docs/temporal.md",
            higher_is_better=False, reach=EVENTS),
        Row("the same", size, "kB", higher_is_better=False, reach=KILOBYTES),
    ]  # fmt: skip


async def main() -> int:
    """Start a server and measure on it."""
    quick = is_quick()
    env = await WorkflowEnvironment.start_local(
        namespace="cardflow",
        dev_server_existing_path=str(server_program()),
        dev_server_extra_args=[*ENGINE_FLAGS, "--output", "none"],
        dev_server_log_level="never",
        search_attributes=SEARCH_ATTRIBUTES,
        data_converter=data_converter(KeyRing.generate("bench")),
        runtime=runtime(),
    )
    async with env:
        rows = await measure(env, quick=quick)
    show("updates", rows)
    return 0


if __name__ == "__main__":
    run_and_exit(main())
