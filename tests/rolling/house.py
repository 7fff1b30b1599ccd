"""Two APIs and two workers over one PostgreSQL, and people who reach whichever API answers."""

import asyncio
import itertools
import os
import ssl
import sys
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import httpx2

from cardflow.model import new_id
from cardflow.settings import Settings, setting_name
from cli.ports import free_ports
from cli.processes import ROOT, accepts
from tests.api.workstation import Workstation
from tests.waiting import PATIENCE, until

REPLICAS = 2
START_SECONDS = 240  # four of them start at once, beside whatever else the machine does


@dataclass
class Replica:
    """One of several equal processes."""

    command: tuple[str, ...]
    environment: dict[str, str]
    is_ready: Callable[[], Awaitable[bool]]
    log: Path
    ends: list[int] = field(default_factory=list)  # exit codes
    _process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Return when it serves."""
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, *self.command, cwd=ROOT, env=self.environment, stderr=log
            )
        what = f"{self.command}, see {self.log}"
        await until(self._serves, what=what, patience=START_SECONDS, pause=a_while)

    async def stop(self) -> None:
        """Tell it to end, and wait until it has."""
        if self._process is not None:
            self._process.terminate()
            self.ends.append(await asyncio.wait_for(self._process.wait(), PATIENCE))
            self._process = None

    async def _serves(self) -> bool:
        assert self._process is not None
        assert self._process.returncode is None, self.log.read_text()[-2000:]
        return await self.is_ready()


@dataclass
class Heard:
    """What the people's and workstations' programs met on the way."""

    broken: list[str] = field(default_factory=list)  # connections, which both try again
    asked_again: int = 0  # by 503 with Retry-After
    wrong: list[str] = field(default_factory=list)  # answers that no client should get

    async def note(self, answer: httpx2.Response) -> None:
        """Remember an answer that tells of a failure of ours."""
        if answer.status_code >= 500:
            await answer.aread()
        if asks_again(answer):
            self.asked_again += 1
        elif answer.status_code >= 500:
            self.wrong.append(f"{answer.request.method} {answer.request.url} {answer.text[:300]}")

    async def taken(self, send: Callable[[], Awaitable[httpx2.Response]]) -> httpx2.Response:
        """Return the first answer: what finds no server open, or finds it ending, is sent again."""

        async def attempt() -> httpx2.Response | None:
            try:
                answer = await send()
            except httpx2.TransportError as error:
                self.broken.append(repr(error))
                return None
            return None if asks_again(answer) else answer

        answer = await until(
            attempt, lambda found: found is not None, what="an answer", patience=START_SECONDS
        )
        assert answer is not None
        return answer


def asks_again(answer: httpx2.Response) -> bool:
    """Tell whether the request is to be sent again, as it is: somebody behind us was too slow."""
    return answer.status_code == 503 and "Retry-After" in answer.headers


async def a_while() -> None:
    """Whoever looks again all the time would be the load."""
    await asyncio.sleep(0.5)


class InTurn(httpx2.AsyncBaseTransport):
    """Sends each request to the next server, as the proxy in front of them does."""

    def __init__(self, addresses: Iterable[str], **options: Any) -> None:
        self._turn = itertools.cycle(map(httpx2.URL, addresses))
        self._inner = httpx2.AsyncHTTPTransport(**options)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        there = next(self._turn)
        request.url = request.url.copy_with(scheme=there.scheme, host=there.host, port=there.port)
        return await self._inner.handle_async_request(request)

    async def aclose(self) -> None:
        await self._inner.aclose()


class Patient(httpx2.AsyncClient):
    """A person's program: a request that broke off is repeated under the same key."""

    def __init__(self, heard: Heard, **options: Any) -> None:
        super().__init__(**options, event_hooks={"response": [heard.note]}, timeout=60)
        self._heard = heard

    async def send(self, request: httpx2.Request, **options: Any) -> httpx2.Response:
        await request.aread()
        if request.method == "POST":
            request.headers.setdefault("Idempotency-Key", new_id())
        return await self._heard.taken(partial(super().send, request, **options))


@dataclass
class Steady(Workstation):
    """A workstation whose agent signs a request that broke off anew, as the real one does."""

    heard: Heard = field(default_factory=Heard)

    async def send(self, method: str, path: str, message: Any = None) -> httpx2.Response:
        return await self.heard.taken(partial(super().send, method, path, message))


class House:
    """Everything that runs, by kind."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.heard = Heard()
        ports = free_ports(3 * REPLICAS)
        self._people, self._agents = ports[:REPLICAS], ports[REPLICAS : 2 * REPLICAS]
        self.apis = [
            self._api(n, *two) for n, two in enumerate(zip(self._people, self._agents, strict=True))
        ]
        self.workers = [self._worker(n, port) for n, port in enumerate(ports[2 * REPLICAS :])]

    @property
    def replicas(self) -> list[Replica]:
        """All of them, in the order of a rolling restart."""
        return [each for pair in zip(self.apis, self.workers, strict=True) for each in pair]

    def person(self, token: str) -> Patient:
        """Return the program of somebody who is signed in."""
        addresses = [f"http://127.0.0.1:{port}" for port in self._people]
        headers = {"Authorization": f"Bearer {token}"}
        return Patient(
            self.heard,
            base_url=self.settings.public_url,
            transport=InTurn(addresses),
            headers=headers,
        )

    def workstation(self) -> Steady:
        """Return a workstation that nobody knows yet."""
        trust = ssl.create_default_context(cafile=self.settings.door_root_file)
        addresses = [f"https://localhost:{port}" for port in self._agents]
        client = httpx2.AsyncClient(
            base_url=self.settings.door_url,
            transport=InTurn(addresses, verify=trust),
            event_hooks={"response": [self.heard.note]},
            timeout=60,
        )
        return Steady(client, origin=self.settings.door_url, heard=self.heard)

    def _api(self, number: int, people: int, agents: int) -> Replica:
        return self._replica(
            f"api-{number}",
            ("-m", "api"),
            partial(self._answers, people),
            api_port=people,
            door_port=agents,
        )

    def _worker(self, number: int, port: int) -> Replica:
        ready = partial(accepts, "127.0.0.1", port)
        return self._replica(f"worker-{number}", ("worker.py",), ready, worker_metrics_port=port)

    def _replica(
        self,
        name: str,
        command: tuple[str, ...],
        is_ready: Callable[[], Awaitable[bool]],
        **own: object,
    ) -> Replica:
        given = {"state_dir": self.settings.state_dir, **own}
        environment = {setting_name(field): str(value) for field, value in given.items()}
        log = self.settings.state_dir / f"{name}.log"
        return Replica(command, {"PATH": os.defpath, **environment}, is_ready, log)

    async def _answers(self, port: int) -> bool:
        host = {"Host": httpx2.URL(self.settings.public_url).netloc.decode()}
        try:
            async with httpx2.AsyncClient(timeout=5) as client:
                answer = await client.get(f"http://127.0.0.1:{port}/readyz", headers=host)
        except httpx2.HTTPError:
            return False
        return answer.is_success
