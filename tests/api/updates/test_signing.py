"""Signing with the card: from the click to the findings, over both doors."""

import io
import json

import pikepdf
import pytest
from sqlalchemy import select, update
from sqlmodel import col

from cardflow.db.tables import Certificate, Person, Update
from cardflow.decisions import utc_now
from cardflow.evidence.roots import load_roots
from cardflow.jobs import OUTCOME_WORDS, IssuedForm, Outcome, SignJob, in_pieces
from cardflow.model import Role, new_id
from cardflow.sql import transaction
from tests.api.conftest import reasons
from tests.api.updates.conftest import API, enrolled
from tests.api.updates.test_evidence import failed, fetched, members_of, roots_of, zipped

pytestmark = pytest.mark.temporal
EITHER = 'request_form_signature="either"'
ELECTRONIC = 'request_form_signature="electronic"'


@pytest.fixture
async def carded(office):
    """An office whose holder's card carries a certificate that signs."""
    update_id = await office.opened()
    await office.until_stage(update_id, "completed")
    return office


async def waiting(office, *keys, mode="R", **policy) -> str:
    """Return an update that waits for its first form, of another profile than the signer's."""
    await office.policy("tls-client none", f"smime-signing {mode} {' '.join(keys)}", **policy)
    update_id = await office.opened()
    stage = "awaiting_request_form" if mode.startswith("R") else "awaiting_certificate_form"
    await office.until_lane(update_id, stage)
    return update_id


async def click(office, update_id, lane="smime-signing", who=None, key="", **body):
    headers = {"Idempotency-Key": key} if key else {}
    path = f"{API}/updates/{update_id}/lanes/{lane}/signature"
    return await (who or office.holder).post(path, json=body, headers=headers)


async def over(office, update_id):
    return await office.until(update_id, lambda seen: seen["visit"] is None)


async def received(office, update_id) -> list[dict]:
    answer = await office.operator.get(f"{API}/updates/{update_id}/documents")
    return [d for d in answer.json()["items"] if d["direction"] == "received"]


async def test_the_holder_signs_with_the_card_and_an_operator_sees_who_signed(carded):
    update_id = await waiting(carded, "precheck=true", EITHER)
    before = (await carded.update(update_id))["lanes"][0]

    answer = await click(carded, update_id)

    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert told["visit"]["code"]
    assert told["visit"]["signs"]["sha256"] == told["form"]["sha256"]
    assert told["form"]["title"] == "Certificate request form: E-mail signature"
    assert told["signer"]["profile"] == "tls-client"
    assert before["signing"] == ["paper", "electronic"]
    assert "sign_document" in before["may"]
    seen = await over(carded, update_id)
    assert seen["last_visit"] == ""
    lane = seen["lanes"][0]
    assert lane["stage"] == "checking_request_form"
    assert (lane["document"]["means"], lane["document"]["signature"]) == ("electronic", "good")
    (document,) = await received(carded, update_id)
    found = document["findings"]["signature"]
    assert (found["verdict"], found["reasons"], found["person_name"]) == ("good", [], "Holly")
    assert found["person_id"] == seen["holder"]["id"]
    assert found["certificate"]["sha256"] == told["signer"]["sha256"]
    assert found["certificate"]["serial_number"] == told["signer"]["serial_number"]
    file = await carded.operator.get(f"{API}/documents/{document['id']}/content")
    assert file.content == carded.desk.signed[0]


async def test_the_job_names_the_form_and_the_certificate_and_carries_no_bytes(carded):
    update_id = await waiting(carded, "precheck=true", EITHER)
    told = (await click(carded, update_id)).json()
    await over(carded, update_id)

    job = carded.desk.jobs[-1]
    assert isinstance(job, SignJob)
    assert job.sha256 == told["form"]["sha256"]
    assert job.signer.certificate_sha256 == told["signer"]["sha256"]
    assert job.card.code == told["visit"]["code"]


