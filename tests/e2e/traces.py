"""Updates that pass every store, with a wrong PIN and a right one, and leave controls behind."""

import base64
import hashlib
import io
import json
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import httpx2
import pikepdf

from cardflow.model import LaneStage, Stage
from cardflow.secret_files import write_secret
from cardflow.temporal.client import connect
from cli.client import Upload
from cli.demo_card import BADGE_ID
from cli.demo_people import ADMIN, AUDITOR, HOLDER, OPERATOR
from cli.demo_setup import Scene
from cli.demo_steps import Turns, UpdateRun
from cli.scribble import scan_of
from tests.e2e.conftest import conclude, managed, policy, under
from tests.e2e.stores import Histories, Processes, Store, files, rows, rows_of

LOGON, SIGNING = "smart-card-logon", "smime-signing"
CONTACT = "Ask Wilhelmina Pfeffersack, extension 88-4711."
PERSON = {
    "name": "Theodora Featherstonehaugh",
    "given_name": "Rosalinde",
    "surname": "Quittenbaum",
    "email": "r.quittenbaum@mail.canary.example",
    "upn": "tf4711@corp.canary.example",
    "sid": "S-1-5-21-1004336348-1177238915-682003330-904117",
    "organization": "Quillfeather Assurance",
}
SENT_BACK = "the signature looks like her brother's"
CANCELLED = "she moves to Timbuktu in spring"
FILE_NAME = "divorce-papers-and-form.pdf"


@dataclass
class Traces:
    """What was typed, what was said, and what must be found again."""

    scene: Scene
    right: str
    wrong: str
    word: str  # planted where a store holds nothing else that is this run's own
    processes: Processes
    code: str  # that the portal and the prompt showed
    written: UpdateRun
    open_: UpdateRun

    @cached_property
    def lane(self) -> dict[str, str]:
        """The lane that was written."""
        return self.written.lanes()[LOGON]


def leave(scene: Scene, root: int) -> Traces:
    """A card is updated at the second PIN, and another update waits with a planted message."""
    word = f"planted{secrets.token_hex(8)}"
    right, wrong = scene.state.card.pin_file.read_text(), secrets.token_hex(8)
    processes = Processes(root, scene.state.directory)
    admin = scene.cast.api(ADMIN)
    admin.patch(f"/people/{scene.cast.person(HOLDER)['id']}", PERSON)
    with watched(processes):
        run, code = _written(scene, wrong)
        waiting = _waiting(scene, word)
    return Traces(scene, right, wrong, word, processes, code, run, waiting)


def _written(scene: Scene, wrong: str) -> tuple[UpdateRun, str]:
    run = under(scene, _policy("traced", (LOGON, "RF", "RSA-2048")))
    with typed(scene, wrong):
        code = run.open()["visit"]["code"]
        view = run.until_visit_ends()
    assert view["last_visit"] == "the PIN was not correct"
    run.continue_()
    run.until_stage(Stage.PENDING)
    Turns(run, send_back={LOGON: SENT_BACK}).until_ready()
    conclude(run, LOGON)
    return run, code


def _waiting(scene: Scene, word: str) -> UpdateRun:
    """Return an update that is cancelled, and begun again, with a document of a telling name."""
    signing = (SIGNING, "F", "P-256")
    run = under(scene, _policy("traced-too", (LOGON, "RF", "RSA-2048"), signing))
    run.open()
    run.until_lane(SIGNING, LaneStage.AWAITING_CERTIFICATE_FORM)
    run.cancel(CANCELLED)
    run.until_stage(Stage.CANCELLED)
    again = UpdateRun(run.cast, run.card_id)
    again.open()
    again.until_lane(SIGNING, LaneStage.AWAITING_CERTIFICATE_FORM)
    scan = _with_word(scan_of(again.form(SIGNING), seed=7), word)
    path = f"/updates/{again.update_id}/lanes/{SIGNING}/documents"
    scene.cast.api(HOLDER).upload(path, Upload(FILE_NAME, scan), {})
    return again


def _policy(name: str, *profiles: tuple[str, str, str]) -> str:
    return policy(name, *profiles).replace('"Ask."', f'"{CONTACT}"')


