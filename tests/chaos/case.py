"""One case: some points armed, one card, one update that its people take to its end."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from cli.demo_steps import CHANGED
from cli.processes import ROOT
from cli.scribble import scan_of
from tests.chaos.desk import Desk
from tests.chaos.people import Answered, Ledger, Person

if TYPE_CHECKING:
    from tests.chaos.world import Armed, Stop, Strike, World

STUCK_AFTER = 90  # seconds in which an update came no further, however many visits it had
SETTLED_WITHIN = 40  # what goes on after an update: revocations, late mail, the card's report
HIT_WITHIN = 20  # once the update is over
LOOK_EVERY = 0.25
THOUGHT, PATIENCE = 0.4, 4  # before a click; the first visit begins without one
AWAY = "the card is not connected"  # an agent that has just started says so until it has looked
FAILED = ROOT / "var" / "chaos"
GOES_ON = {"preparing", "ready", "written", "cancelled", "ca_rejected"}
ENDED = ("completed", "rejected", "cancelled", "lapsed")


class Broken(AssertionError):
    """A case that did not end as every case must."""


class Case:
    """See ``tests/chaos/world.py`` for how to write one."""

    def __init__(self, world: "World", title: str, seed: int, *, desk: Desk | None = None) -> None:
        self.world, self.title, self.seed, self._own = world, title, seed, desk
        self._desk: Desk | None = None
        self._armed: list[Armed] = []
        self._strikes: list[Strike] = []
        self.refusals = dict.fromkeys(("olga", "otto"), 0)  # what they will say no to first
        self.ledgers: dict[str, Ledger] = {}
        self.expected: dict[str, str] = {}  # the stage that each update must end in
        self.chance = Random(seed)  # noqa: S311 (which words are repeated, no secret)
        self._began = time.time()

    def arm(self, name: str, *, then: "Stop | None" = None, for_anybody: bool = False) -> "Armed":
        """Have the next process that comes to the point stopped and killed, or do ``then``.

        It is one that is at work for this case, unless that cannot be told.
        """
        whose = () if for_anybody or self._desk is None else self._names(self._desk)
        armed = self.world.arm(name, then, whose)
        self._armed.append(armed)
        return armed

    def _names(self, desk: Desk) -> list[str]:
        """Return what tells that a process is at work for this case."""
        signed_in = desk.holder.client.headers["Authorization"]
        return [f"{desk.directory}/", desk.card_id, desk.agent_id, signed_in, *self.ledgers]

    async def disarm(self) -> None:
        """Have nobody stop any more: another try begins."""
        armed, self._armed = self._armed, []
        for one in armed:
            if not one.hit.done():
                await self.world.disarm(one)

    async def killed(self, name: str, *, again: bool = True) -> None:
        """Have a process killed whatever it does, once the cards were looked at."""
        self._strikes.append(await self.world.killed(name, again=again))

    @property
    def all_hit(self) -> bool:
        """Whether a process has come by every point."""
        return all(armed.hit.done() for armed in self._armed)

    async def was_hit(self, seconds: float) -> bool:
        """Return whether a process comes by every point within the time."""
        if waiting := [armed.hit for armed in self._armed if not armed.hit.done()]:
            await asyncio.wait(waiting, timeout=seconds)
        return self.all_hit

    async def desk(self) -> Desk:
        """Return the desk of this case, waiting until one is free."""
        if self._desk is None:
            self._desk = self._own or await self.world.free.get()
            self._desk.alarms, self._began = [], time.time()
        return self._desk

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        findings: list[str] = []
        try:
            if kind is None:
                findings = await self._settled()
        except BaseException as broken:
            error = error or broken
        finally:
            points = [armed.name for armed in self._armed]
            await self.disarm()
        await self._leave(is_sound=error is None and not findings)
        if isinstance(error, asyncio.CancelledError):
            raise error
        if error is not None:
            raise Broken(self._told([f"{type(error).__name__}: {error}"], points)) from error
        if findings:
            raise Broken(self._told(findings, points))

    def _told(self, findings: list[str], points: list[str]) -> str:
        alarms = self._desk.alarms if self._desk else []
        head = f"{self.title} [seed {self.seed}; {', '.join(points)}]: " + "; ".join(
            [*findings, *alarms]
        )
        log = FAILED / f"{self.title}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text(f"{head}\n\n{self.world.merged_log(self._began)}\n")
        return f"{head}; see {log.relative_to(ROOT)}"

    async def _leave(self, *, is_sound: bool) -> None:
        """Give the desk to the next case; one with an update that is stuck is cleared first."""
        if self._desk is None:
            return
        if self._own is None:
            if not is_sound:
                with suppress(Exception):
                    await self._cleared(self._desk)
            self.world.free.put_nowait(self._desk)

    async def _cleared(self, desk: Desk) -> None:
        for update_id in self.ledgers:
            row = await self.world.records.one(
                "SELECT ended_at FROM updates WHERE id = :id", id=update_id
            )
            if row and row["ended_at"] is None:
                with suppress(Answered):
                    await desk.holder.post(f"/updates/{update_id}/cancel", json={"reason": "over"})

    # What people do

    async def run(self, policy: str) -> str:
        """Take a whole update under the policy to its end; return its id."""
        update_id = await self.open(policy)
        await self.finish(update_id)
        return update_id

    async def open(
        self, policy: str, *, beforehand: Callable[[], Awaitable[None]] | None = None
    ) -> str:
        """Have the card under the policy and the holder's update of it open; return its id."""
        desk = await self.desk()
        seen = await self.world.seen_on(desk)
        complete = frozenset(x["cka_id"] for x in seen["certificates"] if x["complete"])
        old = complete - set(await self.world.owed(desk))
        desk.update_id = ""  # now and no sooner: who looks meanwhile asks the last one
        desk.expect(old, is_clearing=not complete)
        ada = self.world.people["ada"]
        await ada.patch(f"/cards/{desk.card_id}", {"policy_name": policy.lower()})
        plan = await self._plan(desk)
        if beforehand:
            await beforehand()
        ledger = Ledger(self.chance)
        return self._under_way(desk, await self._opened(desk, plan["digest"], ledger), ledger)

    def _under_way(self, desk: Desk, opened: Any, ledger: Ledger) -> str:
        update_id = str(opened["id"])
        self.ledgers[update_id], desk.update_id = ledger, update_id
        self.expected[update_id] = "completed"
        for armed in self._armed:
            if armed.whose and not armed.hit.done():
                self.world.belongs(armed, update_id)
        return update_id

    async def clear(self) -> str:
        """The holder has the card cleared; return the update that does it, which is open."""
        desk, ledger = await self.desk(), Ledger(self.chance)
        path = f"/cards/{desk.card_id}/clear"
        await self._plan(desk, path)
        desk.expect(frozenset(), is_clearing=True)
        body = {"reason": "all of it goes", "confirm": desk.card.serial}
        return self._under_way(desk, await desk.holder.post(path, ledger, json=body), ledger)

    async def _opened(self, desk: Desk, digest: str, ledger: Ledger) -> Any:
        """Return the new update; who is told to look again, at the card or at the plan, does."""
        address = f"/cards/{desk.card_id}/updates"
        for _ in range(20):
            try:
                return await desk.holder.post(address, ledger, json={"plan_digest": digest})
            except Answered as no:
                if CHANGED not in no.text and AWAY not in no.text:
                    raise
            await asyncio.sleep(THOUGHT)
            digest = (await self._plan(desk))["digest"]
        raise Broken("the plan is another one each time it is looked at")

    async def _plan(self, desk: Desk, path: str = "") -> Any:
        """Return a plan that nothing speaks against, once the card's last contents are known."""
        for _ in range(400):
            plan = await desk.holder.get(path or f"/cards/{desk.card_id}/plan")
            if not plan["plan"]["objections"]:
                return plan
            await asyncio.sleep(LOOK_EVERY)
        raise Broken(f"no update is possible: {plan['plan']['objections']}")

    async def finish(self, update_id: str, *, until: str = "") -> dict[str, Any]:
        """Take turns for all whom the update waits for, until it ends or a lane is at ``until``."""
        turns = Turns(self, update_id)
        moved, deadline = [""], 0.0
        while True:
            view = await self.view(update_id)
            if view and (now := _stages(view)) != moved:
                moved, deadline = now, time.monotonic() + STUCK_AFTER
            if view and (view["stage"] in ENDED or _stands_at(view, until)):
                await self._learnt(view)
                return view
            if deadline and time.monotonic() > deadline:
                raise Broken(f"I10: stuck: {_standing(view)}")
            if view and not _is_waiting(view):
                raise Broken(f"I10: nobody is waited for: {_standing(view)}")
            is_wanted = self.expected[update_id] != "cancelled"
            if not (view and is_wanted and await turns.take(view)):
                await asyncio.sleep(LOOK_EVERY)

    async def _learnt(self, view: dict[str, Any]) -> None:
        """From now on the card must have what the update wrote, and what it could not replace."""
        desk, lanes = await self.desk(), view["state"]["lanes"]
        kept = {
            ref["cka_id"]
            for lane in lanes
            if lane["stage"] == "ca_rejected"
            for ref in lane["plan"]["retires"]
        }
        is_clearing = desk.is_clearing and not any(lane["stage"] == "written" for lane in lanes)
        desk.expect(desk.old - kept, is_clearing=is_clearing)

    async def view(self, update_id: str) -> dict[str, Any]:
        """Return the update's state as it is on record; empty before it is."""
        row = await self.world.records.one(
            "SELECT stage, ended_at, view FROM updates WHERE id = :id", id=update_id
        )
        return {**json.loads(row["view"]), "stage": row["stage"]} if row else {}

    async def cancel(self, update_id: str) -> None:
        """The holder gives the update up."""
        desk = await self.desk()
        self.expected[update_id] = "cancelled"
        body = {"reason": "not now"}
        await desk.holder.post(f"/updates/{update_id}/cancel", self.ledgers[update_id], json=body)

    # The end

    async def _settled(self) -> list[str]:
        """Return what is wrong once every point was hit and the world has come to rest."""
        from tests.chaos.oracle import findings

        desk = await self.desk()
        for armed in self._armed:
            try:
                async with asyncio.timeout(HIT_WITHIN):
                    self._strikes.append(await asyncio.shield(armed.hit))
            except TimeoutError:
                return [f"{armed.name} was never reached"]
        if unseen := [strike.what for strike in self._strikes if desk.name not in strike.seen]:
            return [f"nobody looked at the card at {', '.join(unseen)}"]
        for ledger in self.ledgers.values():
            await ledger.say_again()
        deadline = time.monotonic() + SETTLED_WITHIN
        while True:
            found = [*desk.alarms, *self._deserters()]
            for update_id, ledger in self.ledgers.items():
                found += await findings(
                    self.world, desk, update_id, ledger, self.expected[update_id]
                )
            if not found or time.monotonic() > deadline:
                return found
            await asyncio.sleep(0.2)

    def _deserters(self) -> list[str]:
        """An agent waits for whatever is away; a worker may end, and is started again."""
        ended = {name for at, name in self.world.ended if at > self._began}
        return [f"{name} ended by itself" for name in sorted(ended) if name.startswith("agent-")]


