"""Temporal's server and the database's, killed at any time while an update is under way."""

import pytest

from tests.chaos.matrix import Fault, Run, of_servers, parameters

pytestmark = [pytest.mark.e2e, pytest.mark.softhsm, pytest.mark.temporal, pytest.mark.slow]
DATABASE = "postgresql"  # which has a process to kill


@pytest.mark.parametrize("fault", parameters(of_servers()))
async def test_nothing_is_lost_or_doubled(run: Run, fault: Fault) -> None:
    await run.outcome(fault.name)
