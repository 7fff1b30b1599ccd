"""What an administrator is looking at before it counts: kept on the server, nobody else's."""

import json
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from api.authorize import Caller
from api.problems import not_found, refused
from cardflow.db.register_drafts import find_draft, keep_draft
from cardflow.db.tables import Draft
from cardflow.decisions import utc_now

DONE = "this was done already; start again if you want to do more"


async def keep(session: AsyncSession, caller: Caller, kind: str, content: bytes) -> Draft:
    """Leave the draft to be looked at again."""
    now = utc_now()
    return await keep_draft(session, person_id=caller.id, kind=kind, content=content, now=now)


async def draft_of(
    session: AsyncSession, caller: Caller, kind: str, draft_id: str, *, alone: bool = False
) -> Draft:
    """Return one's own draft, or raise Problem; ``alone``: to carry it out, once."""
    row = await find_draft(session, draft_id, alone=alone)
    if row is None or row.person_id != caller.id or row.kind != kind:
        raise not_found("draft")
    if alone and row.done_at:
        raise refused([DONE])
    return row


def result_of(row: Draft) -> dict[str, Any]:
    """Return what is known of the draft."""
    found: dict[str, Any] = json.loads(row.result) if row.result else {}
    return found


def finish(row: Draft, result: dict[str, Any]) -> None:
    """Leave the draft as done: what it held is forgotten, what came of it is kept for a day."""
    row.content, row.result, row.done_at = b"", json.dumps(result), utc_now()
