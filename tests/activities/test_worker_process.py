"""`python worker.py` as an operator starts and stops it."""

import asyncio
import json
import os
import re
import signal
import sys
from pathlib import Path

import pytest

from cardflow.db.migrate import newest_revision
from cardflow.model import new_id
from cardflow.orders import MailOrder
from cardflow.settings import Settings
from cli.ports import free_ports
from cli.up import prepare
from tests.waiting import PATIENCE, until
from workflows.afterwork import Delivery

pytestmark = pytest.mark.temporal
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
async def settings(tmp_path, databases, temporal_env, codec_ring):
    databases.furnish(tmp_path)
    (port,) = free_ports(1)
    settings = Settings(
        state_dir=tmp_path,
        temporal_address=temporal_env.client.service_client.config.target_host,
        temporal_task_queue=f"process-{port}",
        worker_metrics_port=port,
    )
    await prepare(settings)
    settings.codec_key_file.write_bytes(codec_ring.dump())
    return settings


async def started(settings, *command):
    """Start the worker with these settings; everything else stays as the machine has it."""
    given = {
        "CARDFLOW_STATE_DIR": settings.state_dir,
        "CARDFLOW_TEMPORAL_ADDRESS": settings.temporal_address,
        "CARDFLOW_TEMPORAL_TASK_QUEUE": settings.temporal_task_queue,
        "CARDFLOW_WORKER_METRICS_PORT": settings.worker_metrics_port,
    }
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *(command or ("worker.py",)),
        cwd=ROOT,
        env={
            "PATH": os.defpath,
            "PYTHONPATH": str(ROOT),
            **{name: str(value) for name, value in given.items()},
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def said(process):
    """Return what the process says next."""
    return json.loads(await process.stderr.readline())["event"]


async def metrics_of(settings):
    reader, writer = await asyncio.open_connection("127.0.0.1", settings.worker_metrics_port)
    writer.write(b"GET /metrics HTTP/1.0\r\n\r\n")
    metrics = await reader.read()
    writer.close()
    return metrics


async def test_the_worker_works_serves_metrics_and_ends_in_order_when_told(settings, temporal_env):
    process = await started(settings)
    async with asyncio.timeout(PATIENCE):
        first = json.loads(await process.stderr.readline())
        await temporal_env.client.execute_workflow(
            Delivery.run, MailOrder(()), id=new_id(), task_queue=settings.temporal_task_queue
        )
        # Counted when the server's answer to the completion is in, a moment after the result.
        await until(
            lambda: metrics_of(settings),
            lambda metrics: b"temporal_workflow_completed" in metrics,
            what="a workflow that was counted",
        )
        metrics = (await metrics_of(settings)).decode()
        process.send_signal(signal.SIGTERM)
        out, err = await process.communicate()

    assert process.returncode == 0, err
    polling = re.findall(
        r'^temporal_num_pollers\{.*"workflow_task".*\} (\d+)$', metrics, re.MULTILINE
    )
    assert [int(number) for number in polling] > [0]
    assert (first["level"], first["logger"]) == ("info", "cardflow.worker")
    assert all(json.loads(line)["level"] in ("info", "warning") for line in err.splitlines())
    assert out == b""


async def test_a_worker_that_stood_still_reads_all_workflows_anew(settings, temporal_env):
    impatient = (
        "import worker; worker.STOOD_STILL_SECONDS = 0.5; worker.run_and_exit(worker.main())"
    )
    process = await started(settings, "-c", impatient)
    async with asyncio.timeout(PATIENCE):
        told = [await said(process)]
        while told[-1] != "the CA published a CRL":
            told.append(await said(process))
        process.send_signal(signal.SIGSTOP)
        await asyncio.sleep(2)
        process.send_signal(signal.SIGCONT)
        while told[-1] != told[0]:
            told.append(await said(process))
        await temporal_env.client.execute_workflow(
            Delivery.run, MailOrder(()), id=new_id(), task_queue=settings.temporal_task_queue
        )
        process.terminate()
        _, err = await process.communicate()

    assert process.returncode == 0, err
    assert any("stood still for" in event for event in told)


async def test_a_database_of_another_revision_is_refused_before_anything_runs(settings, databases):
    (settings.state_dir / "cardflow.db").unlink(missing_ok=True)
    databases.furnish(settings.state_dir, migrated=False)
    process = await started(settings)
    _, err = await process.communicate()

    assert process.returncode == 1
    needed = f"the database is at revision none, this program needs {newest_revision()}"
    assert needed.encode() in err


async def test_a_worker_without_the_codecs_key_says_which_file_is_missing(settings):
    settings.codec_key_file.unlink()
    process = await started(settings)
    _, err = await process.communicate()

    assert process.returncode == 1
    assert str(settings.codec_key_file).encode() in err
