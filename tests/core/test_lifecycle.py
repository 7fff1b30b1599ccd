"""The life of an update: what each thing that happens makes of it, from every stage."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from cardflow import lifecycle, policy
from cardflow.lifecycle import CLOSED
from cardflow.model import (
    Act,
    CertificateKind,
    DocumentExchange,
    DocumentKind,
    FormSignature,
    Lane,
    LaneStage,
    Mode,
    ObjectRef,
    OnRejection,
    Party,
    Role,
    SignatureFound,
    Stage,
    Verdict,
)
from tests import build

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
LATER = NOW + timedelta(hours=2)
S = LaneStage
OLD = ObjectRef("01", "0d" * 32)


def an_update(*entries, officers=(), **changes):
    return build.an_update(build.a_policy(*entries, **changes), opened_at=NOW, officers=officers)


BOTH = an_update(build.an_entry("logon", Mode.BOTH, precheck=True))


def a_state(update=BOTH, **stages):
    """Return the state of an update that had a visit, with the named lanes at these stages."""
    state = replace(lifecycle.begin(update), visited=True)
    lanes = (
        replace(lane, stage=stages.get(lane.plan.lane, lane.stage), since=NOW)
        for lane in state.lanes
    )
    return replace(state, lanes=tuple(lanes))


def the_lane(state, name="logon"):
    return lifecycle.lane_of(state, name)


def a_lane(stage, mode=Mode.NONE, **changes):
    plan = replace(BOTH.plan.lanes[0], mode=mode)
    return replace(Lane(plan, stage=stage), **changes)


# Words


@pytest.mark.parametrize(
    ("stage", "words"),
    [
        (S.PREPARING, "Preparing"),
        (S.AWAITING_REQUEST_FORM, "Pending"),
        (S.CHECKING_REQUEST_FORM, "Pending"),
        (S.AT_CA, "Pending"),
        (S.CA_REJECTED, "Rejected"),
        (S.AWAITING_CERTIFICATE_FORM, "Valid"),
        (S.CHECKING_CERTIFICATE_FORM, "Valid"),
        (S.WRITTEN, "Valid, on card"),
        (S.REVOKED, "Revoked"),
        (S.CANCELLED, "Cancelled"),
        (S.LAPSED, "Lapsed"),
    ],
)
def test_the_contents_tab_shows_the_words_that_people_know(stage, words):
    assert lifecycle.label(a_lane(stage)) == words


@pytest.mark.parametrize(
    ("mode", "words"),
    [(Mode.NONE, "Valid"), (Mode.REQUEST_FORM, "Approved"), (Mode.CERTIFICATE_FORM, "Valid"),
     (Mode.BOTH, "Valid")],
)  # fmt: skip
def test_what_is_ready_is_approved_after_a_request_form_and_else_valid(mode, words):
    assert lifecycle.label(a_lane(S.READY, mode)) == words


# Every action at every stage

PERMITTED = {
    (S.AWAITING_REQUEST_FORM, Act.SUBMIT_DOCUMENT): S.CHECKING_REQUEST_FORM,
    (S.AWAITING_CERTIFICATE_FORM, Act.SUBMIT_DOCUMENT): S.CHECKING_CERTIFICATE_FORM,
    (S.CHECKING_REQUEST_FORM, Act.SUBMIT_DOCUMENT): S.CHECKING_REQUEST_FORM,
    (S.CHECKING_CERTIFICATE_FORM, Act.SUBMIT_DOCUMENT): S.CHECKING_CERTIFICATE_FORM,
    (S.CHECKING_REQUEST_FORM, Act.WITHDRAW_DOCUMENT): S.AWAITING_REQUEST_FORM,
    (S.CHECKING_CERTIFICATE_FORM, Act.WITHDRAW_DOCUMENT): S.AWAITING_CERTIFICATE_FORM,
    (S.CHECKING_REQUEST_FORM, Verdict.APPROVE): S.AT_CA,
    (S.CHECKING_CERTIFICATE_FORM, Verdict.APPROVE): S.READY,
    (S.CHECKING_REQUEST_FORM, Verdict.REJECT): S.AWAITING_REQUEST_FORM,
    (S.CHECKING_CERTIFICATE_FORM, Verdict.REJECT): S.AWAITING_CERTIFICATE_FORM,
}
MOVES = {
    Act.SUBMIT_DOCUMENT: lifecycle.submitted,
    Act.WITHDRAW_DOCUMENT: lifecycle.withdrawn,
    Verdict.APPROVE: lifecycle.decided,
    Verdict.REJECT: lifecycle.decided,
}


def about_documents(what, state):
    """Return the action ``what`` by whoever may take it."""
    lane = the_lane(state)
    if isinstance(what, Verdict):
        digest = policy.decision_digest(BOTH, lane)
        return build.an_action(
            BOTH, Act.DECIDE_DOCUMENT, build.OPERATOR, Role.OPERATOR, lane="logon",
            verdict=what, reason="unsigned", digest=digest,
        )  # fmt: skip
    document = build.a_document(lifecycle.document_kind(lane.stage))
    return build.an_action(
        BOTH, what, build.HOLDER, Role.HOLDER, lane="logon", document=document
    )  # fmt: skip


@pytest.mark.parametrize("what", MOVES)
@pytest.mark.parametrize("stage", LaneStage)
def test_what_people_do_about_documents_moves_a_lane_where_it_counts_only(stage, what):
    state = a_state(logon=stage)
    if stage.startswith("checking"):
        document = build.a_document(lifecycle.document_kind(stage))
        state = replace(state, lanes=(replace(the_lane(state), document=document),))
    action = about_documents(what, state)
    expected = PERMITTED.get((stage, what))

    assert bool(policy.objections(BOTH, state, action)) is (expected is None)
    if expected:
        after = the_lane(MOVES[what](state, action))
        assert (after.stage, after.since) == (expected, action.at)


# Where an update stands


@pytest.mark.parametrize(
    ("stages", "expected"),
    [
        ((), Stage.PREPARING),
        ((S.PREPARING, S.READY), Stage.PREPARING),
        ((S.AT_CA, S.READY), Stage.PENDING),
        ((S.READY, S.READY), Stage.READY),
        ((S.READY, S.CA_REJECTED), Stage.READY),
        ((S.WRITTEN, S.AWAITING_REQUEST_FORM), Stage.PENDING),
        ((S.WRITTEN, S.CANCELLED), Stage.PREPARING),
    ],
)
def test_the_update_stands_where_its_open_lanes_stand(stages, expected):
    state = replace(lifecycle.begin(BOTH), lanes=tuple(a_lane(stage) for stage in stages))

    assert lifecycle.stage_of(state) is expected


def test_trouble_shows_before_writing_and_the_end_before_everything():
    state = replace(a_state(logon=S.READY), writing=True)
    assert lifecycle.stage_of(state) is Stage.WRITING

    troubled = lifecycle.troubled(state, "logon", "the card is full")
    assert lifecycle.stage_of(troubled) is Stage.NEEDS_ATTENTION
    assert not lifecycle.is_ready(troubled)
    assert lifecycle.stage_of(lifecycle.retried(troubled)) is Stage.WRITING

    ended = replace(troubled, ended=Stage.CANCELLED)
    assert lifecycle.stage_of(ended) is Stage.CANCELLED


# Who is waited for


def waited_for(update, state):
    return [(entry.party, entry.what) for entry in lifecycle.waiting(update, state)]


@pytest.mark.parametrize(
    ("stage", "party", "what"),
    [
        (S.PREPARING, Party.HOLDER, "the card at the workstation"),
        (S.AWAITING_REQUEST_FORM, Party.HOLDER, "the signed request form"),
        (S.CHECKING_REQUEST_FORM, Party.OPERATOR, "the check of the request form"),
        (S.AT_CA, Party.CA, "the certificate authority's answer"),
        (S.AWAITING_CERTIFICATE_FORM, Party.HOLDER, "the signed certificate form"),
        (S.CHECKING_CERTIFICATE_FORM, Party.OPERATOR, "the check of the certificate form"),
        (S.READY, Party.HOLDER, "Continue card update operation"),
        (S.WRITTEN, Party.HOLDER, "the card at the workstation"),
    ],
)
def test_somebody_is_always_waited_for(stage, party, what):
    assert waited_for(BOTH, a_state(logon=stage)) == [(party, what)]


def test_officers_are_waited_for_where_they_decide():
    update = an_update(build.an_entry("logon"), officers=("logon",))

    assert waited_for(update, a_state(update, logon=S.AT_CA)) == [
        (Party.OFFICER, "the decision at the CA")
    ]


@pytest.mark.parametrize("stage", [S.AWAITING_REQUEST_FORM, S.AWAITING_CERTIFICATE_FORM])
def test_operators_bring_the_forms_where_nothing_is_uploaded(stage):
    entry = build.an_entry("logon", Mode.BOTH)
    update = an_update(entry, document_exchange=DocumentExchange.OUTSIDE)

    assert waited_for(update, a_state(update, logon=stage))[0][0] is Party.OPERATOR


def test_trouble_waits_for_an_operator_and_the_others_for_whom_they_wait():
    update = an_update(build.an_entry("logon", Mode.BOTH), build.an_entry("mail", Mode.BOTH))
    state = a_state(update, logon=S.READY, mail=S.AWAITING_REQUEST_FORM)
    state = lifecycle.troubled(state, "logon", "the card is full")

    assert waited_for(update, state) == [
        (Party.OPERATOR, "an operator's action: retry or cancel"),
        (Party.HOLDER, "the signed request form"),
    ]


def test_a_lane_that_is_ready_waits_for_the_others():
    update = an_update(build.an_entry("logon"), build.an_entry("mail"))

    assert waited_for(update, a_state(update, logon=S.READY, mail=S.AT_CA)) == [
        (Party.CA, "the certificate authority's answer")
    ]


def test_during_a_visit_the_agent_is_waited_for_and_at_the_end_nobody():
    visit = build.a_visit()
    state = replace(a_state(), visit=visit)

    (entry,) = lifecycle.waiting(BOTH, state)
    assert (entry.party, entry.since) == (Party.AGENT, visit.started_at)
    assert lifecycle.waiting(BOTH, replace(state, ended=Stage.LAPSED)) == ()


def test_everything_is_waited_for_until_the_deadline():
    state = replace(a_state(logon=S.READY), ready_since=LATER)
    (entry,) = lifecycle.waiting(BOTH, state)

    assert (entry.since, entry.until) == (LATER, NOW + timedelta(hours=720))


# What machines and the CA do


@pytest.mark.parametrize(
    ("mode", "stage"),
    [
        (Mode.NONE, S.AT_CA),
        (Mode.CERTIFICATE_FORM, S.AT_CA),
        (Mode.REQUEST_FORM, S.AWAITING_REQUEST_FORM),
        (Mode.BOTH, S.AWAITING_REQUEST_FORM),
    ],
)
def test_a_prepared_key_goes_to_the_ca_or_waits_for_its_form(mode, stage):
    update = an_update(build.an_entry("logon", mode))
    state = lifecycle.prepared(a_state(update), "logon", csr_pem="CSR", spki_sha256="ab", now=LATER)

    lane = the_lane(state)
    assert (lane.stage, lane.since) == (stage, LATER)
    assert (lane.csr_pem, lane.spki_sha256) == ("CSR", "ab")


def test_a_request_form_goes_straight_to_the_ca_where_nobody_checks_it():
    update = an_update(build.an_entry("logon", Mode.REQUEST_FORM))
    action = build.handing_in(update, "logon", DocumentKind.REQUEST_FORM)
    state = lifecycle.submitted(a_state(update, logon=S.AWAITING_REQUEST_FORM), action)

    assert the_lane(state).stage is S.AT_CA
    assert the_lane(state).document == action.document


def issued(update):
    state = lifecycle.pending_at_ca(
        a_state(update, logon=S.AT_CA), "logon", handle="h", poll_at=NOW
    )
    return lifecycle.issued(
        state, "logon", certificate_pem="PEM", certificate_sha256="cd", serial_number="7",
        not_after=LATER, now=LATER,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("mode", "stage"),
    [
        (Mode.NONE, S.READY),
        (Mode.REQUEST_FORM, S.READY),
        (Mode.CERTIFICATE_FORM, S.AWAITING_CERTIFICATE_FORM),
        (Mode.BOTH, S.AWAITING_CERTIFICATE_FORM),
    ],
)
def test_an_issued_certificate_is_ready_or_waits_for_its_form(mode, stage):
    lane = the_lane(issued(an_update(build.an_entry("logon", mode))))

    assert (lane.stage, lane.serial_number, lane.ca_handle) == (stage, "7", "h")
    assert lane.document is None


def test_a_rejection_by_the_ca_ends_its_lane_and_leaves_its_key_to_be_removed():
    update = an_update(build.an_entry("logon"), build.an_entry("mail"))
    state = a_state(update, logon=S.AT_CA, mail=S.AT_CA)
    state = lifecycle.ca_rejected(update, state, "logon", reason="no", now=LATER)

    assert (the_lane(state).stage, the_lane(state).reason) == (S.CA_REJECTED, "no")
    assert the_lane(state, "mail").stage is S.AT_CA
    assert [debt.cka_id for debt in state.debts] == [the_lane(state).plan.cka_id]


def test_where_all_or_nothing_is_asked_for_one_rejection_undoes_every_lane():
    entries = build.an_entry("logon"), build.an_entry("mail")
    update = an_update(*entries, on_rejection=OnRejection.ALL_OR_NOTHING)
    state = a_state(update, logon=S.AT_CA, mail=S.READY)
    state = lifecycle.ca_rejected(update, state, "logon", reason="no", now=LATER)

    assert the_lane(state, "mail").stage is S.CANCELLED
    assert the_lane(state, "mail").reason == "logon was rejected by the CA"
    assert len(state.debts) == 2
    assert lifecycle.outcome(update, state) is Stage.REJECTED


def test_a_quorum_is_complete_when_enough_different_people_approved():
    update = an_update(build.an_entry("logon", Mode.CERTIFICATE_FORM, approvals_needed=2))
    state = a_state(update, logon=S.CHECKING_CERTIFICATE_FORM)
    view = lifecycle.view(update, state)
    first = build.deciding(update, view, "logon", Verdict.APPROVE)
    second = build.deciding(update, view, "logon", Verdict.APPROVE, by=build.OPERATOR_2)

    after_one = lifecycle.decided(state, first)
    assert the_lane(after_one).stage is S.CHECKING_CERTIFICATE_FORM
    assert after_one.decisions == {}

    after_two = lifecycle.decided(after_one, second)
    assert the_lane(after_two).stage is S.READY
    assert the_lane(after_two).approvals == (build.OPERATOR, build.OPERATOR_2)
    assert "operator-2 approved it on" in after_two.decisions[second.digest]


def test_a_rejected_document_voids_the_approvals_before_it():
    update = an_update(build.an_entry("logon", Mode.CERTIFICATE_FORM, approvals_needed=2))
    state = a_state(update, logon=S.CHECKING_CERTIFICATE_FORM)
    view = lifecycle.view(update, state)
    state = lifecycle.decided(state, build.deciding(update, view, "logon", Verdict.APPROVE))
    action = build.deciding(update, view, "logon", Verdict.REJECT, by="x", reason="unsigned")
    lane = the_lane(lifecycle.decided(state, action))

    assert (lane.stage, lane.approvals) == (S.AWAITING_CERTIFICATE_FORM, ())
    assert lane.reason == "unsigned"


# Undoing, removing, revoking


@pytest.mark.parametrize("stage", sorted(set(LaneStage) - CLOSED))
def test_an_unwritten_lane_is_undone_and_owes_its_key(stage):
    state = lifecycle.undone(a_state(logon=LaneStage(stage)), S.CANCELLED, "changed mind", LATER)

    lane = the_lane(state)
    assert (lane.stage, lane.reason, lane.since) == (S.CANCELLED, "changed mind", LATER)
    assert [debt.cka_id for debt in state.debts] == [lane.plan.cka_id]


def test_an_update_that_never_saw_the_card_owes_it_nothing():
    state = lifecycle.undone(lifecycle.begin(BOTH), S.CANCELLED, "changed mind", LATER)

    assert the_lane(state).stage is S.CANCELLED
    assert state.debts == ()


@pytest.mark.parametrize("stage", sorted(CLOSED))
def test_what_is_closed_stays_as_it_is(stage):
    before = a_state(logon=LaneStage(stage))

    assert lifecycle.undone(before, S.LAPSED, "", LATER) == before


def test_certificates_that_will_never_be_written_are_revoked():
    state = lifecycle.undone(issued(BOTH), S.LAPSED, "the deadline passed", LATER)
    assert lifecycle.to_revoke(state) == ("7",)

    assert lifecycle.to_revoke(lifecycle.written(issued(BOTH), "logon", LATER)) == ()
    assert lifecycle.to_revoke(lifecycle.undone(a_state(), S.LAPSED, "", LATER)) == ()


@pytest.mark.parametrize("stage", sorted(set(LaneStage) - CLOSED))
def test_a_lost_card_ends_the_update_at_every_stage_and_owes_the_key(stage):
    state = lifecycle.lost(a_state(logon=LaneStage(stage)), "stolen", LATER)

    assert (state.ended, state.ended_because, state.lost) == (Stage.CANCELLED, "stolen", True)
    assert the_lane(state).stage is S.CANCELLED
    assert [debt.cka_id for debt in state.debts] == [the_lane(state).plan.cka_id]


def test_every_certificate_of_a_lost_card_is_revoked_also_one_that_is_written_or_kept():
    kept = build.an_old_certificate("files", not_after=LATER)
    foreign = replace(kept, kind=CertificateKind.THIRD_PARTY, serial_number="not-ours")
    plan = replace(BOTH.plan, removed_serial_numbers=("gone",), keeps=(kept, foreign))
    update = replace(BOTH, plan=plan)

    for before in (issued(BOTH), lifecycle.written(issued(BOTH), "logon", LATER)):
        state = lifecycle.lost(before, "stolen", LATER)
        numbers = lifecycle.all_serial_numbers(update, state)
        assert the_lane(state).stage is S.REVOKED
        assert set(numbers) == {"7", "old-logon", "gone", "old-files"}


def test_only_what_a_written_lane_replaces_is_retired_and_each_thing_once():
    written = lifecycle.written(a_state(logon=S.READY), "logon", LATER)
    old = BOTH.plan.lanes[0].retires

    assert lifecycle.to_retire(BOTH, a_state(logon=S.READY)) == ()
    assert lifecycle.to_retire(BOTH, written) == old
    assert lifecycle.to_retire(BOTH, lifecycle.removed(written, old)) == ()


def test_debts_and_dropped_certificates_are_removed_too():
    update = replace(BOTH, plan=replace(BOTH.plan, removes=(OLD,)))
    state = replace(a_state(update), debts=(OLD, ObjectRef("02")))

    assert lifecycle.to_retire(update, state) == (OLD, ObjectRef("02"))
    assert lifecycle.removed(state, (OLD,)).debts == (ObjectRef("02"),)


@pytest.mark.parametrize("revoke", [True, False])
def test_replaced_certificates_are_revoked_if_the_policy_says_so(revoke):
    update = an_update(build.an_entry("logon"), revoke_replaced=revoke)
    update = replace(update, plan=replace(update.plan, removed_serial_numbers=("gone",)))
    state = lifecycle.written(a_state(update, logon=S.READY), "logon", LATER)

    during = lifecycle.replaced_serial_numbers(update, state)
    after = lifecycle.replaced_serial_numbers(update, replace(state, ended=Stage.COMPLETED))
    assert during == (("old-logon",) if revoke else ())
    assert after == (("gone", "old-logon") if revoke else ())
    assert lifecycle.replaced_serial_numbers(update, a_state(update)) == ()


def test_clearing_a_card_revokes_whatever_the_policy_says_about_replacing():
    update = build.to_clear(an_update(build.an_entry("logon"), revoke_replaced=False))
    state = replace(lifecycle.begin(update), ended=Stage.COMPLETED)

    assert lifecycle.replaced_serial_numbers(update, state) == ("old-logon",)


@pytest.mark.parametrize(
    ("lane", "expected"),
    [
        (a_lane(S.CANCELLED, csr_pem="CSR"), True),
        (a_lane(S.LAPSED, csr_pem="CSR"), True),
        (a_lane(S.CANCELLED), False),
        (a_lane(S.CANCELLED, csr_pem="CSR", certificate_pem="PEM"), False),
        (a_lane(S.CA_REJECTED, csr_pem="CSR"), False),
        (a_lane(S.WRITTEN, csr_pem="CSR"), False),
    ],
)
def test_a_dead_lane_whose_request_left_may_still_be_at_the_ca(lane, expected):
    assert lifecycle.may_be_at_ca(lane) is expected


# The end


@pytest.mark.parametrize(
    ("stages", "expected"),
    [
        ((S.WRITTEN,), Stage.COMPLETED),
        ((S.WRITTEN, S.CA_REJECTED), Stage.COMPLETED),
        ((S.CA_REJECTED, S.CANCELLED), Stage.REJECTED),
        ((S.WRITTEN, S.READY), None),
        ((), None),
    ],
)
def test_an_update_ends_when_its_last_lane_does(stages, expected):
    state = replace(lifecycle.begin(BOTH), lanes=tuple(a_lane(stage) for stage in stages))

    assert lifecycle.outcome(BOTH, state) is expected


def test_clearing_a_card_does_not_end_by_its_lanes():
    update = build.to_clear(BOTH)

    assert lifecycle.outcome(update, lifecycle.begin(update)) is None


def test_a_repeated_action_finds_its_answer():
    assert lifecycle.answered(a_state(), "a1", "done").answered == {"a1": "done"}


def test_what_travels_with_a_publication_leaves_texts_and_answers_out():
    state = replace(issued(BOTH), answered={"a": "b"}, decisions={"c": "d"}, events=3)
    slim = lifecycle.slim(lifecycle.view(BOTH, state))

    lane = slim.state.lanes[0]
    assert (lane.certificate_pem, lane.csr_pem, lane.serial_number) == ("", "", "7")
    assert (slim.state.answered, slim.state.decisions, slim.state.events) == ({}, {}, 3)


def test_a_lane_that_is_not_there_is_a_bug():
    with pytest.raises(KeyError):
        lifecycle.lane_of(a_state(), "fax")


def test_debts_of_earlier_updates_come_along():
    update = replace(BOTH, debts=(OLD,))

    assert lifecycle.begin(update).debts == (OLD,)


# Electronic signatures


@pytest.mark.parametrize(
    ("precheck", "signature", "stage"),
    [
        (False, "none", S.AT_CA),
        (False, "good", S.AT_CA),
        (False, "doubtful", S.CHECKING_REQUEST_FORM),
        (True, "good", S.CHECKING_REQUEST_FORM),
    ],
)
def test_a_doubtful_signature_is_checked_even_without_a_precheck(precheck, signature, stage):
    update = an_update(build.an_entry("logon", Mode.BOTH, precheck=precheck))
    action = build.handing_in(
        update, "logon", DocumentKind.REQUEST_FORM, signature=SignatureFound(signature)
    )
    state = lifecycle.submitted(a_state(update, logon=S.AWAITING_REQUEST_FORM), action)
    assert the_lane(state).stage is stage


@pytest.mark.parametrize(
    ("wanted", "needed", "signature", "expected"),
    [
        (True, 1, "good", True),
        (True, 1, "doubtful", False),
        (True, 1, "none", False),
        (True, 2, "good", False),
        (False, 1, "good", False),
    ],
)
def test_only_a_good_signature_approves_itself_and_only_where_nobody_else_must(
    wanted, needed, signature, expected
):
    document = replace(
        build.a_document(DocumentKind.REQUEST_FORM), signature=SignatureFound(signature)
    )
    lane = a_lane(S.CHECKING_REQUEST_FORM, document=document)
    plan = replace(lane.plan, approve_signed=wanted, approvals_needed=needed)
    assert lifecycle.approves_itself(replace(lane, plan=plan)) is expected


def test_nothing_approves_itself_without_a_document():
    plan = replace(BOTH.plan.lanes[0], approve_signed=True)
    assert not lifecycle.approves_itself(Lane(plan, stage=S.CHECKING_REQUEST_FORM))


@pytest.mark.parametrize(
    ("checking", "after"),
    [(S.CHECKING_REQUEST_FORM, S.AT_CA), (S.CHECKING_CERTIFICATE_FORM, S.READY)],
)
def test_the_policys_approval_moves_the_lane_on_and_is_the_first_word(checking, after):
    state = lifecycle.approved_by_policy(a_state(logon=checking), "logon", digest="d", now=LATER)
    assert (the_lane(state).stage, the_lane(state).since) == (after, LATER)
    assert "the policy approved" in state.decisions["d"]


@pytest.mark.parametrize(
    ("way", "ways"),
    [("paper", ["paper"]), ("electronic", ["electronic"]), ("either", ["paper", "electronic"])],
)
def test_the_ways_to_sign_each_form(way, ways):
    for key, stage in (
        ("request_form_signature", S.AWAITING_REQUEST_FORM),
        ("certificate_form_signature", S.CHECKING_CERTIFICATE_FORM),
    ):
        lane = a_lane(stage)
        plan = replace(lane.plan, **{key: FormSignature(way)})
        assert list(lifecycle.ways_to_sign(replace(lane, plan=plan))) == ways
