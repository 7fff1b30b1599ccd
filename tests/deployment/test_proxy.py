"""nginx of Debian with the shipped configuration, before two APIs as they are started."""

import asyncio
import os
import re
import shutil
import signal
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import httpx2
import pytest

from api.auth import SESSION_PREFIX, new_token, token_digest
from cardflow.db.register_identity import open_session
from cardflow.db.tables import Card, Person
from cardflow.decisions import utc_now
from cardflow.model import CardState, Role, new_id
from cardflow.settings import Settings
from cardflow.sql import create_engine, sessions_of, transaction
from cli.ports import free_ports
from cli.up import prepare
from tests.api.workstation import Workstation
from tests.deployment.files import ROOT
from tests.deployment.proxy import configuration, nginx
from tests.waiting import PATIENCE, until

pytestmark = [pytest.mark.openssl, pytest.mark.temporal, pytest.mark.slow]
MEGABYTE = 1024 * 1024
SOMEWHERE = "/api/v1/updates/none/lanes/none/documents"


@dataclass
class House:
    """Two APIs over one database behind nginx, and a holder who is signed in."""

    settings: Settings
    trust: ssl.SSLContext
    plain: int
    cards: int
    doors: list[int]
    apis: list[asyncio.subprocess.Process]
    holder: str
    token: str
    log: Path

    def client(self, base: str = "", **options) -> httpx2.AsyncClient:
        """Return a client of the pages; it trusts the proxy's certificate and goes nowhere else."""
        base = base or self.settings.public_url
        return httpx2.AsyncClient(
            base_url=base, verify=self.trust, trust_env=False, timeout=PATIENCE, **options
        )

    def signed_in(self) -> httpx2.AsyncClient:
        """Return a client of the holder's."""
        return self.client(headers={"Authorization": f"Bearer {self.token}"})

    async def registers(self, *rows) -> None:
        """Leave rows in the database."""
        engine = create_engine(self.settings.database_url)
        async with transaction(sessions_of(engine)) as session:
            for row in rows:
                session.add(row)
        await engine.dispose()


@pytest.fixture(scope="module")
async def house(tmp_path_factory, databases, temporal_env, codec_ring) -> AsyncIterator[House]:
    here = tmp_path_factory.mktemp("proxy")
    databases.furnish(here / "state")
    plain, pages, agents, cards, *behind = free_ports(8)
    apis, doors = behind[:2], behind[2:]
    settings = Settings(
        state_dir=here / "state",
        temporal_address=temporal_env.client.service_client.config.target_host,
        public_url=f"https://localhost:{pages}",
        door_url=f"https://localhost:{agents}",
        proxy_addresses="127.0.0.1",
    )
    await prepare(settings)
    settings.codec_key_file.write_bytes(codec_ring.dump())
    (here / "tls").mkdir()
    for ours, its in (("door", "tls"), ("door-key", "tls-key"), ("door-root", "card-ca")):
        shutil.copy(settings.state_dir / f"secrets/{ours}.pem", here / f"tls/{its}.pem")
    listen = {"80": plain, "443": pages, "8443": agents, "8444": cards}
    text = configuration(here, listen, apis, doors, card=True)
    trust = ssl.create_default_context(cafile=str(settings.door_root_file))
    async with AsyncExitStack() as stack:
        processes = [
            await stack.enter_async_context(api(settings, here / f"api-{port}", port, door))
            for port, door in zip(apis, doors, strict=True)
        ]
        await stack.enter_async_context(nginx(here, text))
        who = new_id(), new_token(SESSION_PREFIX)
        house = House(settings, trust, plain, cards, doors, processes, *who, here)
        await signed_in(house)
        yield house


@asynccontextmanager
async def api(settings: Settings, log: Path, port: int, door: int):
    """Yield one API's process, which answers."""
    names = ("state_dir", "temporal_address", "public_url", "door_url", "proxy_addresses")
    given = {name: getattr(settings, name) for name in names}
    given |= {"api_port": port, "door_port": door}
    environment = {f"CARDFLOW_{name.upper()}": str(value) for name, value in given.items()}
    with log.open("wb") as written:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "api"),
            cwd=ROOT,
            env={"PATH": os.defpath, **environment},
            stderr=written,
        )
    await alive(process, port, log)
    yield process
    if process.returncode is None:
        process.kill()
    await process.wait()


async def alive(process: asyncio.subprocess.Process, port: int, log: Path) -> None:
    """Return once the API listens, or fail with what it said when it ended."""

    async def look() -> bool:
        try:
            _reader, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            return process.returncode is not None
        writer.close()
        return True

    for _ in range(4):  # it starts beside everything else that runs
        with suppress(AssertionError):
            await until(look, what="an API that listens")
            break
    assert process.returncode is None, log.read_text()


async def signed_in(house: House) -> None:
    now = utc_now()
    holder = Person(
        id=house.holder, login="hilda", name="Hilda", roles=[Role.HOLDER], created_at=now
    )
    await house.registers(holder)
    engine = create_engine(house.settings.database_url)
    async with transaction(sessions_of(engine)) as session:
        until_then = now + timedelta(hours=1)
        await open_session(
            session, house.holder, token_digest(house.token), now=now, until=until_then
        )
    await engine.dispose()


