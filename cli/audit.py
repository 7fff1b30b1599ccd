"""`cardflow audit`: reading the audit trail, checking its chain, and checkpoints of it."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cyclopts import App

from cardflow.chain import Link, Verification, Walk
from cardflow.checkpoint_files import read_tokens
from cardflow.checkpoints import read_all
from cardflow.decision_root import read_decision_root
from cardflow.errors import Refused
from cli.client import Api
from cli.output import save, say, show_list, show_record, working
from cli.sessions import HERE, Connection

app = App(name="audit", help="The audit trail, and the check that nothing in it was changed.")
LONGEST = 80  # signed tokens and certificates are for --json
COLUMNS = ("number", "at", "kind", "actor", "update_id", "facts")
SHOWN = ("ok", "entries", "checkpoints", "covered_to", "broken_at", "reason")


@app.command(name="list")
def list_entries(
    *, update: str = "", kind: str = "", actor: str = "", connection: Connection = HERE
) -> None:
    """List audit entries, of one update, kind or person."""
    with connection.open() as api:
        found = api.items("/audit", update=update, kind=kind, actor=actor)
        entries = found if connection.json else map(_with_facts, found)
        show_list(entries, COLUMNS, as_json=connection.json)


def _with_facts(entry: dict[str, Any]) -> dict[str, Any]:
    """Return the entry with what its text tells besides the other columns."""
    facts = json.loads(entry["text"])["facts"]
    told = facts.get("facts", facts)
    return {**entry, "facts": {key: _short(value) for key, value in told.items() if value}}


def _short(value: Any) -> Any:
    told = isinstance(value, str) and len(value) > LONGEST
    return f"{value[:LONGEST]}…" if told else value


@app.command
def verify(
    *, checkpoints: Path | None = None, root: Path | None = None, connection: Connection = HERE
) -> None:
    """Check every link of the chain and every checkpoint; fails if anything was changed.

    Without further words Cardflow checks itself. With ``--root`` every entry is fetched and
    checked here, under a key that you kept yourself; with ``--checkpoints`` also against
    checkpoints that left the house, so that an end that was cut off is found.

    For example:

        cardflow audit verify --root decision-root.pem --checkpoints /media/worm/checkpoints

    Parameters
    ----------
    checkpoints
        A directory of exported checkpoints, or a file with one.
    root
        The public key of the decision root, PEM, from a place that you trust.
    """
    if checkpoints and not root:
        raise Refused("--checkpoints needs --root: the key that they are checked with")
    with connection.open() as api, working("checking the chain"):
        found = _verified_here(api, checkpoints, root) if root else api.get("/audit/verify")
    shown = found if connection.json else {name: found[name] for name in SHOWN}
    show_record(shown, as_json=connection.json)
    if not found["ok"]:
        reasons = [f"entry {f['number']}: {f['reason']}" for f in found["findings"]]
        raise Refused(
            f"the audit chain is broken at entry {found['broken_at']}\n  "
            + "\n  ".join(reasons)
            + "\n  → keep a copy of the database and of the checkpoints; see docs/evidence.md"
        )


@app.command
def checkpoint(*, output: Path | None = None, connection: Connection = HERE) -> None:
    """Have a checkpoint signed now, and print it or save it somewhere safe.

    For example:

        cardflow audit checkpoint --output checkpoint.jws
    """
    with connection.open() as api:
        made = api.post("/audit/checkpoints")
    if connection.json:
        return show_record(made, as_json=True)
    say(f"entry {made['number']}, signed {made['at']}")
    return save(f"{made['token']}\n".encode(), output)


def _verified_here(api: Api, checkpoints: Path | None, root: Path) -> dict[str, Any]:
    outside = read_tokens(checkpoints) if checkpoints else []
    return asdict(verified(api.lines("/audit/export"), outside, read_decision_root(root)))


def verified(lines: Iterator[str], outside: list[str], root: str) -> Verification:
    """Return what is wrong with an exported trail, read line by line."""
    tokens, walk = list(outside), None
    for line in lines:
        told = json.loads(line)
        if "checkpoint" in told:
            tokens.append(told["checkpoint"])
            continue
        walk = walk or _walk(tokens, root)
        entry = told["entry"]
        walk.take(Link(**{**entry, "at": datetime.fromisoformat(entry["at"])}))
    return (walk or _walk(tokens, root)).close()


def _walk(tokens: list[str], root: str) -> Walk:
    signed, wrong = read_all(tokens, root)
    return Walk(signed, known=wrong, now=datetime.now(UTC))
