import shutil

import pytest

from tests.agent.desk import SOFTHSM, Desk, Person, SoftHsmReader

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
