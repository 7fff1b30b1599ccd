"""Every kind of tampering with the audit chain is found and named with its row.

The tamperer owns the database: triggers are off, hashes are made anew where that helps them. They
do not have the organisation's root, and cannot reach the checkpoints that left the house.
"""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import delete, insert, text
from sqlalchemy.exc import DatabaseError

from cardflow import chain
from cardflow.checkpoints import read, read_all, sign
from cardflow.db import audit, checkpoints
from cardflow.db.tables import AuditCheckpoint, AuditEntry
from cardflow.decisions import issue_signer, root_hex
from cardflow.sql import transaction
from tests import build
from tests.db.owner import unguard

ROOT = root_hex(build.root().public_key())
START = datetime.now(UTC) - timedelta(days=3)
SIGNER = issue_signer(build.root(), now=START)
ROWS, FIRST, MIDDLE, LAST = 9, 1, 5, 9
AFTER = (3, 6, 9)  # where checkpoints are made
PLACES = pytest.mark.parametrize("place", [FIRST, MIDDLE, LAST])


def the_hour(number):
    return START + timedelta(hours=number)


async def a_trail(sessions, at=the_hour):
    """Leave nine entries under three checkpoints; return the checkpoints, as they were exported."""
    made = []
    for end in AFTER:
        entries = [audit.Entry("signed_in", at(n), actor="p") for n in range(end - 2, end + 1)]
        async with transaction(sessions) as session:
            await audit.append_all(session, entries)
        now = the_hour(end) + timedelta(minutes=1)
        made.append(await checkpoints.make(sessions, SIGNER, ROOT, now))
    return [checkpoint.token for checkpoint in made]


async def rows_of(sessions):
    async with transaction(sessions) as session:
        return list(await audit.page_after(session, 0))


async def replaced_by(engine, links, tokens=None):
    """Put other rows in the place of those that are there."""
    async with engine.begin() as connection:
        await unguard(connection, "audit", "audit_checkpoints")
        await connection.execute(delete(AuditEntry))
        if links:
            await connection.execute(insert(AuditEntry), [link._asdict() for link in links])
        if tokens is not None:
            await connection.execute(delete(AuditCheckpoint))
            if tokens:
                await connection.execute(insert(AuditCheckpoint), tokens)


async def found_in(sessions, outside=(), root=ROOT):
    """Return what the check finds, with the table's checkpoints and those outside."""
    async with transaction(sessions) as session:
        tokens = [*(await checkpoints.tokens(session)), *outside]
        signed, wrong = read_all(tokens, root)
        return await audit.verify(session, signed, known=wrong, now=datetime.now(UTC))


def rehashed(links, start):
    """Return the links with every hash from ``start`` on made anew, as a good forger would."""
    done = []
    for link in links:
        previous = done[-1].hash if done else chain.START
        if link.number >= start:
            made = chain.link_hash(previous, link.number, link.text)
            done.append(link._replace(previous=previous, hash=made))
        else:
            done.append(link)
    return done


def edited(links, place):
    """Return the links with another word in one of them, and nothing else changed."""
    at = place - 1
    changed = links[at]._replace(text=links[at].text.replace('"p"', '"q"'), actor="q")
    return [*links[:at], changed, *links[at + 1 :]]


def renumbered(links):
    return [link._replace(number=n) for n, link in enumerate(links, 1)]


def covered_by(place):
    return next(number for number in AFTER if number >= place)


async def test_a_trail_that_nobody_touched_is_whole_and_covered(sessions):
    outside = await a_trail(sessions)

    found = await found_in(sessions, outside)

    assert (found.ok, found.entries, found.checkpoints, found.covered_to) == (True, 9, 3, 9)


async def test_what_no_checkpoint_covers_yet_is_said(sessions):
    await a_trail(sessions)
    async with transaction(sessions) as session:
        await audit.append(session, audit.Entry("signed_in", the_hour(10)))

    found = await found_in(sessions)

    assert (found.ok, found.entries, found.covered_to) == (True, 10, 9)


