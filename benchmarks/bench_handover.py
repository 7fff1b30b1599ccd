"""How soon the agent has its job after the last approval, on the product's own processes.

An operator approves the certificate form, the holder continues at once, and the workstation's long
poll returns the signed job to write. In the figure: two requests at the people's door, each action
signed, journalled and verified in the workflow, Temporal's queue, the agent door over TLS. Beside
it, on the same server: a bare workflow that takes two updates, starts an activity and has it polled
raw. Then once more while other workstations wait at the door and report what is in their readers.
"""

import asyncio
import time
from dataclasses import dataclass, field
from datetime import timedelta

from temporalio import workflow
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import (
    PollActivityTaskQueueRequest,
    PollActivityTaskQueueResponse,
    RespondActivityTaskCompletedRequest,
)
from temporalio.client import Client
from temporalio.worker import Worker

from benchmarks.crowd import crowd_at
from benchmarks.table import Row, is_quick, quantile, show
from benchmarks.workplace import Desk, Doors, at_work, doors_open, enrolled, registered
from cardflow.jobs import Job, WriteJob
from cardflow.model import LaneStage, Means, Stage, Verdict, new_id
from cardflow.temporal.client import connect
from cardflow.temporal.ending import run_and_exit
from cli.demo_people import OPERATOR, Cast
from cli.demo_steps import UpdateRun
from tests.api.workstation import SoftCard

OTHERS = 999
REACH_MS = {"1 agent": 100, "1,000 agents": 250}
LANE = "smart-card-logon"
RULES = f"""\
name = "bench"
title = "Certificate forms by post"
contact = "Ask."
document_exchange = "outside"
[[profiles]]
profile = "{LANE}"
mode = "F"
key_type = "P-256"
"""


@dataclass
class Timed:
    """Seconds of the last approval's answer, and from it, and from Continue, to the job in hand."""

    answer: list[float] = field(default_factory=list)
    approval: list[float] = field(default_factory=list)
    click: list[float] = field(default_factory=list)

    def note(self, approved_at: float, continued_at: float, came_at: float) -> None:
        """Keep one update's times."""
        self.answer.append(continued_at - approved_at)
        self.approval.append(came_at - approved_at)
        self.click.append(came_at - continued_at)


# The product


class Came:
    """Notes when a job to write came to the workstation."""

    def __init__(self) -> None:
        self.at: asyncio.Future[float] = asyncio.get_running_loop().create_future()

    def __call__(self, job: Job, now: float) -> None:
        """Note it."""
        if isinstance(job, WriteJob) and not self.at.done():
            self.at.set_result(now)


def form_is_here(cast: Cast, card_id: str) -> tuple[UpdateRun, str]:
    """Return an update that waits for its last approval alone, and the digest to approve."""
    run = UpdateRun(cast, card_id)
    run.open()
    run.until_lane(LANE, LaneStage.AWAITING_CERTIFICATE_FORM)
    run.until_visit_ends()
    path = f"/updates/{run.update_id}/lanes/{LANE}/documents"
    cast.api(OPERATOR).upload(path, None, {"means": Means.POST.value, "note": "letter"})
    (lane,) = run.view(OPERATOR)["lanes"]
    return run, str(lane["decision_digest"])


def approve_and_continue(run: UpdateRun, digest: str) -> tuple[float, float]:
    """The last approval is given and the holder has continued; return when each was sent."""
    approved_at = time.perf_counter()
    run.cast.api(OPERATOR).post(
        f"/updates/{run.update_id}/lanes/{LANE}/decisions",
        {"verdict": Verdict.APPROVE.value, "reason": "", "digest": digest},
    )
    continued_at = time.perf_counter()
    run.continue_()
    return approved_at, continued_at


async def one_update(cast: Cast, card_id: str, came: Came, timed: Timed) -> None:
    """Run one update and note how long its job took to the workstation."""
    came.at = asyncio.get_running_loop().create_future()
    run, digest = await asyncio.to_thread(form_is_here, cast, card_id)
    sent = await asyncio.to_thread(approve_and_continue, run, digest)
    timed.note(*sent, await asyncio.wait_for(came.at, 60))
    await asyncio.to_thread(run.until_stage, Stage.COMPLETED)


# The yardstick


@workflow.defn(sandboxed=False)
class TwoWords:
    """Takes two updates, then asks for one activity."""

    def __init__(self) -> None:
        self._words = 0

    @workflow.run
    async def run(self, queue: str) -> None:
        """Ask once both have come."""
        await workflow.wait_condition(lambda: self._words > 1)
        await workflow.execute_activity(
            "nothing", task_queue=queue, schedule_to_close_timeout=timedelta(seconds=60)
        )

    @workflow.update
    def act(self) -> int:
        """Count the word."""
        self._words += 1
        return self._words


