"""Failpoints: everywhere where there is an effect, and nowhere but in tests."""

import importlib
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from cardflow.errors import Refused
from cardflow.failpoints import MARKER, VARIABLE, board, effect, fail_at
from cli.processes import ROOT
from scripts.failpoints import activities_in, everywhere, idle, points, without
from tests.chaos.desk import PROMPT_SECONDS
from tests.chaos.matrix import (
    ERRANDS,
    MODES,
    ON_ROADS,
    POLICY_ROADS,
    ROADS,
    WITH_FORMS,
    on_roads,
    pairs,
    single_kills,
    stops,
)
from tests.chaos.roads import ERRANDS as ERRANDS_THERE
from tests.chaos.roads import ROADS as ROADS_THERE
from tests.chaos.world import PEOPLE_WAIT
from tests.chaos.zygote import KEEP_ALIVE, SHORTENED, TAKEN_BEFORE

LEAST = 60
PATH = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT)}
EXAMPLES = [
    ("api/actions.py", "await handle.execute_update(ACT)"),
    ("api/opening.py", "await client.start_workflow(X)"),
    ("api/card_tasks.py", "await service.respond_activity_task_completed(request)"),
    ("api/handing_in.py", "await state.store.put(content, limit=1)"),
    ("api/idempotency.py", "await session.commit()"),
    ("activities/failures.py", "await super().execute_activity(input)"),
    ("activities/mail/smtp.py", "await client.send_message(message)"),
    ("cardflow/ca/embedded/issuing.py", "sign_draft(draft, key, issuer)"),
    ("agent/drivers/freeform.py", "session.create_object(template)"),
    ("agent/drivers/freeform.py", "item.destroy()"),
    ("agent/drivers/freeform.py", "domain.generate_keypair()"),
    ("agent/login.py", "token.open(rw=True, user_pin=pin)"),
    ("agent/journal.py", "os.fsync(descriptor)"),
    ("agent/door.py", "await self._client.request(method, url)"),
    ("agent/settings.py", "write_secret(file, content)"),
    ("agent/settings.py", "fresh.replace(self.key_file)"),
    ("agent/drivers/freeform.py", "item.copy_object(template)"),
    ("cardflow/reconcile/rest.py", "await handle.signal(CA_ANSWERED, lane)"),
    ("cardflow/reconcile/updates.py", "await handle.terminate(reason=reason)"),
    ("cardflow/reconcile/resuming.py", "await there.client.start_workflow(X)"),
    ("worker.py", "await client.create_schedule(name, wanted)"),
]
OTHER_THINGS = [
    ("agent/memory.py", "signal.signal(signal.SIGTERM, signal.SIG_DFL)"),
    ("agent/keys.py", "replace(self.enrolment, job_key=new)"),
    ("agent/signing.py", "name.replace('%', '%%')"),
    ("cli/processes.py", "process.terminate()"),
]
WRITES = ("async with transaction(state.sessions) as session:", "    session.add(row)")
NAMELESS = "from cardflow.failpoints import effect\nwith effect({}):\n    pass\n"


def in_a_function(*lines: str) -> str:
    return "async def f():\n" + "".join(f"    {line}\n" for line in lines)


def test_every_effect_has_a_failpoint() -> None:
    assert list(everywhere()) == []
    assert len(points()) >= LEAST


@pytest.mark.parametrize(("path", "line"), EXAMPLES, ids=[line for _, line in EXAMPLES])
def test_an_effect_without_one_is_found(path: str, line: str) -> None:
    assert len(without(path, in_a_function(line))) == 1
    assert without(path, in_a_function('with effect("a.b"):', f"    {line}")) == []
    assert without(path, in_a_function(f"{line}  # no failpoint: the caller has one")) == []
    assert len(without(path, in_a_function(f"{line}  # no failpoint:"))) == 1


@pytest.mark.parametrize(("path", "line"), OTHER_THINGS, ids=[line for _, line in OTHER_THINGS])
def test_a_word_that_means_something_else_is_no_effect(path: str, line: str) -> None:
    assert without(path, in_a_function(line)) == []


