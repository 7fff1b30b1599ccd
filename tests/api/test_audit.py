"""What people do at the door is in the audit trail, and a change to it is found."""

import asyncio
import csv
import io
from dataclasses import replace
from datetime import timedelta

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import text

from api.checkpoints import is_due, make_checkpoint
from cardflow.checkpoint_files import read_tokens
from cardflow.checkpoints import read
from cardflow.db.tables import AuditCheck
from cardflow.decisions import root_hex, utc_now
from cardflow.model import Role, new_id
from cardflow.sql import transaction
from cli.audit import verified
from tests.api.conftest import PASSWORD, reasons
from tests.db.owner import unguard

AUDIT = "/api/v1/audit"


async def test_what_was_done_is_told_in_order_without_personal_data(sign_in):
    ada = await sign_in("ada", Role.ADMIN)
    await ada.post("/api/v1/people", json={"login": "holly", "name": "Holly Wood"})

    await ada.post("/api/v1/session", json={"login": "ada", "password": PASSWORD})

    entries = (await ada.get(AUDIT)).json()["items"]

    assert [entry["kind"] for entry in entries] == ["person_added", "signed_in"]
    assert [entry["number"] for entry in entries] == [1, 2]
    assert {entry["actor"] for entry in entries} == {ada.headers["X-Person"]}
    assert "Holly" not in entries[0]["text"]


async def test_the_trail_is_searched_by_kind_and_actor_and_paged(sign_in):
    ada, adam = await sign_in("ada", Role.ADMIN), await sign_in("adam", Role.AUDITOR)
    for login in ("holly", "otto"):
        await ada.post("/api/v1/people", json={"login": login, "name": login})

    by_kind = await adam.get(AUDIT, params={"kind": "card_added"})
    by_actor = await adam.get(AUDIT, params={"actor": ada.headers["X-Person"]})
    first = await adam.get(AUDIT, params={"limit": 1})
    second = await adam.get(AUDIT, params={"limit": 1, "cursor": first.json()["next"]})

    assert by_kind.json()["items"] == []
    assert len(by_actor.json()["items"]) == 2
    assert second.json()["items"][0]["number"] == 2


async def test_a_whole_chain_is_said_to_be_whole_and_a_changed_one_broken(sign_in, app):
    ada = await sign_in("ada", Role.ADMIN)
    for login in ("holly", "otto"):
        await ada.post("/api/v1/people", json={"login": login, "name": login})
    whole = await ada.get(f"{AUDIT}/verify")

    await without_triggers(app, "UPDATE audit SET actor = 'somebody else' WHERE number = 2")
    broken = await ada.get(f"{AUDIT}/verify")

    assert whole.json() == {
        "ok": True,
        "entries": 2,
        "broken_at": None,
        "reason": "",
        "checkpoints": 0,
        "covered_to": 0,
        "findings": [],
    }
    assert (broken.json()["ok"], broken.json()["broken_at"]) == (False, 2)


async def test_a_checkpoint_is_made_on_demand_kept_outside_and_used(sign_in, app):
    ada, state = await sign_in("ada", Role.ADMIN), app.state.cardflow
    nothing = await ada.post(f"{AUDIT}/checkpoints")
    await ada.post("/api/v1/people", json={"login": "holly", "name": "Holly"})

    made = (await ada.post(f"{AUDIT}/checkpoints")).json()
    again = (await ada.post(f"{AUDIT}/checkpoints")).json()
    found = (await ada.get(f"{AUDIT}/verify")).json()

    assert reasons(nothing) == ["the audit trail is empty: there is nothing to sign yet"]
    assert (made["number"], made["count"], again) == (1, 1, made)
    assert read(made["token"], state.keys.decision_root).hash == made["hash"]
    assert read_tokens(state.settings.audit_checkpoint_dir) == [made["token"]]
    assert (found["ok"], found["checkpoints"], found["covered_to"]) == (True, 1, 1)


async def test_a_trail_that_was_cut_off_is_found_by_what_is_outside(sign_in, app):
    ada = await sign_in("ada", Role.ADMIN)
    for login in ("holly", "otto"):
        await ada.post("/api/v1/people", json={"login": login, "name": login})
    await ada.post(f"{AUDIT}/checkpoints")

    await without_triggers(
        app, "DELETE FROM audit WHERE number = 2", "DELETE FROM audit_checkpoints"
    )
    found = (await ada.get(f"{AUDIT}/verify")).json()

    assert (found["ok"], found["broken_at"]) == (False, 2)
    assert found["findings"][0]["reason"].startswith("entry 2 is missing: entry 2 was there at")


