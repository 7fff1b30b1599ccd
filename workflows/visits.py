"""What happens at the card: one visit, from the click to the last read-back, under one PIN."""

from collections.abc import Callable
from datetime import timedelta
from typing import NoReturn, TypeVar

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError

with workflow.unsafe.imports_passed_through():
    from dataclasses import replace

    from activities.card import CardActivities
    from cardflow import lifecycle, proofs
    from cardflow.jobs import (
        OUTCOME_WORDS,
        CardJob,
        CertificateOrder,
        CleanUpJob,
        ClearJob,
        JobKind,
        JobResult,
        KeyOrder,
        Outcome,
        PrepareJob,
        SignJob,
        WriteJob,
        objects_to_remove,
    )
    from cardflow.model import (
        EventKind,
        FormToSign,
        Kind,
        Lane,
        LaneStage,
        MailKind,
        Mode,
        ObjectRef,
        Visit,
    )
    from cardflow.temporal import limits
    from workflows.case import Case
    from workflows.changes import goes_new_way

CALLED_OFF = "the update ended while the visit was running"
NO_ANSWER = "the agent did not finish in time; connect the card and continue"

J = TypeVar("J", PrepareJob, WriteJob, CleanUpJob, ClearJob, SignJob)


class VisitEnded(Exception):
    """The visit cannot go on; ``words`` say why."""

    def __init__(self, words: str, facts: dict[str, str] | None = None) -> None:
        super().__init__(words)
        self.words = words
        self.facts = facts or {}


