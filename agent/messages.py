"""What the agent and its visit process say to each other, one JSON object per line."""

import json
import socket
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from cardflow.errors import Refused
from cardflow.jobs import JOB_TYPES, IssuedForm, Job, JobKind
from cardflow.wire import from_json, to_json

LONGEST_LINE = 16 * 1024 * 1024


class Phase(StrEnum):
    """What a visit is doing; a prompt may be ended at any moment, card work should not be."""

    PROMPTING = "prompting"
    WORKING = "working"


@dataclass(frozen=True)
class Surroundings:
    """What a visit process knows besides its jobs, all of it from this workstation's own files."""

    module_path: str
    server: str
    pinentry: str  # empty: ask on the terminal
    prompt_seconds: int
    journal: str


def line(message: dict[str, Any]) -> bytes:
    """Return a message as it is sent."""
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"


def job_message(job: Job, form: IssuedForm | None = None) -> dict[str, Any]:
    """Return a job with its kind, and the form that it may be about."""
    return {"kind": job.card.kind.value, "job": to_json(job), "form": to_json(form)}


def read_job(kind: Any, data: Any) -> Job:
    """Return the job that a message carries, if its kind is one that the agent knows."""
    known = {str(each): each for each in JOB_TYPES}
    if not isinstance(kind, str) or kind not in known:
        raise Refused("the job is of a kind that this agent does not know")
    job: Job = from_json(JOB_TYPES[JobKind(kind)], data)
    if job.card.kind != kind:
        raise Refused("the job says it is of another kind than its envelope")
    return job


class Channel:
    """The visit process's end of the line to the agent."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._lines = connection.makefile("rb")

    def receive(self, wait_seconds: float | None) -> Any:
        """Return the next message, or None when the line was closed or stayed silent."""
        self._connection.settimeout(wait_seconds)
        try:
            text = self._lines.readline(LONGEST_LINE)
        except TimeoutError:
            return None
        finally:
            self._connection.settimeout(None)
        return json.loads(text) if text.endswith(b"\n") else None

    def phase(self, phase: Phase) -> None:
        """Say what happens now; also the sign of life that the agent's watch waits for."""
        self.send({"phase": phase.value})

    def send(self, message: dict[str, Any]) -> None:
        """Send one message."""
        self._connection.sendall(line(message))
