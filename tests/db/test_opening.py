"""Only a start that this organisation signed gets into the register."""

from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from cardflow import decisions, lifecycle
from cardflow.db import audit
from cardflow.db.tables import AuditEntry, Card, Update, UpdateLane, WaitingFor
from cardflow.db.update_record import UpdateRecord
from cardflow.db.views import input_of, view_of
from cardflow.model import Act, Action, CardState, Mode, Role, UpdateState, new_id
from cardflow.sql import transaction
from tests import build
from tests.db.rows import NOW, audit_kinds, found, populate, the

ROOT = decisions.root_hex(build.root().public_key())
POLICY = build.a_policy(build.an_entry("logon", Mode.BOTH), build.an_entry("mail"))


@pytest.fixture
def update():
    return build.an_update(POLICY, opened_at=NOW)


@pytest.fixture
async def record(sessions, update):
    await populate(sessions, update)
    return UpdateRecord(sessions, decision_root=ROOT, mail_domain="example.org")


async def opened(record, update, workflow_id=None):
    return await record.open(update, workflow_id or f"card-update/{update.card_id}")


def an_open_token(update, **changes):
    action = Action(
        id=update.update_id,
        act=Act.OPEN,
        update_id=update.update_id,
        actor=update.started_by,
        role=Role.HOLDER,
        at=NOW,
        digest=decisions.opening_digest(update),
    )
    return replace(update, token=build.signer().sign(replace(action, **changes)))


async def test_a_signed_start_is_on_record_with_its_lanes_and_whom_it_waits_for(
    record, sessions, update
):
    assert await opened(record, update) == []

    row = await the(sessions, Update)
    assert (row.stage, row.events, row.ended_at) == ("preparing", 0, None)
    assert input_of(row) == update
    assert view_of(row).state.lanes[0].plan == update.plan.lanes[0]
    lanes = await found(sessions, UpdateLane)
    assert [(lane.lane, lane.mode, lane.stage) for lane in lanes] == [
        ("logon", "RF", "preparing"),
        ("mail", "none", "preparing"),
    ]
    waits = await found(sessions, WaitingFor)
    assert {entry.party for entry in waits} == {"holder"}
    assert (await the(sessions, Card)).state == CardState.PENDING


async def test_the_first_link_of_an_update_holds_its_signed_start(record, sessions, update):
    await opened(record, update)

    entry = await the(sessions, AuditEntry)
    assert (entry.kind, entry.event, entry.actor) == ("start_verified", 0, build.HOLDER)
    assert update.token in entry.text


async def test_opening_twice_changes_nothing(record, sessions, update):
    await opened(record, update)
    before = await the(sessions, Update)

    assert await opened(record, update) == []
    assert (await the(sessions, Update)).view == before.view
    assert await audit_kinds(sessions) == ["start_verified"]


@pytest.mark.parametrize(
    ("card", "objections"),
    [
        ({"state": CardState.DISABLED}, ["the card is disabled"]),
        ({"state": CardState.REVOKED}, ["the card is revoked"]),
        (
            {"state": CardState.DISABLED, "lost_at": NOW},
            ["the card is disabled", "the card was reported lost"],
        ),
    ],
)
async def test_a_card_that_was_lost_or_disabled_meanwhile_gets_no_update(
    sessions, update, card, objections
):
    await populate(sessions, update, **card)
    record = UpdateRecord(sessions, decision_root=ROOT, mail_domain="example.org")

    assert await opened(record, update) == objections

    assert await found(sessions, Update) == []
    assert (await the(sessions, Card)).state == card["state"]
    assert await audit_kinds(sessions) == ["start_refused"]


async def test_an_update_that_is_open_goes_on_when_its_card_is_disabled(record, sessions, update):
    await opened(record, update)
    async with transaction(sessions) as session:
        (await session.get_one(Card, update.card_id)).state = CardState.DISABLED

    assert await opened(record, update) == []
    assert await opened(record, resuming(update)) == []

    assert (await the(sessions, Card)).state == CardState.DISABLED


def by_another_root(update):
    other = Ed25519PrivateKey.generate()
    return replace(update, decision_root=decisions.root_hex(other.public_key()))