async def test_pages_are_encrypted_with_http2_and_plain_http_is_sent_on(house: House):
    tls = ssl.create_default_context(cafile=str(house.settings.door_root_file))
    tls.set_alpn_protocols(["h2", "http/1.1"])
    port = int(house.settings.public_url.rpartition(":")[2])
    _reader, writer = await asyncio.open_connection(
        "127.0.0.1", port, ssl=tls, server_hostname="localhost"
    )
    spoken = writer.get_extra_info("ssl_object")
    agreed = spoken.selected_alpn_protocol(), spoken.version()
    writer.close()
    async with house.client(f"http://localhost:{house.plain}") as plain:
        sent_on = await plain.get("/cards?page=2")
        lists = await plain.get("/pki/crl")

    assert agreed == ("h2", "TLSv1.3")
    assert sent_on.status_code == 308
    assert sent_on.headers["location"] == "https://localhost/cards?page=2"
    assert lists.status_code != 308  # RFC 5280: by plain HTTP


async def test_plain_http_passes_on_no_address_that_the_client_made_up(house: House):
    async with house.client(f"http://localhost:{house.plain}") as plain:
        await plain.get("/pki/made-up", headers={"X-Forwarded-For": "192.0.2.66"})

    logs = "".join(path.read_text() for path in house.log.glob("api-*"))
    (line,) = (line for line in logs.splitlines() if "/pki/made-up" in line)
    assert "from 127.0.0.1" in line


async def test_answers_carry_each_security_header_once_and_metrics_stay_inside(house: House):
    async with house.client() as client:
        answer = await client.get("/sign-in")
        metrics = await client.get("/metrics")

    assert answer.status_code == 200
    headers = [name.lower() for name, _ in answer.headers.multi_items()]
    for name in ("strict-transport-security", "content-security-policy", "x-request-id"):
        assert headers.count(name) == 1, name
    assert answer.headers["server"] == "nginx"  # and no version
    assert metrics.status_code == 404
    assert "cardflow" not in metrics.text


async def test_the_cards_port_keeps_metrics_inside_too(house: House):
    async with house.client(f"https://localhost:{house.cards}") as client:
        page = await client.get("/sign-in")
        metrics = [await client.get(path) for path in ("/metrics", "/%6detrics", "/metrics?a=b")]

    assert page.status_code == 200
    assert [answer.status_code for answer in metrics] == [404] * 3
    assert "cardflow" not in "".join(answer.text for answer in metrics)


async def test_what_is_too_large_is_refused_by_the_api_in_words_and_by_nginx_far_beyond(
    house: House,
):
    async def answered(size: int) -> httpx2.Response:
        async with house.signed_in() as client:
            return await client.post(SOMEWHERE, files={"file": ("form.pdf", b"0" * size)})

    in_limits, too_large, far_too_large = [await answered(size * MEGABYTE) for size in (19, 22, 26)]

    assert in_limits.status_code not in (413, 502)
    assert (too_large.status_code, far_too_large.status_code) == (413, 413)
    assert too_large.headers["content-type"] == "application/problem+json"
    assert "nginx" in far_too_large.text


async def test_an_event_reaches_the_page_while_its_stream_is_open(house: House):
    async with house.signed_in() as client, client.stream("GET", "/events?of=mine") as stream:
        lines = stream.aiter_lines()
        first = await told(lines)
        await house.registers(
            Card(
                id=new_id(),
                token_serial="4711",
                holder_id=house.holder,
                state=CardState.ASSIGNED,
                created_at=utc_now(),
            )
        )
        second = await told(lines)

    assert stream.headers["content-type"].startswith("text/event-stream")
    assert first != second


async def told(lines: AsyncIterator[str]) -> str:
    """Return the id of the next event."""
    async with asyncio.timeout(PATIENCE):
        async for line in lines:
            if line.startswith("id: "):
                return line
    raise AssertionError("the stream has ended")


async def test_an_agents_long_poll_outlives_an_api_and_requests_go_on(house: House):
    async with house.signed_in() as holder, house.client(house.settings.door_url) as line:
        workstation = await enrolled(holder, Workstation(line, origin=house.settings.door_url))
        waited = await workstation.send("GET", "/agent/v1/jobs?wait=5")
        house.apis[0].send_signal(signal.SIGTERM)
        gone = asyncio.create_task(house.apis[0].wait())
        answers = [(await holder.get("/api/v1/me/sessions")).status_code]
        while not gone.done():
            answers.append((await holder.get("/api/v1/me/sessions")).status_code)
        answers += [(await holder.get("/api/v1/me/sessions")).status_code for _ in range(20)]
        decided = await holder.post("/api/v1/agents/codes", json={})
    async with house.client(house.settings.door_url) as line:
        workstation.client = line
        waited_again = await workstation.send("GET", "/agent/v1/jobs?wait=5")

    assert waited.status_code == 204, waited.text
    assert set(answers) == {200}
    assert decided.status_code == 201
    assert waited_again.status_code == 204, waited_again.text
    assert gone.result() == 0
    other = f"127.0.0.1:{house.doors[1]}, "
    await until(lambda: other in agents_log(house), what="the line of the second connection")
    assert re.search(r"^\S+ agent 127\.0\.0\.1:\d+ to ", agents_log(house))


def agents_log(house: House) -> str:
    return (house.log / "agents.log").read_text()


async def enrolled(holder: httpx2.AsyncClient, workstation: Workstation) -> Workstation:
    """Return the workstation, enrolled and confirmed by its holder."""
    code = (await holder.post("/api/v1/agents/codes", json={})).json()["code"]
    answer = await workstation.enrol(code)
    assert answer.status_code == 201, answer.text
    mine = (await holder.get("/api/v1/agents")).json()["items"]
    words = next(x["words"] for x in mine if x["id"] == workstation.agent_id)
    path = f"/api/v1/agents/{workstation.agent_id}/confirm"
    answer = await holder.post(path, json={"words": words})
    assert answer.status_code == 200, answer.text
    return workstation
