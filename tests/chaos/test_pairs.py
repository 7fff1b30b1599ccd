"""Two processes killed in one update, processes that rest too long, servers killed at any time."""

import pytest

from tests.chaos.matrix import Fault, Run, pairs, random_kills, stops

pytestmark = [pytest.mark.e2e, pytest.mark.softhsm, pytest.mark.temporal, pytest.mark.slow]
DATABASE = "postgresql"  # which has a process to kill
FAULTS = [*pairs(), *stops(), *random_kills("temporal"), *random_kills("database")]


@pytest.mark.parametrize("fault", [pytest.param(fault, id=fault.name) for fault in FAULTS])
async def test_nothing_is_lost_or_doubled(run: Run, fault: Fault) -> None:
    await run.outcome(fault.name)
