"""Every no that a person can meet on the way, in words that say what is wrong."""

import asyncio
import json
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import select, update
from temporalio.service import RPCError

from api import actions
from api.actions import NO_ANSWER, record, take
from api.authorize import Caller, Grant, Scope
from api.idempotency import id_for
from api.opening import Wish, begun, open_update
from api.planning import case_of, opening_by, plan_update
from cardflow.db.register_updates import journal_of
from cardflow.db.tables import Agent, Card, JournalAnswer, JournalEntry, Person
from cardflow.decisions import issue_signer, peek, utc_now
from cardflow.errors import Unavailable
from cardflow.jobs import Outcome
from cardflow.model import Act, Action, CardState, Reply, Role, Stage, new_id
from cardflow.policy import Selection
from cardflow.sql import transaction
from tests.api.conftest import reasons
from tests.api.updates.conftest import API, a_certificate
from tests.api.workstation import SoftCard
from tests.waiting import until
from worker import build_ca, build_worker
from workflows.card_update import CardUpdate, workflow_id

pytestmark = pytest.mark.temporal
A_DIGEST = "0" * 64


async def change_card(office, **values) -> None:
    async with transaction(office.state.sessions) as session:
        await session.execute(update(Card).where(Card.id == office.card_id).values(**values))


async def change_holder(office, **values) -> None:
    person_id = office.holder.headers["X-Person"]
    async with transaction(office.state.sessions) as session:
        await session.execute(update(Person).where(Person.id == person_id).values(**values))


async def card_of(office) -> Card:
    async with transaction(office.state.reads) as session:
        return await session.get_one(Card, office.card_id)


async def waiting_update(office, mode="R precheck=true", **keys) -> str:
    """Return an update that waits for its form."""
    await office.policy(f"tls-client {mode}", **keys)
    update_id = await office.opened()
    stage = "awaiting_request_form" if mode.startswith("R") else "awaiting_certificate_form"
    await office.until_lane(update_id, stage)
    return update_id


# Opening


async def test_a_card_that_is_not_connected_opens_nothing(office):
    await office.desk.workstation.report()

    answer = await office.open()

    assert answer.status_code == 409
    assert reasons(answer)[0].startswith("the card is not connected")
    assert (await office.holder.get(f"{API}/updates")).json()["items"] == []


async def test_an_agent_that_has_fallen_silent_connects_nothing(office):
    digest = (await office.plan())["digest"]
    await office.desk.workstation.client.aclose()
    agent_id = office.desk.workstation.agent_id
    async with transaction(office.state.sessions) as session:
        agent = await session.get_one(Agent, agent_id)
        agent.seen_at = utc_now() - timedelta(seconds=31)

    path = f"{API}/cards/{office.card_id}/updates"
    answer = await office.holder.post(path, json={"plan_digest": digest})

    assert reasons(answer)[0].startswith("the card is not connected")
    contents = (await office.holder.get(f"{API}/cards/{office.card_id}/contents")).json()
    assert contents["connected"] is None


async def test_another_card_in_the_reader_is_named(office):
    await office.desk.workstation.report(SoftCard("77aa").report())

    assert reasons(await office.open()) == ["another card is connected: 77aa"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"unsupported": "the card is read only"}, "cannot be updated here: the card is read only"),
        ({"flags": ("USER_PIN_LOCKED",)}, "the PIN is locked; ask your operator"),
    ],
)
async def test_a_card_that_cannot_be_worked_with_is_refused_before_the_pin(office, changes, reason):
    await office.desk.workstation.report(office.desk.card.report(**changes))

    assert reason in reasons(await office.open())[0]


async def test_a_second_update_on_the_card_is_refused(office):
    await waiting_update(office)

    answer = await office.open(office.operator)

    assert reasons(answer) == ["an update is already open on this card"]


async def test_two_people_who_open_at_once_get_one_update(office):
    digests = [(await office.plan(who))["digest"] for who in (office.holder, office.operator)]
    path = f"{API}/cards/{office.card_id}/updates"
    office.desk.outcomes.append(Outcome.PIN_CANCELLED)

    answers = await asyncio.gather(
        *(
            who.post(path, json={"plan_digest": digest})
            for who, digest in zip((office.holder, office.operator), digests, strict=True)
        )
    )

    assert sorted(answer.status_code for answer in answers) == [201, 409]
    (loser,) = [answer for answer in answers if answer.status_code == 409]
    assert reasons(loser) == ["an update is already open on this card"]


