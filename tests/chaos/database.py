"""A PostgreSQL server of a world's own, which can be killed like every other process."""

import asyncio
import os
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from cli.processes import accepts
from tests.chaos.forking import is_alive
from tests.chaos.processes import Process, kill
from tests.ports import free_ports

PROGRAMS = Path("/usr/lib/postgresql/15/bin")
ACCOUNT = "postgres" if os.geteuid() == 0 else None  # the server refuses to run as root


@dataclass
class Server:
    """Where the server's files are, and where it listens."""

    home: Path
    port: int

    @property
    def url(self) -> str:
        return f"postgresql+psycopg://postgres@127.0.0.1:{self.port}/postgres"

    def make(self) -> None:
        """The server's files are there."""
        command = (PROGRAMS / "initdb", "-A", "trust", "-U", "postgres", "-D", self.home / "data")
        subprocess.run(command, user=ACCOUNT, check=True, stdout=subprocess.DEVNULL, cwd="/")

    async def start(self) -> int:
        """Return the process id of the server, which will not start beside what is left of it."""
        options = ("-c", "listen_addresses=127.0.0.1", "-p", str(self.port), "-k", str(self.home))
        quick = ("-c", "fsync=off")  # a killed process loses nothing that the system has
        account = ("--reuid", ACCOUNT, "--regid", ACCOUNT, "--clear-groups") if ACCOUNT else ()
        program = (str(PROGRAMS / "postgres"), "-D", str(self.home / "data"), *options, *quick)
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
    # Not under pytest's own directory, which is closed to the account that the server runs as.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as directory:
        if ACCOUNT:
            shutil.chown(directory, ACCOUNT)
        server = Server(Path(directory), port)
        await asyncio.to_thread(server.make)
        process = Process("database", server.start, server.is_ready)
        await process.up()
        yield server.url, process
        await kill(process.pid)
