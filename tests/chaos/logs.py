"""What happened, in the order in which it did: the logs of all processes and the points reached."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.chaos.world import World

STAMP = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d[.,]\d+Z?")


def merged(world: "World", since: float, most: int) -> str:
    """Return the last lines since then, each with its source."""
    lines = [(at, f"{_clock(at)} {told}") for at, told in _everything(world) if at >= since]
    return "\n".join(told for _, told in sorted(lines)[-most:])


def _everything(world: "World") -> Iterator[tuple[float, str]]:
    for kill in world.kills:
        at, _, whom = kill.partition(" ")
        yield float(at), f"KILLED    {whom}"
    for at, whom in world.ended:
        yield at, f"ENDED     {whom}, by itself"
    for line in (world.board / "trace").read_text().splitlines():
        at, pid, name = line.split()
        yield float(at), f"point     {name} ({pid})"
    for file in sorted(world.log_dir.glob("*.log")):
        last = 0.0
        for line in file.read_text(errors="replace").splitlines():
            last = _instant(line) or last
            yield last, f"{file.stem:9} {line[:4000]}"


def _instant(line: str) -> float:
    if line.startswith("{"):
        try:
            line = str(json.loads(line).get("timestamp", ""))
        except ValueError:
            return 0.0
    if not (found := STAMP.search(line)):
        return 0.0
    text = found[0].replace(",", ".").replace(" ", "T").rstrip("Z")
    return datetime.fromisoformat(text[:26]).replace(tzinfo=UTC).timestamp()


def _clock(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%H:%M:%S.%f")[:-3]
