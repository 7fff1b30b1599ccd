"""A whole demo with every log line there is; then look for the card's PIN in all that it left."""

import asyncio
import base64
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from google.protobuf.message import Message
from temporalio.api.common.v1 import Payload

from cardflow.settings import load_settings
from cardflow.temporal.client import connect
from cardflow.temporal.devserver import is_ready, server_command
from cli.processes import ROOT
from tests.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("canary")]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the state that a whole demo has left; every proof held."""
    state = tmp_path_factory.mktemp("demo") / "state"
    command = ("env", "CARDFLOW_LOG_LEVEL=debug", sys.executable, "-m", "cli", "demo")
    done = subprocess.run(
        [*command, "--state", str(state)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return state


def shapes_of(pin: bytes) -> set[bytes]:
    """Return how the PIN might look where it must not be."""
    text = pin.decode()
    inner = {base64.b64encode(b"x" * shift + pin)[shift + 1 : -4] for shift in range(3)}
    return {
        pin,
        pin[::-1],
        text.encode("utf-16-le"),
        text.encode("utf-16-be"),
        pin.hex().encode(),
        pin.hex().upper().encode(),
        bytes.fromhex(text),  # BCD, as ISO 9564 blocks have it
        *inner,
    }


def with_pin(directory: Path, pin: bytes) -> set[str]:
    """Return the files that hold the PIN in any shape."""
    shapes = shapes_of(pin)
    return {
        str(path.relative_to(directory))
        for path in directory.rglob("*")
        if path.is_file() and any(shape in path.read_bytes() for shape in shapes)
    }


def test_the_pin_is_in_no_file_that_the_demo_leaves(demo: Path) -> None:
    pin = (demo / "card" / "pin").read_bytes()
    assert with_pin(demo, pin) == {"card/pin"}  # the person's own memory: the search does see it


async def test_the_pin_is_in_no_history(demo: Path) -> None:
    pin = (demo / "card" / "pin").read_bytes()
    found = b"".join([text async for text in decoded_histories(demo)])

    assert b"BEGIN CERTIFICATE REQUEST" in found  # the search does see what was encrypted
    assert not [shape for shape in shapes_of(pin) if shape in found]


async def decoded_histories(state: Path) -> AsyncIterator[bytes]:
    """Yield every event of every workflow, and its payloads decoded."""
    async with _temporal(state):
        client = await connect(load_settings(state))
        codec = client.data_converter.payload_codec
        assert codec is not None
        async for found in client.list_workflows():
            handle = client.get_workflow_handle(found.id, run_id=found.run_id)
            for event in (await handle.fetch_history()).events:
                yield event.SerializeToString()
                for payload in await codec.decode(list(payloads_in(event))):
                    yield payload.SerializeToString()


@asynccontextmanager
async def _temporal(state: Path) -> AsyncIterator[None]:
    settings = load_settings(state)
    command = server_command(settings, state / "temporal.db")
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.DEVNULL)
    try:
        await until(lambda: is_ready(settings), what="a server that is ready")
        yield
    finally:
        process.terminate()
        await process.wait()


def payloads_in(message: Message) -> Iterator[Payload]:
    """Yield every payload anywhere in a message."""
    if isinstance(message, Payload):
        yield message
        return
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        is_map = field.message_type.GetOptions().map_entry
        parts = value.values() if is_map else value if field.is_repeated else [value]
        for part in parts:
            if isinstance(part, Message):
                yield from payloads_in(part)
