"""Takes queued mails to the relay and writes down what became of each."""

from collections.abc import Sequence
from email.message import EmailMessage

from activities.mail.compose import Composer
from activities.mail.smtp import Fate, Outcome, Relay
from cardflow.db.mail_queue import Letter, Posted, letters, mark
from cardflow.sql import Sessions, transaction
from cardflow.errors import Refused


class Postman:
    """Nothing about mail ever stops an update: every outcome is a row, none is an exception."""

    def __init__(self, sessions: Sessions, composer: Composer, relay: Relay) -> None:
        self._sessions = sessions
        self._composer = composer
        self._relay = relay

    async def send(self, ids: Sequence[str], *, seconds: float) -> list[str]:
        """Return the mails that wait for another try; the others are sent, or failed for good."""
        if not ids:
            return []
        async with transaction(self._sessions) as session:
            waiting = await letters(session, ids)
        messages, outcomes = self._composed(waiting)
        if messages:
            outcomes |= await self._relay.send(list(messages.items()), seconds=seconds)
        async with transaction(self._sessions) as session:
            await mark(
                session, {key: _posted(outcomes[key], messages.get(key)) for key in outcomes}
            )
        return [key for key, outcome in outcomes.items() if outcome.fate is Fate.QUEUED]

    def _composed(
        self, waiting: Sequence[Letter]
    ) -> tuple[dict[str, EmailMessage], dict[str, Outcome]]:
        messages, outcomes = {}, {}
        for letter in waiting:
            try:
                messages[letter.id] = self._composer.compose(letter)
            except Refused as refusal:
                outcomes[letter.id] = Outcome(Fate.FAILED, str(refusal))
        return messages, outcomes


def _posted(outcome: Outcome, message: EmailMessage | None) -> Posted:
    subject = str(message["Subject"]) if message else ""
    return Posted(subject=subject, state=outcome.fate, error=outcome.reason)
