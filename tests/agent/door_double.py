"""A small honest server with an agent door: real TLS, real signatures, jobs from a list."""

import asyncio
import json
import socket
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import uvicorn
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from joserfc import jwt
from joserfc.jwk import OKPKey

from cardflow import httpsig
from cardflow.device_keys import DUE, NewDeviceKey, check_new_device_key
from cardflow.enrolment import (
    EnrolmentAnswer,
    EnrolmentRequest,
    answer_proof,
    code_id,
    code_key,
    is_proof,
    new_code,
    request_proof,
)
from cardflow.errors import Refused
from cardflow.job_keys import JobKeys, Succession, raw_hex, succession
from cardflow.jobs import IssuedForm, JobResult, SignedForm, TokenReport
from cardflow.wire import from_json, to_json
from tests.waiting import until

AGENT_ID = "agent-0001"
LONGEST_POLL = 0.5


@dataclass
class DoorDouble:
    """What a server knows and was told."""

    folder: Path
    port: int
    code: str = field(default_factory=new_code)
    job_key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)
    device_key: str = ""
    standing: str = "confirmed"
    clock_ahead: timedelta = timedelta()
    out_of_order: int = 0  # so many requests are answered 503
    cancelled: bool = False
    swap_job_key: bool = False
    nonces: set[str] = field(default_factory=set)
    presence: tuple[TokenReport, ...] | None = None
    reported: asyncio.Event = field(default_factory=asyncio.Event)
    jobs: asyncio.Queue = field(default_factory=asyncio.Queue)
    results: asyncio.Queue = field(default_factory=asyncio.Queue)
    result_status: list[int] = field(default_factory=list)
    form: IssuedForm | None = None
    form_status: list[int] = field(default_factory=list)
    signed: list[SignedForm] = field(default_factory=list)
    heartbeats: int = 0
    successions: list[Succession] = field(default_factory=list)
    key_is_due: bool = False
    lose_answers: int = 0  # so many changes of the device key are taken and not answered
    lose_histories: int = 0  # so many questions for the job key's history are not answered
    refusals: list[str] = field(default_factory=list)

    @property
    def origin(self) -> str:
        return f"https://localhost:{self.port}"

    @property
    def root_file(self) -> Path:
        return self.folder / "root.pem"

    # What tests do

    def change_job_key(self) -> None:
        """Sign jobs with another key from now on, which the old one has named."""
        old, self.job_key = self.job_key, Ed25519PrivateKey.generate()
        self.successions.append(succession(old, raw_hex(self.job_key), self.origin))

    def offer(self, job, **changes) -> None:
        """Put a signed job on the list; ``changes`` are made to its claims before signing."""
        now = int(self.now().timestamp())
        claims = {
            "iss": self.origin,
            "aud": AGENT_ID,
            "iat": now,
            "exp": now + 300,
            "jti": job.card.job_id,
            "kind": job.card.kind.value,
            "job": to_json(job),
        } | changes
        self.offer_claims(claims)

    def offer_claims(self, claims, *, key=None, typ="cardflow-job+jwt") -> None:
        signing = OKPKey.import_key(key or self.job_key)
        token = jwt.encode({"alg": "Ed25519", "typ": typ}, claims, signing, algorithms=["Ed25519"])
        self.jobs.put_nowait(token)

    async def result(self) -> JobResult:
        async with asyncio.timeout(60):
            return await self.results.get()

    async def until_reported(self, wanted) -> tuple[TokenReport, ...]:
        async with asyncio.timeout(60):
            while self.presence is None or not wanted(self.presence):
                self.reported.clear()
                await self.reported.wait()
        return self.presence

    def now(self) -> datetime:
        return datetime.now(UTC) + self.clock_ahead

    # The server

    async def __call__(self, scope, receive, send) -> None:
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        status, answer = await self._answered(scope, body)
        date = self.now().strftime("%a, %d %b %Y %H:%M:%S GMT").encode()
        headers = [(b"content-type", b"application/json"), (b"date", date)]
        if self.key_is_due:
            headers.append((DUE.encode(), b"due"))
        content = b"" if answer is None else json.dumps(answer).encode()
        headers.append((b"content-length", str(len(content)).encode()))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": content})

    async def _answered(self, scope, body):
        if self.out_of_order:
            self.out_of_order -= 1
            return 503, None
        route = f"{scope['method']} {scope['path']}"
        if route == "POST /agent/v1/enrolments":
            return self._enrol(scope, body)
        try:
            verified = self._verified(scope, body, lambda _: self.device_key)
        except Refused as refused:
            self.refusals.append(str(refused))
            return 401, {"detail": str(refused)}
        if verified.nonce in self.nonces or verified.keyid != AGENT_ID:
            return 401, {"detail": "seen before"}
        self.nonces.add(verified.nonce)
        if self.standing != "confirmed":
            kind = {"pending": "agent-not-confirmed", "revoked": "agent-revoked"}[self.standing]
            return 403, {"type": f"urn:cardflow:problem:{kind}", "detail": f"{self.standing}"}
        return await self._admitted(route, json.loads(body) if body else None)

    async def _admitted(self, route, message):  # noqa: C901 (one case per route)
        match route:
            case "PUT /agent/v1/presence":
                self.presence = from_json(tuple[TokenReport, ...], message["tokens"])
                self.reported.set()
                return 204, None
            case "GET /agent/v1/jobs":
                try:
                    async with asyncio.timeout(LONGEST_POLL):
                        job = await self.jobs.get()
                except TimeoutError:
                    return 204, None
                return 200, {"job": job, "task": "sealed"}
            case "POST /agent/v1/heartbeats":
                self.heartbeats += 1
                return 200, {"cancelled": self.cancelled}
            case "GET /agent/v1/job-keys" if self.lose_histories:
                self.lose_histories -= 1
                return 503, None
            case "GET /agent/v1/job-keys":
                return 200, to_json(JobKeys(tuple(self.successions)))
            case "POST /agent/v1/device-key":
                said = from_json(NewDeviceKey, message)
                check_new_device_key(said, AGENT_ID)
                self.device_key, self.key_is_due = said.public_key, False
                if self.lose_answers:
                    self.lose_answers -= 1
                    return 503, None
                return 200, {}
            case "GET /agent/v1/form":
                return (200, to_json(self.form)) if self.form else (410, {"detail": "it is over"})
            case "POST /agent/v1/form":
                self.signed.append(from_json(SignedForm, message))
                status = self.form_status.pop(0) if self.form_status else 200
                return status, {"detail": "not as it should be"}
            case "POST /agent/v1/results":
                assert message["task"] == "sealed"
                status = self.result_status.pop(0) if self.result_status else 200
                self.results.put_nowait(from_json(JobResult, message["result"]))
                return status, {"detail": "as the test says"}
        return 404, {}

    def _verified(self, scope, body, key_of):
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        return httpsig.verify(
            scope["method"],
            f"localhost:{self.port}",
            scope["raw_path"].decode(),
            scope["query_string"].decode(),
            headers,
            body,
            public_key_for=lambda keyid: Ed25519PublicKey.from_public_bytes(
                bytes.fromhex(key_of(keyid))
            ),
            now=self.now(),
        )

    def _enrol(self, scope, body):
        request = from_json(EnrolmentRequest, json.loads(body))
        self._verified(scope, body, lambda keyid: keyid)
        key = code_key(self.code)
        proven = is_proof(request_proof(key, request), request.proof)
        if request.code_id != code_id(self.code) or not proven or request.server != self.origin:
            return 403, {"detail": "the code is not known"}
        self.device_key = request.public_key
        public = self.job_key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        answer = EnrolmentAnswer(AGENT_ID, self.origin, public.hex())
        answer = replace(answer, proof=answer_proof(key, request, answer))
        return 201, to_json(replace(answer, job_key="ab" * 32) if self.swap_job_key else answer)


