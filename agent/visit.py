"""One visit: a process of its own that asks for one PIN, logs in once, does the card work and ends.

Started afresh for each visit (never forked from a process that has loaded a module), with one
thread. The PIN exists here and nowhere else, and only until C_Login has returned.
"""

import signal
import socket
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from pkcs11 import PKCS11Error, Session

from agent.card import CardWork, check
from agent.drivers import CardFailure, FreeForm, Module, inventory
from agent.drivers.failures import named
from agent.journal import Journal
from agent.login import Login
from agent.memory import leave_no_dump
from agent.messages import Channel, Phase, Surroundings, read_job
from agent.pin import PinentryPrompt, Prompt, TerminalPrompt
from cardflow.errors import Refused
from cardflow.failpoints import effect
from cardflow.jobs import CardJob, IssuedForm, Job, JobResult, Outcome, in_pieces
from cardflow.wire import from_json, to_json

LONGEST_HOLD_SECONDS = 600


class Visit:
    """A sitting at the card: one token, one login, one job or a few of the same visit."""

    def __init__(self, around: Surroundings, channel: Channel) -> None:
        self._around = around
        self._channel = channel
        self._module: Module | None = None
        self._session: Session | None = None
        self._first: CardJob | None = None
        self.signed = b""

    def run(self, job: Job, form: IssuedForm | None = None) -> JobResult:
        """Return how the job ended; never raises for anything that a card or a person does."""
        done = JobResult(Outcome.DONE, token_serial=job.card.token_serial)
        work: CardWork | None = None
        try:
            check(job, form)
            session = self._logged_in(job)
            journal = Journal(Path(self._around.journal))
            work = CardWork(FreeForm(session), journal, self._working, done, form)
            work.carry_out(job)
            self.signed = work.signed
            return replace(work.result, inventory=inventory(session, logged_in=True))
        except CardFailure as failure:
            self._session = None
            return self._named(work.result if work else done, failure)

    def end(self) -> None:
        """Log out; a card that is gone cannot be logged out of."""
        if self._session is not None:
            with suppress(PKCS11Error):
                self._session.close()

    def _logged_in(self, job: Job) -> Session:
        """Return the visit's session; nothing of another visit or card rides on its login."""
        if self._module is None or self._session is None:
            self._module = Module(self._around.module_path)
            login = Login(self._module, self._prompt(), self._around.server, self._channel.phase)
            self._session = login.open(job)
            self._first = job.card
        elif not _same_visit(self._first, job.card):
            raise CardFailure(Outcome.VISIT_OVER, "the login belongs to another visit")
        self._working()
        with named():
            self._module.find(job.card.token_serial)
        return self._session

    def _working(self) -> None:
        self._channel.phase(Phase.WORKING)

    def _prompt(self) -> Prompt:
        if self._around.pinentry:
            return PinentryPrompt(self._around.pinentry, self._around.prompt_seconds)
        return TerminalPrompt(self._around.prompt_seconds)

    def _named(self, done: JobResult, failure: CardFailure) -> JobResult:
        """Name the failure after a look at the slots: many modules answer a missing card oddly.

        The module is started anew first. python-pkcs11 leaves the session of a failed login open,
        which would block whatever comes next; fresh flags need it as well.
        """
        outcome, message = failure.outcome, str(failure)
        flags: tuple[str, ...] = ()
        if self._module is not None:
            try:
                self._module.restart()
                flags = self._module.find(done.token_serial)[1].pin_flags()
            except (CardFailure, PKCS11Error) as gone:
                if failure.doubtful or outcome is Outcome.CARD_REMOVED:
                    outcome, message = _missing(gone)
        return replace(done, outcome=outcome, message=message, pin_flags=flags)


def serve(channel: Channel) -> None:
    """Carry out the jobs of one visit, as long as each asks for the login to be held."""
    visit = Visit(from_json(Surroundings, channel.receive(None)), channel)
    holding: float | None = None
    while (message := channel.receive(holding)) is not None:
        try:
            job = read_job(message.get("kind"), message.get("job"))
            form = from_json(IssuedForm, told) if (told := message.get("form")) else None
        except Refused as refused:
            channel.send({"result": to_json(JobResult(Outcome.CARD_FAILED, str(refused)))})
            break
        result = visit.run(job, form)
        holding = min(job.card.hold_seconds, LONGEST_HOLD_SECONDS)
        if result.outcome is not Outcome.DONE or holding <= 0:
            visit.end()
            signed = in_pieces(visit.signed)
            with effect("helper.answer"):
                channel.send({"result": to_json(result), "holding": False, "signed": signed})
            return
        with effect("helper.answer_and_hold"):
            channel.send({"result": to_json(result), "holding": True})
    visit.end()


def _same_visit(first: CardJob | None, job: CardJob) -> bool:
    return first is not None and (first.visit_id, first.token_serial) == (
        job.visit_id,
        job.token_serial,
    )


def _missing(gone: Exception) -> tuple[Outcome, str]:
    if isinstance(gone, CardFailure) and gone.outcome is Outcome.WRONG_CARD:
        return gone.outcome, "the card was taken out and another one put in"
    return Outcome.CARD_REMOVED, "the card was taken out"


def main() -> None:
    """Serve the line whose descriptor is the only argument.

    Ctrl-C and a service's stop reach this process too. A card is not left in the middle of a write,
    so both are the agent's business: it closes the line, or ends a visit that is still asking.
    """
    leave_no_dump()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with suppress(BrokenPipeError, ConnectionResetError):
        serve(Channel(socket.socket(fileno=int(sys.argv[1]))))


if __name__ == "__main__":
    main()
