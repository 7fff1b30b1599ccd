"""Mail that leaves by itself: tried again until the relay takes it, by the clock, or as a trial."""

from typing import TYPE_CHECKING

from temporalio import activity

from activities.orders import Left, RoundOrder
from cardflow.errors import Unavailable
from cardflow.mail.trial import TrialAnswer, TrialOrder
from cardflow.orders import MailOrder

if TYPE_CHECKING:
    from activities.mail.postman import Postman
    from activities.mail.rounds import Rounds
    from activities.mail.trials import Trials

SECONDS_FOR_MAIL = 30
SECONDS_FOR_ROUND = 240
SECONDS_FOR_TRIAL = 15  # somebody waits for what the relay says


class MailActivities:
    """Delivers queued mails; one that was sent, or refused for good, is skipped."""

    def __init__(self, postman: "Postman") -> None:
        self._postman = postman

    @activity.defn
    async def deliver(self, order: MailOrder) -> None:
        """Each mail is sent, under the Message-ID of its first try, or marked as refused."""
        unsent = await self._postman.send(order.mails, seconds=SECONDS_FOR_MAIL)
        if unsent:
            raise _waiting(len(unsent))


class MailRoundActivities:
    """Sends what no event asks for at once."""

    def __init__(self, rounds: "Rounds", trials: "Trials") -> None:
        self._rounds = rounds
        self._trials = trials

    @activity.defn
    async def send_digests(self, order: RoundOrder) -> None:
        """Everybody whose digest was due at the instant has it."""
        if unsent := await self._rounds.digests(order.at, seconds=SECONDS_FOR_ROUND):
            raise _waiting(unsent)

    @activity.defn
    async def warn_of_expiry(self, order: RoundOrder) -> None:
        """Every holder knows which certificates came closer to their end by the instant."""
        if unsent := await self._rounds.warnings(order.at, seconds=SECONDS_FOR_ROUND):
            raise _waiting(unsent)

    @activity.defn
    async def find_left_mails(self, order: RoundOrder) -> Left:
        """Return which mails waited for long at the instant, and have no delivery."""
        return Left(await self._rounds.left(order.at, activity.client()))

    @activity.defn
    async def send_trial(self, order: TrialOrder) -> TrialAnswer:
        """The person who asked has the mail, or knows why not."""
        return await self._trials.send(order, seconds=SECONDS_FOR_TRIAL)


def _waiting(number: int) -> Unavailable:
    return Unavailable(f"{number} mails wait: the mail relay does not take them now")
