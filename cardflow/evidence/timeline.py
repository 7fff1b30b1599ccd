"""What happened, for people: the same facts that the entries of the audit trail state."""

from collections.abc import Iterable, Mapping
from typing import Any

from cardflow.evidence.record import Happened
from cardflow.wire import to_json

# Bulky, or of use to machines only; they are in members of their own.
NOT_TOLD = ("csr_pem", "certificate_pem", "signature", "nonce", "token")


def timeline(story: Iterable[Happened], names: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return what happened, in order, as JSON types."""
    return [_line(entry, names) for entry in story]


def _line(entry: Happened, names: Mapping[str, str]) -> dict[str, Any]:
    return {
        "number": entry.number,
        "event": entry.event,
        "at": to_json(entry.at),
        "kind": entry.kind,
        "lane": entry.lane,
        "actor": {"id": entry.actor, "name": names.get(entry.actor, "")},
        "facts": {name: v for name, v in entry.facts.items() if name not in NOT_TOLD},
    }
