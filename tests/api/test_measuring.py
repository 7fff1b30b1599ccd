"""What Prometheus is told of the installation is true, whole, and nothing of anybody's."""

import asyncio
import math
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from prometheus_client.parser import text_string_to_metric_families
from temporalio.worker import Worker

from api.counted_store import CountedStore
from api.health_looks import CERTIFICATES
from api.links import TemporalLink
from api.measuring import measure
from cardflow.db.tables import Card, Mail, Update, WaitingFor
from cardflow.decisions import utc_now
from cardflow.documents.store import Damaged, FileStore
from cardflow.errors import Refused
from cardflow.lifecycle import REQUEST_FORM_CHECK
from cardflow.model import CardState, Party, Stage, new_id
from cardflow.sql import transaction
from cli.up import prepare
from tests.activities.tls import server_context
from tests.deployment.files import ROOT, metrics_asked_for
from tests.waiting import until
from worker import build_ca
from workflows.mail_rounds import Digests

LONG_AGO = timedelta(hours=3)
DAY, HOUR = timedelta(days=1), timedelta(hours=1)


async def told(client) -> dict[str, float]:
    """Return every sample of the API by its name and labels, as Prometheus writes them."""
    text = (await client.get("/metrics")).text
    return {
        sample.name + "".join(f'{{{k}="{v}"}}' for k, v in sample.labels.items()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def given(state, *rows) -> None:
    async with transaction(state.sessions) as session:
        for row in rows:
            session.add(row)
            await session.flush()


def an_update(card: Card, stage: Stage, **changes) -> Update:
    now = utc_now()
    fields = {
        "id": new_id(),
        "kind": "update",
        "card_id": card.id,
        "holder_id": "holder",
        "started_by": "holder",
        "policy_name": "employees",
        "policy_version": 1,
        "stage": stage,
        "opened_at": now - LONG_AGO,
        "due_at": now,
        "input": "{}",
        "view": "{}",
    }
    return Update(**{**fields, **changes})


@pytest.fixture
def card() -> Card:
    return Card(
        id=new_id(), token_serial="hildas-card", state=CardState.PENDING, created_at=utc_now()
    )


async def test_open_updates_and_what_waits_are_counted_with_the_age_of_the_oldest(
    app, anonymous, card
):
    now, state = utc_now(), app.state.cardflow
    pending, ended = an_update(card, Stage.PENDING), an_update(card, Stage.COMPLETED, ended_at=now)
    young = an_update(card, Stage.PENDING, opened_at=now)
    late = WaitingFor(
        update_id=pending.id,
        lane="logon",
        party=Party.OPERATOR,
        what="a check",
        holder_id="holder",
        since=now - LONG_AGO,
        until=now - timedelta(hours=1),
    )
    of = {"update_id": young.id, "party": Party.OPERATOR, "holder_id": "holder", "until": now + DAY}
    check = WaitingFor(lane="a", what=REQUEST_FORM_CHECK, since=now - HOUR, **of)
    in_the_post = WaitingFor(lane="b", what="the signed form", since=now - LONG_AGO, **of)
    await given(state, card, pending, ended, young, late, check, in_the_post)

    await measure(state)
    seen = await told(anonymous)

    assert seen['cardflow_updates_open{stage="pending"}'] == 2
    assert seen['cardflow_updates_open{stage="needs_attention"}'] == 0
    assert 'cardflow_updates_open{stage="completed"}' not in seen
    assert seen['cardflow_updates_oldest_seconds{stage="pending"}'] >= LONG_AGO.total_seconds()
    assert seen['cardflow_waiting{party="operator"}'] == 3
    assert seen["cardflow_checks_waiting"] == 1
    assert HOUR.total_seconds() <= seen["cardflow_checks_oldest_seconds"] < LONG_AGO.total_seconds()
    assert seen['cardflow_waiting_oldest_seconds{party="operator"}'] >= LONG_AGO.total_seconds()
    assert seen['cardflow_waiting_overdue{party="operator"}'] == 1
    assert seen['cardflow_waiting{party="officer"}'] == 0
    assert seen['cardflow_waiting_overdue{party="officer"}'] == 0


async def test_mails_that_wait_are_counted_and_those_that_went_are_not(app, anonymous):
    def a_mail(state: str) -> Mail:
        return Mail(
            id=new_id(),
            update_id="",
            event=0,
            kind="reminder",
            person_id="somebody",
            address="somebody@example.org",
            message_id=new_id(),
            state=state,
            created_at=utc_now() - LONG_AGO,
        )

    await given(app.state.cardflow, a_mail("queued"), a_mail("sent"), a_mail("failed"))

    await measure(app.state.cardflow)
    seen = await told(anonymous)

    assert seen["cardflow_mails_queued"] == 1
    assert seen["cardflow_mails_oldest_seconds"] >= LONG_AGO.total_seconds()


async def test_what_ends_is_told_in_time(app, anonymous, settings):
    await prepare(settings)
    state = app.state.cardflow
    ca = build_ca(settings, state.engine)
    await ca.maintain()  # as the worker's process does: there is a CRL
    ca.close()

    await measure(state)
    seen = await told(anonymous)

    files = {name.removesuffix("_file") for name in CERTIFICATES if getattr(settings, name)}
    for what in {"crl", "root_crl", "ca", "root_ca", "ocsp_signer", *files}:
        assert seen[f'cardflow_expires_timestamp_seconds{{what="{what}"}}'] > utc_now().timestamp()
    for part in ("database", "ca", "certificates", "document_store"):
        at = seen[f'cardflow_measured_timestamp_seconds{{part="{part}"}}']
        assert at == pytest.approx(utc_now().timestamp(), abs=60)
    assert seen["cardflow_document_store_writable"] == 1
    assert seen["cardflow_document_store_free_bytes"] > 0


async def test_what_others_show_for_us_is_told_whoever_trusts_it_and_may_be_out_of_reach(
    app, anonymous, settings
):
    served, _trusting = server_context(ec.generate_private_key(ec.SECP256R1()))
    server = await asyncio.start_server(
        lambda _reader, writer: writer.close(), "127.0.0.1", 0, ssl=served
    )
    async with server:
        address = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        there = settings.model_copy(update={"public_url": address})
        await measure(replace(app.state.cardflow, settings=there))
    seen = await told(anonymous)
    await measure(replace(app.state.cardflow, settings=there))  # where nobody listens any more
    after = await told(anonymous)

    ends = 'cardflow_expires_timestamp_seconds{what="pages_certificate"}'
    in_a_day = (utc_now() + timedelta(days=1)).timestamp()
    assert seen[ends] == after[ends] == pytest.approx(in_a_day, abs=120)
    measured = 'cardflow_measured_timestamp_seconds{part="certificates"}'
    assert after[measured] > seen[measured]
    assert (seen["cardflow_pages_reached"], after["cardflow_pages_reached"]) == (1, 0)


@pytest.mark.temporal
async def test_workers_count_once_they_ask_temporal_for_work(app, anonymous, temporal_env):
    queue = f"asks-{new_id()}"
    there = replace(
        app.state.cardflow,
        settings=app.state.cardflow.settings.model_copy(update={"temporal_task_queue": queue}),
        temporal=TemporalLink(app.state.cardflow.settings, temporal_env.client),
    )

    async def polling() -> float:
        await measure(there)
        return (await told(anonymous))["cardflow_workers_polling"]

    nobody = await polling()
    async with Worker(temporal_env.client, task_queue=queue, workflows=[Digests]):
        await until(polling, lambda seen: seen == 1, what="a worker that is heard of")

    assert nobody == 0


async def test_what_operations_watch_of_the_api_is_what_it_tells(app, anonymous, settings):
    await prepare(settings)
    asked = {
        name
        for name in metrics_asked_for()
        if not name.startswith(("temporal_", "cardflow_refused_actions"))
    }

    await measure(app.state.cardflow)
    await anonymous.get("/healthz")
    seen = {name.partition("{")[0] for name in await told(anonymous)}

    assert len(asked) >= 18
    assert asked - seen == set()


async def test_what_cannot_be_measured_keeps_its_old_timestamp_and_spoils_nothing_else(
    app, anonymous, settings
):
    state = app.state.cardflow
    await measure(state)
    before = await told(anonymous)
    settings.document_dir.rmdir()
    settings.document_dir.write_text("not a directory")

    await measure(state)
    after = await told(anonymous)

    store, database = (
        f'cardflow_measured_timestamp_seconds{{part="{part}"}}'
        for part in ("document_store", "database")
    )
    assert after[store] == before[store]
    assert after[database] > before[database]
    assert after["cardflow_document_store_writable"] == 0
    errors = 'cardflow_document_store_errors_total{operation="probe"}'
    assert after[errors] == before[errors] + 1


class Bucket(FileStore):
    """A store that does not know how much room it has."""

    async def free_bytes(self) -> None:
        return None


async def test_a_bucket_is_writable_and_tells_no_room(app, anonymous, tmp_path: Path):
    state = app.state.cardflow
    await measure(state)

    await measure(replace(state, store=Bucket(tmp_path / "documents")))
    seen = await told(anonymous)

    assert seen["cardflow_document_store_writable"] == 1
    assert math.isnan(seen["cardflow_document_store_free_bytes"])


def test_before_it_is_measured_nothing_is_full_or_down():
    program = """
import api.measuring
from prometheus_client import generate_latest
print(generate_latest().decode())
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    lines = done.stdout.splitlines()

    assert "cardflow_document_store_free_bytes NaN" in lines
    assert "cardflow_document_store_writable NaN" in lines
    assert "cardflow_workers_polling NaN" in lines
    assert "cardflow_pages_reached NaN" in lines


async def test_what_a_store_fails_to_do_is_counted_and_what_it_refuses_is_not(
    anonymous, tmp_path: Path
):
    files = FileStore(tmp_path / "documents")
    store, before = CountedStore(files), await told(anonymous)
    stored = await store.put(b"a form", limit=100)
    with pytest.raises(Refused):
        await store.put(b"too long a form", limit=3)
    with pytest.raises(Refused):
        await store.get("0" * 64)
    kept = tmp_path / "documents" / stored.sha256[:2] / stored.sha256
    kept.chmod(0o600)
    kept.write_bytes(b"another form")
    with pytest.raises(Damaged):
        await store.get(stored.sha256)

    after = await told(anonymous)

    def more(operation: str) -> float:
        name = f'cardflow_document_store_errors_total{{operation="{operation}"}}'
        return after[name] - before[name]

    assert (more("get"), more("put")) == (1, 0)


async def test_no_figure_names_a_person_a_card_or_an_update(app, anonymous, sign_in, card):
    hilda = await sign_in("hilda")
    update = an_update(card, Stage.PENDING, holder_id=hilda.headers["X-Person"])
    await given(app.state.cardflow, card, update)
    await hilda.get(f"/api/v1/cards/{card.id}")

    await measure(app.state.cardflow)
    text = (await anonymous.get("/metrics")).text

    for secret in (
        "hilda",
        hilda.headers["X-Person"],
        card.id,
        "hildas-card",
        update.id,
        "employees",
    ):
        assert secret not in text
