"""Forms and documents: printed the same each time, examined before they count, served as files."""

import asyncio
import hashlib

import pytest
from sqlalchemy import func, select

from api import handing_in
from api.auth import Caller
from api.document_pages import show_page
from api.documents import show_content
from cardflow.db.tables import Document, JournalEntry
from cardflow.decisions import peek
from cardflow.model import Role, new_id
from cardflow.sql import looking, transaction
from tests.api.conftest import reasons
from tests.api.updates.conftest import API
from tests.documents.corpus.bombs import (
    explosion,
    packed_objects,
    recursion,
    text_bomb,
    tiled,
    unpacking_page,
)

pytestmark = pytest.mark.temporal
LANE = "tls-client"


@pytest.fixture
async def waiting(office) -> str:
    """Return an update that waits for its request form."""
    await office.policy("tls-client R precheck=true")
    update_id = await office.opened()
    await office.until_lane(update_id, "awaiting_request_form")
    return update_id


async def count(office, table, update_id) -> int:
    async with transaction(office.state.reads) as session:
        mine = select(func.count()).select_from(table).where(table.update_id == update_id)
        return await session.scalar(mine)


async def documents(who, update_id) -> list[dict]:
    return (await who.get(f"{API}/updates/{update_id}/documents")).json()["items"]


async def dies(*_: object) -> None:
    """The server ends where the update would be told."""
    raise RuntimeError


# Printing


async def test_a_form_is_the_same_bytes_each_time_for_everybody(office, waiting):
    first = await office.form(waiting, LANE)
    again = await office.operator.get(f"{API}/updates/{waiting}/lanes/{LANE}/form")

    assert first.content == again.content
    assert first.content.startswith(b"%PDF-")
    (issued,) = await documents(office.holder, waiting)
    assert issued["sha256"] == hashlib.sha256(first.content).hexdigest()


async def test_two_who_print_at_once_get_the_same_form(office, waiting):
    forms = await asyncio.gather(*(office.form(waiting, LANE) for _ in range(4)))

    assert {answer.status_code for answer in forms} == {200}
    assert len({answer.content for answer in forms}) == 1
    assert len(await documents(office.holder, waiting)) == 1


async def test_a_form_in_another_language_carries_the_same_code(office, waiting):
    english = await office.form(waiting, LANE)
    german = await office.form(waiting, LANE, language="de")

    assert german.content != english.content
    for content in (english.content, german.content):
        answer = await office.upload(waiting, LANE, content)
        assert answer.json()["findings"]["qr"] == "matches"


async def test_a_form_in_a_language_that_nobody_wrote_is_refused(office, waiting):
    assert (await office.form(waiting, LANE, language="xx")).status_code == 422


async def test_a_form_is_there_after_the_update_too(office, waiting):
    printed = await office.form(waiting, LANE)
    await office.act(waiting, "cancel", reason="enough")
    await office.until_stage(waiting, "cancelled")

    assert (await office.form(waiting, LANE)).content == printed.content


async def test_no_form_is_printed_where_none_is_awaited(office):
    update_id = await office.opened(office.operator)

    answer = await office.form(update_id, LANE)

    assert reasons(answer) == ["no form is awaited here now"]
    assert (await office.form(update_id, "no-such")).status_code == 404


# Handing in


async def test_a_document_counts_and_can_be_fetched_byte_by_byte(office, waiting):
    printed = (await office.form(waiting, LANE)).content

    answer = await office.upload(waiting, LANE, printed)

    assert answer.status_code == 201
    told = answer.json()
    assert (told["kind"], told["file_name"], told["size"]) == (
        "request_form",
        "scan.pdf",
        len(printed),
    )
    file = await office.operator.get(f"{API}/documents/{told['id']}/content")
    assert file.content == printed
    assert file.headers["content-type"] == "application/pdf"
    assert file.headers["content-disposition"].startswith("attachment; filename=")
    assert file.headers["content-security-policy"] == "sandbox; default-src 'none'"
    assert file.headers["x-content-type-options"] == "nosniff"


async def test_no_connection_is_kept_while_a_document_is_fetched_or_drawn(
    office, waiting, monkeypatch
):
    printed = (await office.form(waiting, LANE)).content
    document_id = (await office.upload(waiting, LANE, printed)).json()["id"]
    state, kept = office.state, []
    caller = Caller(office.operator.headers["X-Person"], "olga", "Olga", {Role.OPERATOR}, "en")
    async with looking(state.reads) as session:
        whole = type(state.store).get

        async def get(store, sha256):
            kept.append(session.in_transaction())
            return await whole(store, sha256)

        monkeypatch.setattr(type(state.store), "get", get)
        file = await show_content(document_id, caller, session, state)
        page = await show_page(
            document_id=document_id, number=1, caller=caller, session=session, state=state
        )

    assert file.body == printed
    assert page.body.startswith(b"\x89PNG")
    assert kept == [False, False]


