"""`python -m api`: both doors in one process, over one state, until a signal ends it."""

import asyncio
import logging
import signal
import socket
from asyncio.sslproto import SSLProtocol
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import uvicorn
from starlette.types import ASGIApp

from api.app import create_agent_app, create_app
from api.card_door import card_options
from api.checkpoints import keep_checkpoints
from api.client_certificates import Proxied
from api.housekeeping import keep_house
from api.measuring import keep_measures
from api.state import State, opened
from cardflow.collector import keep_what_is_loaded
from cardflow.db.migrate import database_objections
from cardflow.errors import Refused
from cardflow.logs import write_json_logs
from cardflow.settings import Settings, load_settings, setting_name
from cardflow.temporal.ending import run_and_exit

GRACE_SECONDS = 5
AGENTS_KEPT_SECONDS = 75  # that an idle connection of an agent is kept: it ends it itself before
ONE_RECORD = 16 * 1024  # RFC 8446 5.1: bytes of a TLS record at most
# RFC 9325 4.2: of TLS 1.2, authenticated encryption with forward secrecy; TLS 1.3 has nothing else.
CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
KEPT = (keep_house, keep_checkpoints, keep_measures)

log = logging.getLogger("api")


class Door(uvicorn.Server):
    """A server whose end is decided by the process, not by itself."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone: one handler ends both doors."""
        yield


async def serve(settings: Settings) -> None:
    """Serve both doors until SIGINT or SIGTERM; requests that run get a few seconds to end."""
    sockets = [
        listening("api_port", settings.api_host, settings.api_port),
        listening("door_port", settings.door_host, settings.door_port),
    ]
    if settings.card_sign_in == "direct":
        sockets.append(listening("card_port", settings.api_host, settings.card_port))
    async with opened(settings) as state:
        if found := await database_objections(state.engine):
            raise Refused(*found)
        doors = await _doors(settings, state)
        keep_what_is_loaded()
        kept = [asyncio.create_task(keep(state)) for keep in KEPT]
        _on_signals(state, doors)
        log.info("people: %s, agents: %s", settings.public_url, settings.door_url)
        try:
            await asyncio.gather(*(door.serve([s]) for door, s in zip(doors, sockets, strict=True)))
        finally:
            for task in kept:
                task.cancel()


async def _doors(settings: Settings, state: State) -> list[Door]:
    @asynccontextmanager
    async def shared(_settings: Settings) -> AsyncIterator[State]:
        yield state

    people = create_app(settings, shared)
    doors = [
        Door(_config(Proxied(people, settings))),
        Door(
            _config(
                create_agent_app(settings, shared),
                ssl_certfile=str(settings.door_certificate_file),
                ssl_keyfile=str(settings.door_key_file),
                ssl_ciphers=CIPHERS,
                timeout_keep_alive=AGENTS_KEPT_SECONDS,
            )
        ),
    ]
    if settings.card_sign_in == "direct":
        doors.append(Door(_config(people, **await card_options(state))))
    return doors


def _config(app: ASGIApp, **options: object) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        lifespan="on",
        proxy_headers=False,  # whom to believe is decided in one place, and not by an environment
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
        **options,  # type: ignore[arg-type]
    )


def listening(field: str, host: str, port: int) -> socket.socket:
    """Return the door's socket, or raise Refused with the setting that names its address."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        server = socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        reason = f"{host}:{port} cannot be listened on ({error.strerror})"
        raise Refused(f"{reason}; free it or set {setting_name(field)}") from error
    # Connections inherit it. asyncio sets it only where a socket names its protocol, and without it
    # the body of an answer waits 40 ms for the client's word that the head has come.
    server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return server


def _on_signals(state: State, doors: list[Door]) -> None:
    def end() -> None:
        state.ending.set()
        for door in doors:
            door.force_exit = door.should_exit  # a second signal does not wait
            door.should_exit = True

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, end)


async def main() -> None:
    """Serve with the settings of this installation."""
    settings = load_settings()
    write_json_logs(settings.log_level)
    # A buffer of each connection, 256 KiB by default: what a thousand agents cost most.
    SSLProtocol.max_size = ONE_RECORD
    await serve(settings)


if __name__ == "__main__":
    run_and_exit(main())
