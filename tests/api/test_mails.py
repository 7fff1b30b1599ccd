"""What mails say, over the API: looked at, changed, previewed; and what is refused."""

import json

import pytest
from sqlalchemy import select

from cardflow.db.tables import AuditEntry, Mail, MailText
from cardflow.decisions import utc_now
from cardflow.model import MailKind, Role, new_id
from cardflow.sql import transaction
from tests.api.conftest import reasons
from tests.api.test_policies import SAMPLE, take_in

MAILS = "/api/v1/policies/rf/mails"
ONE = f"{MAILS}/document_rejected/en"
OURS = {"subject": "Sorry, {name}", "body": "The reason: {reason}.\n\nGo to {link}."}


@pytest.fixture
async def ada(sign_in):
    """An administrator, and a policy."""
    ada = await sign_in("ada", Role.ADMIN)
    assert (await take_in(ada, SAMPLE)).status_code == 201
    return ada


async def facts_of(app, kind):
    async with transaction(app.state.cardflow.reads) as session:
        query = select(AuditEntry).where(AuditEntry.kind == kind).order_by(AuditEntry.number)
        return [json.loads(entry.text)["facts"] for entry in await session.scalars(query)]


# Looking


async def test_every_kind_is_listed_with_who_gets_it_and_what_it_can_name(ada):
    items = (await ada.get(MAILS)).json()["items"]

    by_kind = {item["kind"]: item for item in items}
    assert set(by_kind) == set(MailKind)
    received = by_kind["document_received"]
    assert (received["recipients"], received["sent"], received["own"]) == (["operator"], True, [])
    assert received["languages"] == ["de", "en"]
    assert {"name": "form", "meaning": "which form it is about"} in received["placeholders"]


async def test_a_kind_that_the_policy_does_not_send_says_so(ada):
    await take_in(ada, 'notifications = ["completed"]\n' + SAMPLE)

    items = (await ada.get(MAILS)).json()["items"]

    assert [item["kind"] for item in items if item["sent"]] == ["completed"]


@pytest.mark.parametrize("language", ["en", "de"])
@pytest.mark.parametrize("kind", MailKind)
async def test_each_kind_and_language_has_a_default_that_can_be_saved_as_it_is(ada, kind, language):
    path = f"{MAILS}/{kind}/{language}"
    shown = (await ada.get(path)).json()

    assert shown["own"] is None
    assert (await ada.put(path, json=shown["default"])).status_code == 200


async def test_the_default_follows_the_policys_way_of_exchanging_documents(ada):
    inside = (await ada.get(ONE)).json()["default"]["body"]
    on_paper = SAMPLE.replace('"either"', '"paper"')  # nothing electronic comes by post
    await take_in(ada, on_paper.replace('exchange = "portal"', 'exchange = "outside"'))
    outside = (await ada.get(ONE)).json()["default"]["body"]

    assert "upload" in inside
    assert "upload" not in outside


# Changing


async def test_a_text_is_saved_shown_and_deleted_and_the_trail_knows(ada, app):
    saved = await ada.put(ONE, json=OURS)
    again = await ada.put(ONE, json={**OURS, "subject": "Sorry", "version": 1})

    assert (saved.status_code, saved.json()["own"]["version"]) == (200, 1)
    own = (await ada.get(ONE)).json()["own"]
    assert own == again.json()["own"]
    assert (own["subject"], own["body"], own["version"]) == ("Sorry", OURS["body"], 2)
    assert own["updated_by"] == ada.headers["X-Person"]
    listed = {item["kind"]: item for item in (await ada.get(MAILS)).json()["items"]}
    assert [(o["language"], o["version"]) for o in listed["document_rejected"]["own"]] == [
        ("en", 2)
    ]

    assert (await ada.delete(ONE)).status_code == 204
    assert (await ada.get(ONE)).json()["own"] is None
    told = await facts_of(app, "mail_text_saved")
    assert [(f["policy"], f["kind"], f["language"], f["version"]) for f in told] == [
        ("rf", "document_rejected", "en", 1),
        ("rf", "document_rejected", "en", 2),
    ]
    assert len({f["sha256"] for f in told}) == 2
    assert len(await facts_of(app, "mail_text_deleted")) == 1


async def test_deleting_what_is_not_there_changes_nothing(ada, app):
    assert (await ada.delete(ONE)).status_code == 204
    assert await facts_of(app, "mail_text_deleted") == []


@pytest.mark.parametrize("seen", [0, 2])
async def test_a_text_that_somebody_else_changed_is_not_overwritten(ada, seen):
    await ada.put(ONE, json=OURS)

    answer = await ada.put(ONE, json={**OURS, "body": "Mine", "version": seen})

    assert answer.status_code == 409
    assert "version 1" in reasons(answer)[0]
    assert (await ada.get(ONE)).json()["own"]["body"] == OURS["body"]


