"""One update as a state machine: everything that people, CA, card and clock can do to it.

The machine drives the real rules (``policy``) and the real life (``lifecycle``) as the workflow
does; actions are tried without regard to whether they are allowed, for most are not. Hypothesis
walks it at random (``tests/core/test_state_machine.py``), ``tests/replay`` exhaustively.
"""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from cardflow import lifecycle, policy
from cardflow.lifecycle import CLOSED, ENDED
from cardflow.model import (
    Act,
    DocumentExchange,
    DocumentKind,
    FormSignature,
    LaneStage,
    Means,
    Mode,
    OnRejection,
    Party,
    Role,
    SignatureFound,
    Stage,
    Verdict,
)
from tests import build

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
NAMES = ("logon", "mail", "files")
ACTORS = {
    build.HOLDER: Role.HOLDER,
    build.OPERATOR: Role.OPERATOR,
    build.OPERATOR_2: Role.OPERATOR,
    "admin-1": Role.ADMIN,
    "auditor-1": Role.AUDITOR,
}
FORMS = st.sampled_from(DocumentKind)
LANES = st.sampled_from(NAMES)
PEOPLE = st.sampled_from(sorted(ACTORS))
ENTRY = st.builds(
    dict,
    mode=st.sampled_from(Mode),
    precheck=st.booleans(),
    approvals_needed=st.integers(1, 2),
    mandatory=st.booleans(),
    either=st.booleans(),
    approve_signed=st.booleans(),
)


def an_entry(name, **wanted):
    """Return a policy's entry; a machine approves only what is signed, and alone."""
    either = FormSignature.EITHER if wanted.pop("either") else FormSignature.PAPER
    signed = either is FormSignature.EITHER and wanted["approvals_needed"] == 1
    wanted["approve_signed"] = wanted["approve_signed"] and signed
    return build.an_entry(
        name, request_form_signature=either, certificate_form_signature=either, **wanted
    )


