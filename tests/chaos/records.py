"""The world's own records, read without the product: databases, mails received, histories."""

import re
from dataclasses import dataclass, field
from typing import Any

from aiosmtpd.smtp import SMTP, Envelope, Session
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client
from temporalio.service import RPCError

from cardflow.sql import create_engine, for_reading

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
        async with self.engine.connect() as connection:
            found = await connection.execute(text(query), values)
            return [dict(row._mapping) for row in found]

    async def one(self, query: str, **values: Any) -> dict[str, Any]:
        """Return the one row of a query, or nothing."""
        return next(iter(await self.rows(query, **values)), {})


@dataclass(frozen=True)
class History:
    """What Temporal keeps of the runs on one card, as far as it is written in clear."""

    accepted: tuple[str, ...]  # ids of the Updates that were accepted
    completed: tuple[str, ...]  # types of the activities that ended well, in order
    is_open: bool

    @classmethod
    async def of(cls, client: Client, workflow_id: str) -> "History | None":
        """Return the history of the newest run, or None where there is none."""
        types: dict[int, str] = {}
        accepted, completed, is_open = [], [], True
        try:
            history = await client.get_workflow_handle(workflow_id).fetch_history()
        except RPCError:
            return None
        for event in history.events:
            match event.event_type:
                case EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
                    scheduled = event.activity_task_scheduled_event_attributes
                    types[event.event_id] = scheduled.activity_type.name
                case EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED:
                    ended = event.activity_task_completed_event_attributes
                    completed.append(types[ended.scheduled_event_id])
                case EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED:
                    taken = event.workflow_execution_update_accepted_event_attributes
                    accepted.append(taken.accepted_request.meta.update_id)
        last = history.events[-1].event_type
        is_open = last != EventType.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED
        return cls(tuple(accepted), tuple(completed), is_open)