@pytest.mark.parametrize(
    "begun",
    ["transaction(state.sessions)", "committed(x.sessions)", "transaction(sessions)", "e.begin()"],
)
def test_a_transaction_without_one_is_found_wherever_it_is(begun: str) -> None:
    writes = (f"async with {begun} as session:", "    session.add(row)")
    stood_around = ('with effect("a.b"):', *(f"    {line}" for line in writes))

    assert len(without("api/anything.py", in_a_function(*writes))) == 1
    assert without("api/anything.py", in_a_function(*stood_around)) == []


@pytest.mark.parametrize("begun", ["transaction(state.reads)", "looking(self._sessions)"])
def test_a_transaction_that_only_looks_needs_none(begun: str) -> None:
    reads = (f"async with {begun} as session:", "    await session.get(Row, 1)")

    assert without("api/anything.py", in_a_function(*reads)) == []


def test_a_transaction_is_excused_at_its_head_alone() -> None:
    head, body = WRITES
    reason = "  # no failpoint: nothing follows"

    assert without("api/anything.py", in_a_function(head + reason, body)) == []
    assert len(without("api/anything.py", in_a_function(head, body + reason))) == 1


def test_one_commit_that_nothing_follows_is_excused_by_its_module() -> None:
    once = in_a_function(*WRITES)

    assert without("api/web/anything.py", once) == []
    assert len(without("api/web/anything.py", in_a_function(*WRITES, *WRITES))) == 1
    assert len(without("api/web/anything.py", in_a_function(*WRITES, "send_soon(mails)"))) == 1
    calls = once + "async def g():\n    await f()\n    await client.start_workflow(X)\n"
    assert [found.partition(": ")[2] for found in without("api/web/anything.py", calls)] == [
        "g is no single commit that nothing follows",
        "start_workflow changes the world and has no failpoint",
    ]


def test_an_excuse_for_nothing_is_found() -> None:
    needed = idle({"api/web/a.py": in_a_function(*WRITES), "agent/door.py": ""})
    reads = idle({"api/web/a.py": in_a_function("async with transaction(state.reads): pass")})

    assert not any(entry.startswith("api/web/") for entry in needed)
    assert any(entry.startswith("agent/door.py") for entry in needed)
    assert any(entry.startswith("api/web/") for entry in reads)


def test_a_name_that_is_not_written_out_is_found_but_for_two() -> None:
    assert without("agent/visits.py", NAMELESS.format('"a.b"')) == []
    assert len(without("agent/visits.py", NAMELESS.format("_named(method, path)"))) == 1
    assert without("agent/door.py", NAMELESS.format("_named(method, path)")) == []
    assert len(without("agent/door.py", NAMELESS.format("name"))) == 1
    assert without("cardflow/db/effects.py", "await effect(session, happening)") == []


@pytest.mark.parametrize("decorator", ["activity.defn", 'activity.defn(name="other")'])
def test_an_activity_is_found_whatever_it_is_called(decorator: str) -> None:
    assert activities_in(f"@{decorator}\nasync def do_it(): ...") == {"do_it"}
    assert activities_in("async def do_it(): ...") == set()


def test_every_point_has_its_kill_and_every_way_is_known() -> None:
    kills = single_kills()

    assert sorted(kill.name for kill in kills) == sorted(points())
    assert {kill.road for kill in kills} == {*MODES, *ROADS.values()}
    assert set(ROADS.values()) <= {*MODES, *POLICY_ROADS, *ROADS_THERE}
    assert {*MODES, *ON_ROADS, *ROADS.values()} == {*MODES, *POLICY_ROADS, *ROADS_THERE}
    assert {point for kill in on_roads() for point in kill.points} <= points()
    assert set(ERRANDS.values()) == set(ERRANDS_THERE)
    assert {f"{effect}.done" for effect in (*ROADS, *ERRANDS)} <= points()


