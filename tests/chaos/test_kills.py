"""One SIGKILL at each failpoint, in an update of each mode in turn; some pairs, some rests.

``make test`` runs the sample (``matrix.is_in_sample``), ``make chaos`` all of it.
"""

import pytest

from tests.chaos.matrix import Fault, Run, on_sqlite, parameters

pytestmark = [pytest.mark.e2e, pytest.mark.softhsm, pytest.mark.temporal]


@pytest.mark.parametrize("fault", parameters(on_sqlite()))
async def test_nothing_is_lost_or_doubled_when_a_process_is_killed_there(
    run: Run, fault: Fault
) -> None:
    await run.outcome(fault.name)
