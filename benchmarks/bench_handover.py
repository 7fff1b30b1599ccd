"""How soon the agent has its job after the last approval, on the product's own processes.

An operator approves the certificate form, the holder continues at once, and the workstation's long
poll returns the signed job to write. In the figure: two requests at the people's door, each action
signed, journalled and verified in the workflow, Temporal's queue, the agent door over TLS. Beside
it, on the same server: a bare workflow that takes two updates, starts an activity and has it polled
raw. Then once more while other workstations wait at the door and report what is in their readers.
"""

import asyncio
import ssl
import tempfile
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
from temporalio import workflow
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import (
    PollActivityTaskQueueRequest,
    PollActivityTaskQueueResponse,
    RespondActivityTaskCompletedRequest,
)
from temporalio.client import Client
from temporalio.worker import Worker

from benchmarks.table import Row, quantile, show
from cardflow.enrolment import fingerprint_words
from cardflow.jobs import WriteJob
from cardflow.model import LaneStage, Means, Stage, Verdict, new_id
from cardflow.settings import Settings
from cardflow.temporal.client import connect
from cardflow.temporal.ending import run_and_exit
from cli.demo_people import ADMIN, HOLDER, OPERATOR, Cast
from cli.demo_state import DemoState, fresh
from cli.demo_steps import UpdateRun
from cli.first_admin import make_first_admin
from cli.up import installation
from tests.api.workstation import SoftCard, Workstation

UPDATES, OTHERS = 40, 200
PRESENCE_EVERY = 15  # seconds, as the agent does
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
    """Seconds from the last approval, and from Continue, to the job in hand."""

    approval: list[float] = field(default_factory=list)
    click: list[float] = field(default_factory=list)


# The product


class Desk:
    """A workstation whose card does what jobs say, and that notes when a write job came."""

    def __init__(self, workstation: Workstation, card: SoftCard) -> None:
        self._workstation = workstation
        self._card = card
        self.came_at: asyncio.Future[float] = asyncio.get_running_loop().create_future()

    async def run(self) -> None:
        """Take and answer jobs until cancelled."""
        await self._workstation.report(self._card.report())
        while True:
            handed = await asked(self._workstation)
            if handed and handed.status_code == httpx2.codes.OK:
                await self._carry_out(handed.json(), time.perf_counter())

    async def _carry_out(self, handed: dict[str, str], now: float) -> None:
        job = self._workstation.read(handed["job"])
        if isinstance(job, WriteJob):
            self.came_at.set_result(now)
        result = self._card.carry_out(job)
        await self._workstation.report(self._card.report())
        await self._workstation.answer(handed["task"], result)


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


async def one_update(cast: Cast, card_id: str, desk: Desk, timed: Timed) -> None:
    """Run one update and note how long its job took to the workstation."""
    desk.came_at = asyncio.get_running_loop().create_future()
    run, digest = await asyncio.to_thread(form_is_here, cast, card_id)
    sent = await asyncio.to_thread(approve_and_continue, run, digest)
    came_at = await asyncio.wait_for(desk.came_at, 60)
    timed.approval.append(came_at - sent[0])
    timed.click.append(came_at - sent[1])
    await asyncio.to_thread(run.until_stage, Stage.COMPLETED)


def set_up(cast: Cast, card: SoftCard) -> str:
    """People, rules and a card are registered; return the card's id."""
    cast.register()
    admin = cast.api(ADMIN)
    admin.post_text("/policies", RULES, "application/toml")
    told = {"token_serial": card.token_serial, "holder_id": cast.person(HOLDER)["id"]}
    return str(admin.post("/cards", {**told, "policy_name": "bench"})["id"])


async def enrolled(client: httpx2.AsyncClient, cast: Cast, settings: Settings) -> Workstation:
    """Return a confirmed workstation of the holder's."""
    holder = cast.api(HOLDER)
    code = await asyncio.to_thread(holder.post, "/agents/codes")
    workstation = Workstation(client, settings.door_url)
    await workstation.enrol(code["code"])
    words = {"words": fingerprint_words(bytes.fromhex(workstation.public_key))}
    await asyncio.to_thread(holder.post, f"/agents/{workstation.agent_id}/confirm", words)
    return workstation


