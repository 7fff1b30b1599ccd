"""A backup is made and brought back by its commands; what is older than the rest is named."""

import asyncio
import sys
from datetime import UTC, datetime

import pytest

from cardflow.ca.tables import CaRequest
from cardflow.checkpoint_files import export
from cardflow.db import audit, checkpoints
from cardflow.db.tables import Certificate, Document, JournalEntry, Mail, Update
from cardflow.model import LaneStage, Mode, Stage
from cardflow.reconcile import Difference
from cardflow.secret_files import write_secret
from cardflow.settings import setting_name
from cardflow.sql import transaction
from cli.backups import databases
from cli.processes import ROOT
from tests.db.rows import found
from tests.reconcile.stage import an_entry
from tests.reconcile.test_lost_engine import certificates_by_lane
from tests.waiting import until

pytestmark = [pytest.mark.temporal, pytest.mark.slow]


async def command(house, *arguments):
    """Run `cardflow` as people do; return its exit code and what it said."""
    surroundings = [
        f"{setting_name(field)}={getattr(house.settings, field)}"
        for field in ("state_dir", "temporal_address", "temporal_ui_port", "smtp_port",
                      "worker_metrics_port", "database_url")
    ]  # fmt: skip
    process = await asyncio.create_subprocess_exec(
        "env", *surroundings, sys.executable, "-m", "cli", *map(str, arguments), cwd=ROOT,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    said, _ = await process.communicate()
    return process.returncode, said.decode()


async def checkpoint(house, one):
    """Have a checkpoint signed and exported, as the API does every few minutes."""
    root = one.update.decision_root
    made = await checkpoints.make(house.sessions, one.signer, root, datetime.now(UTC))
    export(house.settings.audit_checkpoint_dir, [made])


async def differences(house, *, apply=False):
    return {(one.difference, one.about): one for one in await house.reconcile(apply=apply)}


@pytest.fixture
def passphrase(tmp_path):
    file = tmp_path / "passphrase"
    write_secret(file, b"correct horse battery staple, apart")
    return file


async def test_a_database_of_yesterday_is_told_what_happened_since(
    either_house, tmp_path, passphrase
):
    house = either_house
    old = await house.at(LaneStage.AWAITING_REQUEST_FORM, an_entry(Mode.REQUEST_FORM))
    backup = tmp_path / "backup"
    code, said = await command(house, "backup", backup, "--passphrase-file", passphrase)
    assert (code, "it holds personal data" in said) == (0, True), said

    assert await old.to_the_end() is Stage.COMPLETED
    new = await house.at(LaneStage.CHECKING_CERTIFICATE_FORM, an_entry(Mode.CERTIFICATE_FORM))
    waiting = await house.at(LaneStage.AT_CA, an_entry(officer=True))
    await until(waiting.view, lambda view: view.state.lanes[0].ca_handle, what="the CA")
    await house.publication(waiting)
    await checkpoint(house, new)
    events = {row.id: row.events for row in await found(house.sessions, Update)}

    await only_the_database_is_restored(house, backup, old, new, waiting)
    assert {row.id: row.events for row in await found(house.sessions, Update)} == events
    new, waiting = house.again(new), house.again(waiting)
    assert await new.to_the_end() is Stage.COMPLETED
    assert await waiting.to_the_end() is Stage.COMPLETED


async def only_the_database_is_restored(house, backup, old, new, waiting):
    await house.rest()
    await house.close_database()
    for file in house.settings.state_dir.glob("cardflow.db*"):
        file.unlink()
    databases.restore_database(house.settings.database_url, backup)
    # The cards and people of later days came back from elsewhere.
    await house.open_database()
    await house.register_again(new, waiting)
    await house.work()

    ids = [one.update.update_id for one in (old, new, waiting)]
    seen = await differences(house)
    assert (Difference.RECORD_BEHIND, ids[0]) in seen
    assert {
        (Difference.WORKFLOW_UNKNOWN, ids[1]),
        (Difference.WORKFLOW_UNKNOWN, ids[2]),
    } <= seen.keys()
    assert [d for d, _ in seen].count(Difference.RECORD_CUT) == 1
    assert not any(one.mended for one in seen.values())

    mended = await differences(house, apply=True)
    assert {about for (_, about), one in mended.items() if one.mended} >= set(ids)
    await what_came_back_is_whole(house, old, new)
    left = await differences(house)
    # By its own next poll, or because reconcile has it ask now.
    name = f"{ids[2]}:1:smart-card-logon"
    await until(lambda: found(house.sessions, CaRequest, request_id=name), what="the request")
    rows = [row for row in await found(house.sessions, Certificate) if row.update_id in ids]
    numbers = {row.serial_number for row in rows}
    assert len(numbers) == 2
    assert {about for d, about in left if d is Difference.CERTIFICATE_NOT_AT_CA} == numbers
    assert {d for d, _ in left} <= {
        Difference.CERTIFICATE_NOT_AT_CA,
        Difference.REQUEST_NOT_AT_CA,
        Difference.RECORD_CUT,
    }


async def what_came_back_is_whole(house, old, new):
    (row,) = await found(house.sessions, Update, id=old.update.update_id)
    assert (row.stage, row.ended_at is not None) == ("completed", True)
    (document,) = await found(house.sessions, Document, update_id=new.update.update_id)
    assert (document.state, document.media_type) == ("checking", "application/pdf")
    tokens = {entry.token for entry in await found(house.sessions, JournalEntry)}
    assert new.update.token in tokens
    assert {mail.state for mail in await found(house.sessions, Mail)} <= {"sent"}
    async with transaction(house.sessions) as session:
        assert (await audit.verify(session)).ok


async def test_a_backup_comes_back_whole_and_its_updates_go_on(either_house, tmp_path, passphrase):
    house, backup = either_house, tmp_path / "backup"
    old = await house.at(LaneStage.AWAITING_REQUEST_FORM, an_entry(Mode.REQUEST_FORM))
    await command(house, "backup", backup, "--passphrase-file", passphrase)
    assert await old.to_the_end() is Stage.COMPLETED
    await checkpoint(house, old)
    await house.kill_engine()
    await house.close_database()

    restoring = ("restore", backup, "--passphrase-file", passphrase)
    code, said = await command(house, *restoring)
    assert (code, "the database is not empty" in said, "--over" in said) == (1, True, True), said
    code, said = await command(house, *restoring, "--over")
    assert code == 0, said
    assert "the database was restored from an older copy" in " ".join(said.split())

    await house.open_database()
    await house.serve()
    old = house.again(old)
    assert (await old.view()).state.lanes[0].stage is LaneStage.AWAITING_REQUEST_FORM
    assert await old.to_the_end() is Stage.COMPLETED
    assert set((await certificates_by_lane(house)).values()) == {1}