async def test_languages_and_kinds_do_not_touch_each_other(ada):
    await ada.put(ONE, json=OURS)

    assert (await ada.get(ONE.replace("/en", "/de"))).json()["own"] is None
    assert (await ada.get(f"{MAILS}/completed/en")).json()["own"] is None


REFUSALS = [
    ({"subject": ""}, "subject", "empty"),
    ({"body": " \n "}, "body", "empty"),
    ({"subject": "x" * 151}, "subject", "longer than 150"),
    ({"body": "x" * 4001}, "body", "longer than 4000"),
    ({"body": "{nmae}"}, "body", "{nmae} is no placeholder"),
    ({"body": "{awaited}"}, "body", "{awaited} is no placeholder"),
    ({"subject": "{name.__class__}"}, "subject", "is no placeholder"),
    ({"body": "{name"}, "body", "brace"),
    ({"body": "{% for x in y %}"}, "body", "is no placeholder"),
    ({"subject": "a\nBcc: eve@example.org"}, "subject", "U+000A"),
    ({"body": "See https://evil.example/x"}, "body", "leads away"),
    ({"body": "See http://localhost:8000.evil.example/"}, "body", "leads away"),
]


@pytest.mark.parametrize(("change", "field", "reason"), REFUSALS)
async def test_a_bad_text_is_refused_by_field_with_a_remedy_and_nothing_is_lost(
    ada, change, field, reason
):
    await ada.put(ONE, json=OURS)

    for answer in (
        await ada.put(ONE, json={**OURS, **change}),
        await ada.post(f"{ONE}/preview", json={**OURS, **change}),
    ):
        assert answer.status_code == 422
        (problem,) = answer.json()["errors"]
        assert (problem["field"], reason in problem["reason"]) == (field, True)
        assert problem["remedy"]
    assert (await ada.get(ONE)).json()["own"]["body"] == OURS["body"]


async def test_an_unknown_placeholder_is_answered_with_those_that_exist(ada):
    (problem,) = (await ada.put(ONE, json={**OURS, "body": "{x}"})).json()["errors"]

    assert problem["remedy"] == (
        "there are: {name}, {holder}, {card}, {link}, {contact}, {organisation}, {certificate}, "
        "{reason}"
    )


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"subject": "x"}, "body.body"),
        ({**OURS, "html": "<b>"}, "body.html"),
        ({**OURS, "body": 7}, "body.body"),
        ({**OURS, "version": -1}, "body.version"),
        ({**OURS, "body": "x" * 20_001}, "body.body"),
    ],
)
async def test_what_is_no_text_at_all_is_refused_by_field(ada, body, field):
    answer = await ada.put(ONE, json=body)

    assert answer.status_code == 422
    assert [problem["field"] for problem in answer.json()["errors"]] == [field]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/v1/policies/nothing/mails", 404),
        ("/api/v1/policies/nothing/mails/completed/en", 404),
        (f"{MAILS}/completed/fr", 422),
        (f"{MAILS}/nothing/en", 422),
        (f"{MAILS}/digest/en", 422),
    ],
)
async def test_what_is_not_there_is_said(ada, path, status):
    assert (await ada.get(path)).status_code == status
    if path.count("/") > 6:
        assert (await ada.put(path, json=OURS)).status_code == status
        assert (await ada.delete(path)).status_code == status
        assert (await ada.post(f"{path}/preview", json={})).status_code == status


async def test_an_unknown_language_is_answered_with_those_that_exist(ada):
    (problem,) = (await ada.get(f"{MAILS}/completed/fr")).json()["errors"]

    assert (problem["field"], problem["remedy"]) == ("language", "there are: de, en")


@pytest.mark.parametrize("role", [role for role in Role if role is not Role.ADMIN])
async def test_only_who_manages_policies_looks_changes_or_tries(ada, sign_in, role):
    somebody = await sign_in("sam", role)

    for answer in (
        await somebody.get(MAILS),
        await somebody.get(ONE),
        await somebody.put(ONE, json=OURS),
        await somebody.delete(ONE),
        await somebody.post(f"{ONE}/preview", json={}),
        await somebody.post(f"{ONE}/test", json={}),
    ):
        assert answer.status_code == 403
        assert "manage policies" in reasons(answer)[0]


# Previews


async def test_a_preview_shows_the_default_then_what_is_saved_and_what_is_not_saved_yet(ada):
    async def shown(draft):
        return (await ada.post(f"{ONE}/preview", json=draft)).json()

    before = await shown({})
    await ada.put(ONE, json=OURS)
    saved = await shown({})
    unsaved = await shown({"subject": "Draft", "body": "Draft for {name}"})

    assert before["subject"] == "Document rejected"
    assert saved["subject"] == "Sorry, Ada Example"
    assert "The reason: the signature is missing." in saved["text"]
    assert '<a href="http://localhost:8000/updates/sample">' in saved["html"]
    assert (unsaved["subject"], "Draft for Ada Example" in unsaved["text"]) == ("Draft", True)
    assert (await ada.get(ONE)).json()["own"]["subject"] == OURS["subject"]
    assert saved["sender"] == "Cardflow <cardflow@localhost>"