async def test_checkpoints_are_due_after_so_many_entries_or_so_long(sign_in, app):
    ada, state = await sign_in("ada", Role.ADMIN), app.state.cardflow
    few = replace(state, settings=state.settings.model_copy(update={"audit_checkpoint_entries": 2}))
    assert not await is_due(state)
    await ada.post("/api/v1/people", json={"login": "holly", "name": "Holly"})
    assert await is_due(state)  # the first entry ever is put under a checkpoint at once
    await make_checkpoint(state)
    assert not await is_due(state)

    await ada.post("/api/v1/people", json={"login": "otto", "name": "Otto"})
    assert not await is_due(few)  # one, and not for long
    await ada.post("/api/v1/people", json={"login": "olga", "name": "Olga"})
    assert await is_due(few)
    assert not await is_due(state)


async def test_a_place_outside_that_fails_is_caught_up_later(sign_in, app):
    ada, state = await sign_in("ada", Role.ADMIN), app.state.cardflow
    outside = state.settings.audit_checkpoint_dir
    outside.write_text("a file stands in the way")
    await ada.post("/api/v1/people", json={"login": "holly", "name": "Holly"})
    first = (await ada.post(f"{AUDIT}/checkpoints")).json()
    outside.unlink()
    await ada.post("/api/v1/people", json={"login": "otto", "name": "Otto"})

    second = (await ada.post(f"{AUDIT}/checkpoints")).json()

    assert read_tokens(outside) == [first["token"], second["token"]]


async def test_nothing_is_signed_over_a_trail_that_was_changed(sign_in, app):
    ada = await sign_in("ada", Role.ADMIN)
    await ada.post("/api/v1/people", json={"login": "holly", "name": "Holly"})
    await without_triggers(app, "UPDATE audit SET actor = 'somebody else'")

    answer = await ada.post(f"{AUDIT}/checkpoints")

    assert answer.status_code == 409
    assert "broken at entry 1: a column beside its text was changed" in reasons(answer)[0]


async def test_an_exported_trail_is_verified_elsewhere_under_a_root_that_was_kept(sign_in, app):
    ada, state = await sign_in("ada", Role.ADMIN), app.state.cardflow
    for login in ("holly", "otto\u2028"):
        await ada.post("/api/v1/people", json={"login": login[:5], "name": login[:4]})
    token = (await ada.post(f"{AUDIT}/checkpoints")).json()["token"]
    await ada.post("/api/v1/people", json={"login": "olga", "name": "Olga"})
    answer = await ada.get(f"{AUDIT}/export")
    lines, root = answer.text.splitlines(), state.keys.decision_root
    stranger = root_hex(Ed25519PrivateKey.generate().public_key())

    whole = verified(iter(lines), [token], root)
    cut = verified(iter(lines[:2]), [token], root)
    foreign = verified(iter(lines), [], stranger)

    assert answer.headers["content-type"] == "application/x-ndjson"
    assert (whole.ok, whole.entries, whole.covered_to) == (True, 3, 2)
    assert (cut.ok, cut.broken_at) == (False, 2)
    assert "does not belong to this organisation" in foreign.reason


async def test_the_trail_is_searched_by_card_and_time_from_either_end(sign_in):
    ada = await sign_in("ada", Role.ADMIN)
    cards = [(await ada.post("/api/v1/cards", json={"token_serial": f"SN{n}"})).json()["id"]
             for n in range(3)]  # fmt: skip
    entries = (await ada.get(AUDIT, params={"order": "newest"})).json()["items"]
    of_card = await ada.get(AUDIT, params={"card": cards[1]})
    later = await ada.get(AUDIT, params={"since": entries[0]["at"]})
    earlier = await ada.get(AUDIT, params={"before": entries[0]["at"]})
    nothing = await ada.get(AUDIT, params={"since": "2026-01-01T00:00:00"})

    assert [entry["number"] for entry in entries] == [3, 2, 1]
    assert [entry["number"] for entry in of_card.json()["items"]] == [2]
    assert [entry["number"] for entry in later.json()["items"]] == [3]
    assert [entry["number"] for entry in earlier.json()["items"]] == [1, 2]
    assert nothing.status_code == 422  # an instant needs a time zone


