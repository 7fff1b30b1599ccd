"""The mail relay: several messages over one connection, each with an outcome of its own."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email.message import EmailMessage
from enum import StrEnum

import aiosmtplib

from cardflow.errors import CardflowError
from cardflow.failpoints import effect
from cardflow.mail.compose import one_line
from cardflow.outbound import Outbound

COMPLETED = 250  # RFC 5321 4.2.3: the only yes to a message
PERMANENT = 500  # RFC 5321 4.2.1: 5yz replies are final
LONGEST_REASON = 500


class Fate(StrEnum):
    """What became of a message; the words that the mail's row keeps."""

    SENT = "sent"
    QUEUED = "queued"  # the relay may take it later
    FAILED = "failed"  # the relay will never take it


@dataclass(frozen=True)
class Outcome:
    """What the relay did with one message, and what it said."""

    fate: Fate
    reason: str = ""
    said: str = field(default="", compare=False)  # the relay's own words, of a yes too


@dataclass(frozen=True)
class Relay:
    """Where mail goes, and how."""

    host: str
    port: int
    outbound: Outbound
    starttls: bool = False
    user: str = ""
    password: str = field(default="", repr=False)
    tls: ssl.SSLContext | None = field(default=None, repr=False)

    async def send(
        self, messages: Sequence[tuple[str, EmailMessage]], *, seconds: float
    ) -> dict[str, Outcome]:
        """Return the outcome of every message by its id; what was not reached in time waits."""
        outcomes: dict[str, Outcome] = {}
        reason = f"the mail relay did not answer within {seconds:g} s"
        try:
            async with asyncio.timeout(seconds), self._connected() as client:
                for key, message in messages:
                    outcomes[key] = await _send(client, message)
        except TimeoutError:
            pass
        except (aiosmtplib.SMTPException, OSError, CardflowError) as error:
            reason = _reason(error)
        return {key: outcomes.get(key, Outcome(Fate.QUEUED, reason)) for key, _ in messages}

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[aiosmtplib.SMTP]:
        client = aiosmtplib.SMTP(
            hostname=self.host,  # whose certificate is asked for
            sock=await self.outbound.connect(self.host, self.port),
            start_tls=self.starttls,  # never "if offered": who can strip the offer could read on
            tls_context=self.tls,
            username=self.user or None,
            password=self.password or None,
        )
        try:
            await client.connect()
            yield client
            await client.quit()
        finally:
            # Not the socket: who closes what the loop has taken over makes it deaf to the next
            # socket of that number.
            client.close()


async def _send(client: aiosmtplib.SMTP, message: EmailMessage) -> Outcome:
    try:
        with effect("mail.send"):
            _, said = await client.send_message(message)
    except aiosmtplib.SMTPRecipientsRefused as refusal:
        return _refused(refusal.recipients[0])
    except (aiosmtplib.SMTPNotSupported, ValueError) as error:
        return Outcome(Fate.FAILED, _reason(error))
    except aiosmtplib.SMTPResponseException as refusal:
        return _refused(refusal)
    return Outcome(Fate.SENT, said=f"{COMPLETED} {said}")


def _refused(refusal: aiosmtplib.SMTPResponseException) -> Outcome:
    fate = Fate.FAILED if refusal.code >= PERMANENT else Fate.QUEUED
    return Outcome(fate, _reason(refusal), said=_reason(refusal))


def _reason(error: Exception) -> str:
    if isinstance(error, aiosmtplib.SMTPResponseException):
        text = f"{error.code} {error.message}"
    else:
        text = str(error) or type(error).__name__
    return one_line(text)[:LONGEST_REASON]  # a relay may say anything, and PostgreSQL keeps no NUL