def _with_word(scan: bytes, word: str) -> bytes:
    """Return the scan with a word in its description, which no reader shows, compressed."""
    with pikepdf.open(io.BytesIO(scan)) as document:
        document.docinfo["/Subject"] = word
        made = io.BytesIO()
        modern = pikepdf.ObjectStreamMode.generate
        document.save(made, object_stream_mode=modern, compress_streams=True)
    return made.getvalue()


@contextmanager
def typed(scene: Scene, pin: str) -> Iterator[None]:
    """The person at the prompt believes, meanwhile, that this is the PIN."""
    file = scene.state.card.pin_file
    right = file.read_bytes()
    for content in (pin.encode(), right):
        file.unlink()
        write_secret(file, content)
        if content != right:
            yield


@contextmanager
def watched(processes: Processes) -> Iterator[None]:
    """Command lines and environments are looked at all the time, of short-lived programs too."""
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.05):
            processes.look()

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        yield
    finally:
        done.set()
        watching.join()


async def plant(traces: Traces) -> None:
    """The word stands in clear where Temporal keeps messages, in logs and in temporary files."""
    settings = traces.scene.state.settings
    client = await connect(settings)
    plain = type(client)(client.service_client, namespace=client.namespace)
    handle = plain.get_workflow_handle(f"card-update/{traces.open_.card_id}")
    await handle.signal("act", traces.word)
    async with httpx2.AsyncClient() as stranger:
        await stranger.get(f"{settings.public_url}/nothing/{traces.word}")
    (traces.scene.state.directory / "temporary" / "planted").write_text(traces.word)
    admin = traces.scene.cast.api(ADMIN)
    person = traces.scene.cast.person(HOLDER)["id"]
    admin.patch(f"/people/{person}", {"organization": f"{PERSON['organization']} {traces.word}"})


def stores(traces: Traces, histories: Histories) -> list[Store]:
    """Return every store, each with its control."""
    state, word, run = traces.scene.state, traces.word, traces.written
    directory = state.directory
    database, temporal = directory / "cardflow.db", directory / "temporal.db"
    on_files = [
        Store("database file", state.card.serial, files(database)),
        Store("database's write-ahead log", word, files(directory / "cardflow.db-wal")),
    ]
    seen = [*_files(traces), *_answers(traces), *_memories(traces)]
    return [
        *(on_files if database.exists() else []),  # else a server has them, whoever runs it
        Store("database's rows", SENT_BACK, rows_of(state.settings)),
        Store("Temporal's database file", run.card_id, files(temporal)),
        Store("Temporal's write-ahead log", word, files(directory / "temporal.db-wal")),
        Store("Temporal's rows", word, rows(temporal)),
        Store("histories, as stored", word, lambda: histories.raw),
        Store("histories, as JSON", word, lambda: histories.as_json),
        Store("histories, decoded", SENT_BACK, lambda: histories.decoded),
        Store("what Temporal's pages get", word, lambda: histories.pages),
        *seen,
        Store("command lines and environments", f"TMPDIR={directory}", traces.processes.told),
    ]


def _files(traces: Traces) -> Iterator[Store]:
    state, word, run = traces.scene.state, traces.word, traces.written
    settings, directory, log = state.settings, state.directory, state.directory / "log"
    agent_id = (directory / "agent" / "enrolment.json").read_text().split('"agent_id": "')[1][:36]
    yield Store("API's log", word, files(log / "api.log"))
    yield Store("worker's log", run.card_id, files(log / "worker.log"))
    yield Store("agent's log", settings.door_url, files(log / "agent.log"))
    yield Store("Temporal's log", run.card_id, files(log / "temporal.log"))
    yield Store(
        "agent's enrolment and settings", agent_id, files(*(directory / "agent").glob("[a-i]*"))
    )
    yield Store(
        "agent's journal", "BEGIN CERTIFICATE REQUEST", files(directory / "agent" / "journal")
    )
    yield Store("mails", SENT_BACK, files(directory / "mail"))
    yield Store("documents", word, files(directory / "documents"))
    yield Store("CA", "BEGIN CERTIFICATE", files(directory / "ca"))
    yield Store("secrets", "BEGIN PRIVATE KEY", files(directory / "secrets"))
    yield Store("checkpoints", ".", files(directory / "checkpoints"))
    yield Store("card", state.card.label, files(state.card.directory / "tokens"))
    yield Store("what the prompt showed", f"Code: {traces.code}", files(state.prompts))
    yield Store("temporary files", word, files(directory / "temporary"))


