"""Whole updates through the API: what people see and do, from the plan to the certificate."""

import pytest
from sqlalchemy import select
from sqlmodel import col

from cardflow.db.tables import Certificate, UpdateLane
from cardflow.jobs import Outcome
from cardflow.model import Role
from cardflow.sql import transaction
from tests.api.updates.conftest import API, a_certificate
from tests.waiting import until

pytestmark = pytest.mark.temporal


async def test_an_update_without_forms_is_done_in_one_visit(office):
    plan = await office.plan()
    assert [lane["why"] for lane in plan["plan"]["lanes"]] == ["not on the card yet"]

    answer = await office.open()

    assert answer.status_code == 201, answer.text
    opened = answer.json()
    assert opened["message"] == "enter your PIN in the window of the agent"
    assert opened["visit"]["host"] == "desk-7"
    done = await office.until_stage(opened["id"], "completed")
    assert [lane["label"] for lane in done["lanes"]] == ["Valid, on card"]
    assert {job.card.code for job in office.desk.jobs} == {opened["visit"]["code"]}
    contents = (await office.holder.get(f"{API}/cards/{office.card_id}/contents")).json()
    assert [c["profile"] for c in contents["managed"]] == ["tls-client"]
    assert contents["connected"]["host"] == "desk-7"
    assert (contents["update_due"], contents["update_id"]) == ([], None)


async def test_a_request_form_goes_by_operator_and_officer_to_the_card(office, let_in):
    officer = await let_in("otto", Role.OFFICER)
    await office.policy("smart-card-logon R precheck=true")
    update_id = await office.opened()
    lane = await office.until_lane(update_id, "awaiting_request_form")
    assert (lane["label"], lane["form"], lane["may"]) == (
        "Pending",
        "request_form",
        ["submit_document"],
    )

    signed = await office.sign(update_id, "smart-card-logon")
    assert signed["message"] == "the document is with the operators"
    assert signed["findings"]["qr"] == "matches"
    work = await until_listed(office.operator, update_id)
    assert (work["what"], work["holder"]["name"]) == ("the check of the request form", "Holly")
    rejected = await office.decide(update_id, "reject", reason="The signature is missing.")
    assert rejected.status_code == 201
    lane = await office.until_lane(update_id, "awaiting_request_form")
    assert lane["reason"] == "The signature is missing."
    await office.sign(update_id, "smart-card-logon")
    await office.decide(update_id, "approve")

    await office.until_lane(update_id, "at_ca")
    request = await until_listed(officer, update_id, "ca/requests")
    work = await until_listed(officer, update_id)
    assert work["request_id"] == request["id"]
    path = f"{API}/ca/requests/{request['id']}/decisions"
    body = {"verdict": "approve", "digest": request["decision_digest"]}
    assert (await officer.post(path, json=body)).status_code == 201

    ready = await office.until_stage(update_id, "ready")
    assert (ready["lanes"][0]["label"], ready["may"]) == ("Approved", ["continue", "cancel"])
    assert [w["what"] for w in ready["waiting"]] == ["Continue card update operation"]
    work = await until_listed(office.holder, update_id)
    assert work["what"] == "Continue card update operation"
    continued = (await office.act(update_id, "continue")).json()
    assert continued["visit"]["host"] == "desk-7"
    done = await office.until_stage(update_id, "completed")
    assert done["may"] == []
    assert (await office.holder.get(f"{API}/work")).json()["items"] == []


async def test_documents_and_timeline_keep_what_was_rejected(office):
    await office.policy("tls-client R precheck=true")
    update_id = await office.opened()
    await office.until_lane(update_id, "awaiting_request_form")
    await office.sign(update_id, "tls-client")
    await office.decide(update_id, "reject", reason="The signature is missing.")
    await office.sign(update_id, "tls-client")
    await office.decide(update_id, "approve")
    await office.until_stage(update_id, "ready")
    mails = await until_mailed(office, update_id, "update_approved")

    found = (await office.operator.get(f"{API}/updates/{update_id}/documents")).json()["items"]
    happened = (await office.holder.get(f"{API}/updates/{update_id}/timeline")).json()["items"]

    assert [(d["direction"], d["state"]) for d in found] == [
        ("issued", "issued"),
        ("received", "rejected"),
        ("received", "accepted"),
    ]
    kinds = [entry["kind"] for entry in happened]
    assert kinds.index("document_rejected") < kinds.index("document_approved")
    rejection = happened[kinds.index("document_rejected")]
    assert rejection["actor"]["name"] == "Olga"
    assert rejection["facts"]["reason"] == "The signature is missing."
    assert not any("csr_pem" in entry["facts"] for entry in happened)
    assert {mail["person_id"] for mail in mails} == {office.holder.headers["X-Person"]}


