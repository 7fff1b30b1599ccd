"""The rules: every action at every stage by everybody, and why it does not count."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from cardflow import lifecycle, policy
from cardflow.model import (
    Act,
    CardState,
    DocumentExchange,
    DocumentKind,
    FormSignature,
    LaneStage,
    Means,
    Mode,
    Permissions,
    Role,
    SignatureFound,
    Stage,
    Verdict,
)
from cardflow.policy import Opening
from tests import build

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
UPDATE = build.an_update(build.a_policy(build.an_entry("logon", Mode.BOTH)), opened_at=NOW)
CHECKING = (LaneStage.CHECKING_REQUEST_FORM, LaneStage.CHECKING_CERTIFICATE_FORM)
AWAITING = (LaneStage.AWAITING_REQUEST_FORM, LaneStage.AWAITING_CERTIFICATE_FORM)


def a_state(stage=LaneStage.PREPARING, update=UPDATE, **lane):
    """Return the update's state with its first lane at the stage."""
    state = lifecycle.begin(update)
    first = replace(state.lanes[0], stage=stage, since=NOW, **lane)
    return replace(state, lanes=(first, *state.lanes[1:]))


def under_check(stage=LaneStage.CHECKING_REQUEST_FORM, by=build.HOLDER, **lane):
    """Return a state with a document under check."""
    document = build.a_document(lifecycle.document_kind(stage), by=by)
    return a_state(stage, document=document, **lane)


def act(kind, actor=build.HOLDER, role=Role.HOLDER, *, update=UPDATE, **parts):
    return build.an_action(update, kind, actor, role, lane="logon", **parts)


def decide(state, verdict=Verdict.APPROVE, actor=build.OPERATOR, role=Role.OPERATOR, **parts):
    parts.setdefault("digest", policy.decision_digest(UPDATE, state.lanes[0]))
    return act(Act.DECIDE_DOCUMENT, actor, role, verdict=verdict, **parts)


def submit(stage, actor=build.HOLDER, role=Role.HOLDER, means=Means.PORTAL, **parts):
    document = build.a_document(lifecycle.document_kind(stage), means=means, by=actor)
    return act(Act.SUBMIT_DOCUMENT, actor, role, document=document, **parts)


def under(**changes):
    """Return the update under a policy with these changes."""
    return replace(UPDATE, policy=replace(UPDATE.policy, **changes))


def objections(state, action, update=UPDATE):
    return policy.objections(update, state, action)


# Any action


@pytest.mark.parametrize("kind", Act)
def test_an_action_for_another_update_does_not_count(kind):
    stranger = replace(act(kind), update_id="other")

    assert objections(a_state(), stranger) == ["the action is for another update"]


@pytest.mark.parametrize("kind", Act)
@pytest.mark.parametrize("stage", sorted(lifecycle.ENDED))
def test_nothing_counts_once_the_update_has_ended(kind, stage):
    state = replace(a_state(), ended=Stage(stage))

    assert objections(state, act(kind)) == [f"this update has ended: {stage}"]


@pytest.mark.parametrize("kind", [Act.OPEN, Act.DECIDE_REQUEST])
def test_opening_and_deciding_at_the_ca_are_no_actions_on_an_open_update(kind):
    assert objections(a_state(), act(kind)) == [f"{kind} is not an action on an open update"]


# Continue


def test_the_holder_continues_when_the_card_is_wanted():
    assert objections(a_state(), build.continuing(UPDATE)) == []


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        (a_state(LaneStage.AT_CA), "there is nothing to do at the card yet"),
        (a_state(LaneStage.READY, attention="x"), "there is nothing to do at the card yet"),
        (
            replace(a_state(), visit=build.a_visit()),
            "the operation is already running at the workstation",
        ),
    ],
)
def test_a_visit_needs_work_at_the_card_and_happens_one_at_a_time(state, reason):
    assert objections(state, build.continuing(UPDATE)) == [reason]