@dataclass
class Turns:
    """Does for each person what they are waited for, once at each place."""

    case: Case
    update_id: str
    done: set[tuple[Any, ...]] = field(default_factory=set)
    seen: dict[tuple[Any, ...], float] = field(default_factory=dict)

    async def take(self, view: dict[str, Any]) -> bool:
        """Do the next thing; False when nobody of ours is waited for."""
        desk = await self.case.desk()
        if view["state"]["visit"] is not None:
            return False
        for lane in view["state"]["lanes"]:
            place = _place(view, lane)
            if place not in self.done and await self._at(desk, view, lane):
                self.done.add(place)
                return True
        stages = {lane["stage"] for lane in view["state"]["lanes"]}
        place = ("continue", view["state"]["events"])
        if place in self.done or not stages <= GOES_ON:
            return False
        since = self.seen.setdefault(place, time.monotonic())
        if time.monotonic() < since + (THOUGHT if view["state"]["visited"] else PATIENCE):
            return False
        if clicked := await self._post(desk.holder, f"/updates/{self.update_id}/continue", json={}):
            self.done.add(place)
        return clicked

    async def _at(self, desk: Desk, view: dict[str, Any], lane: dict[str, Any]) -> bool:
        path = f"/updates/{self.update_id}/lanes/{lane['plan']['lane']}"
        match lane["stage"]:
            case "awaiting_request_form" | "awaiting_certificate_form":
                return await self._hand_in(desk, view["policy_name"], path)
            case "checking_request_form" | "checking_certificate_form":
                return await self._decide(path, lane["plan"]["lane"])
            case "at_ca" if lane["plan"]["needs_officer"]:
                return await self._decide_at_ca()
        return False

    async def _hand_in(self, desk: Desk, policy: str, path: str) -> bool:
        if policy == "signed":
            return await self._post(desk.holder, f"{path}/signature", json={})
        if policy == "portal":
            pdf = await desk.holder.content(f"{path}/form")
            scan = await asyncio.to_thread(scan_of, pdf, seed=self.case.seed)
            file = ("form.pdf", scan, "application/pdf")
            return await self._post(desk.holder, f"{path}/documents", files=[("file", file)])
        olga = self.case.world.people["olga"]
        fields = [("means", (None, "post")), ("note", (None, "a letter"))]
        return await self._post(olga, f"{path}/documents", files=fields)

    async def _decide(self, path: str, name: str) -> bool:
        olga = self.case.world.people["olga"]
        shown = await olga.get(f"/updates/{self.update_id}")
        digest = next(x["decision_digest"] for x in shown["lanes"] if x["lane"] == name)
        return await self._say("olga", f"{path}/decisions", digest)

    async def _decide_at_ca(self) -> bool:
        otto = self.case.world.people["otto"]
        for request in (await otto.get("/ca/requests?state=pending"))["items"]:
            if request["update_id"] == self.update_id:
                path = f"/ca/requests/{request['id']}/decisions"
                return await self._say("otto", path, request["decision_digest"])
        return False

    async def _say(self, who: str, path: str, digest: str) -> bool:
        """Say no as often as the case wants it, and yes afterwards."""
        is_no = self.case.refusals[who] > 0
        told = ("reject", "it cannot be read") if is_no else ("approve", "")
        body = {"verdict": told[0], "reason": told[1], "digest": digest}
        if done := await self._post(self.case.world.people[who], path, json=body):
            self.case.refusals[who] -= is_no
        return done

    async def _post(self, who: Person, path: str, **content: Any) -> bool:
        """Say it; a no to what the record showed too late is no fault."""
        try:
            await who.post(path, self.case.ledgers[self.update_id], **content)
        except Answered as no:
            if no.status != 409:
                raise
            await asyncio.sleep(THOUGHT)
            return False
        return True


def _place(view: dict[str, Any], lane: dict[str, Any]) -> tuple[Any, ...]:
    """Return what is done once; a visit that should sign may end before it has."""
    tries = view["state"]["events"] if view["policy_name"] == "signed" else 0
    return lane["plan"]["lane"], lane["stage"], lane["since"], tries


def _stages(view: dict[str, Any]) -> list[str]:
    return [lane["stage"] for lane in view["state"]["lanes"]]


def _stands_at(view: dict[str, Any], stage: str) -> bool:
    return any(lane["stage"] == stage for lane in view["state"]["lanes"])


def _is_waiting(view: dict[str, Any]) -> bool:
    """I10: an update that is not over names whom it waits for, and for what."""
    named = [entry["party"] and entry["what"] for entry in view["waiting"]]
    return view["stage"] in ENDED or (bool(named) and all(named))


def _standing(view: dict[str, Any]) -> str:
    if not view:
        return "the update is not on record"
    lanes = [f"{x['plan']['lane']} {x['stage']} {x['attention']}" for x in view["state"]["lanes"]]
    waiting = [f"{x['party']} {x['what']} since {x['since']}" for x in view["waiting"]]
    return "; ".join([view["stage"], *lanes, view["state"]["last_visit"], *waiting])
