"""What a process gives up before it parses what somebody sent, and how it answers."""

import resource
import sys

from cardflow.documents.examiner import Limits


def confine(limits: Limits, answer_bytes: int) -> None:
    """From here on the process can only compute, for a while, and answer."""
    resource.setrlimit(resource.RLIMIT_CPU, (limits.cpu_seconds, limits.cpu_seconds))
    resource.setrlimit(resource.RLIMIT_AS, (limits.memory_bytes, limits.memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (answer_bytes, answer_bytes))
    # No new descriptor: there is no file to open and no connection to make.
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, 0))


def say(line: bytes) -> None:
    """Answer a line."""
    sys.stdout.buffer.write(line + b"\n")
    sys.stdout.flush()