def test_only_the_holder_continues_and_only_with_the_card_connected():
    stranger = replace(build.continuing(UPDATE), actor="eve", visit=None)

    assert objections(a_state(), stranger) == [
        "only the card's holder can continue at the workstation",
        "the card is not connected",
    ]


@pytest.mark.parametrize(
    ("stages", "expected"),
    [
        ((), True),
        ((LaneStage.CANCELLED, LaneStage.WRITTEN), False),
        ((LaneStage.PREPARING, LaneStage.AT_CA), True),
        ((LaneStage.READY, LaneStage.READY), True),
        ((LaneStage.READY, LaneStage.CA_REJECTED), True),
        ((LaneStage.READY, LaneStage.AT_CA), False),
        ((LaneStage.AWAITING_REQUEST_FORM,), False),
    ],
)
def test_the_card_is_wanted_for_keys_or_when_every_open_lane_is_ready(stages, expected):
    lane = a_state().lanes[0]
    state = replace(a_state(), lanes=tuple(replace(lane, stage=stage) for stage in stages))

    assert policy.has_work_at_the_card(state) is expected


# Documents coming in


@pytest.mark.parametrize("stage", [*AWAITING, *CHECKING])
def test_the_holder_hands_in_the_form_that_is_awaited_or_replaces_it(stage):
    assert objections(a_state(stage), submit(stage)) == []


@pytest.mark.parametrize("stage", sorted(set(LaneStage) - {*AWAITING, *CHECKING}))
def test_a_document_that_nobody_awaits_is_refused(stage):
    action = submit(LaneStage.AWAITING_REQUEST_FORM)

    assert objections(a_state(LaneStage(stage)), action) == ["no document is awaited here now"]


def test_an_action_without_its_document_is_refused():
    action = act(Act.SUBMIT_DOCUMENT)

    assert objections(a_state(AWAITING[0]), action) == ["no document is awaited here now"]


@pytest.mark.parametrize(("stage", "other"), [AWAITING, AWAITING[::-1], CHECKING, CHECKING[::-1]])
def test_the_other_form_is_refused(stage, other):
    (reason,) = objections(a_state(stage), submit(other))

    assert reason.endswith("is not what is awaited now")


def test_a_stranger_hands_in_nothing():
    assert objections(a_state(AWAITING[0]), submit(AWAITING[0], actor="eve")) == [
        "only the card's holder or an operator can hand in this document"
    ]


def test_where_documents_go_another_way_the_holder_is_told_whom_to_ask():
    update = under(document_exchange=DocumentExchange.OUTSIDE)

    assert objections(a_state(AWAITING[0]), submit(AWAITING[0]), update) == [
        "documents are not uploaded here; Ask the service desk."
    ]


@pytest.mark.parametrize("exchange", DocumentExchange)
def test_an_operator_records_what_came_by_other_means(exchange):
    action = submit(AWAITING[0], build.OPERATOR, Role.OPERATOR, Means.POST)

    assert objections(a_state(AWAITING[0]), action, under(document_exchange=exchange)) == []


def test_an_operator_says_how_a_document_came_and_records_none_on_their_own_card():
    action = submit(AWAITING[0], build.HOLDER, Role.OPERATOR, Means.PORTAL)

    assert objections(a_state(AWAITING[0]), action) == [
        "nobody records a document on their own card",
        "say by which means the document came",
    ]


# Documents taken back


@pytest.mark.parametrize("stage", CHECKING)
def test_who_handed_a_document_in_takes_it_back_while_it_is_checked(stage):
    assert objections(under_check(stage), act(Act.WITHDRAW_DOCUMENT)) == []


@pytest.mark.parametrize("stage", sorted(set(LaneStage) - set(CHECKING)))
def test_nothing_can_be_taken_back_that_is_not_under_check(stage):
    state = a_state(LaneStage(stage), document=build.a_document(DocumentKind.REQUEST_FORM))

    assert objections(state, act(Act.WITHDRAW_DOCUMENT)) == [
        "there is no document under check that could be taken back"
    ]


