"""Takes queued mails to the relay and writes down what became of each."""

import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage

from activities.mail.smtp import Fate, Outcome, Relay
from cardflow.db.letters import letters
from cardflow.db.mail_queue import Posted, mark
from cardflow.documents.store import DocumentStore
from cardflow.errors import CardflowError, Refused
from cardflow.failpoints import effect
from cardflow.mail.compose import Composer, build_composer
from cardflow.mail.letters import Letter
from cardflow.model import Profile
from cardflow.outbound import outbound
from cardflow.secret_files import read_secret
from cardflow.settings import Settings
from cardflow.sql import Sessions, looking, transaction
from cardflow.stores import store_of

GIVE_UP_AFTER = timedelta(hours=70)  # before the workflow that delivers later ends, after 3 days

log = logging.getLogger(__name__)


class Postman:
    """Nothing about mail ever stops an update: every outcome is a row, none is an exception."""

    def __init__(
        self,
        sessions: Sessions,
        composer: Composer,
        relay: Relay,
        *,
        store: DocumentStore | None = None,
        largest_attachment: int = 0,
    ) -> None:
        self._sessions = sessions
        self._composer = composer
        self._relay = relay
        self._store = store
        self._largest = largest_attachment

    @property
    def domain(self) -> str:
        """The sender's domain, which our Message-IDs end with."""
        return self._composer.sender.domain

    async def send(self, ids: Sequence[str], *, seconds: float) -> list[str]:
        """Return the mails that wait for another try; the others are sent, or failed for good."""
        if not ids:
            return []
        async with looking(self._sessions) as session:
            waiting = await letters(session, ids)
        messages, outcomes = await self._composed(waiting)
        if messages:
            outcomes |= await self._relay.send(list(messages.items()), seconds=seconds)
        outcomes |= _given_up(waiting, outcomes)
        posted = {key: _posted(outcomes[key], messages.get(key)) for key in outcomes}
        with effect("mail.mark"):
            async with transaction(self._sessions) as session:
                await mark(session, posted)
        return [key for key, outcome in outcomes.items() if outcome.fate is Fate.QUEUED]

    async def try_out(self, letter: Letter, *, seconds: float) -> tuple[str, Outcome]:
        """Return the subject of a mail that nobody waits for, and what the relay said to it."""
        try:
            message = self._composer.compose(letter)
        except Refused as refusal:
            return "", Outcome(Fate.FAILED, str(refusal))
        subject = f"[{self._composer.word_for_trial(letter)}] {message['Subject']}"
        message.replace_header("Subject", subject)
        outcomes = await self._relay.send([(letter.id, message)], seconds=seconds)
        return subject, outcomes[letter.id]

    async def _composed(
        self, waiting: Sequence[Letter]
    ) -> tuple[dict[str, EmailMessage], dict[str, Outcome]]:
        messages, outcomes = {}, {}
        for letter in waiting:
            document = await self._document(letter)
            try:
                messages[letter.id] = self._composer.compose(letter, document)
            except Refused as refusal:
                outcomes[letter.id] = Outcome(Fate.FAILED, str(refusal))
        return messages, outcomes

    async def _document(self, letter: Letter) -> bytes | None:
        enclosed = letter.enclosure
        if enclosed is None or self._store is None or enclosed.size > self._largest:
            return None
        try:
            return await self._store.get(enclosed.sha256)
        except (CardflowError, OSError) as error:
            log.warning("a mail goes without its document: %s", error)
            return None


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
    file = settings.smtp_password_file
    relay = Relay(
        settings.smtp_host,
        settings.smtp_port,
        outbound(settings),
        starttls=settings.smtp_starttls,
        user=settings.smtp_user,
        password=read_secret(file).decode().strip() if file else "",
    )
    return Postman(
        sessions,
        build_composer(settings, profiles),
        relay,
        store=store_of(settings),
        largest_attachment=settings.mail_attachment_bytes,
    )