async def test_what_changed_since_it_was_shown_is_not_done(office):
    digest = (await office.plan())["digest"]
    office.desk.card.certificates["f0"] = a_certificate("CN=New on the card")
    await office.desk.workstation.report(office.desk.card.report())

    path = f"{API}/cards/{office.card_id}/updates"
    answer = await office.holder.post(path, json={"plan_digest": digest})

    assert reasons(answer) == [
        "what would be done has changed since it was shown; look at it again"
    ]


async def test_a_policy_whose_profile_is_gone_plans_nothing_and_says_so(office):
    await office.policy("tls-client none", "telex none")

    shown = (await office.plan())["plan"]
    answer = await office.open()

    assert (answer.status_code, shown["lanes"]) == (409, [])
    assert reasons(answer) == shown["objections"]
    assert "the policy names profiles that do not exist any more: telex" in reasons(answer)[0]


async def test_a_preview_does_not_change_by_being_looked_at(office):
    assert (await office.plan())["digest"] == (await office.plan())["digest"]


@pytest.mark.parametrize(
    ("keys", "chosen", "reason"),
    [
        ({"permissions": {"update": False}}, {}, "the policy does not let holders update"),
        (
            {"permissions": {"select_optional": False}},
            {"optional": ["smime-signing"]},
            "the policy does not let you choose optional profiles",
        ),
        ({}, {"optional": ["no-such"]}, "no-such is not an optional profile of this policy"),
        ({}, {"third_party": [A_DIGEST]}, f"no third-party certificate {A_DIGEST} is on the card"),
        (
            {"search_third_party": False, "select_third_party": False},
            {"third_party": [A_DIGEST]},
            "the policy does not register third-party certificates",
        ),
    ],
)
async def test_the_policy_forbids_in_words(office, keys, chosen, reason):
    await office.policy("tls-client none", "smime-signing none mandatory=false", **keys)

    shown = (await office.plan(**chosen))["plan"]["objections"]
    answer = await office.open(**chosen)

    assert answer.status_code == 409
    assert any(reason in said for said in reasons(answer))
    assert reasons(answer) == shown


async def test_a_card_that_has_everything_is_left_alone(office):
    await office.until_stage(await office.opened(), "completed")

    answer = await office.open()

    assert "nothing to update" in reasons(answer)[0]


async def test_a_disabled_card_or_holder_opens_nothing(office):
    await change_card(office, state=CardState.DISABLED)
    await change_holder(office, active=False)

    answer = await office.open(office.operator)

    assert reasons(answer) == ["the card's holder is disabled", "the card is disabled"]


async def test_a_person_whose_record_is_incomplete_is_told_which_field(office):
    await change_holder(office, upn="")
    await office.policy("tls-client none", "smart-card-logon none")

    found = reasons(await office.open())

    assert "the holder's record: upn: a principal name with one @ is needed" in found


async def test_a_card_without_a_policy_or_holder_says_so(office):
    policy_name = (await card_of(office)).policy_name
    await change_card(office, policy_name="")
    path = f"{API}/cards/{office.card_id}/plan"
    assert "under no policy" in reasons(await office.operator.get(path))[0]

    await change_card(office, policy_name=policy_name, holder_id=None)
    shown = (await office.operator.get(path)).json()["plan"]["objections"]
    assert "the card is not assigned to anybody" in shown


async def test_a_holder_who_may_not_look_is_told_whom_to_ask(office):
    await office.policy("tls-client none", permissions={"view_contents": False})
    path = f"{API}/cards/{office.card_id}/contents"

    answer = await office.holder.get(path)

    assert answer.status_code == 403
    assert answer.json()["detail"].endswith("Ask the service desk.")
    assert (await office.operator.get(path)).status_code == 200