async def test_a_repeated_upload_is_one_document(office, waiting):
    printed = (await office.form(waiting, LANE)).content

    first = await office.upload(waiting, LANE, printed, key="scan")
    again = await office.upload(waiting, LANE, printed, key="scan")
    other = await office.upload(waiting, LANE, b"%PDF-another", key="scan")

    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json()["id"] == again.json()["id"]
    assert other.status_code == 422
    received = [d for d in await documents(office.holder, waiting) if d["direction"] == "received"]
    assert len(received) == 1


async def test_a_key_is_of_the_file_that_was_stored_first_under_it(office, waiting, monkeypatch):
    printed = (await office.form(waiting, LANE)).content
    other = (await office.form(waiting, LANE, language="de")).content
    with monkeypatch.context() as patched:
        patched.setattr(handing_in, "take", dies)
        assert (await office.upload(waiting, LANE, printed, key="scan")).status_code == 500

    refused = await office.upload(waiting, LANE, other, key="scan")
    again = await office.upload(waiting, LANE, printed, key="scan")

    assert refused.status_code == 422
    assert refused.json()["errors"][0]["field"] == "Idempotency-Key"
    assert again.status_code == 201, again.text
    assert again.json()["sha256"] == hashlib.sha256(printed).hexdigest()


async def test_what_is_shown_of_two_files_under_one_key_is_what_was_signed_for(office, waiting):
    forms = [(await office.form(waiting, LANE, language=x)).content for x in ("en", "de")]

    answers = await asyncio.gather(
        *(office.upload(waiting, LANE, form, key="scan") for form in forms)
    )

    assert sorted(answer.status_code for answer in answers) == [201, 422]
    (received,) = [
        d for d in await documents(office.holder, waiting) if d["direction"] == "received"
    ]
    async with transaction(office.state.reads) as session:
        token = await session.scalar(
            select(JournalEntry.token)
            .where(JournalEntry.update_id == waiting)
            .order_by(JournalEntry.number.desc())
        )
    assert peek(token).document.sha256 == received["sha256"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "the file is empty"),
        (b"MZ not a picture", "upload a PDF"),
        (b"%PDF-1.7 cut off", ""),
        (b"<html><script>alert(1)</script></html>", ""),
    ],
)
async def test_what_is_no_scan_is_refused_and_leaves_nothing(office, waiting, content, reason):
    journal = await count(office, JournalEntry, waiting)

    answer = await office.upload(waiting, LANE, content)

    assert answer.status_code == 422
    assert answer.json()["type"] == "urn:cardflow:problem:document-refused"
    error = answer.json()["errors"][0]
    assert error["field"] == "file"
    assert reason in f"{error['reason']}; {error['remedy']}"
    assert await count(office, JournalEntry, waiting) == journal
    assert await count(office, Document, waiting) == 0


@pytest.mark.parametrize("name", ["scan.exe", "scan.pdf.exe", "SCAN.PNG", "scan.html"])
async def test_a_file_whose_name_says_something_else_is_refused(office, waiting, name):
    printed = (await office.form(waiting, LANE)).content

    answer = await office.upload(waiting, LANE, printed, name=name)

    assert answer.status_code == 422
    error = answer.json()["errors"][0]
    assert error["reason"].startswith("the file is called .")
    assert error["remedy"] == "name it .pdf"
    assert await count(office, Document, waiting) == 1  # the form that went out


async def test_the_form_of_another_update_is_recognised_and_refused(office, waiting):
    other_form = (await office.form(waiting, LANE)).content
    await office.act(waiting, "cancel", reason="enough")
    await office.until_stage(waiting, "cancelled")
    update_id = await office.opened()
    await office.until_lane(update_id, "awaiting_request_form")

    answer = await office.upload(update_id, LANE, other_form)

    assert answer.status_code == 422
    assert "belongs to another card update" in answer.json()["detail"]


async def test_more_than_the_upload_limit_is_refused_while_it_comes(office, waiting):
    limit = office.state.settings.upload_limit_bytes

    answer = await office.upload(waiting, LANE, b"%PDF-" + b"0" * (limit + 128 * 1024))

    assert answer.status_code == 413


@pytest.mark.slow
async def test_bombs_end_as_refusals_and_hold_up_nobody_else(office, waiting):
    bombs = [explosion(), recursion(), unpacking_page(), packed_objects(), text_bomb(), tiled()]
    uploads = [asyncio.create_task(office.upload(waiting, LANE, bomb)) for bomb in bombs]
    answered = 0
    while not all(upload.done() for upload in uploads):
        assert (await office.holder.get(f"{API}/me")).status_code == 200
        answered += 1

    told = {(await upload).json()["type"].rpartition(":")[2] for upload in uploads}
    # On a machine that has no time for them the answer is "try again later".
    assert {"document-refused"} <= told <= {"document-refused", "unavailable"}
    assert answered > 50
    assert await count(office, Document, waiting) == 0


async def test_two_files_at_once_are_refused(office, waiting):
    path = f"{API}/updates/{waiting}/lanes/{LANE}/documents"
    parts = [("file", ("a.pdf", b"%PDF-")), ("file", ("b.pdf", b"%PDF-"))]

    assert (await office.holder.post(path, files=parts)).status_code == 400


