"""One card update as its people take it through: the public API and the demo's hands, no more."""

import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from typing import Any

from cardflow.errors import CardflowError
from cardflow.lifecycle import ENDED
from cardflow.model import LaneStage, Party, Stage, Verdict
from cli.client import Api, Problem, Upload
from cli.demo_people import HOLDER, OFFICERS, OPERATOR, Cast
from cli.demo_story import Story
from cli.scribble import scan_of

PATIENCE_SECONDS = 60.0
LOOK_EVERY_SECONDS = 0.1  # what is waited for needs the processor more than the question does
AWAITING = (LaneStage.AWAITING_REQUEST_FORM, LaneStage.AWAITING_CERTIFICATE_FORM)
CHECKING = (LaneStage.CHECKING_REQUEST_FORM, LaneStage.CHECKING_CERTIFICATE_FORM)
FORMS = {
    LaneStage.AWAITING_REQUEST_FORM: "request form",
    LaneStage.CHECKING_REQUEST_FORM: "request form",
    LaneStage.AWAITING_CERTIFICATE_FORM: "certificate form",
    LaneStage.CHECKING_CERTIFICATE_FORM: "certificate form",
}
CHANGED = "what would be done has changed"  # since the plan was looked at
View = dict[str, Any]


class Stuck(CardflowError):
    """The update did not go where it should; the message says where it stands and why."""


@dataclass
class UpdateRun:
    """One update on one card, and the people who move it on."""

    cast: Cast
    card_id: str
    story: Story = field(default_factory=Story)
    update_id: str = ""

    # Looking

    def view(self, who: str = HOLDER) -> View:
        """Return the update as this person sees it."""
        found: View = self.cast.api(who).get(f"/updates/{self.update_id}")
        return found

    def lanes(self) -> dict[str, View]:
        """Return the lanes by name."""
        return {lane["lane"]: lane for lane in self.view()["lanes"]}

    def until(self, is_there: Callable[[View], bool]) -> View:
        """Return the update once it is where it should be."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not is_there(view := self.view()):
            if view["stage"] in (*ENDED, Stage.NEEDS_ATTENTION) or time.monotonic() > deadline:
                raise Stuck(f"the update is {view['stage']}: {_standing(view)}")
            time.sleep(LOOK_EVERY_SECONDS)
        return view

    def until_stage(self, *stages: Stage) -> View:
        """Return the update once it stands at one of the stages."""
        return self.until(lambda view: view["stage"] in stages)

    def until_lane(self, name: str, stage: LaneStage) -> View:
        """Return the lane once it stands at ``stage``."""
        return _lane(self.until(lambda view: _lane(view, name)["stage"] == stage), name)

    def until_visit_ends(self) -> View:
        """Return the update after the visit that runs now."""
        return self.until(lambda view: not _is_visited(view) or view["stage"] in ENDED)

    def contents(self, is_there: Callable[[View], bool] = bool) -> View:
        """Return what is on the card, once the workstation has reported what is looked for."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not is_there(found := self._holder.get(f"/cards/{self.card_id}/contents")):
            if time.monotonic() > deadline:
                raise Stuck(f"the card's contents are not reported: {found}")
            time.sleep(LOOK_EVERY_SECONDS)
        shown: View = found
        return shown

    # The holder

    def plan(self, **chosen: Iterable[str]) -> View:
        """Return what an update would do, and its digest."""
        found: View = self._holder.get(f"/cards/{self.card_id}/plan", **chosen)
        return found

    def open(self, **chosen: Iterable[str]) -> View:
        """The update is open and the first visit has begun; the PIN prompt types by itself.

        The workstation may report the card's contents between the look at the plan and the click:
        who is told to look again does.
        """
        picked = {name: list(each) for name, each in chosen.items()}
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            body = {**picked, "plan_digest": self.plan(**picked)["digest"]}
            try:
                opened: View = self._holder.post(f"/cards/{self.card_id}/updates", body)
            except Problem as no:
                if CHANGED not in no.detail or time.monotonic() > deadline:
                    raise
            else:
                self.update_id = str(opened["id"])
                return opened

    def continue_(self) -> View:
        """The next visit has begun."""
        answer: View = self._holder.post(f"/updates/{self.update_id}/continue")
        return answer

    def clear(self, reason: str) -> View:
        """Everything of ours is being revoked and removed from the card."""
        serial = self._holder.get(f"/cards/{self.card_id}")["token_serial"]
        body = {"reason": reason, "confirm": serial}
        opened: View = self._holder.post(f"/cards/{self.card_id}/clear", body)
        self.update_id = str(opened["id"])
        return opened

    def form(self, lane: str) -> bytes:
        """Return the form that the lane waits for, as PDF."""
        return self._holder.content(f"/updates/{self.update_id}/lanes/{lane}/form")

    def upload(self, lane: str, scan: bytes) -> View:
        """The signed form is handed in."""
        path = f"/updates/{self.update_id}/lanes/{lane}/documents"
        document: View = self._holder.upload(path, Upload(f"{lane}.pdf", scan), {})
        return document

    def sign(self, lane: str, *, seed: int = 0) -> View:
        """The form is printed, signed, scanned and handed in."""
        return self.upload(lane, scan_of(self.form(lane), seed=seed))

    def sign_with_card(self, lane: str) -> View:
        """The card has signed the form, which is handed in; the PIN prompt types by itself."""
        answer: View = self._holder.post(f"/updates/{self.update_id}/lanes/{lane}/signature")
        self.until_visit_ends()
        return answer

    def cancel(self, reason: str, who: str = HOLDER) -> View:
        """The update is cancelled."""
        path = f"/updates/{self.update_id}/cancel"
        answer: View = self.cast.api(who).post(path, {"reason": reason})
        return answer

    # Operators and officers

    def decide(self, lane: str, verdict: Verdict, reason: str = "", who: str = OPERATOR) -> View:
        """An operator has said yes or no to the document under check."""
        api = self.cast.api(who)
        shown = _lane(self.view(who), lane)
        body = {"verdict": verdict, "reason": reason, "digest": shown["decision_digest"]}
        answer: View = api.post(f"/updates/{self.update_id}/lanes/{lane}/decisions", body)
        return answer

    def request_of(self, lane: str, api: Api) -> View | None:
        """Return the lane's request at the CA if it waits for an officer."""
        for request in api.items("/ca/requests", state="pending"):
            if (request["update_id"], request["lane"]) == (self.update_id, lane):
                return request
        return None

    def decide_at_ca(self, lane: str, verdict: Verdict, reason: str = "") -> list[str]:
        """As many officers as are needed have decided; return who."""
        spoke = []
        for officer in OFFICERS:
            api = self.cast.api(officer)
            if (request := self.request_of(lane, api)) is None:
                break
            body = {"verdict": verdict, "reason": reason, "digest": request["decision_digest"]}
            api.post(f"/ca/requests/{request['id']}/decisions", body)
            spoke.append(officer)
        return spoke

    @property
    def _holder(self) -> Api:
        return self.cast.api(HOLDER)