class Life(RuleBasedStateMachine):
    """One update, its world, and what must be true of both after every step."""

    @initialize(
        entries=st.lists(ENTRY, min_size=2, max_size=3),
        officers=st.sets(LANES),
        on_rejection=st.sampled_from(OnRejection),
        exchange=st.sampled_from(DocumentExchange),
        replacing=st.booleans(),
        refuses=st.sets(LANES, max_size=2),
        head_start=st.integers(0, 30),
        data=st.data(),
    )
    def open(
        self, *, entries, officers, on_rejection, exchange, replacing, refuses, head_start, data
    ):
        if exchange is DocumentExchange.OUTSIDE:
            entries = [{**entry, "either": False} for entry in entries]
        first, *others = zip(NAMES, entries, strict=False)
        of = build.a_policy(
            an_entry(first[0], **{**first[1], "mandatory": True}),
            *(an_entry(name, **entry) for name, entry in others),
            on_rejection=on_rejection,
            document_exchange=exchange,
        )
        self.begin(of, officers=officers, replacing=replacing, refuses=refuses)
        self.people_do_what_is_waited_for(data, head_start)

    def begin(self, of, *, officers=(), replacing=True, refuses=()):
        """Open an update under the policy."""
        self.update = build.an_update(
            of,
            opened_at=START,
            officers=tuple(officers),
            replacing=replacing,
            optional=tuple(e.profile for e in of.profiles if not e.mandatory),
        )
        self.state = lifecycle.begin(self.update)
        self.now = START
        self.issued: dict[str, str] = {}  # lane -> serial number
        self.on_card = {ref for lane in self.update.plan.lanes for ref in lane.replaces}
        self.new_on_card: set[str] = set()  # lanes whose certificate is on the card
        self.counted: set[tuple[str, str]] = set()  # digests and who decided them
        self.refuses = refuses  # lanes to which the CA says no
        self.asked: set[str] = set()  # lanes that stood at the CA when they were last looked at
        self.answered: set[str] = set()  # lanes to which it has said yes or no since then

    # What the world does

    @rule(hours=st.sampled_from((1, 12, 24, 48, 24 * 31)))
    def wait(self, hours):
        self.now += timedelta(hours=hours)
        if self.state.visit or self.state.ended:
            return  # a visit may finish first
        if self.now >= lifecycle.due_at(self.update):
            self.state = lifecycle.undone(self.state, LaneStage.LAPSED, "late", self.now)
            self.state = replace(self.state, ended=Stage.LAPSED)

    @rule(who=PEOPLE)
    def continue_(self, who):
        action = build.an_action(
            self.update, Act.CONTINUE, who, ACTORS[who], at=self.now, visit=build.a_visit()
        )
        if self._counts(action):
            self.state = lifecycle.visit_begun(self.state, action.visit)

    @rule(who=PEOPLE, lane=LANES, kind=FORMS)
    def sign(self, who, lane, kind):
        signing = build.signing(self.update, lane, kind, who)
        action = replace(signing, role=ACTORS[who], at=self.now)
        if self._counts(action):
            self.state = lifecycle.visit_begun(self.state, action.visit)

    @precondition(lambda self: self._is_at_card(LaneStage.PREPARING))
    @rule()
    def card_makes_keys(self):
        for lane in self._lanes(LaneStage.PREPARING):
            self.state = lifecycle.prepared(
                self.state,
                lane.plan.lane,
                csr_pem="csr",
                spki_sha256=lane.plan.cka_id,
                now=self.now,
            )

    @precondition(lambda self: self._is_writing_visit())
    @rule()
    def card_takes_certificates(self):
        self.state = replace(self.state, writing=True)
        for lane in self._lanes(LaneStage.READY):
            self.state = lifecycle.written(self.state, lane.plan.lane, self.now)
            self.new_on_card.add(lane.plan.lane)

    @rule(lane=LANES)
    def card_has_lost_a_key(self, lane):
        ready = [x.plan.lane for x in self._lanes(LaneStage.READY)]
        if self._is_writing_visit() and lane in ready:
            self.state = lifecycle.troubled(self.state, lane, "The key is gone. Cancel.")
            self.end_visit()

    @precondition(lambda self: self._is_at_card(LaneStage.WRITTEN) and not self._is_open())
    @rule()
    def card_is_cleaned_up(self):
        refs = lifecycle.to_retire(self.update, self.state)
        self.on_card -= set(refs)
        self.state = lifecycle.removed(self.state, refs)
        self.end_visit()

    @rule()
    def end_visit(self):
        if self.state.visit:
            self.state = lifecycle.visit_over(self.state, "")
            self._close()

    @rule(lane=LANES)
    def ca_says_yes(self, lane):
        if not self._is_at_ca(lane):
            return
        assert lane not in self.issued  # I1
        self.answered.add(lane)
        self.issued[lane] = f"serial-{lane}"
        self.state = lifecycle.issued(
            self.state,
            lane,
            certificate_pem="pem",
            certificate_sha256="ce" * 32,
            serial_number=self.issued[lane],
            not_after=self.now + timedelta(days=365),
            now=self.now,
        )

    @rule(lane=LANES)
    def ca_says_no(self, lane):
        if self._is_at_ca(lane):
            self.answered.add(lane)
            self.state = lifecycle.ca_rejected(
                self.update, self.state, lane, reason="no", now=self.now
            )
            self._close()

    @rule(lane=LANES)
    def ca_has_not_decided(self, lane):
        if self._is_at_ca(lane):
            handle = f"request-{lane}"
            self.state = lifecycle.pending_at_ca(self.state, lane, handle=handle, poll_at=None)

    @rule(lane=LANES)
    def ca_cannot_be_reached(self, lane):
        if self._is_at_ca(lane):
            self.state = lifecycle.troubled(self.state, lane, "the CA is away. Retry or cancel.")

    @rule(data=st.data(), steps=st.integers(1, 12))
    def people_do_what_is_waited_for(self, data, steps):
        """Without this, chance alone would seldom take an update to its later stages."""
        for _ in range(steps):
            self._go_on(data)

    def _go_on(self, data):
        lanes = lifecycle.open_lanes(self.state)
        if self.state.ended:
            return
        if self.state.visit:
            self.go_on_at_the_card()
            return
        lane = data.draw(st.sampled_from(lanes))
        if lane.stage in (LaneStage.PREPARING, LaneStage.READY):
            self.continue_(build.HOLDER)
        elif lane.stage is LaneStage.AT_CA:
            says = self.ca_says_no if lane.plan.lane in self.refuses else self.ca_says_yes
            says(lane.plan.lane)
        elif lane.stage in policy.AWAITING:
            outside = self.update.policy.document_exchange is DocumentExchange.OUTSIDE
            who, means = (build.OPERATOR, Means.POST) if outside else (build.HOLDER, Means.PORTAL)
            kind = lifecycle.document_kind(lane.stage)
            self.submit(who, lane.plan.lane, kind, means)
        else:
            who = data.draw(st.sampled_from((build.OPERATOR, build.OPERATOR_2)))
            self.decide(who, lane.plan.lane, Verdict.APPROVE, stale=False)

    def go_on_at_the_card(self):
        if self._is_at_card(LaneStage.PREPARING):
            self.card_makes_keys()
        elif self._is_writing_visit():
            self.card_takes_certificates()
        elif self._is_at_card(LaneStage.WRITTEN) and not self._is_open():
            self.card_is_cleaned_up()
        else:
            self.end_visit()

    # What people do

    @rule(
        who=PEOPLE,
        lane=LANES,
        kind=FORMS,
        means=st.sampled_from(Means),
        found=st.sampled_from(SignatureFound),
    )
    def submit(self, who, lane, kind, means, found=SignatureFound.NONE):
        document = replace(build.a_document(kind, means=means, by=who), signature=found)
        action = self._action(Act.SUBMIT_DOCUMENT, who, lane=lane, document=document)
        if self._counts(action):
            self.state = lifecycle.submitted(self.state, action)
            after = lifecycle.lane_of(self.state, lane)
            if after.stage in policy.CHECKING and lifecycle.approves_itself(after):
                digest = policy.decision_digest(self.update, after)
                self.state = lifecycle.approved_by_policy(
                    self.state, lane, digest=digest, now=self.now
                )

    @rule(who=PEOPLE, lane=LANES)
    def withdraw(self, who, lane):
        action = self._action(Act.WITHDRAW_DOCUMENT, who, lane=lane)
        if self._counts(action):
            self.state = lifecycle.withdrawn(self.state, action)

    @rule(who=PEOPLE, lane=LANES, verdict=st.sampled_from(Verdict), stale=st.booleans())
    def decide(self, who, lane, verdict, stale):
        found = next((x for x in self.state.lanes if x.plan.lane == lane), None)
        digest = policy.decision_digest(self.update, found) if found and not stale else "00" * 32
        action = self._action(
            Act.DECIDE_DOCUMENT, who, lane=lane, verdict=verdict, digest=digest, reason="because"
        )
        if self._counts(action):
            assert not stale
            assert who not in (self.update.holder_id, self.update.started_by)
            assert (digest, who) not in self.counted  # I2: each word counts once
            self.counted.add((digest, who))
            self.state = lifecycle.decided(self.state, action)

    @rule(who=PEOPLE, seldom=st.sampled_from("nnnnnnny"))
    def cancel(self, who, seldom):
        if seldom == "n":
            return  # else most lives would end here
        action = self._action(Act.CANCEL, who, reason="not needed")
        if self._counts(action):
            self.state = lifecycle.undone(self.state, LaneStage.CANCELLED, "not needed", self.now)
            self.state = replace(self.state, ended=Stage.CANCELLED, visit=None)

    @rule(who=PEOPLE, seldom=st.sampled_from("nnnnnnny"))
    def report_lost(self, who, seldom):
        if seldom == "y" and self._counts(self._action(Act.REPORT_LOST, who)):
            self.state = lifecycle.lost(self.state, "lost", self.now)
            self.state = replace(self.state, visit=None, writing=False)

    @rule(who=PEOPLE)
    def retry(self, who):
        if self._counts(self._action(Act.RETRY, who)):
            self.state = lifecycle.retried(self.state)

    # What is always true

    @invariant()
    def somebody_is_waited_for_or_it_has_ended(self):  # I10
        waiting = lifecycle.waiting(self.update, self.state)

        assert bool(waiting) is (self.state.ended is None)
        assert all(entry.until == lifecycle.due_at(self.update) for entry in waiting)
        assert all(entry.party in Party and entry.what for entry in waiting)

    @invariant()
    def every_stage_has_its_word_and_fits_its_lanes(self):
        stage = lifecycle.stage_of(self.state)
        labels = [lifecycle.label(lane) for lane in self.state.lanes]

        assert stage in Stage
        assert all(labels)
        assert (stage in ENDED) is (self.state.ended is not None)
        if self.state.ended:
            assert lifecycle.open_lanes(self.state) == ()

    @invariant()
    def every_certificate_is_on_the_card_or_open_or_to_be_revoked(self):  # I6
        dead = set(lifecycle.to_revoke(self.state))
        for lane in self.state.lanes:
            if serial := lane.serial_number:
                is_open = lane.stage not in CLOSED
                is_on_card = lane.stage is LaneStage.WRITTEN
                assert [is_open, is_on_card, serial in dead].count(True) == 1

    @invariant()
    def no_certificate_of_a_lost_card_is_good(self):
        if self.state.lost:
            numbers = lifecycle.all_serial_numbers(self.update, self.state)
            old = {n for plan in self.update.plan.lanes for n in plan.replaced_serial_numbers}
            assert set(numbers) == old | set(self.issued.values())

    @invariant()
    def the_old_pair_is_there_until_the_new_one_is(self):  # I4, I5
        for plan in self.update.plan.lanes:
            for ref in plan.retires:
                assert ref in self.on_card or plan.lane in self.new_on_card

    @invariant()
    def what_a_dead_lane_left_on_the_card_is_owed(self):
        owed = {debt.cka_id for debt in self.state.debts}
        gone = {ref.cka_id for ref in self.state.removed}
        for lane in self.state.lanes:
            is_on_card = lane.plan.lane in self.new_on_card  # as a whole: the next update sees it
            if lane.stage in CLOSED and lane.spki_sha256 and not is_on_card:
                assert lane.plan.cka_id in owed | gone

    @invariant()
    def a_lane_leaves_the_ca_by_its_answer_or_is_closed(self):
        # So a late answer finds its lane there or closed, which workflows.at_the_ca looks at.
        for lane in self.state.lanes:
            name = lane.plan.lane
            if name in self.asked - self.answered:
                assert lane.stage is LaneStage.AT_CA or lane.stage in CLOSED
        self.asked = {x.plan.lane for x in self.state.lanes if x.stage is LaneStage.AT_CA}
        self.answered = set()

    @invariant()
    def an_ended_update_takes_no_action(self):
        if self.state.ended:
            for act in Act:
                assert policy.objections(self.update, self.state, self._action(act, build.HOLDER))

    # How the workflow does it

    def _action(self, act, who, **changes):
        return build.an_action(self.update, act, who, ACTORS[who], at=self.now, **changes)

    def _counts(self, action):
        return not policy.objections(self.update, self.state, action)

    def _lanes(self, stage):
        return [x for x in self.state.lanes if x.stage is stage and not x.attention]

    def _is_at_card(self, stage):
        visit = self.state.visit
        return visit is not None and not visit.signs and bool(self._lanes(stage))

    def _is_writing_visit(self):
        return self._is_at_card(LaneStage.READY) and lifecycle.is_ready(self.state)

    def _is_at_ca(self, name):
        return any(x.plan.lane == name for x in self._lanes(LaneStage.AT_CA))

    def _is_open(self):
        return bool(lifecycle.open_lanes(self.state))

    def _close(self):
        if ended := lifecycle.outcome(self.update, self.state):
            self.state = replace(self.state, ended=ended, visit=None, writing=False)
