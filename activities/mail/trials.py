"""A mail with made-up contents, so that somebody sees a text arrive before it is used."""

from dataclasses import replace

from activities.mail.postman import Postman
from cardflow.db.register_policies import newest_version
from cardflow.db.tables import Person
from cardflow.decisions import utc_now
from cardflow.errors import Refused
from cardflow.mail.letters import Letter, Text
from cardflow.mail.samples import sample_letter
from cardflow.mail.trial import TrialAnswer, TrialOrder
from cardflow.model import new_id
from cardflow.policy_toml import stored_policy
from cardflow.sql import Sessions, looking


class Trials:
    """Sends to the person who asked, and to nobody else."""

    def __init__(self, sessions: Sessions, postman: Postman) -> None:
        self._sessions = sessions
        self._postman = postman

    async def send(self, order: TrialOrder, *, seconds: float) -> TrialAnswer:
        """Return what the relay said to the mail."""
        letter = await self._letter(order)
        subject, outcome = await self._postman.try_out(letter, seconds=seconds)
        said = outcome.said or outcome.reason
        return TrialAnswer(outcome.fate, said, letter.address, subject)

    async def _letter(self, order: TrialOrder) -> Letter:
        async with looking(self._sessions) as session:
            person = await session.get(Person, order.person_id)
            version = await newest_version(session, order.policy_name)
        if person is None or version is None:
            raise Refused("the person or the policy is gone")
        text = Text(order.subject, order.body) if order.subject else None
        policy = stored_policy(version.document, version.version)
        letter = sample_letter(order.kind, order.language, policy, text, utc_now())
        message_id = f"<{new_id()}@{self._postman.domain}>"
        return replace(letter, message_id=message_id, name=person.name, address=person.email)