async def test_other_peoples_cards_and_updates_are_not_there(office, let_in):
    update_id = await waiting_update(office)
    stranger = await let_in("otto", Role.HOLDER)
    card, opened = f"{API}/cards/{office.card_id}", f"{API}/updates/{update_id}"
    body = {"plan_digest": A_DIGEST}

    answers = [
        await stranger.get(f"{card}/contents"),
        await stranger.get(f"{card}/plan"),
        await stranger.post(f"{card}/updates", json=body),
        await stranger.post(f"{card}/clear", json={"reason": "x", "confirm": "x"}),
        await stranger.get(opened),
        await stranger.get(f"{opened}/timeline"),
        await stranger.get(f"{opened}/mails"),
        await stranger.get(f"{opened}/documents"),
        await stranger.get(f"{opened}/lanes/tls-client/form"),
        await stranger.post(f"{opened}/continue", json={}),
        await stranger.post(f"{opened}/cancel", json={"reason": "x"}),
        await stranger.post(
            f"{opened}/lanes/tls-client/documents", files={"file": ("x.pdf", b"%PDF-")}
        ),
        await stranger.delete(f"{opened}/lanes/tls-client/documents/{new_id()}"),
        await stranger.get(f"{API}/updates/{new_id()}"),
    ]

    assert [answer.status_code for answer in answers] == [404] * len(answers)
    assert (await stranger.get(f"{API}/updates")).json()["items"] == []


async def test_roles_without_the_permission_are_refused(office, let_in):
    update_id = await waiting_update(office)
    officer = await let_in("otto", Role.OFFICER)
    opened = f"{API}/updates/{update_id}"
    decision = {"verdict": "approve", "digest": A_DIGEST}

    assert (await officer.post(f"{opened}/cancel", json={"reason": "x"})).status_code == 403
    assert (await office.holder.post(f"{opened}/retry", json={})).status_code == 403
    path = f"{opened}/lanes/tls-client/decisions"
    assert (await office.holder.post(path, json=decision)).status_code == 403
    assert (await officer.get(f"{API}/cards/{office.card_id}/contents")).status_code == 403


# An open update


async def test_the_holder_cannot_continue_when_nothing_is_to_be_done_at_the_card(office):
    update_id = await waiting_update(office)

    answer = await office.act(update_id, "continue")

    assert reasons(answer) == ["there is nothing to do at the card yet"]


async def test_a_certificate_that_was_revoked_while_it_waited_is_not_written(office, let_in):
    update_id = await waiting_update(office, "F")
    await office.sign(update_id, "tls-client")
    await office.decide(update_id, "approve")
    new = (await office.until_lane(update_id, "ready"))["serial_number"]
    officer = await let_in("otto", Role.OFFICER)
    await officer.post(f"{API}/ca/certificates/{new}/revoke", json={"reason": "superseded"})

    answer = await office.act(update_id, "continue")

    assert "the certificate was revoked on" in reasons(answer)[0]
    assert office.desk.card.certificates == {}


async def test_an_early_decision_and_an_unknown_lane_are_refused(office):
    update_id = await waiting_update(office)

    early = await office.decide(update_id, "approve")
    path = f"{API}/updates/{update_id}/lanes/no-such/decisions"
    body = {"verdict": "approve", "digest": A_DIGEST}

    assert reasons(early) == ["no document is waiting for a decision here"]
    assert (await office.operator.post(path, json=body)).status_code == 404


async def test_a_decision_on_something_else_than_what_is_there_is_refused(office):
    update_id = await waiting_update(office)
    shown = (await office.update(update_id))["lanes"][0]["decision_digest"]
    await office.sign(update_id, "tls-client")

    answer = await office.decide(update_id, "approve", digest=shown)

    assert reasons(answer) == ["the document changed since it was shown; look at it again"]


async def test_a_rejection_needs_a_reason(office):
    update_id = await waiting_update(office)
    await office.sign(update_id, "tls-client")

    assert reasons(await office.decide(update_id, "reject")) == [
        "reason: a rejection needs a reason"
    ]


async def test_whoever_decides_too_late_is_told_who_won(office, let_in):
    other = await let_in("oscar", Role.OPERATOR)
    update_id = await waiting_update(office)
    await office.sign(update_id, "tls-client")
    digest = (await office.update(update_id))["lanes"][0]["decision_digest"]

    first = await office.decide(update_id, "approve", digest=digest)
    second = await office.decide(update_id, "reject", who=other, reason="No.", digest=digest)

    assert first.status_code == 201
    assert reasons(second)[0].startswith("too late: Olga approved it on ")


async def test_nobody_decides_on_their_own_card_or_their_own_request(office, let_in):
    await office.policy("tls-client R precheck=true")
    opener = await let_in("oscar", Role.OPERATOR)
    await change_holder(office, roles=["holder", "operator"])
    update_id = await office.opened(opener)
    await office.act(update_id, "continue")
    await office.until_lane(update_id, "awaiting_request_form")
    await office.sign(update_id, "tls-client")

    own_card = await office.decide(update_id, "approve", who=office.holder)
    own_request = await office.decide(update_id, "approve", who=opener)

    assert reasons(own_card) == ["nobody decides on their own card"]
    assert reasons(own_request) == ["nobody decides on their own request"]


