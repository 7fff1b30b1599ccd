"""One SIGKILL at each failpoint, in an update of each mode in turn."""

import pytest

from tests.chaos.matrix import Fault, Run, single_kills

pytestmark = [pytest.mark.e2e, pytest.mark.softhsm, pytest.mark.temporal, pytest.mark.slow]


@pytest.mark.parametrize("fault", [pytest.param(fault, id=fault.name) for fault in single_kills()])
async def test_nothing_is_lost_or_doubled_when_a_process_is_killed_there(
    run: Run, fault: Fault
) -> None:
    await run.outcome(fault.name)
