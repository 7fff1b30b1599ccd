"""A whole installation whose parts can be lost: server, worker, CA and database are real."""

import asyncio
import json
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from google.protobuf.duration_pb2 import Duration
from sqlalchemy import make_url
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import ResetReapplyExcludeType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest
from temporalio.api.workflowservice.v1 import (
    DeleteWorkflowExecutionRequest,
    RegisterNamespaceRequest,
    ResetWorkflowExecutionRequest,
)
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.service import RPCError
from temporalio.worker import Worker

from cardflow.db.tables import Document, JournalAnswer, JournalEntry, Update
from cardflow.model import (
    Act,
    DocumentKind,
    LaneStage,
    Mode,
    PolicyProfile,
    Reply,
    Role,
    Stage,
    UpdateView,
    Verdict,
    new_id,
)
from cardflow.settings import Settings
from cardflow.sql import create_engine, insert_once, sessions_of, transaction
from cardflow.stores import store_of
from cardflow.temporal.client import connect, runtime
from cardflow.temporal.devserver import has_workers, is_ready, server_command
from cardflow.temporal.search_attributes import SEARCH_ATTRIBUTES
from cardflow.wire import to_json
from cli.reconcile import differences
from cli.up import prepare
from tests import build
from tests.activities.conftest import Catcher
from tests.activities.installation import Installation, ada
from tests.db.rows import a_card, a_person, found, store
from tests.fakes import FakeAgent
from tests.waiting import until
from worker import build_ca, build_worker
from workflows.card_update import ACT, CA_ANSWERED, CardUpdate, workflow_id

OFFICERS_PROFILE, PLAIN_PROFILE = "smart-card-logon", "tls-client"
A_PDF = b"%PDF-1.7 signed by hand"
NOTHING_AGAIN = (
    ResetReapplyExcludeType.RESET_REAPPLY_EXCLUDE_TYPE_SIGNAL,
    ResetReapplyExcludeType.RESET_REAPPLY_EXCLUDE_TYPE_UPDATE,
)


