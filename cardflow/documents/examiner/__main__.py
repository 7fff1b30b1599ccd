"""The parsers, loaded once: a fork of this process looks at each file, and itself it sees none.

Loading them takes 0.3 s, a fork some milliseconds. Orders come down the line whose descriptor is
the only argument; each has the file, the file for what is said, and is answered with a pidfd.
"""

import ctypes
import gc
import importlib
import json
import os
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NoReturn

from cardflow.documents.examiner import LONGEST_ORDER, Limits, picture, upload

PROGRAMS: dict[str, Callable[..., None]] = {"upload": upload.main, "picture": picture.main}
PR_SET_DUMPABLE = 4


def main() -> None:
    """Fork for each order, until nobody is left who could give one."""
    line = socket.socket(fileno=int(sys.argv[1]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who started us ends us
    # What takes hold of a fork cannot look into us, and so not into later files (ptrace(2)).
    ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
    gc.collect()
    gc.freeze()
    while True:
        text, descriptors, _, _ = socket.recv_fds(line, LONGEST_ORDER, 2)
        if not text:
            return
        _bury()
        order = json.loads(text)
        if order["loads"]:
            importlib.import_module(order["loads"])
        if (child := os.fork()) == 0:
            line.close()
            _look(order, *descriptors)
        handle = os.pidfd_open(child)
        socket.send_fds(line, [b"begun"], [handle])
        for descriptor in (*descriptors, handle):
            os.close(descriptor)


def _look(order: dict[str, Any], given: int, said: int) -> NoReturn:
    """Be the process of one file."""
    code = 1
    try:
        os.dup2(given, sys.stdin.fileno())
        os.dup2(said, sys.stdout.fileno())
        os.close(given)
        os.close(said)
        PROGRAMS[order["program"]](Limits(**order["limits"]), *order["arguments"])
        code = 0
    finally:
        os._exit(code)


def _bury() -> None:
    """Take note of the forks that have ended."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


if __name__ == "__main__":
    main()