@PLACES
async def test_an_edit_is_found(engine, sessions, place):
    outside = await a_trail(sessions)
    await replaced_by(engine, edited(await rows_of(sessions), place))

    found = await found_in(sessions, outside)

    assert (found.broken_at, found.reason) == (place, "its text was changed")


@PLACES
async def test_an_edit_with_its_hash_made_anew_is_found(engine, sessions, place):
    outside = await a_trail(sessions)
    links = edited(await rows_of(sessions), place)
    forged = links[place - 1]
    forged = forged._replace(hash=chain.link_hash(forged.previous, place, forged.text))
    await replaced_by(engine, [*links[: place - 1], forged, *links[place:]])

    found = await found_in(sessions, outside)

    assert found.broken_at == (place + 1 if place < LAST else LAST)
    expected = "does not follow" if place < LAST else "not the entry that the checkpoint"
    assert expected in found.reason


@PLACES
async def test_a_deleted_entry_is_found(engine, sessions, place):
    outside = await a_trail(sessions)
    links = await rows_of(sessions)
    await replaced_by(engine, [link for link in links if link.number != place])

    found = await found_in(sessions, outside)

    assert found.broken_at == place
    assert f"entry {place} is missing" in found.reason


@PLACES
async def test_entries_that_changed_places_are_found(engine, sessions, place):
    outside = await a_trail(sessions)
    links = await rows_of(sessions)
    at = min(place, ROWS - 1) - 1
    links[at], links[at + 1] = links[at + 1], links[at]
    await replaced_by(engine, renumbered(links))

    assert (await found_in(sessions, outside)).broken_at == at + 1


@PLACES
async def test_an_inserted_entry_is_found(engine, sessions, place):
    outside = await a_trail(sessions)
    links = await rows_of(sessions)
    written = links[0].text.replace('"p"', '"forger"')
    previous = links[place - 2].hash if place > 1 else chain.START
    forged = links[0]._replace(text=written, actor="forger", previous=previous,
                               hash=chain.link_hash(previous, place, written))  # fmt: skip
    await replaced_by(engine, renumbered([*links[: place - 1], forged, *links[place - 1 :]]))

    found = await found_in(sessions, outside)

    assert found.broken_at in (place, place + 1)


@PLACES
async def test_an_end_that_was_cut_off_is_found(engine, sessions, place):
    outside = await a_trail(sessions)
    links = await rows_of(sessions)
    kept = [await checkpoint_row(sessions, n) for n in AFTER if n < place]
    await replaced_by(engine, links[: place - 1], kept)

    found = await found_in(sessions, outside)

    assert found.broken_at == place
    assert "missing" in found.reason
    # Without what left the house it would have gone unnoticed.
    assert (await found_in(sessions)).ok


@PLACES
async def test_a_trail_that_was_made_anew_from_somewhere_is_found(engine, sessions, place):
    outside = await a_trail(sessions)
    await replaced_by(engine, rehashed(edited(await rows_of(sessions), place), place))

    found = await found_in(sessions, outside)

    assert found.broken_at == covered_by(place)
    assert "was rewritten" in found.reason


@PLACES
async def test_checkpoints_under_another_key_are_found(engine, sessions, place):
    outside = await a_trail(sessions)
    other = Ed25519PrivateKey.generate()
    forger = issue_signer(other, now=START)
    tokens = await forged_checkpoints(sessions, place, forger)
    links = rehashed(edited(await rows_of(sessions), place), place)
    await replaced_by(engine, links, tokens)

    found = await found_in(sessions)

    assert found.broken_at == covered_by(place)
    assert "does not belong to this organisation" in found.reason
    # Even where the root in the installation was exchanged too, the one kept apart tells.
    assert not (await found_in(sessions, outside, root_hex(other.public_key()))).ok


@PLACES
async def test_a_fork_under_our_own_key_is_found_by_what_left_the_house(engine, sessions, place):
    outside = await a_trail(sessions)
    links = rehashed(edited(await rows_of(sessions), place), place)
    await replaced_by(engine, links, [])
    for end in AFTER:
        await replaced_again(engine, links[:end])
        now = the_hour(end) + timedelta(minutes=2)
        await checkpoints.make(sessions, SIGNER, ROOT, now)

    assert (await found_in(sessions)).ok
    found = await found_in(sessions, outside)
    assert found.broken_at <= covered_by(place)
    assert any("was rewritten" in finding.reason for finding in found.findings)