class One(Installation):
    """One update, and whatever people do to it next; what they say is journalled as by the API."""

    async def act(self, action):
        """Journal the action, send it, journal the answer."""
        token = self.signer.sign(action)
        await self.journal(action, token)
        reply = await self.handle.execute_update(ACT, token, id=action.id, result_type=Reply)
        await self.answered(action, reply)

    async def journal(self, action, token):
        """Leave the action in the journal."""
        entry = JournalEntry(
            action_id=action.id, update_id=action.update_id, token=token, recorded_at=action.at
        )
        await store(self.sessions, entry)

    async def answered(self, action, reply):
        """Leave the yes in the journal, unless the update's end has left it there."""
        answer = json.dumps(to_json(reply))
        row = {
            "action_id": action.id, "accepted": True, "answer": answer, "recorded_at": action.at,
        }  # fmt: skip
        async with transaction(self.sessions) as session:
            await session.execute(insert_once(session, JournalAnswer).values(row))

    async def hand_in(self, kind):
        """Let the holder hand in a form that is in the store."""
        view = await self._until(lambda view: self.first_open(view).stage == f"awaiting_{kind}")
        lane = self.first_open(view).plan.lane
        stored = await store_of(self.settings).put(A_PDF, limit=1_000)
        action = build.handing_in(self.update, lane, kind)
        document = replace(action.document, sha256=stored.sha256)
        await store(self.sessions, self.document(document, lane, stored.size))
        await self.act(replace(action, document=document))

    def document(self, ref, lane, size):
        """Return the row that intake leaves."""
        return Document(
            id=ref.id, update_id=self.update.update_id, lane=lane, kind=ref.kind,
            direction="received", state="checking", sha256=ref.sha256, size=size,
            media_type="application/pdf", submitted_by=build.HOLDER, created_at=datetime.now(UTC),
        )  # fmt: skip

    @staticmethod
    def first_open(view: UpdateView):
        """Return the first lane that is not ready."""
        lanes = [lane for lane in view.state.lanes if lane.stage is not LaneStage.READY]
        return (lanes or view.state.lanes)[0]

    async def step(self, seen: UpdateView | None = None) -> bool:
        """Do what the update waits for, or waited for when it was seen; False once it has ended."""
        if (await self.handle.describe()).status is not WorkflowExecutionStatus.RUNNING:
            return False
        view = seen or await self.view()
        lane = self.first_open(view)
        match lane.stage:
            case LaneStage.PREPARING | LaneStage.READY if view.state.visit is None:
                await self.visit()
            case LaneStage.AWAITING_REQUEST_FORM:
                await self.hand_in(DocumentKind.REQUEST_FORM)
            case LaneStage.AWAITING_CERTIFICATE_FORM:
                await self.hand_in(DocumentKind.CERTIFICATE_FORM)
            case LaneStage.CHECKING_REQUEST_FORM | LaneStage.CHECKING_CERTIFICATE_FORM:
                await self.decide_on(lane.plan.lane)
            case LaneStage.AT_CA if lane.ca_handle:
                await self.officer_decides(lane)
            case _:
                await asyncio.sleep(0.05)
        return True

    async def visit(self):
        """Let the holder continue; the update may end with the visit."""
        await self.act(build.continuing(self.update))
        await self._until(lambda view: view.state.visit is None or view.state.ended)

    async def decide_on(self, lane):
        """Let the operator approve the document under check."""
        view = await self.view()
        await self.act(build.deciding(self.update, view, lane, Verdict.APPROVE))

    async def officer_decides(self, lane):
        """Let the officer approve, once, and nudge."""
        await self.officer_approves(lane.ca_handle)
        await self.handle.signal(CA_ANSWERED, lane.plan.lane)
        await self._until(lambda view: self.lane_in(view, lane).stage is not LaneStage.AT_CA)

    async def officer_approves(self, name: str) -> None:
        """Let the officer approve the request at the CA, once."""
        facts = await self.ca.request(name)
        if facts.state == "pending":
            action = build.an_action(
                self.update, Act.DECIDE_REQUEST, build.OFFICER, Role.OFFICER,
                verdict=Verdict.APPROVE, digest=facts.digest,
            )  # fmt: skip
            token = self.signer.sign(action)
            said = (facts.request_id, build.OFFICER, Verdict.APPROVE, "", facts.digest)
            await self.ca.decide(*said, token=token)

    @staticmethod
    def lane_in(view, lane):
        return next(x for x in view.state.lanes if x.plan.lane == lane.plan.lane)

    async def to_the_end(self) -> Stage:
        """Do whatever the update waits for until it has ended; return how."""
        while await self.step():
            pass
        return await self.handle.result()


