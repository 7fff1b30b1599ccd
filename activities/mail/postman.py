"""Takes queued mails to the relay and writes down what became of each."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import parseaddr

from activities.mail.compose import Composer
from activities.mail.smtp import Fate, Outcome, Relay
from cardflow.db.mail_queue import Letter, Posted, letters, mark
from cardflow.errors import Refused
from cardflow.model import Profile
from cardflow.secret_files import read_secret
from cardflow.settings import Settings
from cardflow.sql import Sessions, transaction

GIVE_UP_AFTER = timedelta(hours=70)  # before the workflow that delivers later ends, after 3 days


class Postman:
    """Nothing about mail ever stops an update: every outcome is a row, none is an exception."""

    def __init__(self, sessions: Sessions, composer: Composer, relay: Relay) -> None:
        self._sessions = sessions
        self._composer = composer
        self._relay = relay

    @property
    def domain(self) -> str:
        """The sender's domain, which our Message-IDs end with."""
        return self._composer.sender.domain

    async def send(self, ids: Sequence[str], *, seconds: float) -> list[str]:
        """Return the mails that wait for another try; the others are sent, or failed for good."""
        if not ids:
            return []
        async with transaction(self._sessions) as session:
            waiting = await letters(session, ids)
        messages, outcomes = self._composed(waiting)
        if messages:
            outcomes |= await self._relay.send(list(messages.items()), seconds=seconds)
        outcomes |= _given_up(waiting, outcomes)
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


def _given_up(waiting: Sequence[Letter], outcomes: Mapping[str, Outcome]) -> dict[str, Outcome]:
    oldest = datetime.now(UTC) - GIVE_UP_AFTER
    return {
        letter.id: Outcome(Fate.FAILED, f"given up: {outcomes[letter.id].reason}")
        for letter in waiting
        if letter.created_at < oldest and outcomes[letter.id].fate is Fate.QUEUED
    }


def _posted(outcome: Outcome, message: EmailMessage | None) -> Posted:
    subject = str(message["Subject"]) if message else ""
    return Posted(subject=subject, state=outcome.fate, error=outcome.reason)


def build_postman(
    settings: Settings, sessions: Sessions, profiles: Mapping[str, Profile]
) -> Postman:
    """Return the postman of this installation."""
    name, address = parseaddr(settings.mail_sender)
    composer = Composer(
        Address(name, addr_spec=address),
        organisation=settings.organisation,
        public_url=settings.public_url,
        default_language=settings.default_language,
        titles={name: profile.title for name, profile in profiles.items()},
    )
    file = settings.smtp_password_file
    relay = Relay(
        settings.smtp_host,
        settings.smtp_port,
        starttls=settings.smtp_starttls,
        user=settings.smtp_user,
        password=read_secret(file).decode().strip() if file else "",
    )
    return Postman(sessions, composer, relay)