async def test_a_policy_can_forbid_cancelling(office):
    update_id = await waiting_update(office, permissions={"cancel": False})

    assert (await office.update(update_id))["may"] == []
    answer = await office.act(update_id, "cancel", reason="x")

    assert reasons(answer) == ["the policy does not let holders cancel; Ask the service desk."]
    assert (
        await office.act(update_id, "cancel", office.operator, reason="asked to")
    ).status_code == 200


async def test_an_update_that_has_ended_takes_nothing_new(office):
    update_id = await waiting_update(office)
    await office.act(update_id, "cancel", reason="enough")
    await office.until_stage(update_id, "cancelled")

    answer = await office.act(update_id, "cancel", reason="again")

    assert reasons(answer) == ["this update has ended: cancelled"]
    assert reasons(await office.act(update_id, "continue")) == ["this update has ended: cancelled"]
    form = await office.form(update_id, "tls-client")
    assert reasons(form) == ["no form is awaited here now"]


async def test_nothing_needs_another_try_when_nothing_failed(office):
    update_id = await waiting_update(office)

    assert reasons(await office.act(update_id, "retry", office.operator)) == [
        "nothing needs attention"
    ]


# Repeats


async def test_a_repeated_request_is_done_once_and_answered_the_same(office):
    await office.policy("tls-client R precheck=true")
    digest = (await office.plan())["digest"]
    path, headers = f"{API}/cards/{office.card_id}/updates", {"Idempotency-Key": "open it"}

    first = await office.holder.post(path, json={"plan_digest": digest}, headers=headers)
    again = await office.holder.post(path, json={"plan_digest": digest}, headers=headers)

    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json()["id"] == again.json()["id"]
    assert len((await office.holder.get(f"{API}/updates")).json()["items"]) == 1


async def test_a_repeated_decision_is_answered_from_the_journal_even_after_the_end(office):
    update_id = await waiting_update(office)
    await office.sign(update_id, "tls-client")
    digest = (await office.update(update_id))["lanes"][0]["decision_digest"]
    first = await office.decide(update_id, "approve", digest=digest, key="yes")
    await office.until_stage(update_id, "ready")
    await office.act(update_id, "cancel", reason="enough")
    await office.until_stage(update_id, "cancelled")

    again = await office.decide(update_id, "approve", digest=digest, key="yes")

    assert again.status_code == 201
    assert again.json() == first.json()


async def test_one_key_does_not_serve_two_requests(office):
    update_id = await waiting_update(office)
    await office.sign(update_id, "tls-client")
    digest = (await office.update(update_id))["lanes"][0]["decision_digest"]
    await office.decide(update_id, "reject", reason="No.", digest=digest, key="one")

    other = await office.decide(update_id, "approve", digest=digest, key="one")

    assert other.status_code == 422
    assert other.json()["errors"][0]["field"] == "Idempotency-Key"


async def test_the_journal_holds_each_word_signed_before_it_counted(office):
    update_id = await waiting_update(office)
    await office.act(update_id, "continue")  # refused
    await office.act(update_id, "cancel", reason="enough")

    async with transaction(office.state.reads) as session:
        mine = select(JournalEntry).where(JournalEntry.update_id == update_id)
        entries = list(await session.scalars(mine.order_by(JournalEntry.number)))
        answers = {a.action_id: a for a in await session.scalars(select(JournalAnswer))}

    words = [(peek(e.token).act, answers[e.action_id].accepted) for e in entries]
    assert words == [
        (Act.OPEN, True),
        (Act.CONTINUE, True),
        (Act.CONTINUE, False),
        (Act.CANCEL, True),
    ]


async def test_a_word_that_was_journalled_and_never_sent_is_sent_by_its_repeat(office):
    update_id = await waiting_update(office)
    await record(office.state, cancelling(office, update_id, key="k"))

    answer = await cancel_with_key(office, update_id, "k")

    assert answer.status_code == 200
    await office.until_stage(update_id, "cancelled")
    assert await cancellations(office, update_id) == 1


