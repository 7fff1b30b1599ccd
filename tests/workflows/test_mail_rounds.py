"""Mail by the clock: short runs that hand their instant on, and give up for the next to go on."""

from datetime import UTC, datetime, timedelta

import pytest
from temporalio import activity
from temporalio.client import WorkflowFailureError
from temporalio.exceptions import ApplicationError
from temporalio.worker import Worker

from activities.orders import Left, RoundOrder
from cardflow.mail.trial import TrialAnswer, TrialOrder
from cardflow.model import MailKind, new_id
from cardflow.orders import MailOrder
from tests.sandbox import sandbox
from workflows.afterwork import Delivery
from workflows.mail_rounds import Digests, ExpiryWarnings, LeftMails, MailTrial

ORDER = TrialOrder("ada", "staff", MailKind.COMPLETED, "en")


class Office:
    """Remembers what it was asked; may find the relay closed."""

    def __init__(self):
        self.asked = []
        self.down = 0
        self.looks = []  # what each look for left mails finds
        self.delivered = []

    @activity.defn
    async def send_digests(self, order: RoundOrder) -> None:
        self._note("digests", order)

    @activity.defn
    async def warn_of_expiry(self, order: RoundOrder) -> None:
        self._note("warnings", order)

    @activity.defn
    async def find_left_mails(self, order: RoundOrder) -> Left:
        self._note("left", order)
        return Left(self.looks.pop(0))

    @activity.defn
    async def deliver(self, order: MailOrder) -> None:
        self.delivered.append((activity.info().workflow_id, order.mails))

    @activity.defn
    async def send_trial(self, order: TrialOrder) -> TrialAnswer:
        self._note("trial", order)
        return TrialAnswer("sent", "250 OK", "ada@example.org", "[Test] Done")

    def _note(self, what, order):
        self.asked.append((what, order))
        if self.down:
            self.down -= 1
            raise ApplicationError("2 mails wait", type="Unavailable")


@pytest.fixture
async def office(fresh_skipping_env):
    office = Office()
    office.client, office.queue = fresh_skipping_env.client, new_id()
    office.env = fresh_skipping_env
    async with Worker(
        office.client,
        task_queue=office.queue,
        workflows=[Digests, ExpiryWarnings, LeftMails, MailTrial, Delivery],
        activities=[
            office.send_digests,
            office.warn_of_expiry,
            office.find_left_mails,
            office.deliver,
            office.send_trial,
        ],
        workflow_runner=sandbox(),
    ):
        yield office


async def run(office, workflow, *arguments):
    return await office.client.execute_workflow(
        workflow, *arguments, id=new_id(), task_queue=office.queue
    )


@pytest.mark.parametrize(
    ("workflow", "what"), [(Digests.run, "digests"), (ExpiryWarnings.run, "warnings")]
)
async def test_a_round_is_for_the_instant_at_which_it_began(office, workflow, what):
    begun = await office.env.get_current_time()
    await run(office, workflow)

    ((asked, order),) = office.asked
    assert asked == what
    assert abs(order.at - begun) < timedelta(minutes=1)
    assert order.at.tzinfo == UTC


async def test_while_the_relay_is_away_a_round_tries_again_for_the_same_instant(office):
    office.down = 2
    await run(office, Digests.run)

    assert len(office.asked) == 3
    assert len({order.at for _, order in office.asked}) == 1


async def test_a_round_ends_in_time_for_the_next(office):
    office.down = 1_000
    handle = await office.client.start_workflow(Digests.run, id=new_id(), task_queue=office.queue)
    with pytest.raises(WorkflowFailureError):
        await handle.result()

    events = (await handle.fetch_history()).events
    lasted = events[-1].event_time.ToDatetime() - events[0].event_time.ToDatetime()
    assert lasted < timedelta(minutes=15)
    assert len(office.asked) < 20


async def test_what_two_looks_found_left_is_delivered_each_update_by_one(office):
    office.looks = [
        {"u1": ("m1", "m2"), "u2": ("m3",), "u3": ("m4",)},
        {"u1": ("m2",), "u3": ("m5",)},
    ]
    await run(office, LeftMails.run)

    await office.client.get_workflow_handle("mail/u1/again").result()
    assert office.delivered == [("mail/u1/again", ("m2",))]
    assert len({order.at for _, order in office.asked}) == 1


async def test_what_is_being_delivered_again_is_left_to_that(office, monkeypatch):
    # No time is skipped while a task waits for a worker that never comes.
    monkeypatch.setattr("cardflow.temporal.limits.WORK", timedelta(seconds=0.1))
    office.looks = [{"u9": ("m1",)}, {"u9": ("m1",)}]
    at_work = await office.client.start_workflow(
        Delivery.run, MailOrder(("m1",)), id="mail/u9/again", task_queue="nobody"
    )
    await run(office, LeftMails.run)

    assert office.delivered == []
    await at_work.terminate()


async def test_where_nothing_is_left_there_is_one_look(office):
    office.looks = [{}]
    await run(office, LeftMails.run)

    assert [what for what, _ in office.asked] == ["left"]


async def test_a_trial_is_tried_once_and_answers_what_the_relay_said(office):
    answer = await run(office, MailTrial.run, ORDER)
    assert answer == TrialAnswer("sent", "250 OK", "ada@example.org", "[Test] Done")

    office.down = 1
    with pytest.raises(WorkflowFailureError):
        await run(office, MailTrial.run, ORDER)
    assert len(office.asked) == 2


async def test_a_rounds_history_is_short(office):
    handle = await office.client.start_workflow(Digests.run, id=new_id(), task_queue=office.queue)
    await handle.result()

    history = await handle.fetch_history()
    assert len(history.events) <= 11
    assert isinstance(office.asked[0][1].at, datetime)