def test_every_point_that_all_updates_come_by_meets_every_mode_with_forms() -> None:
    met: dict[str, set[str]] = {}
    for fault in (*single_kills(), *pairs()):
        for point in fault.points:
            met.setdefault(point, set()).add(fault.road)

    special = {*ROADS, *ERRANDS}
    common = {point for point in met if point.rpartition(".")[0] not in special}
    assert all(set(WITH_FORMS) <= met[point] for point in common)


def test_who_rests_does_so_for_longer_than_anybody_waits() -> None:
    prompt = 2 * PROMPT_SECONDS + SHORTENED["agent.visits.PROMPT_MARGIN_SECONDS"]
    poll = SHORTENED["agent.connection.WAIT_SECONDS"] + SHORTENED["agent.door.PATIENCE_SECONDS"]
    alive = (KEEP_ALIVE.interval_millis + KEEP_ALIVE.timeout_millis) / 1000

    rests = {fault.then.seconds for fault in stops() if fault.then}

    assert min(rests) > max(*SHORTENED.values(), PEOPLE_WAIT, prompt, poll, alive)


@pytest.mark.parametrize("name", SHORTENED)
def test_what_the_world_shortens_is_a_wait_of_the_product(name: str) -> None:
    module, _, constant = name.rpartition(".")
    wait = getattr(importlib.import_module(module), constant)
    seconds = wait.total_seconds() if isinstance(wait, timedelta) else wait

    assert SHORTENED[name] < seconds


@pytest.mark.parametrize("taken", TAKEN_BEFORE, ids=lambda taken: taken[2])
def test_a_default_that_was_taken_from_one_is_known(taken: tuple[Any, str, str]) -> None:
    function, parameter, name = taken
    module, _, constant = name.rpartition(".")

    kept = function.__kwdefaults__[parameter]
    assert kept == getattr(importlib.import_module(module), constant)


def test_nothing_happens_where_no_tests_are(tmp_path: Path) -> None:
    fail_at("anything")
    with effect("anything"):
        pass

    assert board("") is None
    with pytest.raises(Refused, match=VARIABLE):
        board(str(tmp_path), tmp_path / "no-such-marker")


def test_no_image_holds_the_marker() -> None:
    copied = (ROOT / "Dockerfile").read_text() + (ROOT / ".dockerignore").read_text()

    assert MARKER.relative_to(ROOT).parts[0] == "tests"
    assert "tests" not in copied


def put_up(directory: Path, *armed: str) -> None:
    for name in ("armed", "fired"):
        (directory / name).mkdir()
    for name in armed:
        (directory / "armed" / name).touch()


def started(board: Path, code: str) -> "subprocess.Popen[str]":
    command, environment = (sys.executable, "-c", code), {**PATH, VARIABLE: str(board)}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


def test_production_refuses_to_start_while_tests_could_stop_it(tmp_path: Path) -> None:
    put_up(tmp_path)
    code = (
        "from cardflow.startup import objections; from cardflow.settings import Settings\n"
        "print(objections(Settings(environment='production')))"
    )
    with started(tmp_path, code) as armed:
        said, _ = armed.communicate(timeout=60)

    assert f"{VARIABLE}: tests could stop this process" in said


def test_a_process_stops_at_an_armed_point_once_and_leaves_its_number(tmp_path: Path) -> None:
    put_up(tmp_path, "b.done")
    code = (
        "from cardflow.failpoints import effect\n"
        "for _ in range(2):\n    with effect('b'):\n        print('done', flush=True)"
    )
    with started(tmp_path, code) as process:
        status = Path(f"/proc/{process.pid}/stat")
        deadline = time.monotonic() + 60
        while status.read_text().rpartition(")")[2].split()[0] != "T":
            assert time.monotonic() < deadline
        fired = [file.name for file in (tmp_path / "fired").iterdir()]
        process.send_signal(signal.SIGCONT)
        said, _ = process.communicate(timeout=60)

    assert fired == [f"b.done@{process.pid}"]
    assert said.split() == ["done", "done"]
    reached = [line.split()[2] for line in (tmp_path / "trace").read_text().splitlines()]
    assert reached == ["b.before", "b.done"] * 2
