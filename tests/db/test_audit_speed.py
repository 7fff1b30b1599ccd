"""A trail of years is checked while somebody waits."""

import shutil

import pytest

from benchmarks.bench_audit import ENTRIES, filled, verified
from cardflow.sql import create_engine, sessions_of

MOST_SECONDS = 10  # of one core: other work on the machine proves nothing about ours


@pytest.mark.slow
async def test_a_hundred_thousand_entries_are_checked_in_ten_seconds(migrated_file, tmp_path):
    file = shutil.copy(migrated_file, tmp_path / "cardflow.db")
    engine = create_engine(f"sqlite+aiosqlite:///{file}")
    sessions = sessions_of(engine)
    await filled(sessions)

    _seconds, busy = await verified(sessions)

    assert ENTRIES == 100_000
    assert busy <= MOST_SECONDS
    await engine.dispose()