class AtTheCard:
    """Carries out one visit: prepare, write, clean up or clear as the update needs it, or sign."""

    def __init__(self, case: Case, visit: Visit) -> None:
        self._case = case
        self._visit = visit
        self._jobs = 0
        self._login_held = False

    async def run(self) -> None:
        """Do what can be done now; whatever happens, the visit is over afterwards."""
        facts, words, lane = {"agent_id": self._visit.agent_id}, "", ""
        if form := self._visit.signs:
            lane, facts = form.lane, {**facts, "signs": form.kind.value, "sha256": form.sha256}
        actor = self._visit.started_by
        self._case.note(EventKind.VISIT_STARTED, lane=lane, actor=actor, facts=facts)
        facts = {**facts, "outcome": Outcome.DONE.value}
        try:
            await self._work()
        except VisitEnded as ended:
            words, facts = ended.words, {**facts, **ended.facts, "reason": ended.words}
        self._case.state = lifecycle.visit_over(self._case.state, words)
        self._case.note(EventKind.VISIT_ENDED, lane=lane, facts=facts)

    async def _work(self) -> None:
        if form := self._visit.signs:
            return await self._sign(form)
        if self._case.update.kind is Kind.CLEAR:
            return await self._clear()
        if self._lanes_in(LaneStage.PREPARING):
            await self._prepare()
        if lifecycle.is_ready(self._case.state):
            await self._write()
        if self._has_written or not self._case.state.lanes:
            await self._clean_up()
        return None

    @property
    def _has_written(self) -> bool:
        return bool(self._lanes_in(LaneStage.WRITTEN)) and not lifecycle.open_lanes(
            self._case.state
        )

    def _lanes_in(self, stage: LaneStage) -> list[Lane]:
        return [x for x in self._case.state.lanes if x.stage is stage and not x.attention]

    # Sign: the form alone; the document itself reaches the update as everybody's does

    async def _sign(self, form: FormToSign) -> None:
        job = SignJob(self._card(JobKind.SIGN_DOCUMENT, 0), form.title, form.sha256, form.signer)
        self._finish(await self._send(CardActivities.sign_document, job))

    # Prepare: new keys on the card, CSRs back

    async def _prepare(self) -> None:
        lanes = self._lanes_in(LaneStage.PREPARING)
        keys = tuple(
            KeyOrder(x.plan.lane, x.plan.cka_id, x.plan.key_type, x.plan.subject, x.plan.lane)
            for x in lanes
        )
        hold = self._visit.hold_seconds if self._nobody_is_waited_for else 0
        job = PrepareJob(self._card(JobKind.PREPARE, hold), self._case.state.debts, keys)
        result = await self._send(CardActivities.prepare, job)
        for lane in self._lanes_in(LaneStage.PREPARING):  # unless they ended with the answer
            self._accept_key(lane, result)
        self._finish(result)
        if hold:
            await self._settle()

    @property
    def _nobody_is_waited_for(self) -> bool:
        return all(
            x.plan.mode is Mode.NONE and not x.plan.needs_officer
            for x in lifecycle.open_lanes(self._case.state)
        )

    def _accept_key(self, lane: Lane, result: JobResult) -> None:
        key = next((key for key in result.keys if key.lane == lane.plan.lane), None)
        if key is None:
            return
        if found := proofs.key_objections(lane, key):
            raise VisitEnded("; ".join(found))
        spki = proofs.spki_of_csr(key.csr_pem)
        self._case.state = lifecycle.prepared(
            self._case.state, lane.plan.lane, csr_pem=key.csr_pem, spki_sha256=spki,
            now=self._case.now,
        )  # fmt: skip
        facts = {"csr_pem": key.csr_pem, "spki_sha256": spki, "cka_id": key.cka_id}
        self._case.note(EventKind.KEY_PREPARED, lane=lane.plan.lane, facts=facts)
        if self._case.lane(lane.plan.lane).stage is LaneStage.AWAITING_REQUEST_FORM:
            facts = {"form": "request_form"}
            self._case.note(
                EventKind.DOCUMENT_NEEDED, lane=lane.plan.lane, facts=facts,
                mail=MailKind.DOCUMENT_NEEDED,
            )  # fmt: skip

    async def _settle(self) -> None:
        """Wait until every lane is ready, closed or in trouble, or the card's login runs out."""

        def settled() -> bool:
            lanes = lifecycle.open_lanes(self._case.state)
            return all(x.stage is LaneStage.READY or x.attention for x in lanes)

        try:
            await workflow.wait_condition(
                lambda: settled() or self._case.state.ended is not None,
                timeout=timedelta(seconds=self._visit.hold_seconds * 0.8),
            )
        except TimeoutError:
            raise VisitEnded(
                "the certificates took longer than this visit; continue later"
            ) from None

    # Write: certificates on the card, read back and proven

    async def _write(self) -> None:
        if expired := self._expired():
            self._refuse_to_write(expired)
        self._case.state = replace(self._case.state, writing=True)
        lanes = self._lanes_in(LaneStage.READY)
        certificates = tuple(
            CertificateOrder(x.plan.lane, x.plan.cka_id, x.certificate_pem, x.plan.lane)
            for x in lanes
        )
        nonce = workflow.random().randbytes(32).hex()
        card = self._card(JobKind.WRITE, self._visit.hold_seconds)
        job = WriteJob(card, self._case.state.debts, certificates, nonce)
        result = await self._send(CardActivities.write, job)
        if self._case.state.lost:
            raise VisitEnded(CALLED_OFF)
        for lane in lanes:
            self._accept_proof(lane, result, nonce)
        if result.outcome in (Outcome.KEY_MISSING, Outcome.CERTIFICATE_MISMATCH):
            self._trouble(result)
        self._finish(result)

    def _expired(self) -> list[Lane]:
        """Return the lanes whose certificate nobody could use; older runs wrote it all the same."""
        ready, now = self._lanes_in(LaneStage.READY), self._case.now
        expired = [x for x in ready if x.not_after is not None and x.not_after <= now]
        is_new = bool(expired) and goes_new_way("no-expired-certificate-is-written")
        return expired if is_new else []

    def _refuse_to_write(self, expired: list[Lane]) -> NoReturn:
        for lane in expired:
            words = f"the certificate expired on {lane.not_after:%Y-%m-%d}, before it was written"
            self._note_trouble(lane.plan.lane, f"{words}. Cancel the update and start again.")
        raise VisitEnded("a certificate has expired while the update waited; ask your operator")

    def _accept_proof(self, lane: Lane, result: JobResult, nonce: str) -> None:
        name = lane.plan.lane
        proof = next((proof for proof in result.proofs if proof.lane == name), None)
        if proof is None:
            return
        serial = self._case.update.token_serial
        found = proofs.write_objections(lane, proof, nonce=nonce, token_serial=serial)
        if found:
            self._note_trouble(name, f"{'; '.join(found)}. Cancel the update and start again.")
            return
        self._case.state = lifecycle.written(self._case.state, name, self._case.now)
        facts = {
            "certificate_sha256": lane.certificate_sha256,
            "serial_number": lane.serial_number,
            "nonce": nonce,
            "signature": proof.signature,
            "token_serial": serial,
        }
        self._case.note(EventKind.WRITTEN, lane=name, facts=facts)

    def _trouble(self, result: JobResult) -> None:
        for lane in self._lanes_in(LaneStage.READY):
            words = result.message or OUTCOME_WORDS[result.outcome]
            self._note_trouble(lane.plan.lane, f"{words}. Cancel the update and start again.")

    def _note_trouble(self, name: str, attention: str) -> None:
        self._case.state = lifecycle.troubled(self._case.state, name, attention)
        facts = {"reason": attention}
        self._case.note(EventKind.NEEDS_ATTENTION, lane=name, facts=facts, mail=MailKind.ESCALATION)

    # Clean up: what was replaced goes, only now

    async def _clean_up(self) -> None:
        retire = lifecycle.to_retire(self._case.update, self._case.state)
        if not retire:
            return
        job = CleanUpJob(self._card(JobKind.CLEAN_UP, 0), retire)
        self._finish(await self._send(CardActivities.clean_up, job))

    async def _clear(self) -> None:
        objects = lifecycle.to_retire(self._case.update, self._case.state)
        job = ClearJob(self._card(JobKind.CLEAR, 0), objects)
        result = await self._send(CardActivities.clear, job)
        self._finish(result)
        self._case.note(EventKind.CARD_CLEARED, refs=result.removed)

    # One job

    def _card(self, kind: JobKind, hold_seconds: int) -> CardJob:
        self._jobs += 1
        update = self._case.update
        return CardJob(
            job_id=f"{self._visit.id}:{self._jobs}",
            kind=kind,
            update_id=update.update_id,
            card_id=update.card_id,
            token_serial=update.token_serial,
            visit_id=self._visit.id,
            code=self._visit.code,
            opens_visit=not self._login_held,
            hold_seconds=hold_seconds,
        )

    async def _send(self, activity: Callable[..., object], job: J) -> JobResult:
        """Have the agent do a job; the visit ends when nobody answers or it is called off."""
        seconds = self._visit.seconds if job.card.opens_visit else self._visit.hold_seconds * 2
        running = workflow.start_activity(
            job.card.kind.value,
            job,
            result_type=JobResult,
            task_queue=f"agent-{self._visit.agent_id}",
            schedule_to_close_timeout=timedelta(seconds=seconds),
            heartbeat_timeout=limits.SILENCE,
            retry_policy=RetryPolicy(maximum_interval=timedelta(seconds=5)),
            summary=f"{job.card.kind} on card {job.card.card_id}",
        )
        await workflow.wait_condition(lambda: running.done() or self._is_called_off)
        if not running.done():
            running.cancel()
            raise VisitEnded(CALLED_OFF)
        try:
            result: JobResult = await running
        except ActivityError as error:
            raise VisitEnded(NO_ANSWER, {"outcome": "no_answer"}) from error
        self._login_held = result.outcome is Outcome.DONE and job.card.hold_seconds > 0
        result = replace(result, removed=proofs.gone(objects_to_remove(job), result))
        self._note_removed(result.removed)
        return result

    @property
    def _is_called_off(self) -> bool:
        state = self._case.state
        return state.ended is not None and (state.lost or not state.writing)

    def _note_removed(self, removed: tuple[ObjectRef, ...]) -> None:
        debts = tuple(ref for ref in removed if ref in self._case.state.debts)
        retired = tuple(ref for ref in removed if ref not in debts)
        if removed:
            self._case.state = lifecycle.removed(self._case.state, removed)
        if debts:
            self._case.note(EventKind.DEBTS_PAID, refs=debts)
        if retired:
            self._case.note(EventKind.RETIRED, refs=retired)

    def _finish(self, result: JobResult) -> None:
        """Go on after DONE; anything else ends the visit as a named state."""
        if result.outcome is Outcome.DONE:
            return
        facts = {"outcome": result.outcome.value, "pin_flags": " ".join(result.pin_flags)}
        raise VisitEnded(result.message or OUTCOME_WORDS[result.outcome], facts)
