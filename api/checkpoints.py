"""Checkpoints of the audit trail: the API makes them, for it holds the key that signs decisions."""

import asyncio
import logging
from datetime import timedelta

from api.state import State
from cardflow import checkpoint_files
from cardflow.checkpoints import Checkpoint, Finding, read, read_all
from cardflow.db import checkpoints
from cardflow.decisions import utc_now
from cardflow.failpoints import effect
from cardflow.sql import transaction

LOOK_EVERY_SECONDS = 60.0

log = logging.getLogger(__name__)


async def keep_checkpoints(state: State) -> None:
    """Have every entry of the audit trail under a signature soon, until cancelled."""
    while True:
        try:
            if await is_due(state):
                await make_checkpoint(state)
        except Exception:  # whatever it is: nobody would notice that this had ended
            log.exception("no checkpoint of the audit trail was made")
        await asyncio.sleep(LOOK_EVERY_SECONDS)


async def is_due(state: State) -> bool:
    """Tell whether enough entries, or the oldest one for long enough, have no checkpoint."""
    settings = state.settings
    async with transaction(state.reads) as session:
        waiting = await checkpoints.uncovered(session)
        last = await checkpoints.newest(session)
    if waiting >= settings.audit_checkpoint_entries:
        return True
    age = utc_now() - last.at if last else None
    return waiting > 0 and (age is None or age >= _patience(state))


def _patience(state: State) -> timedelta:
    return timedelta(minutes=state.settings.audit_checkpoint_minutes)


async def make_checkpoint(state: State) -> Checkpoint | None:
    """Return the newest checkpoint, made now if it was time, and exported with those before it."""
    keys = state.keys
    with effect("api.checkpoint"):
        made = await checkpoints.make(state.sessions, keys.signer, keys.decision_root, utc_now())
    await _export(state)
    return made


async def _export(state: State) -> None:
    """Leave outside what is not there yet; a place that does not answer is caught up later."""
    directory = state.settings.audit_checkpoint_dir
    try:
        done = await asyncio.to_thread(checkpoint_files.exported_to, directory)
        async with transaction(state.reads) as session:
            tokens = await checkpoints.tokens(session, done)
        made = [read(token, state.keys.decision_root) for token in tokens]
        with effect("api.export_checkpoint"):
            await asyncio.to_thread(checkpoint_files.export, directory, made)
    except OSError:
        log.exception("checkpoints of the audit trail were not exported")


async def known_checkpoints(state: State) -> tuple[list[Checkpoint], list[Finding]]:
    """Return the checkpoints in the database and outside it, and which of them do not count."""
    directory = state.settings.audit_checkpoint_dir
    async with transaction(state.reads) as session:
        tokens = list(await checkpoints.tokens(session))
    if directory.exists():
        tokens += await asyncio.to_thread(checkpoint_files.read_tokens, directory)
    return read_all(tokens, state.keys.decision_root)