def _answers(traces: Traces) -> Iterator[Store]:
    cast, run, settings = traces.scene.cast, traces.written, traces.scene.state.settings
    trail = "\n".join(cast.api(AUDITOR).lines("/audit/export")).encode()
    pack = cast.api(ADMIN).content(f"/updates/{run.update_id}/evidence")
    timeline = list(cast.api(HOLDER).items(f"/updates/{run.update_id}/timeline"))
    view = repr((run.view(), timeline)).encode()
    addresses = (settings.public_url, f"http://localhost:{settings.worker_metrics_port}")
    metrics = [httpx2.get(f"{address}/metrics").content for address in addresses]
    yield Store("audit trail, exported", SENT_BACK, lambda: [trail])
    yield Store("evidence pack", SENT_BACK, lambda: [pack])
    yield Store("update and timeline, as shown", SENT_BACK, lambda: [view])
    yield Store("API's metrics", "cardflow_http_requests", lambda: metrics[:1])
    yield Store("worker's metrics", "temporal_", lambda: metrics[1:])


def _memories(traces: Traces) -> Iterator[Store]:
    settings, memory = traces.scene.state.settings, traces.processes.memory
    yield Store("memory of the API", settings.public_url, memory("-m", "api"), is_memory=True)
    yield Store("memory of the worker", settings.public_url, memory("worker.py"), is_memory=True)
    yield Store(
        "memory of the agent", settings.door_url, memory("-m", "agent", "run"), is_memory=True
    )
    serial = traces.scene.state.card.serial
    yield Store(
        "memory of the agent's inspector", serial, memory("-m", "agent.inspector"), is_memory=True
    )
    yield Store(
        "memory of Temporal", traces.written.card_id, memory(str(_temporal())), is_memory=True
    )
    yield Store(
        "memory of the mail catcher",
        str(traces.scene.state.directory),
        memory("-m", "cli.catcher"),
        is_memory=True,
    )


def _temporal() -> Path:
    from cardflow.temporal.devserver import server_program

    return server_program()


def personal_data(traces: Traces) -> dict[str, str]:
    """Return what is somebody's own in the updates, field by field."""
    scene, waiting = traces.scene, traces.open_
    card, cast = scene.state.card, scene.cast
    documents = cast.api(HOLDER).items(f"/updates/{waiting.update_id}/documents")
    received = [one for one in documents if one["direction"] == "received"]
    journal = [
        line for line in (scene.state.agent_dir / "journal").read_text().splitlines() if line
    ]
    made = json.loads(journal[-1])
    written = card.certificate(managed(traces.written, LOGON)[LOGON]["cka_id"])
    return {
        "name": PERSON["name"],
        "given name": PERSON["given_name"],
        "surname": PERSON["surname"],
        "organization": PERSON["organization"],
        "serial number of the certificate": traces.lane["serial_number"],
        "certificate": base64.b64encode(written).decode()[64:128],
        "digest of the certificate": hashlib.sha256(written).hexdigest(),
        "request for a certificate": made["csr_pem"].splitlines()[2],
        "id of the key on the card": made["cka_id"],
        "digest of the public key": made["spki_sha256"],
        "serial number of the card": card.serial,
        "label of the card": card.label,
        "other certificate on the card": "Parking badge 4711",
        "its issuer": "Parking House",
        "its digest": hashlib.sha256(card.certificate(BADGE_ID)).hexdigest(),
        "operator's reason": SENT_BACK,
        "operator": cast.person(OPERATOR)["id"],
        "reason for cancelling": CANCELLED,
        "code that was compared": traces.code,
        "digest of a document": received[0]["sha256"],
        "whom to ask": CONTACT,
    }
