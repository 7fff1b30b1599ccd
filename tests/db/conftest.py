"""A migrated database per test: SQLite always, PostgreSQL where its tests are asked for."""

import pytest

from cardflow.sql import create_engine, sessions_of

ON_BOTH = [
    pytest.param("sqlite", marks=pytest.mark.sqlite),
    pytest.param("postgresql", marks=pytest.mark.slow),
]


@pytest.fixture(params=ON_BOTH)
async def empty_engine(request, tmp_path):
    """An engine over a database without any table."""
    engine = create_engine(_given(request).empty(tmp_path))
    yield engine
    await engine.dispose()


@pytest.fixture(params=ON_BOTH)
async def engine(request, tmp_path):
    """An engine over a migrated database that only this test uses."""
    engine = create_engine(_given(request).migrated(tmp_path))
    yield engine
    await engine.dispose()


def _given(request):
    fixture = "databases" if request.param == "sqlite" else "on_server"
    return request.getfixturevalue(fixture)


@pytest.fixture
def sessions(engine):
    """What opens sessions on the test's database."""
    return sessions_of(engine)
