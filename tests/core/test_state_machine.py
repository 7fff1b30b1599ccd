"""Any order of things that people, CA, card and clock do to an update keeps what is promised."""

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.life import Life


def explore(runs: int) -> None:
    """Take the machine through so many lives of fifty steps."""
    checks = [HealthCheck.too_slow, HealthCheck.filter_too_much]
    limits = settings(
        max_examples=runs, stateful_step_count=50, deadline=None, suppress_health_check=checks
    )
    run_state_machine_as_test(Life, settings=limits)


def test_a_hundred_lives_of_fifty_steps_keep_every_promise():
    explore(100)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_five_thousand_lives_of_fifty_steps_keep_every_promise():
    explore(5_000)
