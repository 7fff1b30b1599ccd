import stat
import sys

import pytest

from agent.door import origin
from agent.settings import StateDir
from cardflow.enrolment import fingerprint_words, new_code
from cardflow.errors import Refused
from tests.agent.door_double import make_tls, opened_door
from tests.agent.test_agent_process import agent, enrol


@pytest.fixture
async def door(tmp_path):
    async with opened_door(tmp_path / "server") as door:
        yield door


async def test_enrolling_pins_the_server_and_shows_six_words(door, tmp_path):
    state = StateDir(tmp_path / "state")
    code, output = await enrol(door, state.path)

    assert code == 0, output
    assert fingerprint_words(bytes.fromhex(door.device_key)) in output
    enrolment = state.enrolment()
    assert (enrolment.server, enrolment.issuer) == (door.origin, door.origin)
    assert state.root_file.read_bytes() == door.root_file.read_bytes()


async def test_secrets_of_the_state_directory_are_the_owners_alone(door, tmp_path):
    state = StateDir(tmp_path / "state")
    await enrol(door, state.path)
    for file in (state.key_file, state.enrolment_file):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(state.path.stat().st_mode) == 0o700


async def test_the_code_is_neither_kept_nor_shown(door, tmp_path):
    state = tmp_path / "state"
    _, output = await enrol(door, state)
    kept = b"".join(file.read_bytes() for file in state.iterdir())
    for form in (door.code, door.code.replace("-", "")):
        assert form not in output
        assert form.encode() not in kept


async def test_a_code_from_a_file_works_too(door, tmp_path):
    (tmp_path / "code").write_text(f"{door.code.lower()}\n")
    code, output = await agent(
        *("enrol", "--state", tmp_path / "state", "--server", door.origin),
        *("--ca-file", door.root_file, "--code-file", tmp_path / "code"),
    )
    assert code == 0, output


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"code": new_code()}, "the code is not known"),
        ({"code": "short"}, "26 letters"),
        ({"server": "http://localhost:1"}, "https://"),
        ({"server": "https://localhost:1"}, "does not answer"),
        ({"ca_file": sys.executable}, "TLS root"),
    ],
)
async def test_what_cannot_be_enrolled_says_why_and_leaves_nothing(door, tmp_path, changes, reason):
    state = StateDir(tmp_path / "state")
    code, output = await enrol(door, state.path, **changes)
    assert code == 1
    assert reason in output
    assert not state.enrolment_file.exists()


async def test_a_server_under_another_root_is_not_spoken_to(door, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    make_tls(other)
    code, output = await enrol(door, tmp_path / "state", ca_file=other / "root.pem")
    assert code == 1
    assert "CERTIFICATE_VERIFY_FAILED" in output
    assert door.device_key == ""


async def test_a_swapped_job_key_is_noticed(door, tmp_path):
    door.swap_job_key = True
    state = StateDir(tmp_path / "state")
    code, output = await enrol(door, state.path)
    assert code == 1
    assert "does not know the code" in output or "knows the code" in output
    assert not state.enrolment_file.exists()


async def test_a_lost_answer_is_asked_for_again_with_the_same_key(door, tmp_path):
    door.out_of_order = 1
    first, _ = await enrol(door, tmp_path / "state")
    key = StateDir(tmp_path / "state").key_file.read_bytes()
    second, _ = await enrol(door, tmp_path / "state")
    assert (first, second) == (1, 0)
    assert StateDir(tmp_path / "state").key_file.read_bytes() == key


async def test_an_enrolled_workstation_is_enrolled_anew_only_when_told_so(door, tmp_path):
    state = tmp_path / "state"
    await enrol(door, state)
    first = door.device_key
    refused, output = await enrol(door, state)
    anew, _ = await agent(
        *("enrol", "--anew", "--state", state, "--server", door.origin),
        *("--ca-file", door.root_file, "--code-file", "-"),
        stdin=door.code,
    )
    assert refused == 1
    assert "--anew" in output
    assert anew == 0
    assert door.device_key != first


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("modules = []", "name at least one"),
        ("nonsense", "cannot be read"),
        ('[[modules]]\nname = "x"\npath = "/nowhere.so"', "does not exist"),
        ('[[modules]]\nname = "x"', "path: missing"),
        ('[[modules]]\nname = "x"\npath = "/bin/sh"\nmore = 1', "more: unknown field"),
        ('pinentry = "/nowhere"\n[[modules]]\nname = "x"\npath = "/bin/sh"', "cannot be run"),
        ('prompt_seconds = 999\n[[modules]]\nname = "x"\npath = "/bin/sh"', "prompt_seconds"),
        ('log_level = "loud"\n[[modules]]\nname = "x"\npath = "/bin/sh"', "log_level: one of"),
    ],
)
def test_wrong_settings_are_refused_by_file_key_and_reason(tmp_path, text, reason):
    (tmp_path / "agent.toml").write_text(text)
    with pytest.raises(Refused, match=reason) as refused:
        StateDir(tmp_path).settings()
    assert "agent.toml" in str(refused.value)


async def test_run_says_what_is_missing(tmp_path):
    code, output = await agent("run", "--state", tmp_path)
    assert code == 1
    assert "agent.toml is missing" in output
    assert "[[modules]]" in output
    (tmp_path / "agent.toml").write_text('[[modules]]\nname = "x"\npath = "/bin/sh"')
    code, output = await agent("run", "--state", tmp_path)
    assert code == 1
    assert "agent enrol" in output


def test_an_open_device_key_is_refused(tmp_path):
    state = StateDir(tmp_path)
    state.device_key()
    state.key_file.chmod(0o644)
    with pytest.raises(Refused, match="chmod 600"):
        state.device_key()


def test_a_device_key_whose_writing_was_broken_off_is_made_anew_before_it_is_enrolled(tmp_path):
    state = StateDir(tmp_path)
    state.key_file.touch(0o600)

    assert state.device_key().public_key() == state.device_key().public_key()


@pytest.mark.parametrize(
    "text", ["cards.example", "https://", "https://a/b", "https://a?b", "https://u@a", "ftp://a"]
)
def test_only_an_https_origin_names_a_server(text):
    with pytest.raises(Refused, match=r"https://cards\.example"):
        origin(text)


def test_an_origin_is_normalised():
    assert origin(" https://Cards.Example:8443/ ") == "https://cards.example:8443"