class House:
    """Starts, kills and forgets the engine; opens updates that stand where a test wants them."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.agent = FakeAgent()
        self._stack = AsyncExitStack()
        self._server = None
        self._cards = 0

    async def begin(self) -> None:
        """Make the state directory, start everything."""
        await prepare(self.settings)
        await self.open_database()
        await store(self.sessions, ada(), a_person(build.OPERATOR, [Role.OPERATOR]))
        await self.serve()

    async def open_database(self) -> None:
        """Connect to the database as it is now."""
        self.engine = create_engine(self.settings.database_url)
        self.ca = build_ca(self.settings, self.engine)

    async def close_database(self) -> None:
        """Let go of the database, so that its file can be swapped."""
        self.ca.close()
        await self.engine.dispose()

    @property
    def sessions(self):
        """What opens sessions on the database."""
        return sessions_of(self.engine)

    async def serve(self) -> None:
        """Start Temporal on its file, and the worker."""
        command = server_command(self.settings, self.temporal_file)
        self._server = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
        )
        await until(lambda: is_ready(self.settings), what="Temporal")
        self.client = await connect(self.settings)
        await self.work()

    async def work(self) -> None:
        """Start the worker, and the agent's stand-in."""
        card_jobs = [self.agent.prepare, self.agent.write, self.agent.clean_up]
        worker = build_worker(self.client, self.settings, self.engine, self.ca)
        await self._stack.enter_async_context(worker)
        queue = f"agent-{build.AGENT}"
        await self._stack.enter_async_context(
            Worker(self.client, task_queue=queue, activities=card_jobs)
        )
        await until(lambda: has_workers(self.settings), what="the worker")

    async def rest(self) -> None:
        """Stop the worker."""
        await self._stack.aclose()

    @property
    def temporal_file(self):
        """Where Temporal keeps everything."""
        return self.settings.state_dir / "temporal.db"

    async def kill_engine(self) -> None:
        """Stop the worker, and kill the server."""
        await self.rest()
        with suppress(ProcessLookupError):  # a test that failed may have killed it before
            self._server.kill()
        await self._server.wait()

    async def lose_engine(self) -> None:
        """Kill the server, delete what it kept, start an empty one."""
        await self.kill_engine()
        for file in self.settings.state_dir.glob("temporal.db*"):
            file.unlink()
        await self.serve()

    async def end(self) -> None:
        """Leave nothing running."""
        await self.kill_engine()
        await self.close_database()

    async def an_update(self, *entries) -> One:
        """Open an update on a new card."""
        self._cards += 1
        one = One(self.settings, self.engine, self.ca, self.client)
        policy = build.a_policy(*entries, notifications=())
        one.update = one.an_update(policy, token_serial=f"{self._cards:016x}")
        one.handle = await one.begin(one.update)
        await until(
            lambda: found(self.sessions, Update, id=one.update.update_id), what="the record"
        )
        return one

    async def at(self, stage: LaneStage, *entries) -> One:
        """Return an update whose first lane stands at the stage, on record."""
        one = await self.an_update(*entries)
        while (view := await one.view()).state.lanes[0].stage is not stage:
            assert await one.step(view), "it has ended before"
        await self.publication(one)
        return one

    async def publication(self, one: One) -> None:
        """Wait until everything that happened is on record."""
        await until(lambda: self._published(one), what="the publication")

    async def _published(self, one: One) -> bool:
        (row,) = await found(self.sessions, Update, id=one.update.update_id)
        return row.events == (await one.view()).state.events

    async def register_again(self, *updates: One) -> None:
        """Leave the cards of updates in a register that does not know them."""
        await store(self.sessions, *(a_card(one.update) for one in updates))

    def again(self, one: One) -> One:
        """Return the same update as it is reached now."""
        fresh = One(self.settings, self.engine, self.ca, self.client)
        fresh.update = one.update
        name = workflow_id(one.update.card_id)
        fresh.handle = self.client.get_workflow_handle_for(CardUpdate.run, name)
        return fresh

    async def reconcile(self, *, apply: bool = False):
        """Return what the command finds."""
        return await differences(self.settings, apply=apply)


