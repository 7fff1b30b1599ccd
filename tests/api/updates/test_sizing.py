"""What one update leaves in the database, per mode, held against the table that operations read."""

import re
from pathlib import Path

import pytest
from sqlalchemy import func, select
from sqlmodel import SQLModel

from cardflow.model import Mode, Role
from cardflow.sql import transaction
from tests.api.updates.conftest import API
from tests.api.updates.test_updates_story import until_listed
from tests.waiting import until

pytestmark = [pytest.mark.temporal, pytest.mark.slow, pytest.mark.sqlite]  # lengths as it counts
SIZING = Path(__file__).parents[3] / "docs/operations/sizing.md"
DOCUMENTED = {
    mode: (int(rows), float(kilobytes))
    for mode, rows, kilobytes in re.findall(
        r"^\| (none|R|F|RF) \|[^|]*\|[^|]*\| (\d+) \| ([\d.]+) \|", SIZING.read_text(), re.M
    )
}
# What comes and goes, whatever updates do.
PASSING = {"agent_nonces", "sessions", "presence", "enrolment_codes", "idempotent_answers"}
PASSING |= {"people", "cards", "agents", "policies", "claims", "waiting"}


async def kept(sessions) -> dict[str, tuple[int, int]]:
    """Return rows and bytes of content by table."""
    found = {}
    async with transaction(sessions) as session:
        for table in SQLModel.metadata.sorted_tables:
            if table.name in PASSING:
                continue
            width = sum(func.coalesce(func.length(column), 0) for column in table.columns)
            query = select(func.count(), func.coalesce(func.sum(width), 0)).select_from(table)
            found[table.name] = tuple((await session.execute(query)).one())
    return found


async def run_through(office, officer, mode: Mode) -> None:
    """Take an update of one lane from the click to the card, and until its mails went."""
    lane = "smart-card-logon" if mode in (Mode.REQUEST_FORM, Mode.BOTH) else "tls-client"
    await office.policy(f"{lane} {mode}")
    update_id = await office.opened()
    if mode in (Mode.REQUEST_FORM, Mode.BOTH):
        await office.until_lane(update_id, "awaiting_request_form")
        await office.sign(update_id, lane)
        await office.until_lane(update_id, "at_ca")
        request = await until_listed(officer, update_id, "ca/requests")
        body = {"verdict": "approve", "digest": request["decision_digest"]}
        answer = await officer.post(f"{API}/ca/requests/{request['id']}/decisions", json=body)
        assert answer.status_code == 201, answer.text
    if mode in (Mode.CERTIFICATE_FORM, Mode.BOTH):
        await office.until_lane(update_id, "awaiting_certificate_form")
        await office.sign(update_id, lane)
        await office.decide(update_id, "approve")
    if mode is not Mode.NONE:
        await office.until_stage(update_id, "ready")
        await office.act(update_id, "continue")
    await office.until_stage(update_id, "completed")

    async def mails():
        return (await office.operator.get(f"{API}/updates/{update_id}/mails")).json()["items"]

    # To whom much is waiting already mails come together, later.
    done = {"sent", "folded"}
    await until(mails, lambda all: all[-1:] and {x["state"] for x in all} <= done, what="mails")


@pytest.mark.parametrize("mode", Mode)
async def test_an_update_leaves_no_more_rows_than_is_documented(office, let_in, mode: Mode):
    officer = await let_in("otto", Role.OFFICER)
    sessions = office.state.sessions
    before = await kept(sessions)
    await run_through(office, officer, mode)
    after = await kept(sessions)

    more = {
        name: (rows - before[name][0], size - before[name][1])
        for name, (rows, size) in after.items()
        if rows > before[name][0]
    }
    rows, size = (sum(pair[part] for pair in more.values()) for part in (0, 1))
    told = f"mode {mode}: {rows} rows, {size / 1000:.1f} kB; {more}"
    print(told)  # noqa: T201 shown by pytest -s

    assert rows <= DOCUMENTED[mode][0], told
    assert size / 1000 <= DOCUMENTED[mode][1], told
