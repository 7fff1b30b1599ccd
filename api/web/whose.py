"""A person in a filter: typed as a name, a login or an address, found as an id."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncSession

from cardflow.db.register_identity import find_person, list_people
from cardflow.db.tables import Person

SOME = 6


@dataclass(frozen=True)
class Whose:
    """Whom the words mean; ``others`` when they fit several, nobody when they fit none."""

    typed: str = ""
    id: str = ""
    name: str = ""
    others: Sequence[Person] = ()

    @property
    def unclear(self) -> bool:
        """Whether words were typed that do not mean one person."""
        return bool(self.typed) and not self.id


async def whose(session: AsyncSession, typed: str) -> Whose:
    """Return whom the words mean."""
    words = typed.strip()
    if not words:
        return Whose()
    if person := await find_person(session, words):
        return Whose(person.name, person.id, person.name)
    found = await list_people(session, after="", limit=SOME, search=words)
    if len(found) == 1:
        return Whose(words, found[0].id, found[0].name)
    return Whose(words, others=found)