@pytest.mark.parametrize(
    ("change", "objection"),
    [
        (by_another_root, "the update trusts another decision root than this installation"),
        (lambda u: replace(u, resumed=UpdateState()), "a new update has no state yet"),
        (lambda u: replace(u, token=""), "the action carries no token of this system"),
        (lambda u: replace(u, token="a.b.c"), "the token is not base64url"),
        (lambda u: an_open_token(u, act=Act.CANCEL), "the token does not open this update"),
        (lambda u: an_open_token(u, update_id="x"), "the token does not open this update"),
        (lambda u: an_open_token(u, actor="eve"), "somebody else opened this update"),
        (lambda u: an_open_token(u, digest="0"), "the update is not the one that was confirmed"),
        (
            lambda u: replace(u, holder_id="eve"),
            "the update is not the one that was confirmed",
        ),
        (
            lambda u: an_open_token(replace(u, card_id=new_id())),
            "there is no such card",
        ),
        (
            lambda u: an_open_token(replace(u, token_serial="ff")),
            "the card's serial is another one",
        ),
        (
            lambda u: an_open_token(replace(u, holder_id="operator-1")),
            "the card belongs to somebody else now",
        ),
    ],
)
async def test_a_start_made_by_hand_gets_nowhere_and_is_audited(
    record, sessions, update, change, objection
):
    assert await opened(record, change(update)) == [objection]

    assert await found(sessions, Update) == []
    assert (await the(sessions, Card)).state == CardState.ASSIGNED
    entry = await the(sessions, AuditEntry)
    assert entry.kind == "start_refused"
    assert objection in entry.text


async def test_a_signed_start_under_another_workflow_id_is_refused(record, sessions, update):
    reasons = await opened(record, update, workflow_id="card-update/again")

    assert reasons == ["the workflow's id is not the card's: two updates could run on one card"]
    assert await audit_kinds(sessions) == ["start_refused"]


async def test_an_update_that_has_ended_cannot_be_started_again(record, sessions, update):
    await opened(record, update)
    async with transaction(sessions) as session:
        row = await session.get(Update, update.update_id)
        row.stage, row.ended_at = "cancelled", NOW

    assert await opened(record, update) == ["this update has ended: cancelled"]


async def test_refusals_are_links_of_the_same_chain(record, sessions, update):
    await opened(record, replace(update, token=""))
    await opened(record, update)

    async with transaction(sessions) as session:
        assert await audit.verify(session) == audit.Verification(True, 2)


# Started anew by `cardflow reconcile`, from what is on record


def resuming(update, state=None, **changes):
    """Return the input with a state that our own key vouches for."""
    update = replace(update, resumed=state or replace(lifecycle.begin(update), events=3))
    action = Action(
        id=new_id(),
        act=Act.RESUME,
        update_id=update.update_id,
        actor="",
        role=Role.SERVICE,
        at=NOW,
        digest=decisions.resuming_digest(update),
    )
    token = build.signer().sign(replace(action, **changes))
    return replace(update, resumed=replace(update.resumed, resumption=token))


def with_another_state(update):
    resumed = resuming(update)
    return replace(resumed, resumed=replace(resumed.resumed, visited=True))


def under_another_key(update):
    signer = decisions.issue_signer(Ed25519PrivateKey.generate(), now=NOW)
    resumed = resuming(update)
    token = signer.sign(decisions.peek(resumed.resumed.resumption))
    return replace(resumed, resumed=replace(resumed.resumed, resumption=token))


async def test_a_state_that_we_vouch_for_goes_on_and_changes_nothing_on_record(
    record, sessions, update
):
    await opened(record, update)
    before = await the(sessions, Update)

    assert await opened(record, resuming(update)) == []

    assert (await the(sessions, Update)).view == before.view
    assert await audit_kinds(sessions) == ["start_verified"]


@pytest.mark.parametrize(
    ("change", "objection"),
    [
        (with_another_state, "the state is not the one that was vouched for"),
        (under_another_key, "the token's signing key does not belong to this organisation"),
        (lambda u: resuming(u, act=Act.CANCEL), "the token does not resume this update"),
        (lambda u: resuming(u, update_id="x"), "the token does not resume this update"),
        (lambda u: resuming(u, lifecycle.begin(u)), "the state is older than the one on record"),
    ],
)
async def test_a_state_that_is_not_ours_or_an_older_one_goes_nowhere(
    record, sessions, update, change, objection
):
    await opened(record, update)
    async with transaction(sessions) as session:
        (await session.get_one(Update, update.update_id)).events = 3

    assert await opened(record, change(update)) == [objection]
    assert await audit_kinds(sessions) == ["start_verified", "start_refused"]


async def test_a_state_of_an_update_that_was_never_opened_goes_nowhere(record, sessions, update):
    objections = await opened(record, resuming(update))

    assert objections == ["an update that was never opened here cannot go on"]
    assert await found(sessions, Update) == []
