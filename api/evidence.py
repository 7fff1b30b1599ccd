"""The evidence pack of an update: made whole first, so that a failure is said, and then sent."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import IO, Annotated

from fastapi import APIRouter, Depends
from fastapi.responses import StreamingResponse

from api.auth import may
from api.authorize import Caller, Permission
from api.checkpoints import make_checkpoint
from api.problems import Problem, not_found, problems
from api.routing import GuardedRoute
from api.shapes import Id
from api.state import Everything, State
from cardflow.db import audit, evidence
from cardflow.db.register_updates import find_update
from cardflow.db.tables import Update
from cardflow.decisions import utc_now
from cardflow.documents.store import Damaged
from cardflow.errors import Unavailable
from cardflow.evidence.packing import pack
from cardflow.evidence.record import Record
from cardflow.sql import transaction

CHUNK = 256 * 1024
IN_MEMORY = 8 * 1024 * 1024  # a larger pack waits on disk
ZIP = "application/zip"
TRIES = 3  # an update may go on between its checkpoint and its pack

router = APIRouter(prefix="/updates", tags=["updates"], route_class=GuardedRoute)

Reader = Annotated[Caller, Depends(may(Permission.SEE_AUDIT))]


@dataclass(frozen=True)
class Pack:
    """A finished pack, to be read from its beginning, and the digest of what was signed in it."""

    file: IO[bytes]
    size: int
    manifest_sha256: str


@router.get(
    "/{update_id}/evidence",
    operation_id="export_evidence",
    response_class=StreamingResponse,
    responses={
        200: {"content": {ZIP: {}}, "description": "The evidence pack, to be verified offline"},
        **problems(404, 409),
    },
)
async def export_evidence(update_id: Id, caller: Reader, state: Everything) -> StreamingResponse:
    """Return everything that proves what happened to an update; who took it is put on record."""
    async with transaction(state.reads) as session:
        row = await find_update(session, update_id)
    if row is None:
        raise not_found("update")
    made = await evidence_of(state, row)
    await _put_on_record(state, caller, row.id, made)
    headers = {
        "Content-Disposition": f'attachment; filename="evidence-{row.id}.zip"',
        "Content-Length": str(made.size),
    }
    return StreamingResponse(_chunks(made.file), media_type=ZIP, headers=headers)


async def evidence_of(state: State, row: Update) -> Pack:
    """Return the pack of an update as it stands now, its newest entries under a checkpoint too."""
    record = await _record(state, row)
    file = tempfile.SpooledTemporaryFile(max_size=IN_MEMORY)  # noqa: SIM115 its sender closes it
    try:
        digest = await pack(file, record, state.keys.signer, state.store.get)
    except BaseException as error:
        file.close()
        if isinstance(error, Damaged):
            raise Problem(503, str(error), slug="document-damaged") from error
        raise
    size = file.tell()
    file.seek(0)
    return Pack(file, size, digest)


async def _record(state: State, row: Update) -> Record:
    chain = await state.ca.authority().ca_certificates()
    for _ in range(TRIES):
        async with transaction(state.reads) as session:
            if await evidence.is_covered(session, row.id):
                return await evidence.collect(
                    session,
                    row,
                    root=state.keys.decision_root,
                    organisation=state.settings.organisation,
                    ca_chain=chain,
                )
        await make_checkpoint(state)
    raise Unavailable("the update is changing just now; try again in a moment")


async def _put_on_record(state: State, caller: Caller, update_id: str, made: Pack) -> None:
    # Not as an entry of the update: looking at evidence does not change it.
    facts = {"update_id": update_id, "manifest_sha256": made.manifest_sha256}
    entry = audit.Entry("evidence_exported", utc_now(), actor=caller.id, facts=facts)
    async with transaction(state.sessions) as session:
        await audit.append(session, entry)


async def _chunks(file: IO[bytes]) -> AsyncIterator[bytes]:
    with file:
        while chunk := await asyncio.to_thread(file.read, CHUNK):
            yield chunk
