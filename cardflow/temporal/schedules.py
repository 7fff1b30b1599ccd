"""Schedules that Temporal keeps: made once, brought up to date by every worker that starts."""

from dataclasses import dataclass
from datetime import timedelta

from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleIntervalSpec,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleSpec,
    ScheduleUpdate,
    ScheduleUpdateInput,
)
from temporalio.service import RPCError

from cardflow.errors import Unavailable


@dataclass(frozen=True)
class Round:
    """A workflow without input that runs again and again."""

    name: str
    workflow: str
    every: timedelta
    offset: timedelta = timedelta()  # after midnight UTC, for those that run once a day


async def keep(client: Client, task_queue: str, round: Round) -> None:
    """Have Temporal run it from now on; a schedule that somebody paused stays paused."""
    schedule_id = f"{task_queue}/{round.name}"
    wanted = _schedule(round, schedule_id, task_queue)
    try:
        await client.create_schedule(schedule_id, wanted)  # no failpoint: the next worker keeps it
    except ScheduleAlreadyRunningError:
        await client.get_schedule_handle(schedule_id).update(lambda found: _updated(found, wanted))
    except RPCError as error:
        raise Unavailable(f"Temporal does not keep the schedule {schedule_id}") from error


def _schedule(round: Round, schedule_id: str, task_queue: str) -> Schedule:
    return Schedule(
        action=ScheduleActionStartWorkflow(
            round.workflow,
            id=schedule_id,
            task_queue=task_queue,
            execution_timeout=timedelta(minutes=30),
        ),
        spec=ScheduleSpec(intervals=[ScheduleIntervalSpec(every=round.every, offset=round.offset)]),
        # What was missed while everything was down is made up for once.
        policy=SchedulePolicy(overlap=ScheduleOverlapPolicy.SKIP, catchup_window=timedelta(days=1)),
    )


def _updated(found: ScheduleUpdateInput, wanted: Schedule) -> ScheduleUpdate:
    wanted.state = found.description.schedule.state
    return ScheduleUpdate(wanted)