async def test_a_policy_may_let_the_machine_approve(carded):
    update_id = await waiting(
        carded, "precheck=true", EITHER, 'certificate_form_signature="electronic"',
        "approve_signed=true", mode="RF",
    )  # fmt: skip
    await click(carded, update_id)
    await carded.until_lane(update_id, "awaiting_certificate_form")
    await click(carded, update_id)
    await carded.until_lane(update_id, "ready")
    await carded.act(update_id, "continue")
    await carded.until_stage(update_id, "completed")

    assert [d["state"] for d in await received(carded, update_id)] == ["accepted", "accepted"]
    answer = await carded.holder.get(f"{API}/updates/{update_id}/timeline")
    approvals = [e for e in answer.json()["items"] if e["kind"] == "document_approved"]
    assert [e["actor"]["id"] for e in approvals] == ["", ""]
    assert "valid electronic signature" in approvals[0]["facts"]["reason"]


async def test_the_evidence_of_a_form_that_was_signed_with_the_card_verifies(
    carded, let_in, tmp_path
):
    auditor = await let_in("adam", Role.AUDITOR)
    update_id = await waiting(carded, "precheck=true", ELECTRONIC, "approve_signed=true")
    await click(carded, update_id)
    await carded.until_lane(update_id, "ready")

    pack = await fetched(auditor, update_id)

    trusted = load_roots(roots_of(carded.state.settings, tmp_path))
    assert failed(pack, trusted) == {}
    members = members_of(pack)
    assert any(name.endswith("-sign_document.jws") for name in members)
    index = json.loads(members["documents/index.json"])
    assert '"verdict": "good"' in index[-1]["findings"]
    # A signed file that is another one than the form that went out is named.
    form, signed = (facts["file"] for facts in index)
    shorter = {**members, form: members[form] + b"%"}
    assert "does not begin with it" in failed(zipped(shorter), trusted)[f"document {signed}"]
    less = {**members, "documents/index.json": json.dumps(index[1:]).encode()}
    (click_,) = (name for name in members if name.endswith("-sign_document.jws"))
    assert failed(zipped(less), trusted)[f"action {click_}"] == (
        "the form that was to be signed is missing"
    )


async def test_an_electronic_form_is_not_taken_on_paper(carded):
    update_id = await waiting(carded, ELECTRONIC)
    printed = (await carded.form(update_id, "smime-signing")).content

    (reason,) = reasons(await carded.upload(update_id, "smime-signing", printed))

    assert reason.startswith("this form is signed electronically; sign it with your card")
    answer = await carded.upload(
        update_id, "smime-signing", None, who=carded.operator, means="post", note="letter"
    )
    assert reasons(answer) == [reason]
    assert await received(carded, update_id) == []
    assert (await carded.update(update_id))["lanes"][0]["signing"] == ["electronic"]


async def test_a_paper_form_is_not_taken_electronically(carded):
    update_id = await waiting(carded)
    seen = (await carded.update(update_id))["lanes"][0]
    assert seen["signing"] == ["paper"]
    assert "sign_document" not in seen["may"]
    reason = "this form is signed on paper; print it, sign it by hand and upload the scan"
    assert reasons(await click(carded, update_id)) == [reason]

    other = await signed_elsewhere(carded, update_id)
    assert reasons(await carded.upload(update_id, "smime-signing", other)) == [reason]


async def signed_elsewhere(office, update_id, change=lambda content: content) -> bytes:
    """Return the form as another program signs it with the holder's card."""
    printed = (await office.form(update_id, "smime-signing")).content
    (cka_id, *_) = office.desk.card.certificates
    return await office.desk.card.sign(IssuedForm(in_pieces(change(printed))), cka_id)


