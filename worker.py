"""The worker: builds the collaborators, registers what runs, and runs until it is told to end."""

import asyncio
import logging
import signal
import time
from collections.abc import MutableMapping
from datetime import timedelta
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio import activity
from temporalio.client import Client
from temporalio.worker import PollerBehaviorAutoscaling, UnsandboxedWorkflowRunner, Worker

from activities.ca import CAActivities
from activities.failures import Failures
from activities.mail.postman import build_postman
from activities.mail.rounds import build_rounds
from activities.mail.trials import Trials
from activities.mail_out import MailActivities, MailRoundActivities
from activities.records import RecordActivities
from cardflow.ca.embedded import EmbeddedCA, open_issuing_key
from cardflow.collector import keep_what_is_loaded
from cardflow.db.ca_record import CARecord
from cardflow.db.migrate import database_objections
from cardflow.db.update_record import UpdateRecord
from cardflow.decision_root import read_decision_root
from cardflow.errors import CardflowError, Refused
from cardflow.logs import write_json_logs
from cardflow.profiles import load_profiles
from cardflow.settings import Settings, load_settings
from cardflow.sql import create_engine, sessions_of
from cardflow.temporal import limits
from cardflow.temporal.client import connect
from cardflow.temporal.ending import run_and_exit
from cardflow.temporal.schedules import Round, keep
from workflows.afterwork import Afterwork, Delivery
from workflows.card_update import CardUpdate
from workflows.mail_rounds import Digests, ExpiryWarnings, LeftMails, MailTrial

MAINTAIN_EVERY_SECONDS = 60
LET_FINISH = timedelta(seconds=20)
LOOK_EVERY_SECONDS: float = 1
STOOD_STILL_SECONDS: float = 10  # what Temporal gives a workflow task
ROUNDS = (
    Round("digests", "Digests", every=timedelta(minutes=15)),
    Round("left-mails", "LeftMails", every=timedelta(minutes=15), offset=timedelta(minutes=7)),
    Round("expiry-warnings", "ExpiryWarnings", every=timedelta(days=1), offset=timedelta(hours=5)),
)

log = logging.getLogger("cardflow.worker")


def build_worker(client: Client, settings: Settings, engine: AsyncEngine, ca: EmbeddedCA) -> Worker:
    """Return the worker with every workflow and every activity that it runs."""
    sessions = sessions_of(engine)
    profiles = load_profiles(settings.profiles_file)
    root = read_decision_root(settings.decision_root_file)
    postman = build_postman(settings, sessions, profiles)
    record = UpdateRecord(
        sessions,
        decision_root=root,
        mail_domain=postman.domain,
        digest_above=settings.digest_above,
    )

    records = RecordActivities(record, postman)
    at_the_ca = CAActivities(ca, CARecord(sessions), profiles)
    mail = MailActivities(postman)
    rounds = build_rounds(settings, sessions, postman)
    by_the_clock = MailRoundActivities(rounds, Trials(sessions, postman))

    return Worker(
        client,
        task_queue=settings.temporal_task_queue,
        workflows=[CardUpdate, Afterwork, Delivery, Digests, ExpiryWarnings, LeftMails, MailTrial],
        activities=[
            records.open_update,
            records.publish,
            at_the_ca.submit,
            at_the_ca.poll,
            at_the_ca.withdraw,
            at_the_ca.revoke,
            mail.deliver,
            by_the_clock.send_digests,
            by_the_clock.warn_of_expiry,
            by_the_clock.find_left_mails,
            by_the_clock.send_trial,
        ],
        interceptors=[Failures()],
        # The sandbox costs a third of what an update costs us; tests and replays run in it.
        workflow_runner=UnsandboxedWorkflowRunner(),
        workflow_task_poller_behavior=PollerBehaviorAutoscaling(),
        activity_task_poller_behavior=PollerBehaviorAutoscaling(),
        graceful_shutdown_timeout=LET_FINISH,
        sticky_queue_schedule_to_start_timeout=limits.STICKY,
        # To make a name up the SDK compiles every module that is loaded: most of a worker's start.
        build_id="cardflow",
    )


def build_ca(settings: Settings, engine: AsyncEngine) -> EmbeddedCA:
    """Return the embedded CA with its issuing key: only the worker signs."""
    return EmbeddedCA(
        engine,
        settings.ca_dir,
        load_profiles(settings.profiles_file),
        public_url=settings.public_url,
        decision_root=read_decision_root(settings.decision_root_file),
        issuing_key=open_issuing_key(settings.ca_dir, settings.ca_passphrase_file),
    )


async def maintain(ca: EmbeddedCA) -> None:
    """Keep the CA's CRL and OCSP signer fresh for as long as the worker runs."""
    while True:
        try:
            for done in await ca.maintain():
                log.info("the CA %s", done)
        except CardflowError as error:
            log.warning("the CA could not be maintained: %s", error)
        except Exception:  # whatever it is: updates must go on, and a later round may do it
            log.exception("the CA could not be maintained")
        await asyncio.sleep(MAINTAIN_EVERY_SECONDS)


async def main() -> None:
    """Run until SIGINT or SIGTERM; what is being done is finished first."""
    settings = load_settings()
    write_json_logs(settings.log_level, _where)
    engine = create_engine(settings.database_url, serves=True)
    if found := await database_objections(engine):
        raise Refused(*found)
    ca = build_ca(settings, engine)
    client = await connect(settings, metrics=True)
    for round in ROUNDS:
        await keep(client, settings.temporal_task_queue, round)
    keep_what_is_loaded()
    lasting = [asyncio.create_task(told_to_end()), asyncio.create_task(maintain(ca))]
    while not any(task.done() for task in lasting):
        async with build_worker(client, settings, engine, ca):
            log.info("the worker runs on task queue %s", settings.temporal_task_queue)
            await _first_of(*lasting, asyncio.create_task(stood_still()))
    for task in lasting:
        if task.done():
            task.result()
        task.cancel()
    ca.close()
    await engine.dispose()


async def told_to_end() -> None:
    """Return when SIGINT or SIGTERM has come."""
    told = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, told.set)
    await told.wait()


async def stood_still() -> None:
    """Return once this process has stood still for longer than a workflow task may take.

    Temporal has then given its tasks to others, and the SDK may take an event of theirs for one
    that it has seen, and never tell the workflow that, say, an activity is over: measured with
    temporalio 1.35, one update in thirty waited so for ever. Another worker, which
    remembers nothing, reads it all anew.
    """
    while True:
        before = time.time()
        await asyncio.sleep(LOOK_EVERY_SECONDS)
        if (away := time.time() - before - LOOK_EVERY_SECONDS) > STOOD_STILL_SECONDS:
            log.warning("the process stood still for %d s: all workflows are read anew", away)
            return


async def _first_of(*tasks: "asyncio.Task[None]") -> None:
    """Return when one of them is done; the last one goes no further than this."""
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    tasks[-1].cancel()


def _where(_logger: Any, _method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Say which update a line is about."""
    if activity.in_activity():
        info = activity.info()
        line["workflow_id"], line["activity"] = info.workflow_id, info.activity_type
    return line


if __name__ == "__main__":
    run_and_exit(main())