async def one_bare(client: Client, queue: str, timed: Timed) -> None:
    """Run the yardstick once."""
    at_the_desk = f"{queue}-desk"
    handle = await client.start_workflow(
        TwoWords.run, at_the_desk, id=f"bare/{new_id()}", task_queue=queue
    )
    polling = asyncio.create_task(_poll(client, at_the_desk))
    await asyncio.sleep(0.1)  # as our agent's, the poll waits before the job is there
    approved_at = time.perf_counter()
    await handle.execute_update(TwoWords.act)
    continued_at = time.perf_counter()
    await handle.execute_update(TwoWords.act)
    task, came_at = await polling
    timed.note(approved_at, continued_at, came_at)
    done = RespondActivityTaskCompletedRequest(
        task_token=task.task_token, namespace=client.namespace
    )
    await client.workflow_service.respond_activity_task_completed(done)
    await handle.result()


async def _poll(client: Client, queue: str) -> tuple[PollActivityTaskQueueResponse, float]:
    request = PollActivityTaskQueueRequest(
        namespace=client.namespace, task_queue=TaskQueue(name=queue), identity="bench"
    )
    timeout = timedelta(seconds=60)
    task = await client.workflow_service.poll_activity_task_queue(request, timeout=timeout)
    return task, time.perf_counter()


# Side by side


@dataclass(frozen=True)
class Bench:
    """Everything that runs while we measure."""

    cast: Cast
    card_id: str
    came: Came
    temporal: Client
    queue: str
    updates: int

    async def pairs(self) -> tuple[Timed, Timed]:
        """Return our times and the yardstick's, taken in turns."""
        ours, bare = Timed(), Timed()
        for number in range(self.updates + 1):
            await one_bare(self.temporal, self.queue, bare if number else Timed())
            await one_update(self.cast, self.card_id, self.came, ours if number else Timed())
        return ours, bare


async def measure(doors: Doors, *, quick: bool) -> list[Row]:
    """Measure with one workstation, then with a thousand."""
    queue, card, came = f"bare-{new_id()}", SoftCard("0123456789abcdef"), Came()
    (card_id,) = await asyncio.to_thread(registered, doors.cast, RULES, "bench", [card])
    desk = Desk(await enrolled(doors), card, came)
    temporal = await connect(doors.settings)
    await desk.report()
    alone = [await timed_report(desk) for _ in range(5 if quick else 30)]
    async with Worker(temporal, task_queue=queue, workflows=[TwoWords]), at_work(desk.run()):
        bench = Bench(doors.cast, card_id, came, temporal, queue, 2 if quick else 30)
        rows = rows_of("1 agent", *await bench.pairs())
        async with crowd_at(doors, 5 if quick else OTHERS) as crowd:
            await asyncio.sleep(1 if quick else 20)  # until all of them wait at the door
            await crowd.begin()
            rows += rows_of("1,000 agents", *await bench.pairs())
            noted = await crowd.end()
    return [
        *rows,
        Row("polls of these that were not served", len(noted.unserved), "",
            higher_is_better=False, reach=0),
        Row("reports of these that were answered meanwhile",
            len(noted.reports) / noted.seconds, "1/s"),
        Row("a report over HTTPS, p50", quantile(alone, 0.5) * 1000, "ms", "with 1,000 agents",
            quantile(noted.reports, 0.5) * 1000, higher_is_better=False),
    ]  # fmt: skip


async def timed_report(desk: Desk) -> float:
    """Return the seconds of one signed message to the agent door and its answer."""
    before = time.perf_counter()
    await desk.report()
    return time.perf_counter() - before


def rows_of(who: str, ours: Timed, bare: Timed) -> list[Row]:
    """Return the rows of one round."""
    rows = []
    for what, beside, mine, its in (
        ("last approval to job in hand", "bare: 2 updates, poll", ours.approval, bare.approval),
        ("of which from Continue", "bare: 1 update, poll", ours.click, bare.click),
        ("decision accepted", "raw execute_update", ours.answer, bare.answer),
    ):
        for name, share in (("p50", 0.5), ("p99", 0.99)):
            is_reached = mine is ours.approval and name == "p99"
            rows.append(
                Row(f"{what}, {who}, {name}", quantile(mine, share) * 1000, "ms", beside,
                    quantile(its, share) * 1000, higher_is_better=False,
                    reach=REACH_MS[who] if is_reached else None,
                    reach_ratio=0.5 if mine is ours.answer else None)
            )  # fmt: skip
    return rows


async def main() -> int:
    """Start everything, measure, show."""
    quick = is_quick()
    async with doors_open() as doors:
        rows = await measure(doors, quick=quick)
    show("handover", rows)
    return 0


if __name__ == "__main__":
    run_and_exit(main())
