"""The holder's click: which of their workstations has the card now, and the code both ends show."""

import json
import secrets
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncSession

from api.authorize import Caller
from api.problems import refused
from cardflow.ca.embedded.listing import revoked_among
from cardflow.db.register_agents import present_tokens
from cardflow.db.tables import Agent
from cardflow.decisions import utc_now
from cardflow.jobs import OUTCOME_WORDS, Outcome, TokenReport
from cardflow.lifecycle import open_lanes
from cardflow.model import UpdateView, Visit, new_id
from cardflow.settings import Settings
from cardflow.wire import from_json
from cardflow.words import WORDS

ABSENT = (
    "the card is not connected: none of your workstations reports a card now; "
    "connect it and see that the agent is running"
)


@dataclass(frozen=True)
class Connection:
    """A confirmed agent of the holder that reports the card now."""

    agent: Agent
    report: TokenReport


async def connection(
    session: AsyncSession, *, holder_id: str, token_serial: str
) -> tuple[Connection | None, str]:
    """Return where the card is connected; or None and the reason why no visit can start."""
    present = await present_tokens(session, holder_id, now=utc_now())
    reported = [Connection(agent, _report(presence.report)) for agent, presence in present]
    here = next((x for x in reported if x.report.token_serial == token_serial), None)
    if here is not None:
        return here, _unusable(here.report)
    if reported:
        return None, f"another card is connected: {reported[0].report.token_serial}"
    return None, ABSENT


async def new_visit(
    session: AsyncSession, caller: Caller, token_serial: str, settings: Settings
) -> Visit:
    """Return a visit where the caller's card is connected, or raise Problem 409."""
    here, reason = await connection(session, holder_id=caller.id, token_serial=token_serial)
    if here is None or reason:
        raise refused([reason])
    return Visit(
        id=new_id(),
        agent_id=here.agent.id,
        code=f"{secrets.randbelow(10_000):04} {secrets.choice(WORDS)}",
        started_at=utc_now(),
        started_by=caller.id,
        seconds=settings.agent_visit_seconds,
        hold_seconds=settings.agent_hold_seconds,
    )


async def refuse_revoked(session: AsyncSession, view: UpdateView) -> None:
    """Raise Problem 409 if a certificate was revoked while it waited to be written."""
    lanes = {x.serial_number: x.plan.lane for x in open_lanes(view.state) if x.serial_number}
    found = [
        f"{lanes[row.serial_number]}: the certificate was revoked on {row.revoked_at:%Y-%m-%d}, "
        "before it was written; nothing on the card changes. Cancel the update and start again"
        for row in await revoked_among(session, lanes)
    ]
    if found:
        raise refused(found)


def _report(text: str) -> TokenReport:
    return from_json(TokenReport, json.loads(text))


def _unusable(report: TokenReport) -> str:
    if report.unsupported:
        return f"this card cannot be updated here: {report.unsupported}"
    if "USER_PIN_LOCKED" in report.flags:
        return OUTCOME_WORDS[Outcome.PIN_LOCKED]
    return ""
