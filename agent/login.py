"""Asking for the PIN and logging in: once per visit, and never a second time with the same PIN."""

from collections.abc import Callable

from pkcs11 import PROTECTED_AUTH, Session

from agent.drivers import CardFailure, Module, TokenFacts, unsupported
from agent.drivers.failures import named
from agent.memory import Pin
from agent.messages import Phase
from agent.pin import Prompt, Question, warning_for
from agent.purposes import purpose
from cardflow.failpoints import effect
from cardflow.jobs import Job, Outcome


class Login:
    """How a visit gets its session."""

    def __init__(
        self, module: Module, prompt: Prompt, server: str, phase: Callable[[Phase], None]
    ) -> None:
        self._module = module
        self._prompt = prompt
        self._server = server
        self._phase = phase

    def open(self, job: Job) -> Session:
        """Return a logged-in session on the job's card, or raise ``CardFailure``."""
        facts = self._usable_token(job.card.token_serial)
        question = self._question(job, facts)
        self._phase(Phase.PROMPTING)
        if "USER_PIN_FINAL_TRY" in facts.flags and not self._prompt.confirm(question):
            raise CardFailure(Outcome.PIN_FINAL_TRY, "the last try was not used")
        if "PROTECTED_AUTHENTICATION_PATH" in facts.flags:
            return self._log_in(facts.serial, PROTECTED_AUTH)
        pin = Pin()
        try:
            with effect("helper.prompt"):
                self._prompt.ask(question, pin)
            _check_length(pin, facts)
            self._phase(Phase.WORKING)
            return self._log_in(facts.serial, pin)
        finally:
            pin.wipe()

    def _usable_token(self, token_serial: str) -> TokenFacts:
        """Return the token with its flags as they are now; python-pkcs11 keeps old ones."""
        with named():
            _, facts = self._module.find(token_serial)
        if reason := unsupported(facts):
            raise CardFailure(Outcome.CARD_READ_ONLY, reason)
        if "USER_PIN_LOCKED" in facts.flags:
            raise CardFailure(Outcome.PIN_LOCKED, "the card's PIN is locked")
        return facts

    def _log_in(self, token_serial: str, pin: object) -> Session:
        """Look for the card again, because a person takes long; then call C_Login, once."""
        with named(), effect("helper.login"):
            token, _ = self._module.find(token_serial)
            return token.open(rw=True, user_pin=pin)

    def _question(self, job: Job, facts: TokenFacts) -> Question:
        return Question(
            server=self._server,
            holder=job.card.holder_name,
            card_label=facts.label,
            token_serial=facts.serial,
            purpose=purpose(job),
            code=job.card.code,
            warning=warning_for(facts.flags),
        )


def _check_length(pin: Pin, facts: TokenFacts) -> None:
    """Refuse what cannot be the PIN: a card would count it as a wrong try."""
    if not facts.shortest_pin <= len(pin) <= facts.longest_pin:
        lengths = f"{facts.shortest_pin} to {facts.longest_pin}"
        raise CardFailure(Outcome.PIN_UNUSABLE, f"the PIN of this card has {lengths} characters")
