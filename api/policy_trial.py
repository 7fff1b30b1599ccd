"""What a policy would mean for the cards there are: counted in parts, nothing is stored."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from api.card_contents import managed_on
from api.shapes import Out
from api.state import State
from cardflow.db.register_trial import KnownCard, card_ids, documents_of_newest, known_cards
from cardflow.decisions import utc_now
from cardflow.model import CardState, Policy, Profile
from cardflow.policy import Situation, what_is_due
from cardflow.policy_toml import stored_policy
from cardflow.sql import transaction

PART = 500
EXAMPLES = 5
Reach = Literal["following", "all"]


class CardRef(Out):
    """A card to look at."""

    id: str
    token_serial: str


class ReasonOut(Out):
    """How many cards would need an update because of one thing, with a few of them."""

    profile: str
    reason: str
    cards: int
    examples: list[CardRef]


class LaneOut(Out):
    """On how many cards a profile's certificate is due: today, and under the policy tried."""

    profile: str
    today: int
    then: int


class CannotOut(Out):
    """How many cards no update can be opened on, and why."""

    reason: str
    cards: int


class TrialResult(Out):
    """What the policy would mean."""

    name: str
    reach: Reach
    cards: int  # looked at
    need: int  # would need an update
    need_today: int
    newly: int  # would need one and do not today
    no_longer: int  # need one today and would not
    open: int  # updates that are open keep the version they were opened with
    reasons: list[ReasonOut]
    lanes: list[LaneOut]
    cannot: list[CannotOut]


class TrialLine(Out):
    """How far the count is; the last line has the result."""

    done: int
    of: int
    result: TrialResult | None = None


async def try_on_cards(state: State, policy: Policy, reach: Reach) -> AsyncIterator[TrialLine]:
    """Yield how far the count is after each part of the cards, and the result at the end."""
    async with transaction(state.reads) as session:
        ids = await card_ids(session, policy.name if reach == "following" else None)
    count = _Count(policy, state.profiles, utc_now())
    for start in range(0, len(ids), PART):
        yield TrialLine(done=start, of=len(ids))
        async with transaction(state.reads) as session:
            cards = await known_cards(session, ids[start : start + PART])
            unknown = {card.policy_name for card in cards} - count.today.keys()
            documents = await documents_of_newest(session, unknown)
        count.today |= {name: _policy(documents.get(name)) for name in unknown}
        # Reading five hundred inventories takes longer than anybody else should wait.
        await asyncio.to_thread(count.take, cards)
    yield TrialLine(done=len(ids), of=len(ids), result=count.result(reach))


def _policy(document: str | None) -> Policy | None:
    return stored_policy(document, 1) if document is not None else None


@dataclass
class _Count:
    policy: Policy
    profiles: Mapping[str, Profile]
    now: datetime
    today: dict[str, Policy | None] = field(default_factory=dict)  # by name
    numbers: Counter[str] = field(default_factory=Counter)
    reasons: Counter[tuple[str, str]] = field(default_factory=Counter)
    examples: dict[tuple[str, str], list[CardRef]] = field(default_factory=dict)
    lanes_today: Counter[str] = field(default_factory=Counter)
    lanes_then: Counter[str] = field(default_factory=Counter)
    cannot: Counter[str] = field(default_factory=Counter)

    def take(self, cards: Sequence[KnownCard]) -> None:
        for card in cards:
            self._take(card)

    def _take(self, card: KnownCard) -> None:
        self.numbers["cards"] += 1
        self.numbers["open"] += card.state == CardState.PENDING
        if why := _out_of_reach(card):
            self.cannot[why] += 1
            return
        situation = Situation("", managed_on(card), {}, self.now)
        current = self.today.get(card.policy_name)
        today = what_is_due(current, self.profiles, situation) if current else {}
        then = what_is_due(self.policy, self.profiles, situation)
        self.lanes_today.update(today.keys())
        self.lanes_then.update(then.keys())
        self._compare(bool(today), bool(then))
        for profile, why in then.items():
            self._note(card, (profile, _without_dates(why)))

    def _compare(self, today: bool, then: bool) -> None:
        self.numbers["need_today"] += today
        self.numbers["need"] += then
        self.numbers["newly"] += then and not today
        self.numbers["no_longer"] += today and not then

    def _note(self, card: KnownCard, reason: tuple[str, str]) -> None:
        self.reasons[reason] += 1
        examples = self.examples.setdefault(reason, [])
        if len(examples) < EXAMPLES:
            examples.append(CardRef(id=card.id, token_serial=card.token_serial))

    def result(self, reach: Reach) -> TrialResult:
        names = ("cards", "need", "need_today", "newly", "no_longer", "open")
        return TrialResult(
            name=self.policy.name,
            reach=reach,
            **{name: self.numbers[name] for name in names},
            reasons=[
                ReasonOut(profile=key[0], reason=key[1], cards=n, examples=self.examples[key])
                for key, n in self.reasons.most_common()
            ],
            lanes=[
                LaneOut(profile=name, today=self.lanes_today[name], then=self.lanes_then[name])
                for name in sorted({*self.lanes_today, *self.lanes_then})
            ],
            cannot=[CannotOut(reason=why, cards=n) for why, n in self.cannot.most_common()],
        )


def _out_of_reach(card: KnownCard) -> str:
    if card.state in (CardState.DISABLED, CardState.REVOKED):
        return f"the card is {card.state.lower()}"
    if card.holder_id is None:
        return "the card is not assigned to anybody"
    return "" if card.holder_active else "the card's holder is disabled"


def _without_dates(why: str) -> str:
    """Return the reason so that cards with different dates count together."""
    for told, said in (("expired on ", "expired"), ("expires on ", "expires soon")):
        if why.startswith(told):
            return said
    return why
