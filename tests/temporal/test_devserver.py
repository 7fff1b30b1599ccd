"""The Temporal server of the demo: its file, its namespace, and what is said when it is absent."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest

from cardflow.errors import Refused, Unavailable
from cardflow.key_ring import KeyRing
from cardflow.secret_files import write_secret
from cardflow.settings import Settings
from cardflow.temporal.client import connect
from cardflow.temporal.devserver import find_program, is_ready, server_command
from cli.ports import free_ports
from tests.waiting import until


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    port, ui_port = free_ports(2)
    write_secret(tmp_path / "secrets/codec.json", KeyRing.generate().dump())
    address = f"127.0.0.1:{port}"
    return Settings(state_dir=tmp_path, temporal_address=address, temporal_ui_port=ui_port)


@contextmanager
def serving(settings: Settings) -> Iterator[None]:
    command = server_command(settings, settings.state_dir / "temporal.db")
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as server:
        try:
            yield
        finally:
            server.terminate()


async def until_ready(settings: Settings) -> None:
    await until(lambda: is_ready(settings), what="a server that is ready")


@pytest.mark.temporal
async def test_the_server_keeps_its_workflows_in_its_file(settings: Settings) -> None:
    for kind in ("first", "again"):
        with serving(settings):
            await until_ready(settings)
            client = await connect(settings)
            if kind == "first":
                await client.start_workflow("Any", id="open", task_queue="nobody")
            described = await client.get_workflow_handle("open").describe()
            assert described.workflow_type == "Any"


@pytest.mark.temporal
async def test_closed_updates_are_kept_for_thirty_days(settings: Settings) -> None:
    with serving(settings):
        await until_ready(settings)
        client = await connect(settings)
        request = DescribeNamespaceRequest(namespace="cardflow")
        answer = await client.workflow_service.describe_namespace(request)

    assert answer.config.workflow_execution_retention_ttl.ToTimedelta().days == 30


async def test_a_server_that_does_not_answer_is_named(settings: Settings) -> None:
    with pytest.raises(Unavailable, match=settings.temporal_address):
        await connect(settings)
    assert not await is_ready(settings)


def test_a_package_that_is_not_installed_is_named_with_the_remedy() -> None:
    with pytest.raises(Refused, match="make setup"):
        find_program("no-such-package", "temporal")
