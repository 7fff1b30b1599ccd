"""Every kind of place where an update leaves something, and what is sure to be found in each."""

import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import httpx2
import psycopg
from google.protobuf.json_format import MessageToJson
from sqlalchemy import make_url
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client

from cardflow.settings import Settings
from cardflow.temporal.client import connect
from cardflow.temporal.payloads import payloads_in
from tests.secrecy.processes import memory_of, told_of, tree_of
from tests.secrecy.search import Search, all_within

Parts = Callable[[], list[bytes]]
CONTROL = "control"


@dataclass(frozen=True)
class Store:
    """A place that is searched, and the control that the same search must find in it."""

    name: str
    control: str
    read: Parts
    is_memory: bool = False  # searched as it is: nothing lies there in a wrapping

    def searched(self, secrets: Mapping[str, str]) -> tuple[list[str], bool]:
        """Return which secrets are found here, and whether the control is, in the same pass."""
        parts = self.read()
        search = Search({**secrets, CONTROL: self.control})
        found = search.found_in(*(parts if self.is_memory else all_within(*parts)))
        secret = [name for name in found if not name.startswith(CONTROL)]
        return secret, secret != found


def files(*paths: Path) -> Parts:
    """Return what reads the files, and all files in the directories."""

    def read() -> list[bytes]:
        found = [file for path in paths for file in ([path] if path.is_file() else path.rglob("*"))]
        return [file.read_bytes() for file in sorted(found) if file.is_file()]

    return read


ON_SQLITE = "SELECT name FROM sqlite_master WHERE type = 'table'"
ON_POSTGRESQL = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"


def rows(database: Path) -> Parts:
    """Return what reads each value of each table: in the file, long ones are in pieces."""

    def read() -> list[bytes]:
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
            return list(_values(connection, ON_SQLITE))

    return read


def rows_of(settings: Settings) -> Parts:
    """Return what reads each value of each of our own tables."""
    url = make_url(settings.database_url)
    if url.get_backend_name() == "sqlite":
        return rows(Path(str(url.database)))

    def read() -> list[bytes]:
        plain = url.set(drivername="postgresql").render_as_string(hide_password=False)
        with psycopg.connect(plain) as connection:
            return list(_values(connection, ON_POSTGRESQL))

    return read


def _values(connection: sqlite3.Connection | psycopg.Connection, tables: str) -> Iterator[bytes]:
    for (table,) in connection.execute(tables).fetchall():
        for row in connection.execute(f'SELECT * FROM "{table}"'):  # noqa: S608 the server's names
            yield from (v if isinstance(v, bytes) else str(v).encode() for v in row if v)


@dataclass(frozen=True)
class Histories:
    """Every event of every workflow, as Temporal keeps it and as Temporal's pages get it."""

    raw: list[bytes]
    as_json: list[bytes]
    decoded: list[bytes]
    pages: list[bytes]

    @classmethod
    async def of(cls, settings: Settings) -> "Histories":
        """Return what is there now."""
        client = await connect(settings)
        events = [event async for event in _events(client)]
        codec = client.data_converter.payload_codec
        assert codec is not None
        plain = [
            payload.SerializeToString()
            for event in events
            for payload in await codec.decode(list(payloads_in(event)))
        ]
        return cls(
            raw=[event.SerializeToString() for event in events],
            as_json=[MessageToJson(event).encode() for event in events],
            decoded=plain,
            pages=[page async for page in _pages(settings)],
        )


async def _events(client: Client) -> AsyncIterator[HistoryEvent]:
    async for found in client.list_workflows():
        handle = client.get_workflow_handle(found.id, run_id=found.run_id)
        for event in (await handle.fetch_history()).events:
            yield event


async def _pages(settings: Settings) -> AsyncIterator[bytes]:
    """Yield what Temporal's pages are told by their server: lists, workflows, histories."""
    base = f"http://localhost:{settings.temporal_ui_port}/api/v1"
    async with httpx2.AsyncClient(base_url=base, timeout=30) as ui:
        there = f"/namespaces/{settings.temporal_namespace}"
        listed = await ui.get(f"{there}/workflows")
        yield listed.content
        for one in listed.json()["executions"]:
            named = one["execution"]
            run = {"execution.runId": named["runId"]}
            path = f"{there}/workflows/{named['workflowId'].replace('/', '%2F')}"
            for what in (path, f"{path}/history"):
                answer = await ui.get(what, params=run)
                assert answer.is_success, (what, answer.text)
                yield answer.content


class Processes:
    """Our own processes while they run, and everything that they start meanwhile."""

    def __init__(self, root: int, state_dir: Path) -> None:
        self._root, self._mark = root, str(state_dir).encode()
        self._told: set[bytes] = set()

    def look(self) -> None:
        """Remember the command lines and environments of what runs now."""
        for pid in tree_of(self._root)[1:]:
            self._told.add(told_of(pid))

    def told(self) -> list[bytes]:
        """Return every command line and environment that was ever seen."""
        return list(self._told)

    def memory(self, *command: str) -> Parts:
        """Return what reads the memory of the one process with these words in its command."""
        words = [word.encode() for word in command]

        def read() -> list[bytes]:
            lines = {pid: _command(pid) for pid in tree_of(self._root)[1:]}
            alike = [pid for pid, line in lines.items() if line[: len(words)] == words]
            (pid,) = (pid for pid in alike if self._mark in told_of(pid))
            return list(memory_of(pid))

        return read


def _command(pid: int) -> list[bytes]:
    line = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    return line[1:] if line[0].endswith((b"python", b"python3", b"python3.11")) else line
