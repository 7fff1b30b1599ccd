"""The audit trail, whether its chain is whole, and the checkpoints that say how far it reached."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query
from fastapi.responses import StreamingResponse

from api.auth import may
from api.authorize import Caller, Permission
from api.checkpoints import known_checkpoints, make_checkpoint
from api.paging import Page, Paging, page
from api.problems import problems, refused
from api.routing import GuardedRoute, Reading
from api.shapes import LINE, Instant, Out
from api.state import Everything, State
from cardflow.db import audit, checkpoints
from cardflow.db.register_trail import Wanted, list_entries
from cardflow.decisions import utc_now
from cardflow.sql import transaction
from cardflow.wire import to_json

router = APIRouter(prefix="/audit", tags=["audit"], route_class=GuardedRoute)

Reader = Annotated[Caller, Depends(may(Permission.SEE_AUDIT))]


class EntryOut(Out):
    """One link of the chain; ``text`` is what was hashed, as it was hashed."""

    number: int
    at: datetime
    kind: str
    update_id: str
    event: int | None
    actor: str
    text: str
    previous: str
    hash: str


class FindingOut(Out):
    """What is wrong at one entry."""

    number: int
    reason: str


class VerificationOut(Out):
    """Whether the chain is whole; if not, where it breaks first, and why.

    Entries after ``covered_to`` are not under a checkpoint yet.
    """

    ok: bool
    entries: int
    broken_at: int | None
    reason: str
    checkpoints: int
    covered_to: int
    findings: list[FindingOut]


class CheckpointOut(Out):
    """A signed checkpoint; ``token`` is a JWS under a certificate of the decision root."""

    number: int
    hash: str
    at: datetime
    count: int
    previous: str
    tree: str
    token: str


@dataclass(frozen=True)
class Asked:
    """Which entries are asked for; an empty word does not narrow."""

    update: Annotated[str, Query(max_length=36, pattern=LINE)] = ""
    kind: Annotated[str, Query(max_length=40, pattern=LINE)] = ""
    actor: Annotated[str, Query(max_length=36, pattern=LINE)] = ""
    card: Annotated[str, Query(max_length=36, pattern=LINE)] = ""
    since: Annotated[Instant | None, Query(description="From this instant on.")] = None
    before: Annotated[Instant | None, Query(description="Before this instant.")] = None
    order: Annotated[Literal["oldest", "newest"], Query(description="What comes first.")] = "oldest"

    def wanted(self) -> Wanted:
        """Return the same for the database."""
        return Wanted(
            update_id=self.update,
            kind=self.kind,
            actor=self.actor,
            card_id=self.card,
            since=self.since,
            before=self.before,
            newest_first=self.order == "newest",
        )


@router.get("", operation_id="list_audit", responses=problems())
async def show_audit(
    _caller: Reader,
    session: Reading,
    paging: Annotated[Paging, Depends()],
    asked: Annotated[Asked, Depends()],
) -> Page[EntryOut]:
    """List what happened, the oldest first unless asked otherwise."""
    name = "audit" if asked.order == "oldest" else "audit newest"
    after, limit = paging.after_number(name), paging.limit + 1
    rows = await list_entries(session, asked.wanted(), after=after, limit=limit)
    return page(name, rows, paging, lambda row: str(row.number), EntryOut.model_validate)


@router.get("/verify", operation_id="verify_audit", responses=problems())
async def verify_audit(_caller: Reader, session: Reading, state: Everything) -> VerificationOut:
    """Check every link of the chain, and the chain against its checkpoints in and outside of it."""
    signed, wrong = await known_checkpoints(state)
    found = await audit.verify(session, signed, known=wrong, now=utc_now())
    return VerificationOut.model_validate(found)


@router.post("/checkpoints", operation_id="make_checkpoint", responses=problems(409))
async def make(_caller: Reader, state: Everything) -> CheckpointOut:
    """Return the newest checkpoint; if entries came since the last one, it is made now."""
    made = await make_checkpoint(state)
    if made is None:
        raise refused(["the audit trail is empty: there is nothing to sign yet"])
    return CheckpointOut.model_validate(made)


@router.get(
    "/export",
    operation_id="export_audit",
    response_class=StreamingResponse,
    responses={
        200: {"content": {"application/x-ndjson": {}}, "description": "Checkpoints, then entries"},
        **problems(),
    },
)
async def export(_caller: Reader, state: Everything) -> StreamingResponse:
    """Return every checkpoint and every entry, a JSON object a line, to be verified elsewhere."""
    return StreamingResponse(_lines(state), media_type="application/x-ndjson")


async def _lines(state: State) -> AsyncIterator[str]:
    async with transaction(state.reads) as session:
        for token in await checkpoints.tokens(session):
            yield _line({"checkpoint": token})
    number = 0
    while True:
        # A transaction a page: the reader may be slow, and what stands there stays.
        async with transaction(state.reads) as session:
            links = await audit.page_after(session, number)
        if not links:
            return
        yield "".join(_line({"entry": to_json(link._asdict())}) for link in links)
        number = links[-1].number


def _line(value: object) -> str:
    return json.dumps(value, separators=(",", ":")) + "\n"  # ASCII: no other line ends in it