async def test_an_operator_records_a_certificate_form_that_came_by_post(office):
    await office.policy("tls-client F", document_exchange="outside")
    update_id = await office.opened()
    lane = await office.until_lane(update_id, "awaiting_certificate_form")
    assert (lane["label"], lane["may"]) == ("Valid", [])
    assert (await office.form(update_id, "tls-client")).headers["content-type"] == "application/pdf"

    answer = await office.upload(
        update_id, "tls-client", None, who=office.operator, means="post", note="Letter of 3 May."
    )

    assert answer.status_code == 201, answer.text
    assert (answer.json()["means"], answer.json()["media_type"]) == (
        "post",
        "text/plain; charset=utf-8",
    )
    assert (await office.decide(update_id, "approve")).status_code == 201
    ready = await office.until_stage(update_id, "ready")
    assert ready["lanes"][0]["document"]["submitted_by"]["name"] == "Olga"


async def test_two_operators_must_approve_when_the_policy_says_so(office, let_in):
    other = await let_in("oscar", Role.OPERATOR)
    await office.policy("tls-client F approvals_needed=2")
    update_id = await office.opened()
    await office.until_lane(update_id, "awaiting_certificate_form")
    await office.sign(update_id, "tls-client")

    first = await office.decide(update_id, "approve")
    again = await office.decide(update_id, "approve")
    second = await office.decide(update_id, "approve", who=other)

    assert first.json()["message"] == "approved; another person must approve too"
    assert "you have already approved this document" in again.json()["detail"]
    assert second.json()["message"] == "the document was approved"
    await office.until_stage(update_id, "ready")


async def test_an_operator_opens_without_a_visit_and_the_holder_continues(office):
    answer = await office.open(office.operator)

    assert answer.status_code == 201, answer.text
    opened = answer.json()
    assert opened["visit"] is None
    assert "its holder continues at the workstation" in opened["message"]
    assert opened["update"]["started_by"]["name"] == "Olga"
    assert opened["update"]["may"] == ["cancel"]
    assert (await office.act(opened["id"], "continue")).status_code == 200
    await office.until_stage(opened["id"], "completed")


async def test_a_repeated_click_is_answered_alike_when_the_card_is_gone(office):
    update_id = await office.opened(who=office.operator)
    first = await office.act(update_id, "continue", key="once")
    await office.until_stage(update_id, "completed")
    await office.desk.workstation.report()

    again = await office.act(update_id, "continue", key="once")

    assert again.status_code == 200, again.text
    assert again.json() == first.json()


async def test_a_wrong_pin_is_told_and_the_next_click_goes_on(office):
    office.desk.outcomes.append(Outcome.PIN_INCORRECT)
    update_id = await office.opened()
    seen = await office.until(update_id, lambda x: x["visit"] is None and x["last_visit"])

    assert seen["last_visit"] == "the PIN was wrong; nothing was changed on the card"
    assert seen["may"] == ["continue", "cancel"]
    await office.act(update_id, "continue")
    await office.until_stage(update_id, "completed")


async def test_a_cancelled_update_owes_the_card_its_key(office):
    await office.policy("tls-client R precheck=true")
    update_id = await office.opened()
    await office.until_lane(update_id, "awaiting_request_form")

    answer = await office.act(update_id, "cancel", reason="not needed any more")

    assert answer.json()["message"].startswith("the update was cancelled")
    ended = await office.until_stage(update_id, "cancelled")
    assert (ended["ended_because"], ended["may"]) == ("not needed any more", [])
    await office.policy("tls-client none")
    again = await office.opened()
    await office.until_stage(again, "completed")
    assert office.desk.jobs[-1].card.update_id == again
    assert len(office.desk.card.keys) == 1


async def test_a_card_is_cleared_of_what_is_ours(office):
    await office.until_stage(await office.opened(), "completed")
    foreign = a_certificate("CN=Somebody else")
    office.desk.card.certificates["f0"] = foreign
    await office.desk.workstation.report(office.desk.card.report())
    path = f"{API}/cards/{office.card_id}/clear"
    body = {"reason": "lost and found", "confirm": office.desk.card.token_serial}

    wrong = await office.holder.post(path, json={**body, "confirm": "another"})
    answer = await office.holder.post(path, json=body)

    assert wrong.status_code == 422
    assert answer.status_code == 201, answer.text
    await office.until_stage(answer.json()["id"], "completed")
    assert list(office.desk.card.certificates.values()) == [foreign]
    contents = (await office.holder.get(f"{API}/cards/{office.card_id}/contents")).json()
    assert (contents["managed"], len(contents["third_party"])) == ([], 1)


