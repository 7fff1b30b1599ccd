"""Forks the product's processes from one that has imported everything and started nothing.

``python -m tests.chaos.zygote SOCKET`` takes orders on the socket, one JSON object each, with the
descriptors that the process is to have, and answers with its process id. A process starts in
milliseconds instead of the seconds that its imports take; everything else about it is as in an
installation: its ``main`` runs, in a process and a session of its own. Time-outs that notice the
dead are shorter (``cardflow/temporal/limits.py``), so that a case takes seconds.
"""

import ctypes
import gc
import importlib
import json
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, NoReturn

from temporalio.client import Client
from temporalio.service import KeepAliveConfig

import agent.__main__
import agent.connection
import agent.door
import agent.inspector
import agent.readers
import agent.signing
import agent.visit
import agent.visits
import api.__main__
import api.actions
import api.checkpoints
import api.job_tokens
import api.opening
import worker
from agent.children import Child
from cardflow.ca.embedded import lint
from cardflow.settings import load_settings
from cardflow.temporal import limits
from cardflow.temporal.ending import run_and_exit
from tests.chaos.forking import child_from, ordered
from tests.chaos.telling import Heard, told_apart
from workflows import at_the_ca, mail_rounds

PR_SET_PDEATHSIG, PR_SET_NAME = 1, 15
NOWHERE = {"type": "http", "method": "GET", "path": "/nowhere", "root_path": "", "headers": []}


# What the product loads when it is first needed, which would be after each restart.
LATE = ("pyhanko.sign", "pyhanko.stamp", "typst", "cardflow.documents.long_term")


# Seconds that somebody waits for another process to answer. Each is shorter than a rest lasts
# (``matrix.REST``): who rests finds that the others have gone on without it.
SHORTENED = {
    "api.actions.PATIENCE": 2.5,  # for an update's answer
    "api.opening.PATIENCE": 2.5,
    "api.job_tokens.LIFETIME": 5.0,  # of a job, until the agent has begun it
    "agent.door.PATIENCE_SECONDS": 2.5,  # for the server's answer
    "agent.connection.PATIENCE_SECONDS": 2.5,
    "agent.connection.INTAKE_SECONDS": 5.0,
    "agent.connection.WAIT_SECONDS": 4,  # for a job; the door's patience comes on top
    "agent.visits.SILENCE_SECONDS": 5.0,  # of a card process
    "agent.visits.PROMPT_MARGIN_SECONDS": 1.0,
    "agent.readers.PATIENCE_SECONDS": 4.0,
    "agent.readers.RESTART_AFTER_SECONDS": 1.0,
    "cardflow.sql.BUSY_SECONDS": 5.0,  # for the one who writes to SQLite
    "worker.STOOD_STILL_SECONDS": 3.0,  # a workflow task has one second
    "cardflow.hang_up.ANSWER_SECONDS": 5.0,  # for PostgreSQL
}
# Functions that took such a time as a parameter's value before it was shortened.
TAKEN_BEFORE: tuple[tuple[Any, str, str], ...] = (
    (api.actions.take, "patience", "api.actions.PATIENCE"),
    (agent.door.Door.send, "patience", "agent.door.PATIENCE_SECONDS"),
    (agent.connection.Connection._until_heard, "patience", "agent.door.PATIENCE_SECONDS"),
    (agent.visits.Visits.__init__, "silence_seconds", "agent.visits.SILENCE_SECONDS"),
)
# A connection to Temporal on which nothing comes any more is given up after both.
KEEP_ALIVE = KeepAliveConfig(interval_millis=1_500, timeout_millis=2_000)


