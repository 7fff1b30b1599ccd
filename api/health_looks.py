"""What an installation rests on, looked at one by one: its state in words, and what helps.

No answer names more of a file than its last part, and none quotes what is in one.
"""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from cryptography import x509
from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest, GetSystemInfoRequest

from api.state import State
from cardflow.db.migrate import database_objections
from cardflow.db.register_health import mails_by_state, updates_by_stage
from cardflow.decisions import utc_now
from cardflow.documents.scanner import is_answering
from cardflow.model import Stage
from cardflow.outbound import Outbound, outbound
from cardflow.settings import Settings, setting_name
from cardflow.sql import transaction
from cardflow.startup import objections, secret_files
from cardflow.stores import scanner_of

Grade = Literal["good", "attention", "bad", "off"]
WORKER_SEEN = timedelta(minutes=2)
CERTIFICATE_WARNING = timedelta(days=30)
LEAST_FREE = 1024**3  # bytes
CERTIFICATES = (
    "door_certificate_file", "door_root_file", "decision_certificate_file",
    "temporal_root_file", "temporal_certificate_file",
)  # fmt: skip


@dataclass(frozen=True)
class Finding:
    """How one thing stands, and what helps if it is not well."""

    grade: Grade
    says: str
    remedy: str = ""


async def database(state: State) -> Finding:
    """Look at the database."""
    before = time.perf_counter()
    if found := await database_objections(state.engine):
        return Finding("bad", "; ".join(found), "run `cardflow database upgrade`")
    kind = state.engine.dialect.name
    return Finding("good", f"{kind} answered in {(time.perf_counter() - before) * 1000:.0f} ms")


async def temporal(state: State) -> Finding:
    """Look at Temporal."""
    client = await state.temporal.client()
    if not await client.service_client.check_health():
        return Finding("bad", "Temporal is not serving", "look at Temporal's own log")
    system = await client.workflow_service.get_system_info(GetSystemInfoRequest())
    return Finding("good", f"Temporal {system.server_version} is serving")


async def workers(state: State) -> Finding:
    """Look for workers."""
    if not (seen := await workers_polling(state)):
        remedy = "start the worker: `python worker.py`"
        return Finding("bad", "no worker was heard of in the last two minutes", remedy)
    return Finding("good", f"workers heard of in the last two minutes: {seen}")


async def workers_polling(state: State) -> int:
    """Return how many workers asked Temporal for work in the last two minutes."""
    client = await state.temporal.client()
    request = DescribeTaskQueueRequest(
        namespace=client.namespace,
        task_queue=TaskQueue(name=state.settings.temporal_task_queue),
        task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
    )
    answer = await client.workflow_service.describe_task_queue(request)
    since = (utc_now() - WORKER_SEEN).timestamp()
    return sum(one.last_access_time.seconds >= since for one in answer.pollers)


async def ca(state: State) -> Finding:
    """Look at the CA."""
    authority = state.ca.authority()
    if found := await authority.health():
        return Finding("attention", "; ".join(found), "see to it before certificates are refused")
    crl = x509.load_der_x509_crl(await authority.crl_der())
    issuing = x509.load_der_x509_certificate(authority.issuing_certificate_der())
    until = issuing.not_valid_after_utc
    made, ends = crl.last_update_utc, crl.next_update_utc or until
    return Finding(
        "good",
        f"the CRL of {_day(made)} is good until {_day(ends)}; the CA itself until {_day(until)}",
    )


async def mail_relay(state: State) -> Finding:
    """Look at the mail relay."""
    settings, reach = state.settings, outbound(state.settings)
    async with _connection(reach, settings.smtp_host, settings.smtp_port) as (reader, writer):
        greeting = await reader.readline()
        writer.write(b"QUIT\r\n")
    if not greeting.startswith(b"220"):  # RFC 5321 4.2.3: service ready
        return Finding("bad", "the mail relay does not greet as one", "check host and port of SMTP")
    return Finding("good", "the mail relay answers")


async def mails(state: State) -> Finding:
    """Look at the mails of the last day."""
    async with transaction(state.reads) as session:
        states = await mails_by_state(session, since=utc_now() - timedelta(days=1))
    queued, failed = states.get("queued", 0), states.get("failed", 0)
    if failed:
        remedy = "look at the list of mails: each says what the relay answered"
        return Finding("attention", f"mails that failed in the last day: {failed}", remedy)
    return Finding("good", f"mails of the last day that wait: {queued}; none failed")


async def scanner(state: State) -> Finding:
    """Look at the virus scanner."""
    asked = scanner_of(state.settings)
    if asked is None:
        remedy = f"set {setting_name('clamd_address')} to have uploads scanned"
        return Finding("off", "no virus scanner is set up; uploads are not scanned", remedy)
    if not await is_answering(asked):
        return Finding("bad", "the virus scanner does not answer as one", "look at clamd's log")
    return Finding("good", "the virus scanner answers")


