"""The whole of Cardflow on this machine, on embedded defaults: made ready, started, stopped."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2

from cardflow.secret_files import DEMO_MARKER
from cardflow.settings import Settings, setting_name
from cardflow.temporal.devserver import has_workers, is_ready, server_command
from cli.database import upgrade
from cli.local_secrets import make_local_secrets
from cli.processes import Program, Supervisor, accepts, locked, refuse_taken_ports


@asynccontextmanager
async def installation(settings: Settings) -> AsyncIterator[Supervisor]:
    """Yield when everything is ready; afterwards nothing runs any more."""
    with locked(settings.state_dir):
        refuse_taken_ports(_ports(settings))
        await prepare(settings)
        supervisor = Supervisor(settings.state_dir / "log")
        try:
            await _start_all(supervisor, settings)
            yield supervisor
        finally:
            await supervisor.stop()


async def prepare(settings: Settings) -> None:
    """Leave secrets, a CA and a database in the state directory; what is there stays."""
    settings.state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    (settings.state_dir / DEMO_MARKER).touch()
    make_local_secrets(settings)
    if not settings.ca_dir.exists():
        _make_ca(settings)
    await upgrade(settings)


def agent_program(agent_state: Path, is_ready: Callable[[], Awaitable[bool]]) -> Program:
    """Return the card agent whose enrolment is kept in ``agent_state``."""
    command = (sys.executable, "-m", "agent", "run", "--state", str(agent_state))
    return Program("agent", command, is_ready)


async def until_told_to_end(work: Coroutine[Any, Any, int]) -> int:
    """Return the work's exit code, or 0 after the first SIGINT or SIGTERM let it end in order."""
    task = asyncio.ensure_future(work)
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, _once(task.cancel))
    try:
        return await task
    except asyncio.CancelledError:
        return 0


def _once(action: Callable[[], object]) -> Callable[[], None]:
    left = [action]

    def act() -> None:
        if left:
            left.pop()()

    return act


async def _start_all(supervisor: Supervisor, settings: Settings) -> None:
    python = partial(_python, settings)
    await supervisor.start(_temporal(settings))
    await supervisor.start(
        python("mail", "-m", "cli.catcher", ready=partial(_mails, settings)),
        python("api", "-m", "api", ready=partial(_api_is_ready, settings)),
        _worker(settings),
    )


async def engine(supervisor: Supervisor, settings: Settings) -> None:
    """Start what runs workflows, without a door for people or agents."""
    await supervisor.start(_temporal(settings))
    await supervisor.start(_worker(settings))


def engine_ports(settings: Settings) -> dict[str, tuple[str, int]]:
    """Return the ports that ``engine`` needs, by setting."""
    needed = ("temporal_address", "temporal_ui_port", "worker_metrics_port")
    names = {setting_name(field) for field in needed}
    return {name: place for name, place in _ports(settings).items() if name in names}


def _temporal(settings: Settings) -> Program:
    command = server_command(settings, settings.state_dir / "temporal.db")
    return Program("temporal", command, partial(is_ready, settings))


def _worker(settings: Settings) -> Program:
    ready = partial(_worker_is_ready, settings)
    return _python(settings, "worker", "worker.py", ready=ready)


def _python(
    settings: Settings, name: str, *arguments: str, ready: Callable[[], Awaitable[bool]]
) -> Program:
    state = {setting_name("state_dir"): str(settings.state_dir)}
    return Program(name, (sys.executable, *arguments), ready, state)


async def _mails(settings: Settings) -> bool:
    ports = (settings.smtp_port, settings.catcher_port)
    return all([await accepts("127.0.0.1", port) for port in ports])


async def _worker_is_ready(settings: Settings) -> bool:
    listens = await accepts(settings.worker_metrics_host, settings.worker_metrics_port)
    return listens and await has_workers(settings)


async def _api_is_ready(settings: Settings) -> bool:
    if not await accepts(settings.door_host, settings.door_port):
        return False
    address = f"http://{settings.api_host}:{settings.api_port}/readyz"
    name = {"Host": urlsplit(settings.public_url).netloc}
    try:
        async with httpx2.AsyncClient(timeout=5) as client:
            answer = await client.get(address, headers=name)
    except httpx2.HTTPError:
        return False
    return answer.is_success


def _ports(settings: Settings) -> dict[str, tuple[str, int]]:
    host, _, port = settings.temporal_address.rpartition(":")
    here = "127.0.0.1"
    ports = {
        "temporal_address": (host, int(port)),
        "temporal_ui_port": (here, settings.temporal_ui_port),
        "smtp_port": (here, settings.smtp_port),
        "catcher_port": (here, settings.catcher_port),
        "api_port": (settings.api_host, settings.api_port),
        "door_port": (settings.door_host, settings.door_port),
        "worker_metrics_port": (settings.worker_metrics_host, settings.worker_metrics_port),
    }
    if settings.card_sign_in == "direct":
        ports["card_port"] = (settings.api_host, settings.card_port)
    return {setting_name(field): place for field, place in ports.items()}


def _make_ca(settings: Settings) -> None:
    from cardflow.ca.embedded.setup import CaNames, Secrets, init_ca  # its linter loads slowly

    root = settings.ca_passphrase_file.with_name("ca-root-passphrase")
    init_ca(
        settings.ca_dir,
        names=CaNames(organization=settings.organisation),
        public_url=settings.public_url,
        secrets=Secrets(root=root, issuing=settings.ca_passphrase_file),
    )


def addresses(settings: Settings) -> str:
    """Return where everything is, one line each."""
    return "\n".join(
        (
            f"Portal           {settings.public_url}",
            f"API              {settings.public_url}/api/v1 (documented at /docs/)",
            f"Agent door       {settings.door_url}",
            f"Mails            http://localhost:{settings.catcher_port}",
            f"Temporal         http://localhost:{settings.temporal_ui_port}",
            f"State, logs      {settings.state_dir}, {settings.state_dir / 'log'}",
        )
    )
