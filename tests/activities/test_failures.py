"""Our errors reach Temporal with their kind, and with whether another try makes sense."""

import asyncio

import pytest
from temporalio.exceptions import ApplicationError
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput

from activities.failures import Failures
from cardflow.errors import Refused, Unavailable, Unknown


class Raises(ActivityInboundInterceptor):
    """An activity that ends with the error."""

    def __init__(self, error):
        self._error = error

    async def execute_activity(self, _input):
        raise self._error


def submit():
    """An activity is known by its function's name."""


async def translated(error, expected=ApplicationError):
    given = ExecuteActivityInput(fn=submit, args=(), executor=None, headers={})
    with pytest.raises(expected) as caught:
        await Failures().intercept_activity(Raises(error)).execute_activity(given)
    return caught.value


async def test_a_refusal_is_final_and_brings_its_objections():
    error = await translated(Refused("no", "and no"))

    assert (error.type, error.non_retryable) == ("Refused", True)
    assert error.message == "no; and no"
    assert tuple(error.details) == ("no", "and no")


@pytest.mark.parametrize("kind", [Unavailable, Unknown])
async def test_what_may_pass_is_tried_again(kind):
    error = await translated(kind("later"))

    assert (error.type, error.non_retryable) == (kind.__name__, False)
    assert error.message == "later"


async def test_a_bug_stays_what_it_is():
    assert str(await translated(KeyError("x"), KeyError)) == "'x'"


async def test_a_cancellation_passes_through():
    assert await translated(asyncio.CancelledError(), asyncio.CancelledError)