def test_there_must_be_a_document_to_take_back():
    assert len(objections(a_state(CHECKING[0]), act(Act.WITHDRAW_DOCUMENT))) == 1


def test_a_document_of_somebody_else_stays():
    state = under_check(by=build.OPERATOR)

    assert objections(state, act(Act.WITHDRAW_DOCUMENT)) == [
        "the document was handed in by somebody else"
    ]


def test_a_policy_can_forbid_holders_to_take_documents_back_and_not_operators():
    update = under(permissions=Permissions(delete_documents=False))
    operators = act(Act.WITHDRAW_DOCUMENT, build.OPERATOR, Role.OPERATOR)

    assert objections(under_check(), act(Act.WITHDRAW_DOCUMENT), update) == [
        "the policy does not let holders take documents back"
    ]
    assert objections(under_check(by=build.OPERATOR), operators, update) == []


# Decisions


@pytest.mark.parametrize("stage", CHECKING)
@pytest.mark.parametrize(("verdict", "reason"), [("approve", ""), ("reject", "unsigned")])
def test_an_operator_decides_on_what_is_under_check(stage, verdict, reason):
    state = under_check(stage)

    assert objections(state, decide(state, Verdict(verdict), reason=reason)) == []


@pytest.mark.parametrize("stage", sorted(set(LaneStage) - set(CHECKING)))
def test_there_is_nothing_to_decide_where_no_document_is_under_check(stage):
    state = a_state(LaneStage(stage))

    assert objections(state, decide(state)) == ["no document is waiting for a decision here"]


def test_a_late_decision_is_told_who_won():
    state = under_check()
    action = decide(state)
    late = replace(state, decisions={action.digest: "ben approved it on 10:00"})

    assert objections(late, action) == ["too late: ben approved it on 10:00"]


def test_a_decision_on_what_has_changed_since_is_void():
    before = under_check()
    action = decide(before)

    assert objections(under_check(), action) == [
        "the document changed since it was shown; look at it again"
    ]


@pytest.mark.parametrize("role", sorted(set(Role) - {Role.OPERATOR}))
def test_only_operators_decide(role):
    state = under_check()

    assert objections(state, decide(state, role=Role(role))) == [
        "documents are decided by operators"
    ]


def test_nobody_decides_on_their_own_card():
    state = under_check()

    assert objections(state, decide(state, actor=build.HOLDER)) == [
        "nobody decides on their own card"
    ]


def test_nobody_decides_on_what_they_opened_for_somebody_else():
    update = replace(UPDATE, started_by=build.OPERATOR)
    state = under_check()

    assert objections(state, decide(state), update) == ["nobody decides on their own request"]


def test_nobody_approves_twice():
    state = under_check(approvals=(build.OPERATOR,))

    assert objections(state, decide(state)) == [
        "you have already approved this document; another person must decide"
    ]
    assert objections(state, decide(state, actor=build.OPERATOR_2)) == []


@pytest.mark.parametrize("reason", ["", "  \n"])
def test_a_rejection_needs_a_reason_and_every_decision_a_verdict(reason):
    state = under_check()

    assert objections(state, decide(state, Verdict.REJECT, reason=reason)) == [
        "reason: a rejection needs a reason"
    ]
    assert objections(state, decide(state, verdict=None)) == ["verdict: say approve or reject"]


def test_every_reason_against_a_decision_is_told_at_once():
    state = under_check(approvals=(build.HOLDER,))
    action = decide(state, None, build.HOLDER, Role.HOLDER, digest="0")

    assert len(objections(state, action)) == 5


@pytest.mark.parametrize("kind", [Act.SUBMIT_DOCUMENT, Act.DECIDE_DOCUMENT])
def test_a_lane_that_does_not_exist_is_named(kind):
    action = replace(act(kind), lane="fax")

    assert objections(a_state(), action) == ["the update has no lane fax"]
    assert objections(a_state(), replace(action, act=Act.WITHDRAW_DOCUMENT)) != []