async def store(state: State) -> Finding:
    """Write into the document store."""
    free = await state.store.free_bytes()
    if free is None:
        return Finding("good", "documents can be written")
    said = f"documents can be written; {free / LEAST_FREE:.0f} GiB are free"
    if free < LEAST_FREE:
        return Finding("attention", said, "make room, or uploads will be refused soon")
    return Finding("good", said)


async def certificates(state: State) -> Finding:
    """Look for the first of our certificates to end."""
    ends = await asyncio.to_thread(certificate_ends, state.settings)
    setting, first = min(ends, key=lambda pair: pair[1])
    name = getattr(state.settings, setting).name
    said = f"the first to end is {name}, on {_day(first)}"
    if first <= utc_now():
        return Finding("bad", said, "renew it; agents or workflows refuse it already")
    if first <= utc_now() + CERTIFICATE_WARNING:
        return Finding("attention", said, "renew it before that day")
    return Finding("good", said)


def certificate_ends(settings: Settings) -> list[tuple[str, datetime]]:
    """Return when our certificates end, each by the setting that names its file."""
    own_port = ("card_certificate_file",) if settings.card_sign_in == "direct" else ()
    paths: Iterable[tuple[str, Path | None]] = (
        (name, getattr(settings, name)) for name in (*CERTIFICATES, *own_port)
    )
    return [
        (name, x509.load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc)
        for name, path in paths
        if path
    ]


async def shown_until(reach: Outbound, address: str) -> datetime:
    """Return when the certificate ends that an https address shows, whoever trusts it."""
    url = urlsplit(address)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False  # allowed: unverified-tls: nothing is said there
    context.verify_mode = ssl.CERT_NONE  # allowed: unverified-tls: the date counts most once over
    host = url.hostname or ""
    async with _connection(reach, host, url.port or 443) as (_reader, writer):
        await writer.start_tls(context, server_hostname=host)
        der = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    return x509.load_der_x509_certificate(der).not_valid_after_utc


async def own_address(state: State, trusted: ssl.SSLContext | None = None) -> Finding:
    """Look at the pages' own address as a browser would, by what this machine trusts."""
    url = urlsplit(state.settings.public_url)
    if url.scheme == "http":
        return Finding("off", "the pages are on this machine only, in clear, for trying out")
    context, host = trusted or ssl.create_default_context(), url.hostname or ""
    # Our own name may well mean this machine, seen from here.
    ours = Outbound(loopback=True)
    async with _connection(ours, host, url.port or 443) as (_reader, writer):
        try:
            await writer.start_tls(context, server_hostname=host)
        except ssl.SSLCertVerificationError:
            remedy = "take one that browsers trust, and send the whole chain"
            return Finding("bad", "the pages' certificate is not one that browsers trust", remedy)
        certificate = writer.get_extra_info("ssl_object").getpeercert()
    until = datetime.fromtimestamp(ssl.cert_time_to_seconds(certificate["notAfter"]), UTC)
    grade: Grade = "attention" if until <= utc_now() + CERTIFICATE_WARNING else "good"
    return Finding(grade, f"browsers trust the pages' certificate until {_day(until)}")


async def keys(state: State) -> Finding:
    """Look whether the key files are there."""
    paths = secret_files(state.settings)
    missing = [path.name for path in paths if not path.exists()]
    if missing:
        remedy = "make them, or correct the settings that name them"
        return Finding("bad", f"files that are missing: {', '.join(missing)}", remedy)
    return Finding("good", f"files that are there, for their owner only: {len(paths)}")


async def settings(state: State) -> Finding:
    """Look whether the settings fit."""
    if found := objections(state.settings):
        return Finding("bad", "; ".join(_names_only(one) for one in found), "correct them, restart")
    return Finding("good", f"the settings fit the environment “{state.settings.environment}”")


def _names_only(objection: str) -> str:
    """Return the sentence with the last part of each path."""
    return " ".join(
        word.rpartition("/")[2] if word.startswith("/") else word for word in objection.split(" ")
    )


async def attention(state: State) -> Finding:
    """Look for updates that went wrong."""
    async with transaction(state.reads) as session:
        stages = await updates_by_stage(session)
    if number := stages.get(Stage.NEEDS_ATTENTION, 0):
        remedy = "open them: each says what failed and what can be done"
        return Finding("attention", f"updates that need attention: {number}", remedy)
    return Finding("good", "no update needs attention")


@asynccontextmanager
async def _connection(
    reach: Outbound, host: str, port: int
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    connection = await reach.connect(host, port)
    reader, writer = await asyncio.open_connection(sock=connection)
    try:
        yield reader, writer
    finally:
        writer.close()


def _day(instant: datetime) -> str:
    return f"{instant:%Y-%m-%d}"
