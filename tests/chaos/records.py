"""The world's own records, read without the product: databases, mails received, histories."""

import asyncio
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from aiosmtpd.smtp import SMTP, Envelope, Session
from sqlalchemy import text
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from cardflow.sql import create_engine, for_reading

TRIES = 300
# Events that something follows by itself, and by which attribute that names them.
BEGINS = {
    "TIMER_STARTED",
    "ACTIVITY_TASK_SCHEDULED",
    "WORKFLOW_TASK_SCHEDULED",
    "START_CHILD_WORKFLOW_EXECUTION_INITIATED",
}
BEGAN = {
    "TIMER_FIRED": "started_event_id",
    "TIMER_CANCELED": "started_event_id",
    "ACTIVITY_TASK_COMPLETED": "scheduled_event_id",
    "ACTIVITY_TASK_FAILED": "scheduled_event_id",
    "ACTIVITY_TASK_TIMED_OUT": "scheduled_event_id",
    "ACTIVITY_TASK_CANCELED": "scheduled_event_id",
    "WORKFLOW_TASK_COMPLETED": "scheduled_event_id",  # one that failed is tried again
    "CHILD_WORKFLOW_EXECUTION_STARTED": "initiated_event_id",
    "START_CHILD_WORKFLOW_EXECUTION_FAILED": "initiated_event_id",
}
ENDS = {"WORKFLOW_EXECUTION_COMPLETED"}
TRIAL = re.compile(rb"^Subject: \[Test\]", re.MULTILINE)
MESSAGE_ID = re.compile(rb"^Message-ID:\s*(\S+)", re.MULTILINE | re.IGNORECASE)


@dataclass
class Mailbox:
    """An SMTP server's memory: each message's recipient and Message-ID, as they came."""

    received: list[tuple[str, str]] = field(default_factory=list)

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802
        """Keep what counts of a message."""
        content = envelope.content if isinstance(envelope.content, bytes) else b""
        found = MESSAGE_ID.search(content.replace(b"\r\n ", b" "))
        name = found[1].decode() if found else ""
        if TRIAL.search(content):
            return "250 OK"  # nobody keeps a record of these
        self.received += [(recipient, name) for recipient in envelope.rcpt_tos]
        return "250 OK"

    def session(self) -> SMTP:
        """Return what serves one connection."""
        return SMTP(self, enable_SMTPUTF8=True, hostname="localhost")


@dataclass(frozen=True)
class Records:
    """What databases say, row by row."""

    engine: AsyncEngine

    @classmethod
    def at(cls, url: str) -> "Records":
        """Return the records in the database at ``url``; reading them holds up no writer."""
        return cls(for_reading(create_engine(url)))

    async def rows(self, query: str, **values: Any) -> list[dict[str, Any]]:
        """Return the rows of a query."""
        for _ in range(TRIES):
            with suppress(OperationalError, InterfaceError, OSError):
                async with self.engine.connect() as connection:
                    found = await connection.execute(text(query), values)
                    return [dict(row._mapping) for row in found]
            await asyncio.sleep(0.1)  # the database is being killed too
        raise AssertionError("the database does not come back")

    async def one(self, query: str, **values: Any) -> dict[str, Any]:
        """Return the one row of a query, or nothing."""
        return next(iter(await self.rows(query, **values)), {})


@dataclass
class Activity:
    """An activity of a workflow: what it was told, and the answer once one came."""

    name: str
    order: Any
    answer: Any = None
    answered: int = 0  # at which event


@dataclass
class History:
    """What Temporal keeps of the newest run on one card."""

    activities: dict[int, Activity] = field(default_factory=dict)  # by the event that ordered them
    waking: set[int] = field(default_factory=set)  # timers, activities, children: what comes next
    is_open: bool = True

    @classmethod
    async def of(cls, client: Client, workflow_id: str) -> "History | None":
        """Return the history, or None where no run ever was."""
        for _ in range(TRIES):
            try:
                fetched = await client.get_workflow_handle(workflow_id).fetch_history()
            except RPCError as error:
                if error.status is RPCStatusCode.NOT_FOUND:
                    return None
            else:
                return await cls._read(client, fetched.events)
            await asyncio.sleep(0.1)  # Temporal is being killed too
        raise AssertionError("Temporal does not come back")

    @classmethod
    async def _read(cls, client: Client, events: Sequence[HistoryEvent]) -> "History":
        found = cls()
        for event in events:
            kind = EventType.Name(event.event_type).removeprefix("EVENT_TYPE_")
            told: Any = getattr(event, event.WhichOneof("attributes") or "", None)
            if kind == "ACTIVITY_TASK_SCHEDULED":
                order = await client.data_converter.decode(told.input.payloads)
                found.activities[event.event_id] = Activity(told.activity_type.name, order[0])
            elif kind == "ACTIVITY_TASK_COMPLETED":
                activity = found.activities[told.scheduled_event_id]
                (activity.answer,) = await client.data_converter.decode(told.result.payloads) or [0]
                activity.answered = event.event_id
            if kind in BEGINS:
                found.waking.add(event.event_id)
            elif begun := BEGAN.get(kind):
                found.waking.discard(getattr(told, begun))
        found.is_open = kind not in ENDS
        return found
