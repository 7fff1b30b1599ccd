"""Two processes killed in one update, and processes that rest for too long."""

import pytest

from tests.chaos.matrix import Fault, Run, on_postgresql, parameters

pytestmark = [pytest.mark.e2e, pytest.mark.softhsm, pytest.mark.temporal, pytest.mark.slow]
DATABASE = "postgresql"  # the kills are on the other one


@pytest.mark.parametrize("fault", parameters(on_postgresql()))
async def test_nothing_is_lost_or_doubled(run: Run, fault: Fault) -> None:
    await run.outcome(fault.name)