@pytest.mark.parametrize(
    "change",
    [
        {"spki_sha256": "1"},
        {"certificate_sha256": "1"},
        {"revision": 2},
        {"document": build.a_document(DocumentKind.REQUEST_FORM)},
        {"document": None},
    ],
)
def test_any_change_of_what_is_decided_changes_its_digest(change):
    lane = under_check().lanes[0]

    assert policy.decision_digest(UPDATE, lane) != policy.decision_digest(
        UPDATE, replace(lane, **change)
    )


def test_the_digest_names_the_update_the_subject_and_the_policys_version():
    lane = under_check().lanes[0]
    renamed = replace(lane, plan=replace(lane.plan, subject="CN=Eve"))
    digests = {
        policy.decision_digest(UPDATE, lane),
        policy.decision_digest(UPDATE, renamed),
        policy.decision_digest(replace(UPDATE, update_id="x"), lane),
        policy.decision_digest(under(version=2), lane),
    }

    assert len(digests) == 4


# Cancelling and trying again


@pytest.mark.parametrize(
    ("actor", "role", "reasons"),
    [
        (build.HOLDER, Role.HOLDER, []),
        ("eve", Role.HOLDER, ["the card belongs to somebody else"]),
        (build.OPERATOR, Role.OPERATOR, []),
        ("admin", Role.ADMIN, []),
        *(
            (
                "x",
                role,
                ["only the holder, an operator or an administrator can cancel"],
            )
            for role in (Role.OFFICER, Role.AUDITOR, Role.SERVICE)
        ),
    ],
)
def test_the_holder_operators_and_administrators_cancel(actor, role, reasons):
    assert objections(a_state(), act(Act.CANCEL, actor, role)) == reasons


def test_nobody_cancels_while_certificates_are_being_written():
    state = replace(a_state(), writing=True)

    assert objections(state, act(Act.CANCEL)) == [
        "certificates are being written now; wait a moment"
    ]


def test_a_policy_can_forbid_holders_to_cancel_and_says_whom_to_ask():
    update = under(permissions=Permissions(cancel=False))

    assert objections(a_state(), act(Act.CANCEL), update) == [
        "the policy does not let holders cancel; Ask the service desk."
    ]
    assert objections(a_state(), act(Act.CANCEL, "x", Role.OPERATOR), update) == []


@pytest.mark.parametrize("role", Role)
def test_another_try_is_ordered_by_operators_and_administrators(role):
    state = a_state(attention="the CA is away")
    allowed = role in (Role.OPERATOR, Role.ADMIN)

    found = objections(state, act(Act.RETRY, "x", role))

    refusal = ["only an operator or an administrator can order another try"]
    assert found == ([] if allowed else refusal)


def test_another_try_needs_something_that_failed():
    assert objections(a_state(), act(Act.RETRY, "x", Role.ADMIN)) == ["nothing needs attention"]


# A lost card


@pytest.mark.parametrize(
    ("actor", "role", "reasons"),
    [
        (build.HOLDER, Role.HOLDER, []),
        ("eve", Role.HOLDER, ["the card belongs to somebody else"]),
        *(("x", role, []) for role in (Role.OPERATOR, Role.OFFICER, Role.ADMIN)),
        *(
            (
                "x",
                role,
                [
                    "only the holder, an operator, a CA officer or an administrator"
                    " reports a card lost"
                ],
            )
            for role in (Role.AUDITOR, Role.SERVICE)
        ),
    ],
)
def test_a_card_is_reported_lost_by_its_holder_or_whoever_answers_for_cards(actor, role, reasons):
    assert objections(a_state(), act(Act.REPORT_LOST, actor, role)) == reasons


def test_neither_a_running_visit_nor_the_policy_keeps_a_holder_from_reporting_a_lost_card():
    update = under(permissions=Permissions(cancel=False, update=False))
    state = replace(a_state(), writing=True, visit=build.a_visit())

    assert objections(state, act(Act.REPORT_LOST), update) == []


# Opening


def an_opening(**changes):
    given = Opening(build.HOLDER, Role.HOLDER, build.HOLDER, True, CardState.ASSIGNED)
    return replace(given, **changes)


