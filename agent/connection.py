"""The agent at work: reports its cards, takes one job at a time, and answers until it was heard."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from random import SystemRandom
from typing import TypeVar
from urllib.parse import quote

from agent.door import PATIENCE_SECONDS, Answer, Door
from agent.job_tokens import StrangersJob, verified_job
from agent.keys import Keys
from agent.messages import Surroundings
from agent.readers import Readers
from agent.visits import Visits
from cardflow.errors import CardflowError, Refused, Unavailable
from cardflow.jobs import (
    InspectJob,
    IssuedForm,
    Job,
    JobResult,
    Outcome,
    SignedForm,
    SignJob,
)
from cardflow.wire import from_json, to_json

WAIT_SECONDS = 50  # shorter than what lies between forgets an idle connection
REPORT_EVERY_SECONDS = 20
HEARTBEAT_EVERY_SECONDS = 5
UNCONFIRMED_EVERY_SECONDS = 2
LONGEST_BACKOFF_SECONDS = 30
GRACE_SECONDS = 75  # longer than a card may stay silent
INTAKE_SECONDS = 60.0
STRANGE, FOREIGN, CONFLICT, GONE, UNREADABLE, TOO_OLD = 401, 403, 409, 410, (413, 422), 426
NO = (FOREIGN, 404, CONFLICT, GONE, *UNREADABLE)

log = logging.getLogger(__name__)
T = TypeVar("T")
_chance = SystemRandom()


class ShutOut(CardflowError):
    """The server does not take this agent any more: a person has to act."""


class Connection:
    """One enrolled agent and its server."""

    def __init__(
        self,
        door: Door,
        keys: Keys,
        readers: Readers,
        visits: Visits,
        surroundings: Callable[[str], Surroundings],
    ) -> None:
        self._door = door
        self._keys = keys
        self._readers = readers
        self._visits = visits
        self._surroundings = surroundings  # of a visit, by the path of its module

    async def run(self, stop: asyncio.Event) -> None:
        """Work until told to stop; card work under way is finished and answered first."""
        await self._keys.finish_renewal()
        watching = asyncio.ensure_future(self._readers.watch())
        reporting = asyncio.ensure_future(self._report_presence())
        working = asyncio.ensure_future(self._take_jobs(stop))
        stopped = asyncio.ensure_future(stop.wait())
        tasks = (watching, reporting, working, stopped)
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if stop.is_set():
                await self._wind_down(working)
        finally:
            for task in tasks:
                task.cancel()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
            await self._visits.close()
            await self._readers.close()
        for outcome in ended:
            if isinstance(outcome, Exception):
                raise outcome

    async def _wind_down(self, working: asyncio.Future[None]) -> None:
        for _ in range(GRACE_SECONDS):
            self._visits.stop_asking()
            if (await asyncio.wait((working,), timeout=1))[0]:
                return

    # Presence

    async def _report_presence(self) -> None:
        while True:
            self._readers.changed.clear()
            await self._until_heard("PUT", "/agent/v1/presence", self._presence)
            with suppress(TimeoutError):
                async with asyncio.timeout(REPORT_EVERY_SECONDS):
                    await self._readers.changed.wait()

    def _presence(self) -> dict[str, object]:
        return {"tokens": to_json(self._readers.tokens)}

    # Jobs

    async def _take_jobs(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            if self._door.key_is_due:
                await self._keys.try_to_renew()
            answer = await _unless(
                stop,
                self._until_heard(
                    "GET", poll_path(), lambda: None, patience=WAIT_SECONDS + PATIENCE_SECONDS
                ),
            )
            if answer is not None and answer.body:
                await self._take(str(answer.body.get("job")), str(answer.body.get("task")))

    async def _take(self, token: str, task: str) -> None:
        """Carry a job out and answer it; one that is not believed is answered with the reason."""
        try:
            job = await self._believed(token)
        except Refused as refused:
            log.warning("a job was refused: %s", refused)
            await self._answer(task, JobResult(Outcome.CARD_FAILED, f"job refused: {refused}"))
            return
        except Unavailable as unavailable:
            # Nobody could say whether the key was followed: unanswered, the job comes again.
            log.warning("a job is left for later: %s", unavailable)
            return
        log.info("job %s: %s", job.card.job_id, job.card.kind)
        beating = asyncio.ensure_future(self._keep_alive(task))
        try:
            result = await self._carry_out(job, task)
        finally:
            beating.cancel()
        log.info("job %s: %s", job.card.job_id, result.outcome)
        await self._answer(task, result)

    async def _believed(self, token: str) -> Job:
        """Return the job; the pinned key may have named the one that signed it."""
        try:
            return verified_job(token, self._keys.enrolment, now=self._door.now())
        except StrangersJob:
            if not await self._keys.follow_job_key():
                raise
            return verified_job(token, self._keys.enrolment, now=self._door.now())

    async def _carry_out(self, job: Job, task: str) -> JobResult:
        serial = job.card.token_serial
        if isinstance(job, InspectJob) or self._readers.module_with(serial) is None:
            await self._readers.look(thorough=True)
        module = self._readers.module_with(serial)
        if module is None:
            return self._no_such_card(serial)
        if isinstance(job, InspectJob):
            (token,) = (t for t in self._readers.tokens if t.token_serial == serial)
            return JobResult(Outcome.DONE, token_serial=serial, inventory=token.inventory)
        if isinstance(job, SignJob):
            return await self._sign(job, task, self._surroundings(module.path))
        async with self._readers.at_work():
            return await self._visits.run(job, self._surroundings(module.path))

    async def _sign(self, job: SignJob, task: str, around: Surroundings) -> JobResult:
        """Fetch the form, have the card sign it, hand it in; the server's no is the outcome."""
        fetched = await self._until_heard(
            "GET", f"/agent/v1/form?task={quote(task)}", lambda: None, final=NO
        )
        if not fetched.ok:
            return _refused(job, fetched.detail)
        try:
            form = from_json(IssuedForm, fetched.body)
        except Refused as refused:
            return _refused(job, f"the form cannot be read: {refused}")
        async with self._readers.at_work():
            result = await self._visits.run(job, around, form)
        return await self._hand_in(job, task, result)

    async def _hand_in(self, job: SignJob, task: str, result: JobResult) -> JobResult:
        if result.outcome is not Outcome.DONE:
            return result
        signed = to_json(SignedForm(task, self._visits.signed))
        answer = await self._until_heard(
            "POST", "/agent/v1/form", lambda: signed, patience=INTAKE_SECONDS, final=NO
        )
        return result if answer.ok else _refused(job, answer.detail)

    def _no_such_card(self, serial: str) -> JobResult:
        if self._readers.tokens:
            message = "another card is in the reader"
            return JobResult(Outcome.WRONG_CARD, message, token_serial=serial)
        return JobResult(Outcome.CARD_ABSENT, "no card is in the reader", token_serial=serial)

    async def _keep_alive(self, task: str) -> None:
        """Tell the server that the job goes on; when nobody waits for it, do not ask for a PIN."""
        while True:
            await asyncio.sleep(HEARTBEAT_EVERY_SECONDS)
            try:
                answer = await self._door.send("POST", "/agent/v1/heartbeats", {"task": task})
            except Unavailable:
                continue
            if answer.status == GONE or answer.body.get("cancelled") is True:
                self._visits.stop_asking()

    async def _answer(self, task: str, result: JobResult) -> None:
        """Send the result until it was taken or nobody waits for it any more."""
        message = {"task": task, "result": to_json(result)}
        answer = await self._until_heard(
            "POST",
            "/agent/v1/results",
            lambda: message,
            final=(*UNREADABLE, GONE, CONFLICT, FOREIGN),
        )
        if answer.status in UNREADABLE and result.outcome is not Outcome.CARD_FAILED:
            reason = f"the server could not read the result: {answer.detail}"
            await self._answer(task, JobResult(Outcome.CARD_FAILED, reason))
        elif not answer.ok:
            log.info("the result was not wanted: %s", answer.detail)

    # The server

    async def _until_heard(
        self,
        method: str,
        path: str,
        message: Callable[[], object],
        *,
        patience: float = PATIENCE_SECONDS,
        final: Collection[int] = (),
    ) -> Answer:
        """Return a success or one of the ``final`` answers, however long that takes."""
        failures = 0
        while True:
            try:
                answer = await self._door.send(method, path, message(), patience=patience)
                if answer.ok or answer.status in final:
                    return answer
                _refuse_for_good(answer)
                if await self._has_another_key(answer):
                    continue
                if answer.problem == "agent-not-confirmed":
                    log.info("%s", answer.detail)
                    await asyncio.sleep(UNCONFIRMED_EVERY_SECONDS)
                    continue
                trouble = answer.detail
            except Unavailable as unavailable:
                trouble = str(unavailable)
            failures += 1
            log.warning("%s; trying again", trouble)
            await asyncio.sleep(pause(failures))

    async def _has_another_key(self, answer: Answer) -> bool:
        """Tell whether it is worth asking again at once, under the key that counts now."""
        if answer.problem == "agent-key-expired":
            return await self._keys.try_to_renew()
        if answer.status != STRANGE:
            return False
        return self._keys.changed_on_disk() or await self._keys.finish_renewal()


def _refused(job: SignJob, why: str) -> JobResult:
    return JobResult(Outcome.DOCUMENT_REFUSED, why, token_serial=job.card.token_serial)


def poll_path() -> str:
    """Return where to wait for a job, and how long: never in step with other workstations."""
    return f"/agent/v1/jobs?wait={round(WAIT_SECONDS * _chance.uniform(0.8, 1))}"


def pause(failures: int) -> float:
    """Return how long to wait: longer each time, and never in step with other workstations."""
    longest = min(LONGEST_BACKOFF_SECONDS, 2.0 ** min(failures, 10) / 2)
    return longest * _chance.uniform(0.5, 1.0)


def _refuse_for_good(answer: Answer) -> None:
    if answer.problem == "agent-revoked" or answer.status == TOO_OLD:
        raise ShutOut(answer.detail)


async def _unless(stop: asyncio.Event, work: Awaitable[T]) -> T | None:
    """Return what the work returns, or None when told to stop before."""
    stopped = asyncio.ensure_future(stop.wait())
    working = asyncio.ensure_future(work)
    try:
        await asyncio.wait((stopped, working), return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else None
    finally:
        stopped.cancel()
        working.cancel()