async def test_a_pdf_that_another_program_signed_is_judged_the_same(carded):
    update_id = await waiting(carded, "precheck=true", ELECTRONIC)
    content = await signed_elsewhere(carded, update_id)

    answer = await carded.upload(update_id, "smime-signing", content)

    assert answer.status_code == 201, answer.text
    assert answer.json()["means"] == "portal"
    assert answer.json()["findings"]["signature"]["verdict"] == "good"


async def test_a_doubtful_signature_goes_to_a_person_even_without_a_precheck(carded):
    update_id = await waiting(carded, ELECTRONIC, "approve_signed=true")
    content = await signed_elsewhere(carded, update_id, rewritten)

    answer = await carded.upload(update_id, "smime-signing", content)

    found = answer.json()["findings"]["signature"]
    assert (found["verdict"], found["is_issued_form"]) == ("doubtful", False)
    await carded.until_lane(update_id, "checking_request_form")
    assert (await carded.decide(update_id, "approve")).status_code == 201
    await carded.until_lane(update_id, "ready")


def rewritten(content: bytes) -> bytes:
    out = io.BytesIO()
    with pikepdf.open(io.BytesIO(content)) as pdf:
        pdf.save(out)
    return out.getvalue()


# What the card or the click cannot do


async def test_a_card_without_a_certificate_that_signs_is_told_so(office):
    await office.policy(f"tls-client R precheck=true {EITHER}")
    update_id = await office.opened()
    lane = await office.until_lane(update_id, "awaiting_request_form")

    (reason,) = reasons(await click(office, update_id, "tls-client"))

    assert lane["signing"] == ["paper", "electronic"]
    assert "sign_document" not in lane["may"]
    assert reason.startswith("no certificate on your card can sign")


async def test_a_card_that_is_not_connected_is_told_at_the_click(carded):
    update_id = await waiting(carded, EITHER)
    await carded.desk.workstation.report()

    (reason,) = reasons(await click(carded, update_id))

    assert reason.startswith("the card is not connected")
    assert "sign_document" in (await carded.update(update_id))["lanes"][0]["may"]


async def test_a_form_that_is_not_the_one_shown_is_not_signed(carded):
    update_id = await waiting(carded, EITHER)

    answer = await click(carded, update_id, sha256="0" * 64)

    assert reasons(answer) == ["the form changed since it was shown; look at it again"]
    assert reasons(await click(carded, update_id, sha256="x")) != []
    assert (await click(carded, update_id, "no-such")).status_code == 404


async def test_only_the_holder_signs(carded, let_in):
    update_id = await waiting(carded, EITHER)
    stranger = await let_in("sam", Role.HOLDER)

    assert (await click(carded, update_id, who=carded.operator)).status_code == 403
    assert (await click(carded, update_id, who=stranger)).status_code == 404
    assert (
        "sign_document" not in (await carded.update(update_id, carded.operator))["lanes"][0]["may"]
    )


async def test_the_same_click_starts_one_visit(carded):
    update_id = await waiting(carded, "precheck=true", EITHER)

    first = await click(carded, update_id, key="once")
    again = await click(carded, update_id, key="once")
    await over(carded, update_id)

    assert first.json()["visit"]["id"] == again.json()["visit"]["id"]
    assert sum(isinstance(job, SignJob) for job in carded.desk.jobs) == 1
    assert len(await received(carded, update_id)) == 1


async def test_a_repeated_click_is_answered_alike_when_the_card_is_gone_and_the_lane_moved_on(
    carded,
):
    update_id = await waiting(carded, "precheck=true", EITHER)
    first = await click(carded, update_id, key="once")
    await over(carded, update_id)
    await carded.desk.workstation.report()

    again = await click(carded, update_id, key="once")

    assert again.status_code == 200, again.text
    assert again.json() == first.json()
    assert len(await received(carded, update_id)) == 1