async def test_the_newest_first_are_paged_to_the_end(sign_in):
    ada = await sign_in("ada", Role.ADMIN)
    for n in range(3):
        await ada.post("/api/v1/cards", json={"token_serial": f"SN{n}"})
    query = {"order": "newest", "limit": 2}

    first = (await ada.get(AUDIT, params=query)).json()
    second = (await ada.get(AUDIT, params={**query, "cursor": first["next"]})).json()
    other_list = await ada.get(AUDIT, params={"cursor": first["next"]})

    numbers = [entry["number"] for page in (first, second) for entry in page["items"]]
    assert numbers == [3, 2, 1]
    assert second["next"] is None
    assert other_list.status_code == 422


async def test_an_export_has_every_entry_asked_for_and_no_formula(sign_in):
    ada = await sign_in("ada", Role.ADMIN, name="=cmd|' /C calc'!A0")
    for n in range(5):
        await ada.post("/api/v1/cards", json={"token_serial": f"SN{n}"})
    told = (await ada.get(AUDIT, params={"kind": "card_added"})).json()["items"]

    answer = await ada.get(f"{AUDIT}/csv", params={"kind": "card_added"})

    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    rows = list(csv.DictReader(io.StringIO(answer.text, newline="")))
    assert [row["text"] for row in rows] == [entry["text"] for entry in told]
    assert [row["hash"] for row in rows] == [entry["hash"] for entry in told]
    assert {row["actor_name"] for row in rows} == {"'=cmd|' /C calc'!A0"}


async def test_a_check_in_the_background_is_kept_with_its_result(sign_in, app):
    ada = await sign_in("ada", Role.AUDITOR)
    started = await ada.post(f"{AUDIT}/checks", json={})
    assert started.status_code == 202
    whole = await finished(ada, started)

    await without_triggers(app, "UPDATE audit SET actor = 'somebody else' WHERE number = 1")
    broken = await finished(ada, await ada.post(f"{AUDIT}/checks", json={}))

    assert (whole["outcome"], whole["checked"]) == ("whole", 0)
    assert (broken["outcome"], broken["broken_at"]) == ("broken", 1)
    assert broken["reason"] == "a column beside its text was changed"
    listed = (await ada.get(f"{AUDIT}/checks")).json()["items"]
    assert [check["outcome"] for check in listed] == ["broken", "whole"]
    assert (await ada.get(f"{AUDIT}/checks/{'0' * 36}")).status_code == 404


async def test_a_check_whose_process_ended_is_said_to_be_broken_off(sign_in, app):
    ada = await sign_in("ada", Role.AUDITOR)
    long_ago = utc_now() - timedelta(hours=1)
    check = AuditCheck(
        id=new_id(), started_by="x", started_at=long_ago, seen_at=long_ago, total=9, checked=3
    )
    async with transaction(app.state.cardflow.sessions) as session:
        session.add(check)

    shown = (await ada.get(f"{AUDIT}/checks/{check.id}")).json()
    again = await ada.post(f"{AUDIT}/checks", json={})

    assert (shown["outcome"], shown["checked"]) == ("broken_off", 3)
    assert again.json()["id"] != check.id


async def finished(client, started):
    """Return the check once it is over."""
    path = f"{AUDIT}/checks/{started.json()['id']}"
    for _ in range(500):
        check = (await client.get(path)).json()
        if check["outcome"] != "running":
            return check
        await asyncio.sleep(0.01)
    raise AssertionError(check)


async def test_holders_and_operators_do_not_read_the_trail(sign_in):
    somebody = await sign_in("sam", Role.HOLDER, Role.OPERATOR, Role.OFFICER, Role.SERVICE)

    for path in (AUDIT, f"{AUDIT}/verify", f"{AUDIT}/export", f"{AUDIT}/csv"):
        assert (await somebody.get(path)).status_code == 403
    assert (await somebody.post(f"{AUDIT}/checkpoints")).status_code == 403


async def without_triggers(app, *statements):
    """Change the trail as somebody could who owns the database."""
    async with transaction(app.state.cardflow.sessions) as session:
        await unguard(session, "audit", "audit_checkpoints", "audit_checks")
        for statement in statements:
            await session.execute(text(statement))