@pytest.mark.parametrize("place", [MIDDLE, LAST])
async def test_a_clock_that_was_set_back_is_found(sessions, place):
    def clock(number):
        return the_hour(number) - (timedelta(days=2) if number == place else timedelta())

    await a_trail(sessions, clock)

    found = await found_in(sessions)

    assert (found.broken_at, found.reason.split(" from ")[0]) == (place, "its time goes back")


@PLACES
async def test_a_clock_that_ran_ahead_is_found(sessions, place):
    await a_trail(sessions, lambda n: the_hour(n) + timedelta(hours=5 if n == place else 0))

    found = await found_in(sessions)

    assert found.broken_at == place
    assert "after the checkpoint" in found.reason


async def test_a_clock_that_was_set_back_between_checkpoints_is_found(sessions):
    outside = await a_trail(sessions)
    third = read(outside[2], ROOT)
    early = sign(replace(third, at=the_hour(1)), SIGNER)
    signed, wrong = read_all([*outside[:2], early.token], ROOT)

    async with transaction(sessions) as session:
        found = await audit.verify(session, signed, known=wrong)

    assert any(f.number == LAST and "the clock was set back" in f.reason for f in found.findings)


async def test_an_entry_from_the_future_is_found(sessions):
    async with transaction(sessions) as session:
        ahead = datetime.now(UTC) + timedelta(hours=1)
        await audit.append(session, audit.Entry("signed_in", ahead))

    found = await found_in(sessions)

    assert (found.broken_at, found.reason[-16:]) == (1, "is still to come")


async def test_a_checkpoint_that_was_taken_away_is_missed(sessions):
    outside = await a_trail(sessions)
    signed, _ = read_all([outside[0], outside[2]], ROOT)

    async with transaction(sessions) as session:
        found = await audit.verify(session, signed)

    assert (found.broken_at, found.reason) == (6, "the checkpoint that was signed here is missing")


async def test_nothing_is_signed_over_a_broken_chain(engine, sessions):
    await a_trail(sessions)
    async with transaction(sessions) as session:
        await audit.append(session, audit.Entry("signed_in", the_hour(10), actor="p"))
    await replaced_by(engine, edited(await rows_of(sessions), 10))

    with pytest.raises(checkpoints.Broken, match="broken at entry 10: its text was changed"):
        await checkpoints.make(sessions, SIGNER, ROOT, datetime.now(UTC))


async def test_a_checkpoint_is_made_once_however_many_ask(sessions):
    await a_trail(sessions)
    async with transaction(sessions) as session:
        await audit.append(session, audit.Entry("signed_in", the_hour(10)))
    now = datetime.now(UTC)

    first = await checkpoints.make(sessions, SIGNER, ROOT, now)
    again = await checkpoints.make(sessions, SIGNER, ROOT, now + timedelta(hours=1))

    assert (first.number, first.count, first.previous != chain.START) == (10, 1, True)
    assert again == first


@pytest.mark.parametrize("change", ["UPDATE {} SET token = 'x'", "DELETE FROM {}"])
async def test_the_database_refuses_to_change_checkpoints(engine, sessions, change):
    await a_trail(sessions)

    with pytest.raises(DatabaseError, match="append-only"):
        async with engine.begin() as connection:
            await connection.execute(text(change.format("audit_checkpoints")))


async def checkpoint_row(sessions, number):
    async with transaction(sessions) as session:
        return (await session.get_one(AuditCheckpoint, number)).model_dump()


async def replaced_again(engine, links):
    async with engine.begin() as connection:
        await connection.execute(delete(AuditEntry))
        await connection.execute(insert(AuditEntry), [link._asdict() for link in links])


async def forged_checkpoints(sessions, place, forger):
    """Return the table's checkpoints, those from ``place`` on signed by somebody else."""
    forged = []
    for number in AFTER:
        row = await checkpoint_row(sessions, number)
        if number >= place:
            row["token"] = sign(read(row["token"], ROOT), forger).token
        forged.append(row)
    return forged