async def test_a_third_party_certificate_is_registered_and_kept(office):
    office.desk.card.certificates["f0"] = a_certificate("CN=Somebody else")
    await office.desk.workstation.report(office.desk.card.report())
    contents = (await office.holder.get(f"{API}/cards/{office.card_id}/contents")).json()
    (foreign,) = contents["third_party"]

    update_id = await office.opened(third_party=[foreign["sha256"]])

    await office.until_stage(update_id, "completed")
    contents = (await office.holder.get(f"{API}/cards/{office.card_id}/contents")).json()
    assert [c["sha256"] for c in contents["tracked"]] == [foreign["sha256"]]
    assert contents["third_party"] == []


async def test_a_revoked_certificate_is_due_for_replacement(office, let_in):
    officer = await let_in("otto", Role.OFFICER)
    await office.until_stage(await office.opened(), "completed")
    contents = await contents_of(office)
    (old,) = contents["managed"]

    path = f"{API}/ca/certificates/{old['serial_number']}/revoke"
    answer = await officer.post(path, json={"reason": "keyCompromise"})

    assert answer.is_success, answer.text
    contents = await contents_of(office)
    assert contents["managed"][0]["revoked"]
    assert contents["update_due"] == [{"profile": "tls-client", "why": "revoked"}]
    await office.until_stage(await office.opened(), "completed")
    (new,) = (await contents_of(office))["managed"]
    assert new["serial_number"] != old["serial_number"]


async def contents_of(office):
    return (await office.holder.get(f"{API}/cards/{office.card_id}/contents")).json()


async def until_mailed(office, update_id, kind):
    """Return the holder's mails once one of this kind is among them."""

    async def mails():
        return (await office.holder.get(f"{API}/updates/{update_id}/mails")).json()["items"]

    return await until(
        mails, lambda mails: kind in {mail["kind"] for mail in mails}, what=f"a mail {kind}"
    )


async def until_listed(who, update_id, what="work"):
    """Return the update's entry of a list, which follows what happens within milliseconds."""

    async def entry():
        items = (await who.get(f"{API}/{what}")).json()["items"]
        return next((item for item in items if item["update_id"] == update_id), None)

    return await until(entry, what=f"the update in {what}")


async def test_every_fact_is_verified_again_when_it_is_shown(office, let_in):
    auditor = await let_in("audrey", Role.AUDITOR)
    await office.policy("tls-client R precheck=true")
    update_id = await office.opened()
    await office.until_lane(update_id, "awaiting_request_form")
    await office.sign(update_id, "tls-client")
    assert (await office.decide(update_id, "approve", digest="0" * 64)).status_code == 409
    await office.decide(update_id, "approve")
    await office.until_stage(update_id, "ready")
    await office.act(update_id, "continue")
    await office.until_stage(update_id, "completed")
    await until_mailed(office, update_id, "completed")

    found = await facts_of(auditor, update_id)
    of_holder = await facts_of(office.holder, update_id)

    checks = [check for fact in found for check in fact["checks"]]
    assert {check["check"] for check in checks} == {
        "signed_action",
        "proof_of_possession",
        "issued_by_ca",
        "write_proof",
        "stored_bytes",
    }
    assert [check for check in checks if not check["ok"]] == []
    assert {fact["source"] for fact in found} == {"audit", "journal", "document", "mail"}
    assert {fact["source"] for fact in of_holder} == {"audit"}
    refused = next(fact for fact in found if fact["kind"] == "action_refused")
    assert refused["actor"]["name"] == "Olga"
    assert "changed since it was shown" in refused["facts"]["answer"]
    approved = next(fact for fact in found if fact["kind"] == "document_approved")
    assert (approved["action"]["verdict"], approved["action"]["role"]) == ("approve", "operator")
    assert approved["document"]["kind"] == "request_form"
    numbers = [fact["number"] for fact in found if fact["number"]]
    assert numbers == sorted(numbers)
    assert not any("signature" in fact["facts"] for fact in found)


async def test_evidence_that_was_changed_is_found_where_it_stands(office, let_in):
    auditor = await let_in("audrey", Role.AUDITOR)
    update_id = await office.opened()
    await office.until_stage(update_id, "completed")
    async with transaction(office.state.sessions) as session:
        lane = await session.get_one(UpdateLane, (update_id, "tls-client"))
        other = await session.scalar(
            select(Certificate.pem).where(col(Certificate.update_id) != update_id).limit(1)
        )
        lane.certificate_pem = other or a_certificate("CN=Somebody")

    found = await facts_of(auditor, update_id)

    broken = {
        (fact["kind"], check["check"])
        for fact in found
        for check in fact["checks"]
        if not check["ok"]
    }
    assert broken == {("written", "write_proof")}


async def facts_of(who, update_id):
    """Return every fact of the update."""
    answer = await who.get(f"{API}/updates/{update_id}/facts")
    assert answer.status_code == 200, answer.text
    return answer.json()["items"]