async def test_a_word_that_nobody_answered_is_kept_and_counts_when_the_worker_is_back(office):
    queue = f"cardflow-{new_id()}"
    settings = office.state.settings.model_copy(update={"temporal_task_queue": queue})
    state = replace(office.state, settings=settings)
    wish = await a_wish(office)
    opening = asyncio.create_task(open_update(state, wish))
    await until_started(office)
    action = cancelling(office, wish.update_id, key="k")

    with pytest.raises(Unavailable, match="what you said is kept"):
        await take(state, office.card_id, action, patience=timedelta(seconds=0.5))
    ca = build_ca(settings, state.engine)
    async with build_worker(await state.temporal.client(), settings, state.engine, ca):
        await opening
        answer = await cancel_with_key(office, wish.update_id, "k")
        await office.until_stage(wish.update_id, "cancelled")
    ca.close()

    assert answer.status_code == 200
    assert await cancellations(office, wish.update_id) == 1


async def test_a_word_that_an_update_is_too_busy_to_take_is_kept(office, monkeypatch):
    update_id = await waiting_update(office)
    with monkeypatch.context() as busy:
        busy.setattr(CardUpdate, "_is_full", True)
        first = await cancel_with_key(office, update_id, "k")
    again = await cancel_with_key(office, update_id, "k")

    assert (first.status_code, first.json()["detail"]) == (503, NO_ANSWER)
    assert again.status_code == 200
    assert await cancellations(office, update_id) == 1


@pytest.mark.parametrize("another_is_open", [False, True])
async def test_a_yes_that_was_never_kept_stays_a_yes_after_the_end(
    office, monkeypatch, another_is_open
):
    update_id = await waiting_update(office)
    await office.sign(update_id, "tls-client")
    digest = (await office.update(update_id))["lanes"][0]["decision_digest"]
    with monkeypatch.context() as patched:
        patched.setattr(actions, "keep_answer", dies)
        first = await office.decide(update_id, "approve", digest=digest, key="yes")
        await office.until_stage(update_id, "ready")
        ended = await cancel_with_key(office, update_id, "k")
        await office.until_stage(update_id, "cancelled")
    assert (first.status_code, ended.status_code) == (500, 500)
    await until_closed(office)
    if another_is_open:
        await waiting_update(office)

    again = await office.decide(update_id, "approve", digest=digest, key="yes")
    ended = await cancel_with_key(office, update_id, "k")

    assert (again.status_code, ended.status_code) == (201, 200), again.text + ended.text
    assert again.json()["message"] == "the document was approved"
    async with transaction(office.state.reads) as session:
        answers = [answer for _, answer in await journal_of(session, update_id)]
    assert all(answer and answer.accepted for answer in answers)


async def test_a_no_that_comes_after_the_yes_was_kept_is_not_told(office, monkeypatch):
    update_id = await waiting_update(office)
    action = cancelling(office, update_id, key="k")

    async def too_late(state, _card_id, entry, _patience) -> JournalAnswer:
        """The update ends, and another one opens, between the look and the word."""
        yes = Reply(Stage.CANCELLED, "as it was", entry.action_id)
        await actions.keep_answer(state, actions.accepted(action, yes))
        objections = json.dumps(["this update has ended"])
        return JournalAnswer(
            action_id=entry.action_id, accepted=False, answer=objections, recorded_at=utc_now()
        )

    monkeypatch.setattr(actions, "_send", too_late)

    assert (await take(office.state, office.card_id, action)).reply.message == "as it was"


async def test_a_repeat_waits_for_what_its_first_try_has_started(office):
    queue = f"cardflow-{new_id()}"
    settings = office.state.settings.model_copy(update={"temporal_task_queue": queue})
    state, wish = replace(office.state, settings=settings), await a_wish(office)
    first_try = asyncio.create_task(open_update(state, wish))
    await until_started(office)
    first_try.cancel()  # as if its process had died

    repeat = asyncio.create_task(begun(state, wish.update_id, office.card_id))
    ca = build_ca(settings, state.engine)
    async with build_worker(await state.temporal.client(), settings, state.engine, ca):
        await repeat
        assert (await office.update(wish.update_id))["id"] == wish.update_id
    ca.close()


async def a_wish(office) -> Wish:
    """Return what an operator's request to open an update comes to."""
    person_id = office.operator.headers["X-Person"]
    caller = Caller(person_id, "olga", "Olga", frozenset({Role.OPERATOR}), "en")
    grant = Grant(Role.OPERATOR, Scope.ANY)
    async with transaction(office.state.reads) as session:
        case = await case_of(session, await card_of(office))
    update_id, opening = new_id(), opening_by(caller, grant, case)
    plan = plan_update(
        case, office.state.profiles, Selection(), update_id=update_id, opening=opening
    )
    return Wish(caller, grant, case, plan, update_id)