async def test_a_key_is_of_one_click(carded):
    update_id = await waiting(carded, "precheck=true", EITHER)
    first = (await click(carded, update_id, key="once")).json()
    await over(carded, update_id)

    other_form = await click(carded, update_id, key="once", sha256="0" * 64)
    other_act = await carded.act(update_id, "continue", key="once")

    assert reasons(other_form) == ["this key was used for another request"]
    assert reasons(other_act) == ["this key was used for another request"]
    assert (await click(carded, update_id, key="once", sha256=first["form"]["sha256"])).is_success


@pytest.mark.parametrize("outcome", [Outcome.PIN_INCORRECT, Outcome.SIGNER_MISSING])
async def test_a_visit_that_fails_says_why_and_is_offered_again(carded, outcome):
    update_id = await waiting(carded, "precheck=true", EITHER)
    carded.desk.outcomes.append(outcome)

    await click(carded, update_id)
    seen = await over(carded, update_id)

    assert seen["last_visit"] == OUTCOME_WORDS[outcome]
    assert seen["lanes"][0]["stage"] == "awaiting_request_form"
    await click(carded, update_id)
    assert (await over(carded, update_id))["lanes"][0]["stage"] == "checking_request_form"


async def test_what_the_agent_sends_is_examined_like_every_upload(carded):
    update_id = await waiting(carded, "precheck=true", EITHER)

    async def tampered(form, cka_id):
        signed = bytearray(await carded.desk.card.sign(form, cka_id))
        signed[signed.index(b"/Creator") + 12] ^= 1
        return bytes(signed)

    carded.desk.sign = tampered
    await click(carded, update_id)
    seen = await over(carded, update_id)

    assert "changed after it was signed" in seen["last_visit"]
    assert await received(carded, update_id) == []


# The agent's door


async def test_a_form_is_given_and_taken_during_its_visit_only(carded, let_in):
    update_id = await waiting(carded, "precheck=true", EITHER)
    tasks = []

    station, fetch = carded.desk.workstation, carded.desk.workstation.fetch_form

    async def watched(task):
        tasks.append(task)
        return await fetch(task)

    station.fetch_form = watched
    await click(carded, update_id)
    await over(carded, update_id)

    assert (await fetch(tasks[0])).status_code == 410
    assert (await station.send_form(tasks[0], b"%PDF-")).status_code == 410
    assert (await fetch("made-up")).status_code == 403
    sam = await enrolled(station.client, await let_in("sam", Role.HOLDER))
    assert (await sam.fetch_form(tasks[0])).status_code == 403


# Revoked


async def test_a_revoked_certificate_signs_nothing_and_a_signature_by_it_is_doubtful(carded):
    update_id = await waiting(carded, "precheck=true", EITHER)
    content = await signed_elsewhere(carded, update_id)
    async with transaction(carded.state.sessions) as session:
        revoked = update(Certificate).where(col(Certificate.card_id) == carded.card_id)
        await session.execute(revoked.values(state="revoked"))

    (reason,) = reasons(await click(carded, update_id))
    answer = await carded.upload(update_id, "smime-signing", content)

    assert reason.startswith("no certificate on your card can sign")
    found = answer.json()["findings"]["signature"]
    assert (found["verdict"], found["reasons"]) == ("doubtful", ["the certificate is revoked"])


async def test_a_signature_of_somebody_else_is_doubtful(carded):
    update_id = await waiting(carded, "precheck=true", EITHER)
    content = await signed_elsewhere(carded, update_id)
    other = Person(id=new_id(), login=f"o-{new_id()}", name="Otto", created_at=utc_now())
    async with transaction(carded.state.sessions) as session:
        session.add(other)
        held = select(Certificate.update_id).where(col(Certificate.card_id) == carded.card_id)
        first = (await session.scalars(held)).first()
        mine = update(Update).where(col(Update.id) == first)
        await session.execute(mine.values(holder_id=other.id))

    answer = await carded.upload(update_id, "smime-signing", content)

    found = answer.json()["findings"]["signature"]
    assert found["reasons"] == ["the certificate belongs to somebody else than the card's holder"]
    assert found["person_name"] == "Otto"