async def asked(workstation: Workstation) -> httpx2.Response | None:
    """Return the answer to a poll, or None when the connection broke: an agent asks again then."""
    try:
        return await workstation.poll()
    except httpx2.TransportError:
        return None


async def idle(workstation: Workstation, unserved: list[str]) -> None:
    """Wait for jobs that never come, until cancelled; note each poll that is not served."""
    while True:
        answer = await asked(workstation)
        if answer is None or answer.status_code != httpx2.codes.NO_CONTENT:
            unserved.append(answer.text if answer else "the connection broke")
            await asyncio.sleep(1)


async def present(workstations: list[Workstation]) -> None:
    """Report empty readers, one workstation after the other, until cancelled."""
    while True:
        for workstation in workstations:
            await asyncio.sleep(PRESENCE_EVERY / len(workstations))
            with suppress(httpx2.TransportError):
                await workstation.report()


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
    timed.approval.append(came_at - approved_at)
    timed.click.append(came_at - continued_at)
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
    desk: Desk
    temporal: Client
    queue: str

    async def pairs(self) -> tuple[Timed, Timed]:
        """Return our times and the yardstick's, taken in turns."""
        ours, bare = Timed(), Timed()
        for number in range(UPDATES + 1):
            await one_bare(self.temporal, self.queue, bare if number else Timed())
            await one_update(self.cast, self.card_id, self.desk, ours if number else Timed())
        return ours, bare


@asynccontextmanager
async def doors_open(state: DemoState) -> AsyncIterator[tuple[Cast, httpx2.AsyncClient]]:
    """Yield people who can sign in, and the workstations' way to the door, over TLS."""
    settings, cast = state.settings, Cast(state)
    async with installation(settings):
        await make_first_admin(settings, ADMIN, "Ada Holm", state.password(ADMIN))
        trust = ssl.create_default_context(cafile=settings.door_root_file)
        limits = httpx2.Limits(max_connections=None, max_keepalive_connections=None)
        async with httpx2.AsyncClient(
            verify=trust, base_url=settings.door_url, limits=limits, timeout=60, trust_env=False
        ) as client:
            yield cast, client
        cast.close()


@asynccontextmanager
async def at_work(*work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """What the workstations do goes on meanwhile; a workstation that fails ends it all."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(each) for each in work]
        yield
        for task in tasks:
            task.cancel()


async def measure(state: DemoState) -> list[Row]:
    """Measure with one workstation, then with many."""
    queue, card = f"bare-{new_id()}", SoftCard("0123456789abcdef")
    async with doors_open(state) as (cast, client):
        card_id = await asyncio.to_thread(set_up, cast, card)
        desk = Desk(await enrolled(client, cast, state.settings), card)
        temporal = await connect(state.settings)
        async with Worker(temporal, task_queue=queue, workflows=[TwoWords]), at_work(desk.run()):
            bench = Bench(cast, card_id, desk, temporal, queue)
            rows = rows_of("1 agent", *await bench.pairs())
            others = [await enrolled(client, cast, state.settings) for _ in range(OTHERS)]
            unserved: list[str] = []
            async with at_work(present(others), *(idle(other, unserved) for other in others)):
                rows += rows_of(f"{OTHERS} more agents", *await bench.pairs())
            rows.append(Row("polls of these that were not served", len(unserved), ""))
    return rows


def rows_of(who: str, ours: Timed, bare: Timed) -> list[Row]:
    """Return the rows of one round."""
    return [
        Row(f"{what}, {who}, {name}", quantile(mine, share) * 1000, "ms", beside,
            quantile(its, share) * 1000, higher_is_better=False)
        for what, beside, mine, its in (
            ("last approval to job in hand", "bare: 2 updates, poll", ours.approval, bare.approval),
            ("of which from Continue", "bare: 1 update, poll", ours.click, bare.click),
        )
        for name, share in (("p50", 0.5), ("p99", 0.99))
    ]  # fmt: skip


async def main() -> int:
    """Start everything in a directory of its own, measure, show."""
    with tempfile.TemporaryDirectory() as name:
        rows = await measure(fresh(Path(name) / "state"))
    show("handover", rows)
    return 0


if __name__ == "__main__":
    run_and_exit(main())