async def test_a_document_that_nobody_awaits_is_refused(office):
    update_id = await office.opened(office.operator)

    answer = await office.upload(update_id, LANE, b"%PDF-")

    assert reasons(answer) == ["no document is awaited here now"]


async def test_holders_do_not_record_paper_and_operators_say_how_it_came(office, waiting):
    printed = (await office.form(waiting, LANE)).content

    by_holder = await office.upload(waiting, LANE, printed, means="post")
    with_note = await office.upload(waiting, LANE, printed, note="it is signed")
    without_file = await office.upload(waiting, LANE, None, note="x", means="portal")
    without_means = await office.upload(waiting, LANE, printed, who=office.operator)
    without_both = await office.upload(waiting, LANE, None, who=office.operator, means="post")

    assert by_holder.json()["errors"][0]["field"] == "means"
    assert with_note.json()["errors"][0]["field"] == "note"
    assert without_file.status_code == 422
    assert reasons(without_means) == ["say by which means the document came"]
    assert without_both.json()["errors"][0]["field"] == "file"


async def test_where_documents_stay_outside_nothing_is_uploaded(office):
    await office.policy("tls-client R", document_exchange="outside")
    update_id = await office.opened()
    await office.until_lane(update_id, "awaiting_request_form")

    answer = await office.upload(update_id, LANE, (await office.form(update_id, LANE)).content)

    assert reasons(answer) == ["documents are not uploaded here; Ask the service desk."]


async def test_a_record_of_paper_is_answered_alike_once_its_lane_has_moved_on(office):
    await office.policy("tls-client R", document_exchange="outside")
    update_id = await office.opened()
    await office.until_lane(update_id, "awaiting_request_form")
    told = {"who": office.operator, "means": "post", "key": f"letter {update_id}"}

    first = await office.upload(update_id, LANE, None, note="folder 7", **told)
    await office.until_lane(update_id, "ready")
    again = await office.upload(update_id, LANE, None, note="folder 7", **told)
    other = await office.upload(update_id, LANE, None, note="folder 8", **told)

    assert first.status_code == 201, first.text
    assert again.status_code == 201, again.text
    assert again.json()["id"] == first.json()["id"]
    assert other.json()["errors"][0]["field"] == "Idempotency-Key"


# Taking back


async def test_a_document_under_check_can_be_taken_back(office, waiting):
    document = await office.sign(waiting, LANE)
    path = f"{API}/updates/{waiting}/lanes/{LANE}/documents"

    wrong = await office.holder.delete(f"{path}/{new_id()}")
    by_operator = await office.operator.delete(f"{path}/{document['id']}")
    answer = await office.holder.delete(f"{path}/{document['id']}")
    again = await office.holder.delete(f"{path}/{document['id']}")

    assert reasons(wrong) == ["this document is not under check"]
    assert reasons(by_operator) == ["the document was handed in by somebody else"]
    assert answer.status_code == 204
    assert again.status_code == 409
    await office.until_lane(waiting, "awaiting_request_form")


async def test_a_policy_can_forbid_taking_back(office):
    await office.policy("tls-client R precheck=true", permissions={"delete_documents": False})
    update_id = await office.opened()
    await office.until_lane(update_id, "awaiting_request_form")
    document = await office.sign(update_id, LANE)

    path = f"{API}/updates/{update_id}/lanes/{LANE}/documents/{document['id']}"

    assert reasons(await office.holder.delete(path)) == [
        "the policy does not let holders take documents back"
    ]


# Looking


async def test_officers_see_request_forms_and_auditors_everything(office, let_in):
    officer, auditor = await let_in("otto", Role.OFFICER), await let_in("aude", Role.AUDITOR)
    stranger = await let_in("stan", Role.HOLDER)
    await office.policy("tls-client RF")
    update_id = await office.opened()
    await office.until_lane(update_id, "awaiting_request_form")
    request = await office.sign(update_id, LANE)
    await office.until_lane(update_id, "awaiting_certificate_form")
    form = await office.sign(update_id, LANE)

    def content(who, document):
        return who.get(f"{API}/documents/{document['id']}/content")

    kinds = {d["kind"] for d in await documents(officer, update_id)}
    assert kinds == {"request_form"}
    assert (await content(officer, request)).status_code == 200
    assert (await content(officer, form)).status_code == 404
    path = f"{API}/updates/{update_id}/lanes/{LANE}/form"
    assert (await officer.get(path)).status_code == 404
    assert len(await documents(auditor, update_id)) == 4
    assert (await content(auditor, form)).status_code == 200
    assert (await content(stranger, form)).status_code == 404
    assert (await content(auditor, {"id": new_id()})).status_code == 404


async def test_a_document_that_was_changed_on_disk_is_not_served(office, waiting):
    document = await office.sign(waiting, LANE)
    directory = office.state.settings.document_dir
    path = directory / document["sha256"][:2] / document["sha256"]
    path.chmod(0o600)
    path.write_bytes(b"changed")

    answer = await office.operator.get(f"{API}/documents/{document['id']}/content")

    assert answer.status_code == 503
    assert "restore it from a backup" in answer.json()["detail"]
