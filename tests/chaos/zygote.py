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

import agent.__main__
import agent.connection
import agent.inspector
import agent.signing
import agent.visit
import api.__main__
import api.checkpoints
import worker
from agent.children import Child
from cardflow.ca.embedded import lint
from cardflow.settings import load_settings
from cardflow.temporal import limits
from cardflow.temporal.ending import run_and_exit
from tests.chaos.forking import child_from, ordered
from workflows import at_the_ca, mail_rounds

PR_SET_PDEATHSIG, PR_SET_NAME = 1, 15
NOWHERE = {"type": "http", "method": "GET", "path": "/nowhere", "root_path": "", "headers": []}


# What the product loads when it is first needed, which would be after each restart.
LATE = ("pyhanko.sign", "pyhanko.stamp", "typst", "cardflow.documents.long_term")


def hurry() -> None:
    """Have whoever waits for a process that may be dead wait shortly."""
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