class Lodger(House):
    """An installation without a server of its own: it has a namespace on one that others use."""

    def __init__(self, settings: Settings, catcher: Catcher) -> None:
        super().__init__(settings)
        self.catcher = catcher
        self._left: list[tuple[One, tuple[PolicyProfile, ...]]] = []

    async def serve(self) -> None:
        """Have a namespace, and start the worker."""
        await self._register()
        self.client = await connect(self.settings)
        await self.work()

    async def _register(self) -> None:
        name, keep = self.settings.temporal_namespace, Duration(seconds=86_400)
        there = await Client.connect(self.settings.temporal_address, runtime=runtime())
        await there.workflow_service.register_namespace(
            RegisterNamespaceRequest(namespace=name, workflow_execution_retention_period=keep)
        )
        attributes = {key.name: key.indexed_value_type.value for key in SEARCH_ATTRIBUTES}
        await there.operator_service.add_search_attributes(
            AddSearchAttributesRequest(namespace=name, search_attributes=attributes)
        )

    async def end(self) -> None:
        """Leave nothing running."""
        await self.rest()
        await self.close_database()

    async def standing(self, stage: LaneStage, *entries: PolicyProfile) -> One:
        """Return an open update whose first lane stands there: what a test left, or a new one."""
        for left in [one for one, had in self._left if had == entries]:
            if await self.stands(one := self.again(left), stage):
                return one
        return await self.at(stage, *entries)

    async def at(self, stage: LaneStage, *entries: PolicyProfile) -> One:
        """Return a new update whose first lane stands at the stage, and keep it in mind."""
        one = await super().at(stage, *entries)
        self._left.append((one, entries))
        return one

    async def stands(self, one: One, stage: LaneStage) -> bool:
        """Tell whether the update is open and its first lane stands there, also on record."""
        if (await one.handle.describe()).status is not WorkflowExecutionStatus.RUNNING:
            return False
        await self.publication(one)
        return (await one.view()).state.lanes[0].stage is stage

    # What can happen to its parts

    async def database_is_copied(self) -> bytes:
        """Return the database's file, as a backup has it."""
        await self._nobody_writes()
        return self._database_file.read_bytes()

    async def database_is_restored(self, copy: bytes) -> None:
        """Leave the database as it was then."""
        await self._nobody_writes()
        for file in self.settings.state_dir.glob(f"{self._database_file.name}-*"):
            file.unlink()
        self._database_file.write_bytes(copy)

    async def _nobody_writes(self) -> None:
        """Return when what follows the end of updates is done, and no connection is left."""
        afterwork = 'WorkflowType = "Afterwork" AND ExecutionStatus = "Running"'
        await until(lambda: self._count(afterwork), lambda left: not left, what="all afterwork")
        await self.engine.dispose()

    @property
    def _database_file(self) -> Path:
        return Path(str(make_url(self.settings.database_url).database))

    async def workflow_is_lost(self, one: One) -> None:
        """Leave nothing of the update's workflow in Temporal."""
        name = workflow_id(one.update.card_id)
        await self.client.workflow_service.delete_workflow_execution(
            DeleteWorkflowExecutionRequest(
                namespace=self.client.namespace,
                workflow_execution=WorkflowExecution(workflow_id=name),
            )
        )
        await until(lambda: self.is_forgotten(name), what="the deletion")

    async def is_forgotten(self, name: str) -> bool:
        """Tell whether Temporal knows no run of the workflow."""
        listed = [run async for run in self.client.list_workflows(f'WorkflowId = "{name}"')]
        try:
            await self.client.get_workflow_handle(name).describe()
        except RPCError:
            return not listed
        return False

    async def workflow_goes_back(self, one: One) -> None:
        """Leave the update's workflow as it was before it took the last action."""
        name = workflow_id(one.update.card_id)
        history = await self.client.get_workflow_handle(name).fetch_history()
        for event in history.events:
            if event.HasField("workflow_task_completed_event_attributes"):
                task = event.event_id
            if event.HasField("workflow_execution_update_accepted_event_attributes"):
                took = task
        await self.client.workflow_service.reset_workflow_execution(
            ResetWorkflowExecutionRequest(
                namespace=self.client.namespace,
                workflow_execution=WorkflowExecution(workflow_id=name),
                reason="Temporal's store was restored from an older copy",
                workflow_task_finish_event_id=took,
                request_id=new_id(),
                reset_reapply_exclude_types=NOTHING_AGAIN,
            )
        )
        runs = f'WorkflowId = "{name}" AND ExecutionStatus = "Running"'
        await until(lambda: self._count(runs), what="the older workflow")

    async def _count(self, query: str) -> int:
        return (await self.client.count_workflows(query)).count


def an_entry(mode: Mode = Mode.NONE, *, officer: bool = False, **changes):
    """Return a policy's entry for a profile that needs an officer, or none."""
    return build.an_entry(OFFICERS_PROFILE if officer else PLAIN_PROFILE, mode, **changes)
