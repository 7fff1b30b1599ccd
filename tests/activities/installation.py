"""A whole installation with the worker as it is built; only the agent is a stand-in."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from temporalio.client import WorkflowHandle

from cardflow import decisions, policy
from cardflow.db.ca_record import subject_of
from cardflow.decision_root import read_decision_root
from cardflow.model import (
    Act,
    Action,
    DocumentKind,
    Kind,
    Policy,
    Role,
    Stage,
    UpdateInput,
    UpdateView,
    Verdict,
    new_id,
)
from cardflow.profiles import load_profiles
from cardflow.sql import sessions_of
from cardflow.x509 import subject_dn
from tests import build
from tests.db.rows import a_card, a_person, store
from tests.waiting import until
from workflows.card_update import ACT, CA_ANSWERED, CardUpdate, workflow_id


def ada():
    """Return the holder's row; her name is in every certificate."""
    return a_person(build.HOLDER, [Role.HOLDER], name="Ada Löwe", upn="ada@example.org")


class Installation:
    """One update at a time, and short ways to do what people do to it."""

    def __init__(self, settings, engine, ca, client):
        self.settings = settings
        self.sessions = sessions_of(engine)
        self.ca = ca
        self.client = client
        key = load_pem_private_key(settings.decision_key_file.read_bytes(), None)
        pem = settings.decision_certificate_file.read_bytes()
        self.signer = decisions.Signer(key, x509.load_pem_x509_certificate(pem))

    def an_update(self, of: Policy, token_serial: str = build.SERIAL) -> UpdateInput:
        """Return a signed update under the policy, with nothing on the card yet."""
        profiles = load_profiles()
        subjects = {name: subject_dn(subject_of(ada()), p) for name, p in profiles.items()}
        update_id, now = new_id(), datetime.now(UTC)
        situation = policy.Situation(update_id, [], subjects, now)
        update = UpdateInput(
            update_id=update_id,
            kind=Kind.UPDATE,
            card_id=new_id(),
            token_serial=token_serial,
            token_label="Ada's card",
            holder_id=build.HOLDER,
            started_by=build.HOLDER,
            opened_at=now,
            policy=of,
            plan=policy.make_plan(of, profiles, situation, policy.Selection()),
            decision_root=read_decision_root(self.settings.decision_root_file),
        )
        action = Action(
            id=update_id,
            act=Act.OPEN,
            update_id=update_id,
            actor=build.HOLDER,
            role=Role.HOLDER,
            at=now,
            digest=decisions.opening_digest(update),
        )
        return replace(update, token=self.signer.sign(action))

    async def start(self, update: UpdateInput) -> None:
        """Register the people and the card, and start the workflow."""
        operator = a_person(build.OPERATOR, [Role.OPERATOR])
        await store(self.sessions, ada(), operator)
        self.update = update
        self.handle = await self.begin(update)

    async def begin(self, update: UpdateInput) -> WorkflowHandle[Any, Stage]:
        """Register the card, and start the workflow; the people are there."""
        await store(self.sessions, a_card(update))
        return await self.client.start_workflow(
            CardUpdate.run,
            update,
            id=workflow_id(update.card_id),
            task_queue=self.settings.temporal_task_queue,
        )

    async def view(self) -> UpdateView:
        """Return what the update says of itself."""
        return await self.handle.query(CardUpdate.view)

    async def act(self, action: Action) -> None:
        """Send a signed action."""
        await self.handle.execute_update(ACT, self.signer.sign(action))

    async def visit(self) -> None:
        """Let the holder continue, and return when the visit is over."""
        await self.act(build.continuing(self.update))
        await self._until(lambda view: view.state.visit is None)

    async def hand_in(self, kind: DocumentKind) -> None:
        """Let the holder hand in a form as soon as it is awaited."""
        view = await self._until(lambda view: view.state.lanes[0].stage == f"awaiting_{kind}")
        await self.act(build.handing_in(self.update, view.state.lanes[0].plan.lane, kind))

    async def decide(self, verdict: Verdict, reason: str = "") -> None:
        """Let the operator decide on the document under check."""
        view = await self.view()
        lane = view.state.lanes[0].plan.lane
        await self.act(build.deciding(self.update, view, lane, verdict, reason=reason))

    async def officer_says(self, verdict: Verdict, reason: str = "") -> None:
        """Let an officer decide at the CA, and nudge the workflow."""
        view = await self._until(lambda view: view.state.lanes[0].ca_handle)
        lane = view.state.lanes[0]
        facts = await self.ca.request(lane.ca_handle)
        action = build.an_action(
            self.update, Act.DECIDE_REQUEST, build.OFFICER, Role.OFFICER,
            verdict=verdict, digest=facts.digest, reason=reason,
        )  # fmt: skip
        token = self.signer.sign(action)
        await self.ca.decide(
            facts.request_id, build.OFFICER, verdict, reason, facts.digest, token=token
        )
        await self.handle.signal(CA_ANSWERED, lane.plan.lane)

    async def until_stage(self, stage: Stage) -> None:
        """Return when the update stands at the stage."""
        await self._until(lambda view: view.stage is stage)

    async def _until(self, reached):
        return await until(self.view, reached, what="the update")