@dataclass
class Turns:
    """Takes turns for everybody whom the update waits for, until it is ready or has ended."""

    run: UpdateRun
    send_back: dict[str, str] = field(default_factory=dict)  # lane -> why its first form is refused
    refuse_at_ca: dict[str, str] = field(default_factory=dict)  # lane -> the officer's reason
    _signed: int = 0

    def until_ready(self, at: Collection[Stage] = (Stage.READY, *ENDED)) -> View:
        """Return the update when nobody but the holder, with the card, is waited for."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while (view := self.run.view())["stage"] not in at:
            done = [self._turn(lane) for lane in view["lanes"]]
            if not any(done):
                time.sleep(LOOK_EVERY_SECONDS)
            if time.monotonic() > deadline or view["stage"] == Stage.NEEDS_ATTENTION:
                raise Stuck(f"the update is {view['stage']}: {_standing(view)}")
        return view

    def _turn(self, lane: View) -> bool:
        stage, name = LaneStage(lane["stage"]), lane["lane"]
        if stage in AWAITING:
            return self._sign(name, FORMS[stage])
        if stage in CHECKING:
            return self._check(name, FORMS[stage])
        if stage is LaneStage.AT_CA and lane["needs_officer"]:
            return self._ask_officers(name)
        return False

    def _sign(self, lane: str, form: str) -> bool:
        self._signed += 1
        with self.run.story.step("Hanna", f"prints, signs and scans the {form}, {lane}") as told:
            printed = self.run.form(lane)
            scan = scan_of(printed, seed=self._signed)
            told.say(f"{len(scan) // 1024} KiB")
        with self.run.story.step("Hanna", f"uploads the {form}, {lane}"):
            self.run.upload(lane, scan)
        return True

    def _check(self, lane: str, form: str) -> bool:
        reason = self.send_back.pop(lane, "")
        verdict = Verdict.REJECT if reason else Verdict.APPROVE
        words = f"rejects the {form}, {lane}" if reason else f"approves the {form}, {lane}"
        with self.run.story.step("Olga", words) as told:
            self.run.decide(lane, verdict, reason)
            told.say(f"“{reason}”" if reason else "")
        return True

    def _ask_officers(self, lane: str) -> bool:
        reason = self.refuse_at_ca.get(lane, "")
        verdict = Verdict.REJECT if reason else Verdict.APPROVE
        if self.run.request_of(lane, self.run.cast.api(OFFICERS[0])) is None:
            return False  # on its way to the CA, or on its way back
        with self.run.story.step("Officers", f"{verdict} the request at the CA, {lane}") as told:
            told.say(" and ".join(self.run.decide_at_ca(lane, verdict, reason)))
        return True


def _lane(view: View, name: str) -> View:
    for lane in view["lanes"]:
        if lane["lane"] == name:
            found: View = lane
            return found
    raise Stuck(f"the update has no lane {name}")


def _is_visited(view: View) -> bool:
    return any(entry["party"] == Party.AGENT for entry in view["waiting"])


def _standing(view: View) -> str:
    lanes = [f"{x['lane']} {x['stage']} {x['reason']} {x['attention']}" for x in view["lanes"]]
    return "; ".join(filter(None, [view["last_visit"], view["ended_because"], *lanes]))