def shorten() -> None:
    """Have nobody wait for long for who may rest or be out of reach."""
    for name, seconds in SHORTENED.items():
        module, _, constant = name.rpartition(".")
        holder = importlib.import_module(module)
        before = getattr(holder, constant)
        shorter = timedelta(seconds=seconds) if isinstance(before, timedelta) else seconds
        setattr(holder, constant, shorter)
        for function, parameter, source in TAKEN_BEFORE:
            if source == name:
                function.__kwdefaults__[parameter] = shorter
    Client.connect.__kwdefaults__["keep_alive_config"] = KEEP_ALIVE


def hurry() -> None:
    """Have whoever waits for a process that may be dead wait shortly."""
    shorten()
    limits.WORK = limits.AFTERWORK = limits.ROUND = timedelta(seconds=1.5)
    limits.SILENCE = timedelta(seconds=1.2)
    limits.STICKY = timedelta(seconds=1)
    for made_before in (at_the_ca.BUDGET, mail_rounds.ROUND):
        made_before["start_to_close_timeout"] = limits.WORK
    agent.connection.HEARTBEAT_EVERY_SECONDS = 0.05  # type: ignore[misc]
    agent.connection.LONGEST_BACKOFF_SECONDS = 0.4  # type: ignore[misc]
    worker.MAINTAIN_EVERY_SECONDS = 2
    api.checkpoints.LOOK_EVERY_SECONDS = 1


def build_doors() -> None:
    """Have the API's routes made before there is an API: that takes longer than most cases."""
    settings, opener = load_settings(), []

    def open_state(given: Any) -> Any:
        return opener[0](given)

    people = api.__main__.create_app(settings, open_state)
    agents = api.__main__.create_agent_app(settings, open_state)
    for app in (people, agents):
        app.add_middleware(Heard)
    for route in (*people.routes, *agents.routes):
        route.matches(dict(NOWHERE))  # FastAPI completes its routes when the first request comes

    def doors(made: Any) -> Callable[..., Any]:
        def make(_settings: Any, given: Any) -> Any:
            opener[:] = [given]
            return made

        return make

    api.__main__.create_app = doors(people)  # type: ignore[assignment]
    api.__main__.create_agent_app = doors(agents)  # type: ignore[assignment]


def run(order: dict[str, Any], descriptors: list[int]) -> NoReturn:
    """Be the program that the order names; the first descriptor is for what it logs."""
    os.setsid()
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    ctypes.CDLL(None).prctl(PR_SET_NAME, order["program"].encode())  # for who looks with ``top``
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    nothing = os.open(os.devnull, os.O_RDWR)
    log, *private = descriptors
    is_child = bool(private)  # of an agent: modules write on standard output what they like
    for descriptor, standard in ((nothing, 0), (nothing if is_child else log, 1), (log, 2)):
        os.dup2(descriptor, standard)
    os.environ.update(order["environment"])  # noqa: TID251 (programs inherit it)
    sys.argv = [order["program"], *map(str, private), *order["arguments"]]
    code = 1
    with suppress(SystemExit):
        match order["program"]:
            case "api":
                run_and_exit(api.__main__.main())
            case "worker":
                run_and_exit(worker.main())
            case "agent.visit":
                code = agent.visit.main() or 0
            case "agent.inspector":
                code = agent.inspector.main() or 0
            case _:
                code = agent.__main__.main()
    os._exit(code)


def main() -> None:
    """Fork for whoever asks, until we are killed; what was forked ends with us."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them here
    path = Path(sys.argv[1])
    hurry()
    told_apart()
    build_doors()
    for module in LATE:
        importlib.import_module(module)
    lint.tools()
    Child.start = child_from(path)  # type: ignore[method-assign]
    gc.collect()
    gc.freeze()
    assert threading.active_count() == 1
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen(64)
        while True:
            asking, _ = listening.accept()
            with asking:
                order, descriptors = ordered(asking)
                if (pid := os.fork()) == 0:
                    asking.close()
                    listening.close()
                    run(order, descriptors)
                for descriptor in descriptors:
                    os.close(descriptor)
                asking.sendall(json.dumps(pid).encode())


if __name__ == "__main__":
    main()