@pytest.mark.parametrize(
    ("changes", "reasons"),
    [
        ({}, []),
        ({"actor": "ben", "role": Role.OPERATOR}, []),
        ({"actor": "eve"}, ["the card belongs to somebody else"]),
        ({"role": Role.ADMIN}, ["only the holder or an operator opens an update"]),
        ({"holder_active": False}, ["the card's holder is disabled"]),
        ({"card_state": CardState.DISABLED}, ["the card is disabled"]),
        ({"card_state": CardState.REVOKED}, ["the card is revoked"]),
        ({"card_state": CardState.PENDING}, []),
        (
            {"holder_id": "", "role": Role.OPERATOR},
            ["the card is not assigned to anybody"],
        ),
    ],
)
def test_who_opens_an_update_on_which_card(changes, reasons):
    assert policy.opening_objections(an_opening(**changes), UPDATE.policy) == reasons


def test_a_policy_can_leave_opening_to_operators():
    strict = replace(UPDATE.policy, permissions=Permissions(update=False))

    assert policy.opening_objections(an_opening(), strict) == [
        "the policy does not let holders update their cards; ask your operator"
    ]
    assert policy.opening_objections(an_opening(role=Role.OPERATOR), strict) == []


# Signing with the card


def signed_by(way, update=UPDATE, **plan):
    """Return the update under a policy that has both forms signed in this way."""
    changes = {"request_form_signature": way, "certificate_form_signature": way, **plan}
    (lane,) = update.plan.lanes
    return replace(update, plan=replace(update.plan, lanes=(replace(lane, **changes),)))


ELECTRONIC, EITHER, PAPER = (
    signed_by(FormSignature(way)) for way in ("electronic", "either", "paper")
)


def click(stage, **changes):
    """Return the holder's click to sign the form that the stage is about."""
    return replace(build.signing(EITHER, "logon", lifecycle.document_kind(stage)), **changes)


@pytest.mark.parametrize("update", [ELECTRONIC, EITHER])
@pytest.mark.parametrize("stage", [*AWAITING, *CHECKING])
def test_the_holder_signs_where_a_form_is_awaited_or_under_check(stage, update):
    assert objections(a_state(stage, update), click(stage), update) == []


@pytest.mark.parametrize("stage", AWAITING)
def test_a_form_on_paper_is_not_signed_with_the_card(stage):
    assert objections(a_state(stage, PAPER), click(stage), PAPER) == [policy.ON_PAPER]


@pytest.mark.parametrize("stage", sorted(set(LaneStage) - {*AWAITING, *CHECKING}))
def test_nothing_is_signed_where_no_form_is(stage):
    found = objections(a_state(stage, EITHER), click(stage), EITHER)
    assert found == ["no form is to be signed here now"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"actor": "eve"}, "only the card's holder can sign with the card"),
        ({"visit": None}, "the card is not connected"),
        ({"visit": build.a_visit()}, "the card is not connected"),
        ({"digest": "other"}, "the form changed since it was shown; look at it again"),
        ({"lane": "other"}, "the update has no lane other"),
    ],
)
def test_why_a_signature_cannot_be_made(changes, reason):
    state = a_state(AWAITING[0], EITHER)
    assert objections(state, click(AWAITING[0], **changes), EITHER) == [reason]


@pytest.mark.parametrize("changed", [{"revision": 2}, {"kind": DocumentKind.CERTIFICATE_FORM}])
def test_a_form_of_another_time_is_not_signed(changed):
    action = click(AWAITING[0])
    visit = replace(action.visit, signs=replace(action.visit.signs, **changed))
    found = objections(a_state(AWAITING[0], EITHER), replace(action, visit=visit), EITHER)
    assert found == ["the form changed since it was shown; look at it again"]


def test_signing_waits_for_a_visit_to_end_and_the_other_way_round():
    busy = replace(a_state(AWAITING[0], EITHER), visit=build.a_visit())
    assert objections(busy, click(AWAITING[0]), EITHER) == [policy.AT_WORK]


