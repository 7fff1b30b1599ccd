"""How many whole updates per second, beside a bare Temporal workflow with as many tasks.

Both run on one real server, in one process, one after the other in turns, with the same codec. The
product's outside (CA, agent, records) is the tests' fakes, so the rows tell what the engine costs:
workflow, policy, signed actions and payloads. The bare workflow takes one update and as many
activities, one after the other, as that run's own history has, with payloads of the same size.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

from temporalio import activity, workflow
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from benchmarks.table import Row, quantile, show
from cardflow.key_ring import KeyRing
from cardflow.model import new_id
from cardflow.temporal.client import data_converter, runtime
from cardflow.temporal.devserver import ENGINE_FLAGS, server_program
from cardflow.temporal.ending import run_and_exit
from cardflow.temporal.search_attributes import SEARCH_ATTRIBUTES
from tests.build import AGENT, a_policy, an_update, continuing, signer
from tests.fakes import FakeAgent, FakeCA, FakeMail, FakeRecords
from workflows.afterwork import Afterwork, Delivery
from workflows.card_update import ACT, CardUpdate, workflow_id
from workflows.runner import runner

UPDATES, AT_ONCE, ROUNDS = 60, 20, 3


@activity.defn
async def nothing(payload: str) -> str:
    """Return what came, which is what a real step's payload would weigh."""
    return payload


@workflow.defn
class Bare:
    """One update, then activities one after the other."""

    def __init__(self) -> None:
        self._word = ""

    @workflow.run
    async def run(self, steps: int, payload: str) -> None:
        """Do the steps."""
        await workflow.wait_condition(lambda: bool(self._word))
        for _ in range(steps):
            await workflow.execute_activity(
                nothing, payload, start_to_close_timeout=timedelta(seconds=30)
            )

    @workflow.update
    def act(self, word: str) -> str:
        """Take the word."""
        self._word = word
        return word


async def one_update(client: Client, queue: str) -> float:
    """Run one update of mode none; return how long its action took to be answered."""
    update = an_update(a_policy(), opened_at=datetime.now(UTC))
    handle = await client.start_workflow(
        CardUpdate.run, update, id=workflow_id(update.card_id), task_queue=queue
    )
    token = signer().sign(continuing(update))
    before = time.perf_counter()
    await handle.execute_update(ACT, token)
    answered = time.perf_counter() - before
    await handle.result()
    return answered


async def one_bare(client: Client, queue: str, steps: int, payload: str) -> float:
    """Run the yardstick once; return how long its update took to be answered."""
    handle = await client.start_workflow(
        Bare.run, args=[steps, payload], id=f"bare/{new_id()}", task_queue=queue
    )
    before = time.perf_counter()
    await handle.execute_update(Bare.act, payload)
    answered = time.perf_counter() - before
    await handle.result()
    return answered


async def rate(one: Callable[[], Awaitable[float]]) -> tuple[float, list[float]]:
    """Return runs per second with ``AT_ONCE`` under way, and the answers' durations."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def guarded() -> float:
        async with gate:
            return await one()

    before = time.perf_counter()
    answers = await asyncio.gather(*(guarded() for _ in range(UPDATES)))
    return UPDATES / (time.perf_counter() - before), list(answers)


async def shape(client: Client, queue: str) -> tuple[int, str]:
    """Return how many activities one update of ours has, and a payload of their mean size."""
    update = an_update(a_policy(), opened_at=datetime.now(UTC))
    handle = await client.start_workflow(
        CardUpdate.run, update, id=workflow_id(update.card_id), task_queue=queue
    )
    await handle.execute_update(ACT, signer().sign(continuing(update)))
    await handle.result()
    events = (await handle.fetch_history()).events
    scheduled = EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED
    steps = [event for event in events if event.event_type == scheduled]
    sizes = [len(e.activity_task_scheduled_event_attributes.input.payloads[0].data) for e in steps]
    # The child workflow for revocations is one step more.
    return len(steps) + 1, "x" * (sum(sizes) // len(sizes))


async def measure(env: WorkflowEnvironment) -> None:
    """Measure in turns and show the medians."""
    queue, client = f"bench-{new_id()}", env.client
    records, mail, ca, agent = FakeRecords(), FakeMail(), FakeCA(), FakeAgent()
    machine = Worker(
        client,
        task_queue=queue,
        workflows=[CardUpdate, Afterwork, Delivery, Bare],
        workflow_runner=runner(),
        activities=[
            *(records.open_update, records.publish, mail.deliver, nothing),
            *(ca.submit, ca.poll, ca.withdraw, ca.revoke),
        ],
    )
    at_the_card = [agent.prepare, agent.write, agent.clean_up, agent.clear]
    workstation = Worker(client, task_queue=f"agent-{AGENT}", activities=at_the_card)
    async with machine, workstation:
        steps, payload = await shape(client, queue)
        ours, bare, ours_answers, bare_answers = [], [], [], []
        for _ in range(ROUNDS):
            figure, answers = await rate(lambda: one_bare(client, queue, steps, payload))
            bare.append(figure)
            bare_answers += answers
            figure, answers = await rate(lambda: one_update(client, queue))
            ours.append(figure)
            ours_answers += answers
    beside = f"bare workflow, 1 update + {steps} activities"
    rows = [
        Row("whole updates, mode none", quantile(ours, 0.5), "1/s", beside, quantile(bare, 0.5))
    ]
    for share in (0.5, 0.99):
        pair = [quantile(x, share) * 1000 for x in (ours_answers, bare_answers)]
        what = f"action answered, {AT_ONCE} at once, p{share * 100:.0f}"
        rows.append(Row(what, pair[0], "ms", beside, pair[1], higher_is_better=False))
    show("updates", rows)


async def main() -> int:
    """Start a server and measure on it."""
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
        await measure(env)
    return 0


if __name__ == "__main__":
    run_and_exit(main())
