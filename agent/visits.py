"""The agent's side of a visit: starts the process, hands it jobs, and ends it when it must end.

The process that serves the network never loads a module and never sees a PIN.
"""

from dataclasses import dataclass

from agent.children import Child
from agent.messages import Phase, Surroundings, job_message
from cardflow.errors import Refused
from cardflow.failpoints import effect
from cardflow.jobs import IssuedForm, Job, JobResult, Outcome
from cardflow.wire import from_json, to_json

SILENCE_SECONDS = 60
PROMPT_MARGIN_SECONDS = 30
_MAY_HAVE_CHANGED = "the card may have changed and is looked at before the next step"


@dataclass
class _Running:
    """One visit process."""

    visit_id: str
    child: Child
    phase: Phase = Phase.WORKING


class Visits:
    """At most one visit at a time; a held login waits for one more job of the same visit."""

    def __init__(self, *, silence_seconds: float = SILENCE_SECONDS) -> None:
        self._silence = silence_seconds
        self._running: _Running | None = None
        self.signed: tuple[str, ...] = ()  # the form that the last visit had the card sign

    async def run(
        self, job: Job, around: Surroundings, form: IssuedForm | None = None
    ) -> JobResult:
        """Return how the job ended; a visit that hangs or dies is a named outcome too."""
        self.signed = ()
        try:
            running = await self._for(job, around)
            if running is None:
                return _ended(job, Outcome.VISIT_OVER, "the visit is over: a new click is needed")
            with effect("agent.give_job"):
                await running.child.send(job_message(job, form))
            return await self._result(running, around)
        except TimeoutError:
            ended = self._broken_off(job, Outcome.PIN_TIMED_OUT, f"no answer for {self._silence} s")
        except (EOFError, ConnectionError):
            ended = self._broken_off(job, Outcome.PIN_CANCELLED, "the card process ended")
        except (ValueError, Refused):
            ended = self._broken_off(job, Outcome.CARD_FAILED, "the card process spoke nonsense")
        await self._kill()
        return ended

    def _broken_off(self, job: Job, while_asking: Outcome, why: str) -> JobResult:
        """Say how a visit ended that did not say it; before the login nothing has changed."""
        if self._running is not None and self._running.phase is Phase.WORKING:
            return _ended(job, Outcome.CARD_FAILED, f"{why}: {_MAY_HAVE_CHANGED}")
        return _ended(job, while_asking, why)

    def stop_asking(self) -> None:
        """End a visit that waits for a PIN; one that works on the card is left to finish."""
        if self._running is not None and self._running.phase is Phase.PROMPTING:
            self._running.child.kill()

    async def close(self) -> None:
        """Leave no visit process behind; card work under way is waited for, as long as it lives."""
        self.stop_asking()
        running, self._running = self._running, None
        if running is not None:
            await running.child.end(self._silence)

    async def _for(self, job: Job, around: Surroundings) -> _Running | None:
        """Return the process that holds the login, or a new one if the job may open a visit."""
        held = self._running
        if held is not None and held.child.has_ended:
            await self._kill()
        elif held is not None and held.visit_id == job.card.visit_id:
            return held
        if not job.card.opens_visit:
            return None
        await self.close()
        with effect("agent.start_visit"):
            child = await Child.start("agent.visit", to_json(around))
        self._running = _Running(job.card.visit_id, child)
        return self._running

    async def _result(self, running: _Running, around: Surroundings) -> JobResult:
        while True:
            message = await running.child.receive(self._patience(running.phase, around))
            if "phase" in message:
                running.phase = Phase(message["phase"])
                continue
            running.phase = Phase.WORKING
            result = from_json(JobResult, message.get("result"))
            self.signed = tuple(message.get("signed") or ())
            if message.get("holding") is not True:
                await self.close()
            return result

    def _patience(self, phase: Phase, around: Surroundings) -> float:
        if phase is Phase.PROMPTING:  # the last try is confirmed first, and that takes as long
            return 2 * around.prompt_seconds + PROMPT_MARGIN_SECONDS
        return self._silence

    async def _kill(self) -> None:
        running, self._running = self._running, None
        if running is not None:
            running.child.kill()
            await running.child.end(self._silence)


def _ended(job: Job, outcome: Outcome, message: str) -> JobResult:
    return JobResult(outcome, message, token_serial=job.card.token_serial)