@pytest.mark.parametrize("language", ["en", "de"])
@pytest.mark.parametrize("kind", MailKind)
async def test_every_kind_can_be_previewed_in_every_language(ada, kind, language):
    answer = await ada.post(f"{MAILS}/{kind}/{language}/preview", json={})

    assert answer.status_code == 200
    assert f'lang="{language}"' in answer.json()["html"]
    assert answer.json()["subject"]


async def test_a_trial_needs_the_machinery_and_says_so(ada):
    answer = await ada.post(f"{ONE}/test", json={})

    assert answer.status_code == 503


# One's own choices


async def test_everybody_chooses_their_own_language_and_digest(sign_in, app):
    olga = await sign_in("olga", Role.OPERATOR)

    assert (await olga.get("/api/v1/me")).json()["mail_digest"] == "off"
    answer = await olga.patch(
        "/api/v1/me", json={"mail_digest": "daily", "language": "de", "time_zone": "Asia/Tokyo"}
    )

    assert answer.status_code == 200
    me = (await olga.get("/api/v1/me")).json()
    assert me == answer.json()
    assert (me["mail_digest"], me["language"], me["roles"]) == ("daily", "de", ["operator"])
    assert me["time_zone"] == "Asia/Tokyo"
    (facts,) = await facts_of(app, "person_changed")
    assert facts["changed"] == ["language", "mail_digest", "time_zone"]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"mail_digest": "hourly"}, "body.mail_digest"),
        ({"language": "German"}, "body.language"),
        ({"time_zone": "Mars/Olympus"}, "body.time_zone"),
        ({"roles": ["admin"]}, "body.roles"),
        ({"name": "Somebody Else"}, "body.name"),
        ({"email": "x@example.org"}, "body.email"),
    ],
)
async def test_nobody_changes_more_than_that_about_themselves(sign_in, change, field):
    olga = await sign_in("olga", Role.OPERATOR)

    answer = await olga.patch("/api/v1/me", json=change)

    assert answer.status_code == 422
    assert [problem["field"] for problem in answer.json()["errors"]] == [field]


async def test_an_administrator_chooses_for_others(sign_in, register):
    ada = await sign_in("ada", Role.ADMIN)
    olga = await register("olga", Role.OPERATOR)

    answer = await ada.patch(f"/api/v1/people/{olga.id}", json={"mail_digest": "daily"})

    assert answer.json()["mail_digest"] == "daily"


# What became of mails


async def left_mails(app, number, **changes):
    async with transaction(app.state.cardflow.sessions) as session:
        for n in range(number):
            key = new_id()
            given = {
                "id": key, "update_id": "", "event": 0, "kind": "digest", "person_id": "p",
                "address": "p@example.org", "message_id": key, "state": "sent",
                "created_at": utc_now(), "subject": str(n),
            }  # fmt: skip
            session.add(Mail(**{**given, **changes}))


async def test_failed_digests_and_warnings_are_found(sign_in, app):
    ada = await sign_in("ada", Role.ADMIN)
    await left_mails(app, 2)
    await left_mails(app, 1, state="failed", error="550 no such user", kind="expiry_warning")

    (failed,) = (await ada.get("/api/v1/mails", params={"state": "failed"})).json()["items"]

    assert (failed["kind"], failed["error"]) == ("expiry_warning", "550 no such user")
    assert len((await ada.get("/api/v1/mails")).json()["items"]) == 3


async def test_the_list_of_mails_comes_in_pages_without_gap_or_repeat(sign_in, app):
    ada = await sign_in("ada", Role.AUDITOR)
    await left_mails(app, 5)
    seen, cursor = [], ""
    while cursor is not None:
        answer = await ada.get("/api/v1/mails", params={"limit": 2, "cursor": cursor})
        seen += [item["subject"] for item in answer.json()["items"]]
        cursor = answer.json()["next"]

    assert seen == ["4", "3", "2", "1", "0"]


async def test_a_cursor_or_state_that_is_none_is_refused(sign_in):
    ada = await sign_in("ada", Role.ADMIN)

    for params in ({"cursor": "x"}, {"state": "lost"}):
        assert (await ada.get("/api/v1/mails", params=params)).status_code == 422


@pytest.mark.parametrize("role", [Role.HOLDER, Role.OPERATOR, Role.OFFICER, Role.SERVICE])
async def test_other_peoples_mails_are_for_administrators_and_auditors(sign_in, role):
    somebody = await sign_in("sam", role)

    assert (await somebody.get("/api/v1/mails")).status_code == 403


async def test_no_text_is_left_behind_by_a_preview(ada, app):
    await ada.post(f"{ONE}/preview", json=OURS)

    async with transaction(app.state.cardflow.reads) as session:
        assert (await session.scalars(select(MailText))).all() == []
