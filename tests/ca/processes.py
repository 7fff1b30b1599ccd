"""Programs that the tests run as processes of their own, because they race or are killed.

``python -m tests.ca.processes race HOME`` submits one request from eight processes at once.
``python -m tests.ca.processes crash HOME`` has a process killed at each point of an issuance, each
time in a CA of its own beside HOME, and recovers in another process in each of three ways. Both
print what came of it as JSON.
"""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from sqlalchemy import event

from cardflow.ca import CertificateRequest, Issued
from cardflow.ca.embedded import EmbeddedCA, open_issuing_key
from cardflow.ca.embedded.issuing import linted
from cardflow.ca.embedded.setup import load_hierarchy
from cardflow.ca.tables import CaCertificate
from cardflow.model import Subject
from cardflow.sql import sessions_of, transaction
from tests.ca.making import Home, KeyBetween, issue

RACERS = 8
POINTS = ("before-write-ahead", "before-signing", "after-signing", "before-answer")
Act = Callable[[EmbeddedCA], Any]


def request_in(home: Home) -> CertificateRequest:
    """Return the request that the test left in the CA's directory."""
    content = json.loads((home.path / "request.json").read_text())
    return CertificateRequest(**{**content, "subject": Subject(**content["subject"])})


def end_here() -> None:
    """End this process as a power failure would."""
    os.kill(os.getpid(), signal.SIGKILL)


class KeyThatDies(KeyBetween):
    """The issuing key of a process that is killed beside it: before it signs, or after."""

    def __init__(self, key: ec.EllipticCurvePrivateKey, where: str, left: Path) -> None:
        super().__init__(key)
        self._where, self._left = where, left

    def sign(self, data, signature_algorithm):
        if self._where == "before-signing":
            end_here()
        signature = super().sign(data, signature_algorithm)
        self._left.write_text(signature.hex())
        if self._where == "after-signing":
            end_here()
        return signature


async def with_ca(home: Home, act: Act, where: str = "") -> Any:
    """Return what ``act`` gives with a CA that dies at the point named."""
    engine = await home.engine()
    if where == "before-write-ahead":
        event.listen(engine.sync_engine, "commit", lambda _connection: end_here())
    key = open_issuing_key(home.directory, home.secrets.issuing)
    ca = home.ca(engine, issuing_key=KeyThatDies(key, where, home.path / "signature"))
    try:
        result = await act(ca)
        if where == "before-answer":
            end_here()
        return result
    finally:
        ca.close()
        await engine.dispose()


def in_child(act: Callable[[], Any]) -> int:
    """Start a process that does ``act`` and nothing else; return its id."""
    child = os.fork()
    if child:
        return child
    try:
        act()
    finally:
        os._exit(0)


def race(home: Home) -> dict[str, Any]:
    """Return the certificates that eight processes got for one request, and what was recorded."""
    barrier, gate = os.pipe()

    def run(number: int) -> None:
        os.close(gate)
        os.read(barrier, 1)  # ends for all at once when the parent closes the other side
        pem = asyncio.run(with_ca(home, lambda ca: issue(ca, request_in(home))))
        (home.path / f"racer-{number}").write_text(pem)

    children = [in_child(lambda number=number: run(number)) for number in range(RACERS)]
    os.close(gate)
    for child in children:
        os.waitpid(child, 0)
    answers = [path.read_text() for path in home.path.glob("racer-*")]
    return {"answers": answers, "recorded": asyncio.run(recorded(home))}


RECOVERIES: dict[str, Callable[[EmbeddedCA, CertificateRequest], Any]] = {
    "submit": lambda ca, request: ca.submit(request),
    "find": lambda ca, request: ca.find(request),
    "maintain": lambda ca, _request: ca.maintain(),
}


def crash(home: Home, where: str, how: str) -> dict[str, Any]:
    """Return how the first process ended, and what a second one made of what was left."""
    request = request_in(home)
    child = in_child(lambda: asyncio.run(with_ca(home, lambda ca: issue(ca, request), where)))
    _, status = os.waitpid(child, 0)
    left = home.path / "signature"
    before = left.read_text() if left.exists() else ""

    async def recover(ca: EmbeddedCA) -> Any:
        await RECOVERIES[how](ca, request)
        return await ca.submit(request)

    answer = asyncio.run(with_ca(home, recover))
    return {
        "killed_by": os.WTERMSIG(status),
        "signature_before": before,
        "answer": answer.certificate_pem if isinstance(answer, Issued) else "",
        "recorded": asyncio.run(recorded(home)),
    }


def crashes(home: Home) -> dict[str, Any]:
    """Return the outcome of every way to crash and recover, each in the CA that is there for it."""
    outcomes = {}
    for where in POINTS:
        for how in RECOVERIES:
            own = Home(home.path.with_name(f"{where}-{how}"))
            outcomes[f"{where} {how}"] = crash(own, where, how)
    return outcomes


async def recorded(home: Home) -> list[str]:
    """Return every certificate for a person in the CA's records."""
    engine = await home.engine()
    async with transaction(sessions_of(engine)) as session:
        rows = (await session.execute(CaCertificate.__table__.select())).all()
    await engine.dispose()
    return [row.certificate_pem for row in rows if row.request_id]


def main() -> None:
    """Do what the arguments say."""
    command, path = sys.argv[1:]
    home = Home(Path(path))
    linted(load_hierarchy(home.directory).root)  # what is slow to load is loaded before the forks
    asyncio.run(recorded(home))  # and there are tables before anybody races or is killed
    print(json.dumps(race(home) if command == "race" else crashes(home)))  # noqa: T201


if __name__ == "__main__":
    main()
