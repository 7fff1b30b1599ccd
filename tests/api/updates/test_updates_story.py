"""Whole updates through the API: what people see and do, from the plan to the certificate."""

import pytest

from tests.api.updates.conftest import API

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
