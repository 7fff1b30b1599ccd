"""A PostgreSQL server of a world's own, which can be killed like every other process."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from cli.ports import free_ports
from cli.processes import accepts
from tests.chaos.forking import is_alive
from tests.chaos.processes import Process, kill
from tests.databases import ACCOUNT, postgresql_files, postgresql_program, postgresql_url


@dataclass
class Server:
    """Where the server's files are, and where it listens."""

    home: Path
    port: int

    async def start(self) -> int:
        """Return the process id of the server, which will not start beside what is left of it."""
        options = ("-c", "listen_addresses=127.0.0.1", "-p", str(self.port), "-k", str(self.home))
        quick = ("-c", "fsync=off")  # a killed process loses nothing that the system has
        account = ("--reuid", ACCOUNT, "--regid", ACCOUNT, "--clear-groups") if ACCOUNT else ()
        postgres, data = str(postgresql_program("postgres")), str(self.home / "data")
        program = (postgres, "-D", data, *options, *quick)
        for _ in range(100):
            with (self.home / "log").open("ab") as log:
                process = await asyncio.create_subprocess_exec(
                    *("setpriv", *account, "--", "setpriv", "--pdeathsig", "KILL", "--", *program),
                    stdout=log,
                    stderr=log,
                    cwd="/",
                )
            await asyncio.sleep(0.2)
            if is_alive(process.pid):
                return process.pid
        raise AssertionError((self.home / "log").read_text()[-2000:])

    async def is_ready(self) -> bool:
        """Tell whether it takes connections."""
        return await accepts("127.0.0.1", self.port)


@asynccontextmanager
async def postgresql() -> AsyncIterator[tuple[str, Process]]:
    """Yield the URL of an empty database, and the process that serves it."""
    (port,) = free_ports(1)
    with postgresql_files() as home:
        server = Server(home, port)
        process = Process("database", server.start, server.is_ready)
        await process.up()
        yield postgresql_url(port), process
        await kill(process.pid)