async def dies(*_: object) -> None:
    """The server ends where it would keep the update's answer."""
    raise RuntimeError


async def until_closed(office) -> None:
    handle = (await office.state.temporal.client()).get_workflow_handle(workflow_id(office.card_id))
    await handle.result()


async def until_started(office) -> None:
    handle = (await office.state.temporal.client()).get_workflow_handle(workflow_id(office.card_id))

    async def described():
        with suppress(RPCError):
            return await handle.describe()

    await until(described, what="a workflow that was started")


def cancelling(office, update_id, *, key) -> Action:
    """Return the action that the holder's request with this key makes."""
    person_id = office.holder.headers["X-Person"]
    caller = Caller(person_id, "holly", "Holly", frozenset({Role.HOLDER}), "en")
    now = utc_now()
    return Action(
        id_for(caller, key), Act.CANCEL, update_id, person_id, Role.HOLDER, now, reason="enough"
    )


async def cancel_with_key(office, update_id, key):
    return await office.holder.post(
        f"{API}/updates/{update_id}/cancel",
        json={"reason": "enough"},
        headers={"Idempotency-Key": key},
    )


async def cancellations(office, update_id) -> int:
    async with transaction(office.state.reads) as session:
        mine = select(JournalEntry.token).where(JournalEntry.update_id == update_id)
        return [peek(token).act for token in await session.scalars(mine)].count(Act.CANCEL)


async def test_a_workflow_of_another_update_is_not_taken_for_this_one(office):
    """After a restart on the same card the old update's id leads to its own end."""
    old = await waiting_update(office)
    await office.act(old, "cancel", reason="enough")
    await office.until_stage(old, "cancelled")
    new = await waiting_update(office)
    client = await office.state.temporal.client()
    view = await client.get_workflow_handle_for(CardUpdate.run, workflow_id(office.card_id)).query(
        CardUpdate.view
    )

    assert view.update_id == new
    assert (await office.update(old))["stage"] == "cancelled"
    assert reasons(await office.act(old, "cancel", reason="x")) == [
        "this update has ended: cancelled"
    ]


async def test_an_update_whose_workflow_was_lost_refuses_nothing_for_good(office):
    update_id = await waiting_update(office)
    client = await office.state.temporal.client()
    await client.get_workflow_handle(workflow_id(office.card_id)).terminate()

    answer = await cancel_with_key(office, update_id, "lost")

    assert answer.status_code == 503, answer.text
    assert "cardflow reconcile" in answer.json()["detail"]
    async with transaction(office.state.reads) as session:
        journal = await journal_of(session, update_id)
    assert [kept for entry, kept in journal if peek(entry.token).act is Act.CANCEL] == [None]


# Services


async def test_a_service_passes_on_what_was_signed_elsewhere(office, let_in):
    service = await let_in("sam", Role.SERVICE)
    update_id = await waiting_update(office)
    token = office.state.keys.signer.sign(cancelling(office, update_id, key="k"))
    path = f"{API}/updates/{update_id}/actions"

    first = await service.post(path, json={"token": token})
    again = await service.post(path, json={"token": token})

    assert first.status_code == 200, first.text
    assert again.json() == first.json()
    await office.until_stage(update_id, "cancelled")


async def test_a_service_cannot_pass_on_what_nobody_signed(office, let_in):
    service = await let_in("sam", Role.SERVICE)
    update_id = await waiting_update(office)
    action = cancelling(office, update_id, key="k")
    stranger = issue_signer(Ed25519PrivateKey.generate(), now=utc_now())
    other = office.state.keys.signer.sign(replace(action, update_id=new_id()))
    path = f"{API}/updates/{update_id}/actions"

    for token in ("x", stranger.sign(action), other):
        answer = await service.post(path, json={"token": token})
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "token")
    signed = office.state.keys.signer.sign(action)
    assert (await office.operator.post(path, json={"token": signed})).status_code == 403


async def test_an_action_id_that_is_taken_is_refused(office, let_in):
    service = await let_in("sam", Role.SERVICE)
    update_id = await waiting_update(office)
    action = cancelling(office, update_id, key="k")
    await record(office.state, replace(action, act=Act.RETRY))
    token = office.state.keys.signer.sign(action)

    answer = await service.post(f"{API}/updates/{update_id}/actions", json={"token": token})

    assert answer.status_code == 422
    assert "another action has this id" in answer.json()["detail"]
