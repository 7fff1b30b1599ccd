"""`cardflow codec`: the keys under which data is stored, on the machine that Cardflow runs on."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

from cyclopts import App
from sqlalchemy.ext.asyncio import AsyncSession

from cardflow.db import audit
from cardflow.db.migrate import database_objections
from cardflow.db.reencryption import keys_of_columns, reencrypt
from cardflow.decisions import utc_now
from cardflow.errors import Refused
from cardflow.key_ring import KeyRing
from cardflow.settings import Settings, load_settings, setting_name
from cardflow.sql import create_engine, sessions_of, transaction
from cardflow.temporal.client import connect
from cardflow.temporal.ending import run_and_exit
from cardflow.temporal.key_use import KeyUse, keys_in_use
from cli.output import say, show_list, working

app = App(name="codec", help="Encryption keys: which are in use, rotation, re-encryption.")
T = TypeVar("T")
UNUSED = KeyUse()


class Ring(StrEnum):
    """A key ring: what workflows store, what the database seals, codes on forms."""

    CODEC = "codec"
    SEALING = "sealing"
    QR = "qr"


def ring_file(settings: Settings, ring: Ring) -> Path:
    """Return the file of a ring."""
    files = {
        Ring.CODEC: settings.codec_key_file,
        Ring.SEALING: settings.sealing_key_file,
        Ring.QR: settings.qr_key_file,
    }
    return files[ring]


@app.command
def keys(*, state: Path | None = None, json: bool = False) -> None:
    """List the keys of each ring; the current one writes, all read."""
    settings = load_settings(state)
    rings = [(ring, KeyRing.load(ring_file(settings, ring))) for ring in Ring]
    found = [
        {"ring": name.value, "key": key_id, "current": key_id == ring.current}
        for name, ring in rings
        for key_id in ring.keys
    ]
    show_list(found, ("ring", "key", "current"), as_json=json)


@app.command
def status(*, state: Path | None = None, json: bool = False) -> None:
    """Tell what each key is still needed for, and when it can be retired.

    Histories in Temporal cannot be encrypted anew. A key is needed while an update that it was
    used for is open, and until Temporal forgets the closed ones.
    """
    run_and_exit(_tell_status(load_settings(state), as_json=json))


async def _tell_status(settings: Settings, *, as_json: bool) -> None:
    with working("looking at every history"):
        uses = await keys_in_use(await connect(settings))
        columns = await _in_database(settings, keys_of_columns)
    rows = _codec_rows(settings, uses) + _sealing_rows(settings, columns)
    show_list(rows, ("ring", "key", "current", "needed_by", "retire"), as_json=as_json)


@app.command
def rotate(
    *, ring: Ring = Ring.CODEC, key: str = "", prepare: bool = False, state: Path | None = None
) -> None:
    """Make a new key the current one; everything that runs takes it up by itself.

    Where several machines hold a copy of the ring: `--prepare` first, copy the file to each, then
    rotate with the name of the prepared key, and copy again.

    For example:

        cardflow codec rotate

    Parameters
    ----------
    ring
        Which ring.
    key
        The key's name, or that of one that was prepared; default: today's date.
    prepare
        Add the key without writing with it yet.
    """
    settings = load_settings(state)
    file = ring_file(settings, ring)
    old = KeyRing.load(file)
    name = key or _unused_name(old)
    new = old if name in old.keys else old.with_key(name)
    if prepare:
        new.save(file)
        say(f"{file} holds the key {name}; it writes with {new.current} still")
        return
    if name == old.current:
        raise Refused(f"{name} is the current key of {file} already")
    facts: dict[str, object] = {"ring": ring.value, "key": name, "before": old.current}
    asyncio.run(_save_on_record(settings, file, new.using(name), "keys_rotated", facts))
    say(f"{file} writes with the key {name} from now on and reads with {old.current} too")


@app.command(name="reencrypt")
def reencrypt_columns(*, state: Path | None = None) -> None:
    """Move what the database holds sealed to the current key of the sealing ring."""
    settings = load_settings(state)
    ring = KeyRing.load(settings.sealing_key_file)

    async def move(session: AsyncSession) -> int:
        moved = await reencrypt(session, ring)
        facts = {"key": ring.current, "values": moved}
        await _record(session, "columns_reencrypted", facts)
        return moved

    moved = asyncio.run(_in_database(settings, move))
    say(f"{moved} values were moved to the key {ring.current}")


@app.command
def retire(
    key: str, /, *, ring: Ring = Ring.CODEC, state: Path | None = None, even_if_unseen: bool = False
) -> None:
    """Take a key out of its ring for ever; refused while anything is known to need it.

    Parameters
    ----------
    even_if_unseen
        For the ring of printed codes, whose use cannot be seen: no form is out there any more.
    """
    if ring is Ring.QR and not even_if_unseen:
        reason = "who still holds a form that was printed under it cannot be seen from here"
        raise Refused(f"{reason}\n  → --even-if-unseen, once every such form is in")
    run_and_exit(_retire(load_settings(state), ring, key))


async def _retire(settings: Settings, ring: Ring, key: str) -> None:
    file = ring_file(settings, ring)
    rest = KeyRing.load(file).without(key)
    if objection := await _needed(settings, ring, key):
        raise Refused(f"key {key} is still needed by {objection}\n  → see: cardflow codec status")
    facts: dict[str, object] = {"ring": ring.value, "key": key}
    await _save_on_record(settings, file, rest, "key_retired", facts)
    say(f"{file} has forgotten the key {key}\n  → destroy it in every copy and backup too")


async def _needed(settings: Settings, ring: Ring, key: str) -> str:
    if ring is Ring.CODEC:
        uses = await keys_in_use(await connect(settings))
        return _needed_by(uses.get(key, UNUSED))
    if ring is Ring.SEALING:
        values = (await _in_database(settings, keys_of_columns))[key]
        return f"{values} values in the database" if values else ""
    return ""


def _codec_rows(settings: Settings, uses: dict[str, KeyUse]) -> list[dict[str, object]]:
    ring = KeyRing.load(settings.codec_key_file)
    rows = [_row("codec", k, ring, _needed_by(uses.get(k, UNUSED))) for k in ring.keys]
    for row in rows:
        use = uses.get(str(row["key"]), UNUSED)
        row["retire"] = "after rotating" if row["current"] else _when(use)
    missing = [(k, use) for k, use in uses.items() if k not in ring.keys]
    return rows + [
        {**_row("codec", k, ring, _needed_by(use)), "retire": "MISSING: bring it back"}
        for k, use in missing
    ]


def _sealing_rows(settings: Settings, columns: Counter[str]) -> list[dict[str, object]]:
    ring = KeyRing.load(settings.sealing_key_file)
    return [
        {
            **_row(
                "sealing", k, ring, f"{columns[k]} values in the database" if columns[k] else ""
            ),
            "retire": "after rotating"
            if k == ring.current
            else ("after: cardflow codec reencrypt" if columns[k] else "now"),
        }
        for k in ring.keys
    ]


def _row(name: str, key: str, ring: KeyRing, needed_by: str) -> dict[str, object]:
    return {"ring": name, "key": key, "current": key == ring.current, "needed_by": needed_by}


def _needed_by(use: KeyUse) -> str:
    parts = (
        (use.open, "open workflows"),
        (use.closed, "closed workflows that Temporal keeps"),
        (use.schedules, "schedules"),
    )
    return ", ".join(f"{count} {what}" for count, what in parts if count)


def _when(use: KeyUse) -> str:
    if use.open or use.schedules:
        return "once the open ones have ended and Temporal has forgotten them"
    if use.kept_until and use.kept_until > datetime.now(UTC):
        return f"after {use.kept_until:%Y-%m-%d %H:%M} UTC"
    return "once Temporal has forgotten the closed ones" if use.closed else "now"


def _unused_name(ring: KeyRing) -> str:
    today = f"{utc_now():%Y-%m-%d}"
    names = (today, *(f"{today}.{n}" for n in range(2, 1000)))
    return next(name for name in names if name not in ring.keys)


async def _in_database(settings: Settings, work: Callable[[AsyncSession], Awaitable[T]]) -> T:
    engine = create_engine(settings.database_url)
    try:
        async with transaction(sessions_of(engine)) as session:  # no failpoint: it is given again
            if found := await database_objections(engine):
                asked = f"does {setting_name('database_url')} name the installation's own?"
                raise Refused(*found, asked)
            return await work(session)
    finally:
        await engine.dispose()


async def _save_on_record(
    settings: Settings, file: Path, ring: KeyRing, kind: str, facts: dict[str, object]
) -> None:
    """Leave the ring in its file once the audit trail has taken that; else neither is changed."""

    async def save(session: AsyncSession) -> None:
        await _record(session, kind, facts)
        ring.save(file)

    await _in_database(settings, save)


async def _record(session: AsyncSession, kind: str, facts: dict[str, object]) -> None:
    await audit.append(session, audit.Entry(kind, utc_now(), facts=facts))