def test_a_visit_that_signs_updates_no_card():
    action = replace(build.continuing(EITHER), visit=click(AWAITING[0]).visit)
    assert objections(a_state(update=EITHER), action, EITHER) == [
        "a visit that signs a form does nothing else"
    ]


@pytest.mark.parametrize(
    ("update", "signature", "expected"),
    [
        (PAPER, "none", []),
        (PAPER, "good", [policy.ON_PAPER]),
        (PAPER, "doubtful", [policy.ON_PAPER]),
        (ELECTRONIC, "none", [policy.WITH_THE_CARD]),
        (ELECTRONIC, "good", []),
        (ELECTRONIC, "doubtful", []),
        (EITHER, "none", []),
        (EITHER, "good", []),
        (EITHER, "doubtful", []),
    ],
)
@pytest.mark.parametrize("means", [Means.PORTAL, Means.ELECTRONIC, Means.POST])
@pytest.mark.parametrize("stage", AWAITING)
def test_a_document_comes_signed_in_the_way_the_policy_wants(
    stage, means, update, signature, expected
):
    action = build.handing_in(
        update, "logon", lifecycle.document_kind(stage), means=means,
        signature=SignatureFound(signature),
    )  # fmt: skip
    assert objections(a_state(stage, update), action, update) == expected


@pytest.mark.parametrize("update", [PAPER, ELECTRONIC, EITHER])
@pytest.mark.parametrize("stage", [*AWAITING, *CHECKING])
def test_asking_before_the_examination_finds_nothing_against_the_way(stage, update):
    state = a_state(stage, update)
    action = build.handing_in(
        update, "logon", lifecycle.document_kind(stage),
        signature=policy.as_it_may_be_signed(state.lanes[0]),
    )  # fmt: skip
    assert objections(state, action, update) == []


def test_an_operator_hands_in_nothing_in_the_name_of_a_card():
    document = build.a_document(
        DocumentKind.REQUEST_FORM, means=Means.ELECTRONIC, by=build.OPERATOR
    )
    action = act(Act.SUBMIT_DOCUMENT, build.OPERATOR, Role.OPERATOR, document=document)
    assert objections(a_state(AWAITING[0]), action) == ["say by which means the document came"]


@pytest.mark.parametrize(
    ("entry", "changes", "reason"),
    [
        ({"approve_signed": True}, {}, "no form of this profile is signed electronically"),
        (
            {"approve_signed": True, "approvals_needed": 2,
             "request_form_signature": FormSignature.EITHER},
            {},
            "approve_signed: 2 people must approve here, and a machine is none",
        ),
        (
            {"request_form_signature": FormSignature.ELECTRONIC},
            {"document_exchange": DocumentExchange.OUTSIDE},
            "request_form_signature: needs document_exchange",
        ),
        (
            {"certificate_form_signature": FormSignature.EITHER},
            {"document_exchange": DocumentExchange.OUTSIDE},
            "certificate_form_signature: needs document_exchange",
        ),
    ],
)  # fmt: skip
def test_ways_of_signing_that_a_policy_cannot_ask_for(entry, changes, reason):
    wanted = build.a_policy(build.an_entry("logon", Mode.BOTH, **entry), **changes)
    (found,) = policy.policy_objections(wanted, {"logon": build.a_profile("logon")})
    assert found.startswith("profiles.logon.")
    assert reason in found


def test_a_policy_with_electronic_signatures_is_taken_and_reaches_the_plan():
    ways = {
        "request_form_signature": FormSignature.EITHER,
        "certificate_form_signature": FormSignature.ELECTRONIC,
        "approve_signed": True,
    }
    wanted = build.a_policy(build.an_entry("logon", Mode.BOTH, **ways))
    assert policy.policy_objections(wanted, {"logon": build.a_profile("logon")}) == []
    (lane,) = build.an_update(wanted, opened_at=NOW).plan.lanes
    assert {key: getattr(lane, key) for key in ways} == ways
