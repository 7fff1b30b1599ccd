"""The audit trail as a table, for spreadsheet programs; sent while it is read."""

import csv
import io
from collections.abc import AsyncIterator, Sequence
from typing import Annotated

from fastapi import APIRouter, Depends
from fastapi.responses import StreamingResponse

from api.audit import Asked, Reader
from api.problems import problems
from api.routing import GuardedRoute
from api.state import Everything, State
from cardflow.db.register_trail import Wanted, list_entries
from cardflow.db.register_updates import names_of
from cardflow.db.tables import AuditEntry
from cardflow.sql import transaction

CHUNK = 1_000
COLUMNS = (
    "number", "at", "kind", "actor", "actor_name", "update_id", "event", "text", "previous", "hash",
)  # fmt: skip
FORMULA = ("=", "+", "-", "@", "\t", "\r")

router = APIRouter(prefix="/audit", tags=["audit"], route_class=GuardedRoute)


@router.get(
    "/csv",
    operation_id="export_audit_table",
    response_class=StreamingResponse,
    responses={
        200: {"content": {"text/csv": {}}, "description": "Every entry asked for, as a table"},
        **problems(),
    },
)
async def export_table(
    _caller: Reader, state: Everything, asked: Annotated[Asked, Depends()]
) -> StreamingResponse:
    """Return the entries as CSV; no cell is taken for a formula."""
    headers = {"Content-Disposition": 'attachment; filename="cardflow-audit.csv"'}
    lines = _lines(state, asked.wanted())
    return StreamingResponse(lines, media_type="text/csv; charset=utf-8", headers=headers)


async def _lines(state: State, wanted: Wanted) -> AsyncIterator[str]:
    yield _table([COLUMNS])
    after = 0
    while rows := await _chunk(state, wanted, after):
        yield _table([tuple(row.values()) for row in rows])
        after = int(rows[-1]["number"] or 0)


async def _chunk(state: State, wanted: Wanted, after: int) -> list[dict[str, str | int | None]]:
    """A transaction of its own each: a slow reader holds none open."""
    async with transaction(state.reads) as session:
        rows = await list_entries(session, wanted, after=after, limit=CHUNK)
        names = await names_of(session, {row.actor for row in rows})
    return [_cells(row, names.get(row.actor, "")) for row in rows]


def _cells(row: AuditEntry, name: str) -> dict[str, str | int | None]:
    told = {**row.model_dump(), "at": row.at.isoformat(), "actor_name": name}
    return {column: _harmless(told[column]) for column in COLUMNS}


def _harmless(value: str | int | None) -> str | int | None:
    """Return the cell as text that a spreadsheet program does not calculate."""
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value


def _table(rows: Sequence[Sequence[object]]) -> str:
    written = io.StringIO()
    csv.writer(written).writerows(rows)
    return written.getvalue()