@asynccontextmanager
async def opened_door(folder: Path):
    """Serve on a free loopback port while the block runs."""
    folder.mkdir()
    listening = socket.create_server(("127.0.0.1", 0))
    door = DoorDouble(folder, listening.getsockname()[1])
    make_tls(folder)
    config = uvicorn.Config(
        door,
        ssl_keyfile=str(folder / "server-key.pem"),
        ssl_certfile=str(folder / "server.pem"),
        log_level="warning",
        lifespan="off",
        date_header=False,
        timeout_graceful_shutdown=5,
    )
    server = uvicorn.Server(config)
    serving = asyncio.ensure_future(server.serve(sockets=[listening]))
    try:
        # An agent gives up after 15 s; the socket takes connections before anybody serves them.
        await until(lambda: server.started or serving.done(), what="the door's server")
        yield door
    finally:
        server.should_exit = True
        await serving


def make_tls(folder: Path) -> None:
    """Leave a root and a server certificate for localhost under it."""
    root_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    root_name = x509.Name.from_rfc4514_string("CN=Test root")
    root = certificate(root_name, root_name, root_key, root_key, x509.BasicConstraints(True, None))
    names = x509.SubjectAlternativeName(
        [x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))]
    )
    server_name = x509.Name.from_rfc4514_string("CN=localhost")
    server = certificate(server_name, root_name, key, root_key, names)
    (folder / "root.pem").write_bytes(root.public_bytes(Encoding.PEM))
    (folder / "server.pem").write_bytes(server.public_bytes(Encoding.PEM))
    (folder / "server-key.pem").write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )


def certificate(subject, issuer, key, issuer_key, extension) -> x509.Certificate:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=2))
        .add_extension(extension, critical=False)
        .sign(issuer_key, hashes.SHA256())
    )
