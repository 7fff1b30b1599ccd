import asyncio
import shutil
import subprocess
from pathlib import Path

import pytest

from agent.children import Child
from agent.messages import LONGEST_LINE, line
from tests.agent.desk import SOFTHSM, Desk, Person, SoftHsmReader
from tests.chaos.forking import Forked
from tests.chaos.instruments.zygote import Zygote
from tests.chaos.processes import inherited

PIN = "246810"


def softhsm_is_here():
    return shutil.which("softhsm2-util") is not None and shutil.which("pkcs11-tool") is not None


@pytest.fixture
async def desk(tmp_path, monkeypatch):
    """A workstation with one SoftHSM card in the reader."""
    if not softhsm_is_here():
        pytest.skip(f"{SOFTHSM} is not installed")
    reader = SoftHsmReader(tmp_path / "reader")
    for name, value in reader.environment.items():
        monkeypatch.setenv(name, value)
    serial = reader.new_card("Ann's card", PIN)
    desk = Desk(tmp_path, reader, Person(tmp_path / "person"), PIN, serial)
    yield desk
    await desk.visits.close()


@pytest.fixture(scope="session")
def zygote():
    """What has loaded the agent's code, and forks."""
    zygote = Zygote()
    yield zygote
    zygote.close()


@pytest.fixture
def forked_visits(zygote, monkeypatch):
    """Visits start as forks, in a tenth of the time; those of the agent's own process do not."""

    async def start(module, first_message):
        ours, pid = zygote.process(module.rpartition(".")[2], inherited())
        reader, writer = await asyncio.open_connection(sock=ours, limit=LONGEST_LINE)
        writer.write(line(first_message))
        return Child(Forked(pid), reader, writer)

    monkeypatch.setattr(Child, "start", start)


class Faults:
    """What is to happen at the card."""

    def __init__(self, folder):
        self.folder = folder
        folder.mkdir()

    def set(self, what, text=""):
        (self.folder / what).write_text(text)

    def flags(self, number):
        self.set("flags", f"{number:x}")

    def logins(self):
        file = self.folder / "logins"
        return file.read_text() if file.exists() else ""


@pytest.fixture(scope="session")
def fault_module(tmp_path_factory):
    module = tmp_path_factory.mktemp("module") / "fault_card.so"
    source = Path(__file__).with_name("fault_card.c")
    command = ["gcc", "-shared", "-fPIC", "-o", module, source, "-ldl"]
    subprocess.run(command, check=True)
    return str(module)


@pytest.fixture
def faults(desk, fault_module, monkeypatch, tmp_path):
    """Accidents on order; the independent look at the card goes past them."""
    faults = Faults(tmp_path / "faults")
    monkeypatch.setenv("CARD_FAULTS", str(faults.folder))
    desk.module = fault_module
    return faults
